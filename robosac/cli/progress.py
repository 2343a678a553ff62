"""A progress bar on standard error, so that standard output stays the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from robosac.progress import seen

_EVERY_S: Final = 0.25
_LINE_AFTER_S, _LINES_APART_S = 30.0, 60.0  # without a terminal


@dataclass
class _State:
    """How much is done, and since when."""

    done: float = 0.0
    total: int | None = None
    first: float | None = None  # what was done already when it began
    begun: float = field(default_factory=time.monotonic)

    def left(self, now: float) -> str:
        """Until all is done, if it goes on as it went."""
        if self.total is None or self.first is None or self.done <= self.first:
            return "?"
        rate = (self.done - self.first) / max(now - self.begun, 1e-9)
        return _clock((self.total - self.done) / rate)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields `tell(done, total)`. In between it shows how far the items are that are being worked on
    (`robosac.progress`). Without a terminal a line a minute is printed; quiet, nothing.
    """
    if quiet:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Bar(Progress):
        """With a line below it about what is being done."""

        doing = ""

        def get_renderables(self) -> Iterator[Any]:
            yield from super().get_renderables()
            if self.doing:
                yield Text(f"  {self.doing}", no_wrap=True, overflow="ellipsis", style="dim")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:.0f}%", justify="right"),
        TimeElapsedColumn(),
        TextColumn("about {task.fields[left]} left"),
    )
    state, counted, stop = _State(), [0], Event()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, left="?")

        def show() -> str:
            """Draw it; the same as a line."""
            share, doing = seen()
            state.done = counted[0] + share if state.total is None else min(counted[0] + share, state.total)
            left = state.left(time.monotonic())
            doing = "" if state.done == state.total else doing
            bar.update(task, completed=state.done, total=state.total, left=left)
            bar.doing = doing
            known = "?" if state.total is None else str(state.total)
            return f"{what}: {state.done:.1f} of {known}, about {left} left" + (f"; {doing}" if doing else "")

        def watch() -> None:
            line = state.begun + _LINE_AFTER_S
            while not stop.wait(_EVERY_S):
                text = show()
                if not bar.console.is_terminal and time.monotonic() >= line:
                    print(f"robosac: {text}", file=sys.stderr, flush=True)
                    line = time.monotonic() + _LINES_APART_S

        def tell(done: int, total: int) -> None:
            if state.first is None:
                state.first, state.begun = done, time.monotonic()
            counted[0], state.total = done, total
            show()

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield tell
        finally:
            stop.set()
            watcher.join()
            show()


@contextmanager
def kept_on_stop(out: Path) -> Iterator[None]:
    """Ctrl-C says how to go on, in the one line that the command line makes of it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {out}; the same command goes on from there") from None
