"""Dense SIFT written plainly: one descriptor, one bin, one orientation at a time."""

import numpy as np
from scipy.ndimage import correlate1d


def smoothed_gradients(image, bin_size, magnification):
    """Return the gradients by row and by column of the image continued by its border pixels."""
    sigma2 = 0 if magnification is None else (bin_size / magnification) ** 2 - 0.25
    radius = int(4 * np.sqrt(sigma2) + 0.5) if sigma2 > 0 else 0
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * max(sigma2, 1e-9)))
    kernel /= kernel.sum()
    padded = np.pad(np.asarray(image, np.float64), radius + 1, mode="edge")
    for axis in (0, 1):
        padded = correlate1d(padded, kernel, axis)
    inner = padded[radius : padded.shape[0] - radius, radius : padded.shape[1] - radius]
    return (
        (inner[2:, 1:-1] - inner[:-2, 1:-1]) / 2,
        (inner[1:-1, 2:] - inner[1:-1, :-2]) / 2,
    )


def describe_at(by_row, by_column, row, column, bin_size, window="gaussian", root_sift=False):
    """Return the descriptor of the patch around a point, after Lowe's section 6.1."""
    y, x = np.mgrid[: by_row.shape[0], : by_row.shape[1]]
    magnitude = np.hypot(by_row, by_column)
    half = bin_size / 2
    if window == "gaussian":
        half = bin_size
        distance2 = (y - row) ** 2 + (x - column) ** 2
        magnitude = magnitude * np.exp(-distance2 / (2 * (2 * bin_size) ** 2))
    turn = np.arctan2(by_column, by_row) / (2 * np.pi) * 8
    histograms = np.zeros((4, 4, 8))
    for i, j, k in np.ndindex(histograms.shape):
        of_row = np.maximum(0, 1 - abs(y - (row + (i - 1.5) * bin_size)) / half)
        of_column = np.maximum(0, 1 - abs(x - (column + (j - 1.5) * bin_size)) / half)
        of_angle = np.maximum(0, 1 - abs((turn - k + 4) % 8 - 4))
        histograms[i, j, k] = (of_row * of_column * of_angle * magnitude).sum()
    descriptor = histograms.ravel()
    if np.linalg.norm(descriptor) < 1e-9:
        return np.zeros(128)
    descriptor = np.minimum(descriptor / np.linalg.norm(descriptor), 0.2)
    if root_sift:
        return np.sqrt(descriptor / descriptor.sum())
    return descriptor / np.linalg.norm(descriptor)
