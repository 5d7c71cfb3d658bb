"""matplotlib, imported when something is drawn and not before."""

from __future__ import annotations

from typing import Any


def import_pyplot() -> Any:
    """Return :mod:`matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message says what to install.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib, which is not installed: pip install "skcnn[plot]"'
        ) from error
    return pyplot
