"""What does a teammate's message show by itself? `python -m benchmarks.solo`

On validation scenes: the solo result of each teammate beside the joint result of the ego and that teammate alone
(D({i}), a *single*) and the ego's own, at a score of at least .3. Recall is of objects on the ego's grid that at
least 5 points of the agent fell on (of the teammate, for solos and singles), precision of boxes on the ego's grid; a
box is right where a true centre is within 1 m. Heading errors are modulo pi. Stopped, it goes on where it was.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Option, options, refusing
from robosac.executors import make_executor
from robosac.experiments.studies import study
from robosac.poses.hypotheses import half_turn
from robosac.registry.detectors import open_detector
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, BevGrid, Detections, Request, Truth


def measured(scene: int, *, detector: str, seed: int) -> list[dict[str, Any]]:
    """A row for the ego, and two for each teammate."""
    model: Any = open_detector(detector)
    frame, truth = scenario("val", scene, seed=seed).snapshot(0).frame()
    to = Request.of(frame.ego)
    session = model.open(frame.ego, to, [model.encode(v, to) for v in frame.others.values()])
    ids = list(session.ids)
    singles, solos = session.detect([frozenset({i}) for i in ids]), session.solo(ids)
    rows = [_row("ego alone", frame.ego.kind, session.detect([EGO_ALONE])[0], truth, frame.ego.id, model.grid)]
    for i, single, solo in zip(ids, singles, solos, strict=True):
        kind = frame.others[i].kind
        rows += [_row("solo", kind, solo, truth, i, model.grid), _row("single", kind, single, truth, i, model.grid)]
    return rows


def _row(what: str, kind: str, found: Detections, truth: Truth, agent: str, grid: BevGrid) -> dict[str, Any]:
    mine = truth.boxes
    boxes = found.boxes[found.scores >= 0.3]
    away = np.hypot(*(boxes[:, None, :2] - mine[None, :, :2]).transpose(2, 0, 1)).reshape(len(boxes), len(mine))
    asked = grid.contains(mine) & (truth.hits[agent] >= 5)
    hit = away.min(axis=1, initial=np.inf) < 1.0
    at = away.argmin(axis=1) if away.size else np.zeros(len(boxes), np.int64)
    turned = np.abs(half_turn(boxes[hit, 6] - mine[at[hit], 6]))
    inside = grid.contains(boxes)
    return {
        "what": what,
        "kind": kind,
        "asked": int(asked.sum()),
        "shown": int((away.min(axis=0, initial=np.inf)[asked] < 1.0).sum()),
        "boxes": int(inside.sum()),
        "right": int(hit[inside].sum()),
        "metres": [round(float(m), 3) for m in away.min(axis=1, initial=np.inf)[hit]],
        "degrees": [round(float(d), 2) for d in np.degrees(turned)],
    }


def line(what: str, kind: str, rows: list[dict[str, Any]]) -> str:
    """Recall, precision, errors."""
    total = {k: sum(r[k] for r in rows) for k in ("asked", "shown", "boxes", "right")}
    metres, degrees = ([e for r in rows for e in r[k]] or [float("nan")] for k in ("metres", "degrees"))
    return (
        f"{what:<10} {kind:<9} {len(rows):>6} {total['shown'] / max(total['asked'], 1):>7.3f}"
        f" {total['right'] / max(total['boxes'], 1):>9.3f} {np.median(metres):>9.2f} {np.quantile(metres, 0.9):>5.2f}"
        f" {np.median(degrees):>9.1f} {np.quantile(degrees, 0.9):>5.1f}"
    )


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "as for robosac evaluate"),
        scenes=Option(20, "validation scenes"),
        seed=0,
        jobs=1,
        out=Path("runs/solo"),
    )
    with refusing():
        work = partial(measured, detector=args.detector, seed=args.seed)
        found = study(work, list(range(args.scenes)), args.out, make_executor(args.jobs), decides=args.detector)
    rows = [row for scene in found for row in scene]
    print(f"{args.detector}, {args.scenes} validation scenes, seed {args.seed}")
    print("what       of        results  recall precision  m median  90 %  degrees  90 %")
    for what, kind in sorted({(r["what"], r["kind"]) for r in rows}):
        print(line(what, kind, [r for r in rows if (r["what"], r["kind"]) == (what, kind)]))


if __name__ == "__main__":
    main()
