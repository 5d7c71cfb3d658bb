"""The part of the training images that early stopping watches."""

from __future__ import annotations

import numpy as np


def validation_split(
    candidates: np.ndarray,
    strata: np.ndarray | None,
    fraction: float,
    rng: np.random.RandomState,
    *,
    least: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted indices of training and validation images.

    Parameters
    ----------
    candidates : ndarray of int
        The images that may be chosen, sorted.

    strata : ndarray of int or None
        Classes of all images: each gives its share, and its first image stays in training. None
        chooses at random.

    fraction : float
        Share of the images that validation gets.

    rng : RandomState
        Source of the choice.

    least : int, default=1
        Images that validation needs.

    Raises
    ------
    ValueError
        If fewer would be chosen.
    """
    mixed = rng.permutation(candidates)
    if strata is None:
        free = mixed[1:]
    else:
        mixed = mixed[np.argsort(strata[mixed], kind="stable")]
        free = np.delete(mixed, np.unique(strata[mixed], return_index=True)[1])
    n_valid = min(round(fraction * len(candidates)), len(free))
    if n_valid < least:
        held = len(mixed) - len(free)
        raise ValueError(
            f"The validation set is too small: early_stopping=True with validation_fraction="
            f"{fraction} gives {n_valid} of {len(candidates)} images, of which {held} stay in "
            f"training (one of each class), and {least} are needed. Increase "
            "validation_fraction, or the size of your dataset."
        )
    # Evenly spaced along the classes, so that each gives its share.
    valid = free[np.linspace(0, len(free), n_valid, endpoint=False, dtype=int)]
    return np.setdiff1d(candidates, valid), np.sort(valid)
