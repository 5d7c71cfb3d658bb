"""What all displays share: the fitted estimator, the image and the panels that they draw on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skcnn._plotting import import_pyplot
from skcnn.images import check_images

SIGNED_COLOURS = "RdBu_r"


def ensure_fitted(name: str, estimator: Any, *kinds: type) -> None:
    """Raise an error unless the parameter `name` is a fitted estimator of one of the kinds.

    Raises
    ------
    TypeError
        If it is something else.

    NotFittedError
        If it is not fitted.
    """
    if not isinstance(estimator, kinds):
        needed = " or ".join(kind.__name__ for kind in kinds)
        given = f"the class {estimator.__name__}" if isinstance(estimator, type) else None
        raise TypeError(f"{name} must be a fitted {needed}, got {given or repr(estimator)}.")
    check_is_fitted(estimator)


def ensure_count(name: str, value: Any, alternative: str = "") -> None:
    """Raise ValueError unless the parameter `name` is an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1{alternative}, got {value!r}.")


def read_image(extractor: BaseEstimator, image: Any) -> np.ndarray:
    """Return one image as the extractor reads it, of shape (h, w, c).

    Raises
    ------
    ValueError
        If it is not one image of the shape seen in `fit`, or holds NaN or infinity.
    """
    batch = check_images(extractor, np.asarray(image)[np.newaxis], reset=False)
    return batch.read(slice(0, 1))[0]


def ensure_image(image: np.ndarray) -> np.ndarray:
    """Return an image of shape (h, w) or (h, w, c) with an axis for its channels."""
    return image[..., np.newaxis] if image.ndim == 2 else image


def take_panels(axes: Any, n_panels: int, width: float = 3.2, height: float = 3.4) -> list[Any]:
    """Return the Axes that were given, or those of a new figure with panels of so many inches.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    ValueError
        If not as many were given as are needed.
    """
    pyplot = import_pyplot()
    if axes is None:
        size = (width * n_panels, height)
        _, axes = pyplot.subplots(1, n_panels, figsize=size, layout="constrained", squeeze=False)
    given = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(given) != n_panels:
        raise ValueError(f"axes must be {n_panels} matplotlib Axes, one a panel, got {len(given)}.")
    return given


def brightness_limits(image: np.ndarray) -> tuple[float, float]:
    """Return what is black and what is white: 0 and 1 if they hold all values."""
    low, high = float(image.min()), float(image.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def show_image(
    ax: Any, image: np.ndarray, title: str = "", limits: tuple[float, float] | None = None
) -> Any:
    """Draw an image of shape (h, w, c): three channels in colour, others as their mean in grey."""
    low, high = limits or brightness_limits(image)
    if image.shape[-1] == 3:
        shown = np.clip((image - low) / (high - low), 0, 1)
    else:
        shown = image.mean(axis=-1)
    return show_values(ax, shown, title, "gray", (low, high))


def show_values(
    ax: Any, values: np.ndarray, title: str, colours: str, limits: tuple[float, float]
) -> Any:
    """Draw values by a colour map, without ticks; one row or column is stretched to the panel."""
    aspect = "auto" if 1 in values.shape[:2] else "equal"
    drawn = ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect=aspect)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title)
    return drawn


def limits_of_most(values: np.ndarray) -> tuple[float, float]:
    """Return limits that leave at most a hundredth of the values beyond their upper end."""
    low, high = float(values.min()), float(values.max())
    most = float(np.quantile(values, 0.99, method="higher"))
    if low == high:
        return low - 0.5, high + 0.5
    return low, most if low < most else high
