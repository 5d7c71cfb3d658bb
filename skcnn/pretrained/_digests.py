"""What a file holds, in 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

# By path, with what shows that the file is still the same.
_known: dict[Path, tuple[tuple[int, int, int], str]] = {}


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; it is read again only if the file has changed."""
    status = path.stat()
    seen = (status.st_ino, status.st_size, status.st_mtime_ns)
    known = _known.get(path)
    if known is None or known[0] != seen:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = _known[path] = (seen, digest)
    return known[1]
