"""What a user sees while a comparison runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from skcnn.comparison._fold import FoldResult
from skcnn.comparison._format import format_duration, format_score


class PatientConsole(Console):
    """A console that falls silent when its reader has left, where rich ends the program."""

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True


class ProgressReport:
    """Reports each finished fold on stderr; a context manager."""

    def __init__(self, verbose: int, n_tasks: int, scoring: str) -> None:
        self.n_tasks = n_tasks
        self.scoring = scoring
        self.n_done = 0
        self.console = PatientConsole(
            stderr=True, quiet=not verbose, highlight=False, soft_wrap=True
        )
        self.bar = self._make_bar() if verbose and self.console.is_terminal else None

    def __enter__(self) -> ProgressReport:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    def report(self, result: FoldResult) -> None:
        """Tell that one fold of one pipeline is done."""
        self.n_done += 1
        try:
            self._print(result)
        except OSError:  # a full disk, say: progress that cannot be shown must not end the work
            self.console.quiet = True

    def _print(self, result: FoldResult) -> None:
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.n_done)
            self.bar.console.print(self._describe(result))
        else:
            self.console.print(escape(f"[{self.n_done}/{self.n_tasks}] ") + self._describe(result))

    def _describe(self, result: FoldResult) -> str:
        fold = f"{escape(result.pipeline)}, fold {result.fold + 1}: "
        if result.error is not None:
            return f"{fold}[red]failed[/red], {escape(str(result.error).split(chr(10))[0])}"
        score = format_score(result.score)
        return f"{fold}{escape(self.scoring)} {score}, fit {format_duration(result.fit_time)}"

    def _make_bar(self) -> Progress:
        bar = Progress(
            TextColumn("Comparing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("folds,"),
            TimeElapsedColumn(),
            console=self.console,
        )
        bar.add_task("", total=self.n_tasks)
        return bar
