"""Is the ego ever worse off than alone, and who can slip one object in or out? `python -m benchmarks.never_worse`

One frame of each of the first held-out scenes. Two tables:

- what a defence does to what the ego sees alone (score >= 0.25): *lost*, share of the objects that the ego alone finds
  (IoU 0.5) and no box of the result does, beside the oracle's; *false*, boxes a frame that find nothing, less those
  of the ego alone: among corroborated ones and among all; honest teammates accused and left out;
- one object faked or hidden by one and two attackers (`fake_one`, `hide_one`), by who could know better: the ego's
  rays pass its place, else an honest teammate's do, else nobody's. A fake *stands* where a box of score >= 0.25 is
  within 2.5 m of its place; it is *corroborated* or flagged. A car is hidden where no box is left there, though the
  oracle has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.attack_table import Noting, near
from benchmarks.machine import Option, by_cell, first_frame, options
from robosac import attacks
from robosac.boxes import iou_bev, reaches
from robosac.evaluation.play import Played, oracle, play
from robosac.experiments.opened import DetectorRef, look_up
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy
from robosac.types import BevGrid, Bool, Detections, Truth, View
from robosac.visibility import seen_cells

SHOWN: Final = 0.25
ONE: Final = ("fake_one", "hide_one")
NAMES: Final = ("none", "pgd", "pretend_benign", "frame_up", "noise")
PLACES: Final = ("ego", "teammate", "nobody")
Item = tuple[str, int, int]  # attack, attackers, scene


def judged(item: Item, *, ref: DetectorRef, seed: int, defense: str) -> dict[str, Any]:
    """One frame under one attack, as plain data."""
    name, m, scene = item
    detector, moment = ref.open(), first_frame("test", scene, seed=seed)
    attack: Any = None if name == "none" else open_attack(name)
    cells: list[tuple[int, int] | None] = []
    if name in ONE:
        attack = replace(attack, objective=Noting(attack.objective, cells))
    policies = [policy("ego-only"), policy(defense), oracle()]
    alone, mine, told = play([moment], detector, attack, (m,), policies, seed=seed, calibration=ref.calibration)
    if name in ONE:
        cell, grid = cells[0], detector.grid
        return {"hit": None} if cell is None or grid is None else one_object(name, cell, grid, mine, told)
    return whole(alone, mine, told)


def whole(alone: Played, mine: Played, told: Played) -> dict[str, Any]:
    """Counts of one frame."""
    own, result, truth = alone.verdict.result, mine.verdict.result, mine.truth
    sees = finds(own, truth, own.scores >= SHOWN)
    real = truth.boxes
    strong = result.scores >= SHOWN
    wrong = strong & ~hits(result, real)
    honest = frozenset(mine.frame.others) - truth.attackers
    return {
        "sees": int(sees.sum()),
        "lost": int((sees & ~finds(result, truth)).sum()),
        "oracle_lost": int((sees & ~finds(told.verdict.result, truth)).sum()),
        "false": int(wrong.sum()),
        "false_corroborated": int((wrong & mine.verdict.corroborated).sum()),
        "false_alone": int(((own.scores >= SHOWN) & ~hits(own, real)).sum()),
        "honest": len(honest),
        "accused": len(mine.verdict.accused & honest),
        "out": len(honest - mine.verdict.used),
    }


def finds(found: Detections, truth: Truth, kept: Bool | None = None) -> Bool:
    """Which real objects `(M,)` have a box."""
    boxes = found.boxes if kept is None else found.boxes[kept]
    return np.asarray(reaches(iou_bev(truth.boxes, boxes), 0.5).any(axis=1))


def hits(found: Detections, real: Any) -> Bool:
    """Which boxes `(N,)` are of something real."""
    return np.asarray(reaches(iou_bev(found.boxes, real), 0.5).any(axis=1))


def one_object(kind: str, cell: tuple[int, int], grid: BevGrid, mine: Played, told: Played) -> dict[str, Any]:
    """Whether the object was faked or hidden, and who could know better."""
    result, before = mine.verdict.result, told.verdict.result
    there, stood = near(result, cell, grid) & (result.scores >= SHOWN), near(before, cell, grid)
    honest = [mine.frame.others[i] for i in sorted(frozenset(mine.frame.others) - mine.truth.attackers)]
    if kind == "fake_one":
        if (stood & (before.scores >= SHOWN)).any():
            return {"hit": None}  # something is there
        hit = bool(there.any())
        corroborated = hit and bool((there & mine.verdict.corroborated).any())
    else:
        if not stood.any():
            return {"hit": None}  # nobody honest sees it
        hit, corroborated = not near(result, cell, grid).any(), False
    return {"hit": hit, "corroborated": corroborated, "place": place_of(cell, grid, mine.frame.ego, honest)}


def place_of(cell: tuple[int, int], grid: BevGrid, ego: View, honest: Sequence[View]) -> str:
    """Whose rays pass a place: the ego's, else an honest teammate's, else nobody's."""
    x, y = grid.x_min_m + (cell[1] + 0.5) * grid.cell_m, grid.y_min_m + (cell[0] + 0.5) * grid.cell_m
    world = ego.world_T_sensor @ np.array([x, y, 0.0, 1.0])
    for name, views in (("ego", [ego]), ("teammate", honest)):
        if any(_sees(view, np.linalg.inv(view.world_T_sensor) @ world, grid) for view in views):
            return name
    return "nobody"


