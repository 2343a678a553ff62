"""How far below the oracle is a defence, and how sure is that? `python -m benchmarks.below_oracle`

Held-out scenes, paired: both see the same frames, and resamples take whole scenes for both. For each fusion and number
of attackers the difference AP@0.5(oracle) - AP@0.5(defence) in points, mean over the attacks, with what it stays below
with 95 % (one-sided), the attack of the largest difference, and what of honest teammates was left out. It is one
`robosac evaluate` a fusion, whose results are kept: stopped, it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.machine import Option, options, refusing
from robosac.evaluation.bootstrap import Replicated, difference
from robosac.evaluation.metrics import FrameRecord, paired_ap
from robosac.executors import make_executor
from robosac.experiments.entries import Entry
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.types import keyed_rng

ATTACKS: Final = ("pgd", "pgd:epsilon=0.1", "bim", "cw", "apgd", "noise")
ORACLE: Final = "oracle"
LEVEL: Final = 0.95


def grid_of(detector: str, attack: Sequence[str], attackers: Sequence[int], defense: str, scenes: int) -> Grid:
    return Grid(
        detector=(detector,),
        attack=tuple(attack),
        attackers=tuple(attackers),
        defense=(defense, ORACLE),
        scenes=scenes,
        frames=1,
    )


def lines(detector: str, defense: str, entries: Sequence[Entry]) -> Iterator[str]:
    """One for each number of attackers."""
    for m in sorted({e.cell.m for e in entries}):
        cells: dict[str, dict[str, Sequence[FrameRecord]]] = {}
        for e in entries:
            if e.cell.m == m and e.records:
                cells.setdefault(e.cell.attack_label if m else "nobody", {})[e.cell.defense.name] = e.records
        below = {attack: lost(found, defense) for attack, found in cells.items()}
        points = 100 * np.mean([d.replicates for d in below.values()], axis=0)
        worst = max(below, key=lambda a: below[a].value)
        mine = [r for found in cells.values() for r in found[defense]]
        honest = sum(len(r.honest) for r in mine)
        out = sum(len(r.honest - r.used) for r in mine) / max(honest, 1)
        yield (
            f"{detector:<14}{m:>2}{100 * float(np.mean([d.value for d in below.values()])):>8.2f}"
            f"{float(np.quantile(points, LEVEL)):>8.2f}   {worst} {100 * below[worst].value:.2f}; "
            f"honest left out {100 * out:.1f} %, {len(mine)} frames"
        )


def lost(found: dict[str, Sequence[FrameRecord]], defense: str) -> Replicated:
    """AP@0.5 of the oracle less that of the defence, on the same resamples."""
    aps = paired_ap(found, keyed_rng(0, "bootstrap"))
    below = difference(aps[ORACLE][0.5], aps[defense][0.5])
    assert below is not None  # simulated scenes hold objects
    return below


def main() -> None:
    asked = options(
        __doc__,
        detector=Option(("mean",), "names as anywhere"),
        attack=Option(ATTACKS, "presets, with settings where wanted"),
        attackers=(0, 1, 2, 3),
        defense=Option("robosac", "a preset"),
        scenes=100,
        jobs=1,
        out=Path("runs/below-oracle"),
    )
    executor = make_executor(asked.jobs)
    print(f"{asked.defense}, {asked.scenes} test scenes, one frame each; points of AP@0.5 below the oracle")
    print(f"{'fusion':<14}{'m':>2}{'mean':>8}{'95 %':>8}   worst attack")
    with refusing():
        for detector in asked.detector:
            grid = grid_of(detector, asked.attack, asked.attackers, asked.defense, asked.scenes)
            plan = open_experiment(grid, asked.out / detector)
            entries = run_experiment(plan, executor, tell=lambda n, of: print(f"{n} of {of}", file=sys.stderr))
            print("\n".join(lines(detector, asked.defense, entries)), flush=True)


if __name__ == "__main__":
    main()
