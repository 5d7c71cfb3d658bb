"""Image classification the scikit-learn way.

Public names are resolved on first use, so ``import skcnn`` is instant: torch, skorch and the other
heavy libraries are imported when the first name that needs them is.
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, _lazy_dir, __all__ = _lazy.attach_stub(__name__, __file__)
__all__ = [*__all__, "__version__"]


def __dir__() -> list[str]:
    return sorted({*_lazy_dir(), "__version__"})
