"""The ``skcnn`` command: ``skcnn compare`` and ``skcnn predict``."""

from skcnn.cli._main import main

__all__ = ["main"]
