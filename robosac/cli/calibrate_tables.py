"""What `robosac calibrate` prints: thresholds by size, and what they promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from robosac.calibration import Calibration, Thresholds

if TYPE_CHECKING:
    from rich.table import Table

CONFIDENCE: Final = 0.95


def thresholds_table(made: Calibration) -> Table:
    """A column a size, for each statistic what is asked and what an attacker gets accepted."""
    from rich.table import Table

    sizes = sorted({size for m in made.measures.values() for size in m.thresholds})
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("subset size", overflow="fold", max_width=46)  # names are long, numbers must stay whole
    for size in sizes:
        table.add_column(str(size), justify="right", no_wrap=True)

    def row(title: str, values: Mapping[int, float], digits: int) -> None:
        table.add_row(title, *(f"{values[s]:.{digits}f}" if s in values else "–" for s in sizes))

    for name, measure in made.measures.items():
        table.add_row(name, style="bold")
        most = all(limit <= 0 for limit in measure.thresholds.values())  # of what is to be small, minus it is scored
        shown = {size: abs(limit) for size, limit in measure.thresholds.items()}
        row("  at most" if most else "  at least", shown, 3)
        row(f"  accepted with an attacker ({measure.lie})", measure.lies_accepted, 3)
    return table


def guarantee(measure: Thresholds) -> str:
    """What the thresholds promise, and under which condition, in plain words."""
    by_frames: dict[int, list[int]] = {}
    for size, n in measure.frames.items():
        by_frames.setdefault(n, []).append(size)
    bounds = "; ".join(
        f"size {', '.join(map(str, sizes))} ({n} frames): {measure.refusals(sizes[0], confidence=CONFIDENCE):.3f}"
        for n, sizes in by_frames.items()
    )
    held = "on average over calibrations" if measure.confidence is None else f"with {measure.confidence:.0%} confidence"
    return (
        f"A random honest subset of a further frame like these is refused with probability at most {measure.alpha:g} "
        f"({held}; conformal, each size by itself).\nWhat this one calibration may turn out to refuse, at most, with "
        f"{CONFIDENCE:.0%} confidence: {bounds}.\nNothing is promised for other traffic, sensors or weights. "
        "What attackers get accepted is measured for this attack and promised for none."
    )
