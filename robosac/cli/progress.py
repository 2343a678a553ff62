"""A progress bar on standard error, so that standard output stays the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields `tell(done, total)`. Quiet, or without a terminal, nothing is drawn but the work goes on."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def kept_on_stop(out: Path) -> Iterator[None]:
    """Ctrl-C says in a line how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"robosac: what is done is kept in {out}; the same command goes on from there", file=sys.stderr)
        raise
