"""What visual words stand for: the mean of the patches that belong to each."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any, Self

import numpy as np

from skcnn._plotting import import_pyplot
from skcnn.features import BagOfVisualWords, FisherVectorEncoder, SIFTExtractor, VLADEncoder
from skcnn.inspection._panels import (
    brightness_limits,
    ensure_count,
    ensure_fitted,
    ensure_image,
    show_image,
)
from skcnn.inspection._patches import average_patches

_SIZE_OF_KEYPOINTS = 16  # pixels across the patch of a keypoint, whose own size differs


class VisualWordsDisplay:
    """The average patch of each visual word, the most frequent word first.

    Make it with :meth:`from_estimator`. Each patch has a contrast of its own, from its darkest to
    its brightest value: descriptors do not know of brightness, so the patches of one word differ in
    it and their mean is dull. Words that do not occur are left out.

    Parameters
    ----------
    patches : ndarray of shape (n_words, size, size) or (n_words, size, size, c)
        The mean of the patches of each word.

    counts : ndarray of int of shape (n_words,)
        How often each word occurs.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.

    axes_ : tuple of matplotlib Axes
        One for each word that is shown.

    shown_ : ndarray of int
        The numbers of the words that are shown, in order.

    See Also
    --------
    skcnn.BagOfVisualWords : Counts how often each word occurs in an image.
    skcnn.VLADEncoder, skcnn.FisherVectorEncoder : Say how descriptors differ from the words.

    Examples
    --------
    >>> from skcnn import BagOfVisualWords, SIFTExtractor, load_digit_images
    >>> from skcnn.inspection import VisualWordsDisplay
    >>> X, y = load_digit_images(return_X_y=True)
    >>> sift = SIFTExtractor().fit(X[:200])
    >>> words = BagOfVisualWords(n_words=20, random_state=0).fit(sift.transform(X[:200]))
    >>> display = VisualWordsDisplay.from_estimator(sift, words, X[:200], n_words=8)
    >>> len(display.axes_), display.patches.shape, display.counts.sum()
    (8, (20, 8, 8, 1), np.int64(1800))
    """

    def __init__(self, patches: np.ndarray, counts: np.ndarray) -> None:
        self.patches = patches
        self.counts = counts

    @classmethod
    def from_estimator(
        cls,
        extractor: SIFTExtractor,
        encoder: BagOfVisualWords | VLADEncoder | FisherVectorEncoder,
        X: Any,
        *,
        n_words: int = 24,
        patch_size: int | str = "auto",
        axes: Any = None,
    ) -> Self:
        """Average the patches of each word over images and draw the most frequent.

        Parameters
        ----------
        extractor : SIFTExtractor
            A fitted extractor.

        encoder : BagOfVisualWords, VLADEncoder or FisherVectorEncoder
            An encoder fitted on the extractor's descriptors. A mode of Fisher vectors is a word: a
            descriptor belongs to that which most probably made it.

        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            Images of the shape seen in `fit`, some hundred of which suffice. They are read in
            chunks of the extractor's `chunk_mib`.

        n_words : int, default=24
            Draw at most so many words.

        patch_size : int or "auto", default="auto"
            Height and width in pixels to which patches of all scales are brought, by linear
            interpolation. "auto" is the width of the smallest patch of a grid, 4 bins, and 16 for
            keypoints, whose patches are turned upright. Pixels beyond the image's border are taken
            from the border.

        axes : sequence of matplotlib Axes, optional
            Where to draw, one for each word; fewer Axes show fewer words. A new figure by default.

        Returns
        -------
        display : VisualWordsDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `extractor` or `encoder` is something else.

        ValueError
            If `X` is no batch of images of the shape seen in `fit`, the encoder was fitted on other
            descriptors, or no word occurs.
        """
        ensure_fitted("extractor", extractor, SIFTExtractor)
        ensure_fitted("encoder", encoder, BagOfVisualWords, VLADEncoder, FisherVectorEncoder)
        ensure_count("n_words", n_words)
        size = _patch_size(extractor, patch_size)
        learnt = encoder.means_ if isinstance(encoder, FisherVectorEncoder) else encoder.vocabulary_
        patches, counts = average_patches(extractor, encoder, X, len(learnt), size)
        return cls(patches, counts).plot(n_words=n_words, axes=axes)

    def plot(self, *, n_words: int = 24, axes: Any = None) -> Self:
        """Draw the average patches of the most frequent words.

        Parameters
        ----------
        n_words : int, default=24
            Draw at most so many words.

        axes : sequence of matplotlib Axes, optional
            Where to draw, one for each word; fewer Axes show fewer words. A new figure by default.

        Returns
        -------
        self : VisualWordsDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If no word occurs or `n_words` is no positive int.
        """
        ensure_count("n_words", n_words)
        counts = np.asarray(self.counts)
        ranking = np.argsort(-counts, kind="stable")
        chosen = ranking[counts[ranking] > 0][:n_words]
        if len(chosen) == 0:
            raise ValueError(
                "There is nothing to plot: no word occurs, for the images have no descriptors."
            )
        panels = _panels(len(chosen), axes)
        self.shown_, self.axes_ = chosen[: len(panels)], tuple(panels[: len(chosen)])
        self.figure_ = panels[0].figure
        for ax, word in zip(self.axes_, self.shown_, strict=True):
            patch = ensure_image(self.patches[word])
            show_image(ax, patch, f"word {word}", _own_limits(patch))
            ax.title.set_fontsize("small")
            times = "once" if counts[word] == 1 else f"{counts[word]:,} times"
            ax.set_xlabel(times, fontsize="small")
        for ax in panels[len(chosen) :]:
            ax.set_axis_off()
        return self


def _patch_size(extractor: SIFTExtractor, patch_size: int | str) -> int:
    if isinstance(patch_size, str) and patch_size == "auto":
        sizes = extractor.bin_sizes_
        return round(4 * min(sizes)) if sizes else _SIZE_OF_KEYPOINTS
    ensure_count("patch_size", patch_size, " or 'auto'")
    return int(patch_size)


def _own_limits(patch: np.ndarray) -> tuple[float, float]:
    low, high = float(patch.min()), float(patch.max())
    return (low, high) if low < high else brightness_limits(patch)


def _panels(n_panels: int, axes: Any) -> list[Any]:
    """Return the Axes that were given, or those of a new figure, wider than high."""
    pyplot = import_pyplot()
    if axes is None:
        n_columns = min(n_panels, max(4, ceil(sqrt(1.5 * n_panels))))
        n_rows = ceil(n_panels / n_columns)
        size = 1.35 * n_columns, 1.75 * n_rows
        _, axes = pyplot.subplots(
            n_rows, n_columns, figsize=size, layout="constrained", squeeze=False
        )
    return list(np.ravel(np.asarray(axes, dtype=object)))
