"""What the board's page says, from its entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from robosac.experiments.board.entry import BoardEntry
from robosac.experiments.board.table import COLUMNS, coverage, legend, ranking, rows
from robosac.viz.board import BoardPage


def board_page(entries: Sequence[BoardEntry], results: Path) -> BoardPage:
    """The page of these entries."""
    return BoardPage(
        title="Which defences hold",
        summary=_summary(entries),
        columns=COLUMNS,
        rows=rows(entries),
        attacks={name: _facts(found) for name, found in legend(entries).items()},
        command=f"robosac leaderboard --results {results}",
    )


def _summary(entries: Sequence[BoardEntry]) -> list[str]:
    lines = [
        "Each row is a defence on a detector, ranked by the attack that hurts it most, not by the mean: an attacker "
        "chooses. Open a row for every cell, its settings, what breaks it, and the command that makes or checks it."
    ]
    ranked = ranking(entries)
    for detector in dict.fromkeys(e.detector for e in entries):
        first = next((r.entry for r in ranked if r.rank == 1 and r.entry.detector == detector), None)
        if first is not None and first.worst is not None and first.worst.ap50 is not None:
            cell, figure = first.worst, first.worst.ap50
            lines.append(
                f"On {detector}, {first.defense} stands first: at its worst ({cell.title}) AP@0.5 is "
                f"{figure.value:.3f}, on {cell.scenes} {'scene' if cell.scenes == 1 else 'scenes'}."
            )
    return [*lines, *coverage(entries)]


def _facts(found: Mapping[str, object]) -> dict[str, str]:
    knows = found["knows"]
    assert isinstance(knows, list)
    return {
        "what": str(found["about"]),
        "changes": str(found["stage"]),
        "knows": ", ".join(map(str, knows)),
        "budget": f"{found['budget']:g} {found['unit']}"
        if isinstance(found["budget"], float)
        else str(found["budget"]),
        "source": str(found["source"]),
    }
