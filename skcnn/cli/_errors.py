"""The error that ends a command with one line instead of a traceback."""

from __future__ import annotations


class CommandError(Exception):
    """Something that the user can put right; the message is all that is shown."""


def first_line(error: BaseException) -> str:
    """The error's message up to its first line break, or its type where it has none."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
