"""The pixels that descriptors describe, and their mean for each visual word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from skcnn.features import DescriptorSets, SIFTExtractor
from skcnn.images import ImageBatch, check_images

# Patches are cut out a few at a time: their coordinates take more memory than the image.
_BYTES_AT_ONCE = 2**23


def average_patches(
    extractor: SIFTExtractor, encoder: Any, X: Any, n_words: int, patch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean patch of each word and the number of its patches.

    Parameters
    ----------
    extractor : SIFTExtractor
        A fitted extractor.

    encoder : fitted encoder
        With `assign`.

    X : array-like
        Images, which are read in chunks.

    n_words : int
        Number of words that the encoder knows.

    patch_size : int
        Height and width of the patches that are returned.

    Returns
    -------
    patches : ndarray of shape (n_words, patch_size, patch_size, c)
        Their means; zeros for words that do not occur.

    counts : ndarray of int of shape (n_words,)
        How often each word occurs.
    """
    images = check_images(extractor, X, reset=False)
    sums = np.zeros((n_words, patch_size, patch_size, images.shape[3]))
    counts = np.zeros(n_words, dtype=np.intp)
    for rows in images.chunks(extractor.chunk_mib, _bytes_per_image(extractor, images)):
        chunk = images.read(rows)
        described = _describe(extractor, encoder, chunk)
        for image, (words, keypoints) in zip(chunk, described, strict=True):
            counts += np.bincount(words, minlength=n_words)
            _add_patches(sums, words, image, keypoints)
    sums /= np.maximum(counts, 1)[:, np.newaxis, np.newaxis, np.newaxis]
    return sums, counts


def cut_out(image: np.ndarray, keypoints: np.ndarray, patch_size: int) -> np.ndarray:
    """Return the patches around keypoints, turned upright, shape (n, size, size, c).

    A row of `keypoints` is row, column, scale and orientation; a patch is 12 scales wide. Values
    between pixels are interpolated linearly, those beyond the border are the nearest pixel's.
    """
    centres, scales, angles = keypoints[:, :2], keypoints[:, 2], keypoints[:, 3]
    offsets = (np.arange(patch_size) - (patch_size - 1) / 2) * 12 / patch_size
    down, right = np.meshgrid(offsets, offsets, indexing="ij")
    cosines, sines = scales * np.cos(angles), scales * np.sin(angles)
    rows = centres[:, 0] + np.multiply.outer(down, cosines) - np.multiply.outer(right, sines)
    columns = centres[:, 1] + np.multiply.outer(down, sines) + np.multiply.outer(right, cosines)
    patches = [
        map_coordinates(channel, (rows, columns), order=1, mode="nearest")
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(patches, axis=-1).transpose(2, 0, 1, 3)


def _describe(
    extractor: SIFTExtractor, encoder: Any, chunk: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the words of each image of a chunk and the keypoints where they lie."""
    images = _as_given(chunk, extractor.channel_axis)
    descriptors = extractor.transform(images)
    if not isinstance(descriptors, DescriptorSets):
        descriptors = np.asarray(descriptors)  # lazy ones would be computed twice
    words = encoder.assign(descriptors).ravel()
    if isinstance(descriptors, DescriptorSets):
        values = descriptors.descriptors
        keypoints = _keypoints_of_sets(descriptors, *chunk.shape[1:3])
        bounds = descriptors.offsets
    else:
        values = descriptors.reshape(-1, descriptors.shape[-1])
        on_grid = extractor.keypoints_of(images[0])
        keypoints = np.tile(np.column_stack(on_grid), (len(chunk), 1))
        bounds = np.arange(len(chunk) + 1) * len(on_grid.positions)
    for start, stop in pairwise(bounds):
        says_something = values[start:stop].any(axis=1) | (not encoder._skips_zeros)
        members = start + np.flatnonzero(says_something)
        yield words[members], keypoints[members]


def _as_given(chunk: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """Return images of shape (m, h, w, c) in the layout that the extractor was fitted on."""
    if chunk.shape[-1] == 1:
        return chunk[..., 0]
    assert channel_axis is not None  # images of several channels have an axis for them
    return np.moveaxis(chunk, -1, channel_axis)


def _keypoints_of_sets(sets: DescriptorSets, height: int, width: int) -> np.ndarray:
    positions = np.asarray(sets.positions) * [height, width] - 0.5
    return np.column_stack([positions, np.asarray(sets.scales), np.asarray(sets.orientations)])


def _add_patches(
    sums: np.ndarray, words: np.ndarray, image: np.ndarray, keypoints: np.ndarray
) -> None:
    """Add the patch around each keypoint to the sum of its word."""
    patch_size, n_channels = sums.shape[2:]
    order = np.argsort(words, kind="stable")
    at_once = max(1, _BYTES_AT_ONCE // (8 * patch_size**2 * (6 + 2 * n_channels)))
    for start in range(0, len(order), at_once):
        block = order[start : start + at_once]
        patches = cut_out(image, keypoints[block], patch_size)
        found, first = np.unique(words[block], return_index=True)
        sums[found] += np.add.reduceat(patches, first, axis=0, dtype=np.float64)


def _bytes_per_image(extractor: SIFTExtractor, images: ImageBatch) -> int:
    """Return the memory of an image, its descriptors and what they are made of."""
    _, height, width, n_channels = images.shape
    n_points = len(extractor.positions_) * len(extractor.bin_sizes_)
    descriptors = n_points * (128 * n_channels + 8)
    scale_space = 0 if n_points else 160 * height * width
    return 8 * (prod(images.shape[1:]) + 2 * descriptors + scale_space)
