"""The kernels that have a name, as weights laid over a window of the image."""

from __future__ import annotations

from typing import Any

import numpy as np

# Across the derivative, each averages with these weights.
GRADIENTS = {
    "sobel": np.array([1, 2, 1]) / 4,
    "prewitt": np.array([1, 1, 1]) / 3,
    "scharr": np.array([3, 10, 3]) / 16,
}
KERNEL_NAMES = {"box", "gaussian", "median", *GRADIENTS, "laplacian", "log", "sharpen"}

_LAPLACIAN = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
_IDENTITY = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])


def window_size(name: str, size: tuple[int, int] | None, sigma: float) -> tuple[int, int]:
    """Return the size of a kernel; None for `size` stands for the usual one."""
    if name in {"gaussian", "log"}:
        side = 2 * int(4 * sigma + 0.5) + 1
        return size or (side, side)
    if name in {"box", "median"}:
        return size or (3, 3)
    return (3, 3)


def named_kernels(
    name: str, size: tuple[int, int], sigma: float, direction: str
) -> list[np.ndarray]:
    """Return the weights of a kernel; the magnitude of a gradient takes two kernels."""
    if name in GRADIENTS:
        horizontal = np.outer(GRADIENTS[name], [-1, 0, 1])
        both = {"horizontal": [horizontal], "vertical": [horizontal.T]}
        return both.get(direction, [horizontal, horizontal.T])
    if name == "box":
        return [np.full(size, 1 / (size[0] * size[1]))]
    if name == "laplacian":
        return [_LAPLACIAN.copy()]
    if name == "sharpen":
        return [_IDENTITY - _LAPLACIAN]
    smooth = [_gaussian(length, sigma) for length in size]
    if name == "gaussian":
        return [np.outer(*smooth)]
    curved = [
        ((_offsets(length) / sigma) ** 2 - 1) / sigma / sigma * weights
        for length, weights in zip(size, smooth, strict=True)
    ]
    return [np.outer(curved[0], smooth[1]) + np.outer(smooth[0], curved[1])]


def _offsets(length: int) -> np.ndarray:
    return np.arange(length) - (length - 1) / 2


def _gaussian(length: int, sigma: float) -> np.ndarray:
    weights = np.exp(-0.5 * (_offsets(length) / sigma) ** 2)
    return weights / weights.sum()


def summed_up(kernel: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Return the kernel for images of one row or column: its sum over what they do not have."""
    for axis, length in enumerate(window):
        if length == 1:
            kernel = kernel.sum(axis=axis, keepdims=True)
    return kernel


def checked_kernel(kernel: Any) -> np.ndarray:
    """Return the weights that the user gave as a float64 array of two dimensions.

    Raises
    ------
    ValueError
        If they are no kernel.
    """
    try:
        weights = np.array(kernel, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"kernel cannot be read as an array of numbers: {error}") from error
    if weights.ndim not in (1, 2) or weights.size == 0:
        raise ValueError(
            "kernel must be the name of one, or an array of shape (kh, kw) or (k,) with at least "
            f"one weight; got shape {weights.shape}."
        )
    if not (np.isfinite(weights).all() and weights.any()):
        raise ValueError(f"kernel must hold finite numbers that are not all 0, got {weights}.")
    return np.atleast_2d(weights)


def normalised(kernel: np.ndarray) -> np.ndarray:
    """Divide by the sum of the weights, or if that is 0 by the sum of the positive ones."""
    total, size = kernel.sum(), np.abs(kernel).sum()
    if abs(total) <= kernel.size * np.finfo(np.float64).eps * size:
        total = size / 2
    return kernel / total
