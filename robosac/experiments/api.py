"""`robosac.evaluate`: a grid from Python, its table in a notebook."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robosac.executors import make_executor
from robosac.experiments import tables
from robosac.experiments.entries import Entry
from robosac.experiments.runner import open_experiment, run_experiment, write_entries, write_saved
from robosac.experiments.settings import make_grid


@dataclass(frozen=True, eq=False)
class Results:
    """The cells of a grid, in order: printed as a table, `rows` as plain data."""

    entries: Sequence[Entry]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One plain value a column, units in `robosac.experiments.tables.COLUMNS`."""
        return [tables.row(entry) for entry in self.entries]

    def to_csv(self, path: str | Path | None = None) -> str:
        """All columns as CSV; written where a path is given."""
        text = tables.to_csv(self.entries)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return tables.to_markdown(self.entries)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return str(self)


def evaluate(
    data: str | Sequence[str] = "sim:mixed",
    detector: str | Sequence[str] = "mean",
    attack: str | Sequence[str] = "pgd",
    defense: str | Sequence[str] = ("none", "robosac", "oracle"),
    *,
    attackers: int | Sequence[int] = (0, 1, 2),
    out: str | Path | None = None,
    calibration: str | Path | None = None,
    jobs: int | None = 1,
    **more: Any,
) -> Results:
    """Play every attack against every defence, as `robosac evaluate` does, whose other options are `more`: `scenes=2`.

    With `out`, results are kept there and a run goes on where it was stopped.

    Raises:
        InputError: a name means nothing, or settings do not go together.
    """
    named = {"dataset": data, "detector": detector, "attack": attack, "defense": defense, "attackers": attackers}
    lists = {k: [str(v)] if isinstance(v, (str, int)) else [str(x) for x in v] for k, v in named.items()}
    grid = make_grid(None, {**lists, **more})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()) if out is None else out)
        path = None if calibration is None else Path(calibration)
        experiment = open_experiment(grid, folder, calibration=path)
        entries = run_experiment(experiment, make_executor(jobs))
        if out is not None:
            write_entries(experiment, entries, jobs=jobs or 0, threads=1)
            write_saved(experiment, entries)
        return Results(entries)
