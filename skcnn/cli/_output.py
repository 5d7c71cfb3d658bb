"""The folder that `skcnn compare` writes; an existing one is never overwritten silently."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from skcnn.cli._errors import CommandError
from skcnn.comparison import Comparison

MODEL = "best.joblib"
_REPORTS = ("comparison.html", "comparison.csv")


class OutputFolder:
    """Checked before any work: it can be written, and nothing in it would be lost unasked."""

    def __init__(self, path: str, *, force: bool) -> None:
        if not path.strip():
            raise CommandError("--output must name a folder.")
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise CommandError(f"the output folder {path} exists as a file.")
        if self.path.is_dir() and not force and any(self.path.iterdir()):
            raise CommandError(
                f"the output folder {path} exists already: choose another with --output, or "
                "replace the files in it with --force."
            )
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise CommandError(f"the output folder {path} cannot be written.")

    def write_reports(self, comparison: Comparison) -> list[Path]:
        """Write page and table; a new folder appears with both in it or not at all."""
        if self.path.is_dir():
            # A model of an earlier comparison would contradict the new report.
            (self.path / MODEL).unlink(missing_ok=True)
            _write_into(self.path, comparison)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            try:
                _write_into(staging, comparison)
            except BaseException:
                shutil.rmtree(staging)
                raise
            self._publish(staging)
        return [self.path / name for name in _REPORTS]

    def _publish(self, staging: Path) -> None:
        umask = os.umask(0)
        os.umask(umask)
        staging.chmod(0o777 & ~umask)
        wanted = self.path
        for number in range(2, 1000):
            try:
                staging.rename(self.path)
                return
            except OSError:
                # Another run took the name meanwhile; hours of work are not given up for that.
                self.path = wanted.with_name(f"{wanted.name}-{number}")
        raise CommandError(f"{wanted} could not be created; the results are in {staging}.")


def _write_into(folder: Path, comparison: Comparison) -> None:
    page, table = (folder / name for name in _REPORTS)
    comparison.to_html(page)
    comparison.to_csv(table)