def _sees(view: View, at: Any, grid: BevGrid) -> bool:
    if not grid.contains(at[None, :3])[0]:
        return False
    row, col = grid.cells(at[None, :3])
    return bool(seen_cells(view.points, grid)[row[0], col[0]] > 0)


def line(name: str, m: int, rows: Sequence[Mapping[str, Any]]) -> str:
    total = {key: sum(r[key] for r in rows) for key in rows[0]}
    n = len(rows)
    sees, honest = max(total["sees"], 1), max(total["honest"], 1)
    return (
        f"{name:<18}{m:>2}{100 * total['lost'] / sees:>8.1f} %{100 * total['oracle_lost'] / sees:>8.1f} %"
        f"{(total['false_corroborated'] - total['false_alone']) / n:>+10.2f}"
        f"{(total['false'] - total['false_alone']) / n:>+8.2f}"
        f"{100 * total['accused'] / honest:>9.1f} %{100 * total['out'] / honest:>8.1f} %"
    )


def lines_of_one(kind: str, m: int, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [r for r in rows if r["hit"] is not None]
    lines = []
    for place in PLACES:
        here = [r for r in found if r["place"] == place]
        hits_, sure = sum(r["hit"] for r in here), sum(r["corroborated"] for r in here)
        what = f"{sure} corroborated, {hits_ - sure} flagged" if kind == "fake_one" else f"{hits_} hidden"
        lines.append(f"{kind:<18}{m:>2}  {place:<10}{what} of {len(here)}")
    return lines


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a shipped name"),
        scenes=60,
        seed=0,
        attacks=Option(NAMES, choices=("none", *attacks.names())),
        attackers=(1, 2),
        defense=Option("robosac", "a preset of configs/defenses"),
        jobs=1,
        out=Path("runs/never-worse"),
    )
    ref = look_up(args.detector, "cpu", None)
    work = partial(judged, ref=ref, seed=args.seed, defense=args.defense)

    def measure(names: Sequence[str]) -> dict[tuple[Any, ...], list[Any]]:
        cells = [("none", 0)] if "none" in names else []
        cells += [(name, m) for name, m in product(names, args.attackers) if name != "none"]
        return by_cell(work, cells, args.scenes, args.out, args.jobs)

    print(f"{ref.called}, {args.defense}, {args.scenes} test scenes, one frame each, seed {args.seed}")
    print(f"{'':<40}{'false boxes a frame':>20}{'honest ones':>18}")
    print(f"{'attack':<18}{'m':>2}{'lost':>10}{'oracle':>10}{'corrob.':>10}{'all':>8}{'accused':>11}{'out':>10}")
    for (name, m), rows in measure(args.attacks).items():
        print(line(name, m, rows), flush=True)
    for (name, m), rows in measure(ONE).items():
        print("\n".join(lines_of_one(name, m, rows)), flush=True)


if __name__ == "__main__":
    main()
