"""What a command tells on stderr, beside its results."""

from __future__ import annotations

import sys
from contextlib import suppress

from skcnn.comparison._format import printable


def say(message: str) -> None:
    """Print lines on stderr, without control characters.

    Nobody may be listening any more, and a message that nobody reads must not end the work.
    """
    lines = (printable(line) for line in message.splitlines())
    with suppress(OSError):
        print("\n".join(lines), file=sys.stderr, flush=True)
