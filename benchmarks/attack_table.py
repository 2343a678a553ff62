"""What attacks on features do where nobody defends: three fusions, bounded and unbounded, 1 to 3 of 5 attackers.

    python -m benchmarks.attack_table --jobs 2    # 100 held-out scenes; goes on if stopped, prints Markdown

One frame a scene, everybody fused. *Attack loss* is minus the objective that PGD, FGSM and APGD minimise (binary
cross-entropy towards inverted pseudo-labels, mean over cells): higher is stronger. All take the same number of steps,
but FGSM, which is one step. *Fake* succeeds if a box of score >= 0.3 stands within 2.5 m of the chosen cell, where
none stood before; *hide* if no box at all is left within 2.5 m of the chosen object. A scene without anything to fake
or hide within the attackers' reach is not counted. `--what` runs one half: `strength` or `targets`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.machine import Option, first_frame, options, undefended
from robosac import attacks, detectors
from robosac.attacks.base import Measured
from robosac.attacks.features.objectives import CleanFrame, InvertedBce, Loss
from robosac.detectors.bev.detector import BevDetector
from robosac.evaluation.ap import FrameMatches, average_precision
from robosac.evaluation.play import Moment, Played, play
from robosac.executors import make_executor
from robosac.experiments.studies import study
from robosac.experiments.tables import shown
from robosac.registry.defenses import policy
from robosac.types import BevGrid, Bool, Detections, Message, Request

FUSIONS: Final = ("mean", "max", "attention")
DETECTORS: Final = (*FUSIONS, *(f"{f}-unbounded" for f in FUSIONS))
ORDER: Final = ("noise", "fgsm", "pgd", "apgd")  # from the weakest on, as it should come out
TARGETED: Final = ("fake_one", "hide_one")
ATTACKERS: Final = (1, 2, 3)
HALVES: Final = ("strength", "targets")
EPSILON: Final = 0.5
STEPS: Final = 15
NEAR_M: Final = 2.5
SHOWN: Final = 0.3
Lines = Sequence[Mapping[str, Any]]


@lru_cache(maxsize=8)
def detector_of(name: str) -> BevDetector:
    return detectors.load(name)


def attack_of(name: str, epsilon: float = EPSILON) -> Measured:
    """A preset with the steps of all others; one for a single object takes steps twice as long as its preset does."""
    if name in TARGETED:
        return attacks.load(name, steps=STEPS, step_per_epsilon=0.1, epsilon=epsilon)
    return attacks.load(name, epsilon=epsilon, **({"steps": STEPS} if hasattr(attacks.load(name), "steps") else {}))


def one_scene(item: tuple[str, int], *, split: str, seed: int, names: Sequence[str], epsilon: float) -> list[Any]:
    """One half of the work on one scene, under every detector: a line each."""
    what, index = item
    moment = first_frame(split, index, seed=seed)
    half = targets if what == "targets" else strength
    return [
        {"scene": index, "what": what, "detector": name, "rows": half(moment, detector_of(name), epsilon, seed)}
        for name in names
    ]


# --------------------------------------------------------------------------------------------------------- strength
def strength(moment: Moment, detector: BevDetector, epsilon: float, seed: int) -> dict[str, Any]:
    """Harm and attack loss by number of attackers, the frame without any beside it."""
    alone, honest = play([moment], detector, None, (0,), [policy("ego-only"), policy("none")], seed=seed)
    rows = {"ego only/0": harm(alone), "honest/0": harm(honest)}
    clean = logits(detector, honest)
    for m, kind in product(ATTACKERS, ORDER):
        attacked = undefended(moment, detector, attack_of(kind, epsilon), m, seed=seed)
        loss = -float(InvertedBce().make_loss(CleanFrame(logits=clean))(logits(detector, attacked)))
        rows[f"{kind}/{m}"] = {**harm(attacked), "loss": loss}
    return rows


def harm(p: Played) -> dict[str, Any]:
    return {"matches": p.record.matches.to_dict(), "boxes": len(p.verdict.result)}


def logits(detector: BevDetector, p: Played) -> torch.Tensor:
    """Class logits `(1, H, W)` of everybody's messages fused."""
    session = detector.open(p.frame.ego, Request.of(p.frame.ego), [r.message for r in p.inbox])
    with torch.no_grad():
        return session.logits({}, [frozenset(session.ids)])


# ---------------------------------------------------------------------------------------------------------- targets
@dataclass(frozen=True)
class Noting:
    """An objective for one object that notes the cell which it chose."""

    objective: Any
    cells: list[tuple[int, int] | None]

    def make_loss(self, clean: CleanFrame) -> Loss:
        self.cells.append(self.objective.target(clean))
        loss: Loss = self.objective.make_loss(clean)
        return loss


def targets(moment: Moment, detector: BevDetector, epsilon: float, seed: int) -> dict[str, Any]:
    """One object faked, one hidden, by number of attackers."""
    pairs = product(ATTACKERS, TARGETED)
    return {f"{kind}/{m}": one_object(moment, detector, kind, m, epsilon, seed) for m, kind in pairs}


def one_object(
    moment: Moment, detector: BevDetector, kind: str, attackers: int, epsilon: float = EPSILON, seed: int = 0
) -> dict[str, Any]:
    """Whether one object was faked or hidden; `hit` is None where there was no target."""
    attack: Any = attack_of(kind, epsilon)
    cells: list[tuple[int, int] | None] = []
    noting = replace(attack, objective=Noting(attack.objective, cells))
    p = undefended(moment, detector, noting, attackers, seed=seed)
    request = Request.of(p.frame.ego)
    honest: list[Message] = [detector.encode(v, request) for v in p.frame.others.values()]
    session = detector.open(p.frame.ego, request, honest)
    clean, without = session.detect([frozenset(session.ids), frozenset(session.ids) - p.truth.attackers])
    found, (cell,) = p.verdict.result, cells
    if cell is None or (kind == "fake_one") == near(clean, cell, detector.grid).any():
        return {"hit": None}
    stands = near(found, cell, detector.grid)
    boxes = {"boxes": len(found), "clean": len(clean)}
    if kind == "fake_one":
        return {"hit": bool((stands & (found.scores >= SHOWN)).any()), **boxes}
    seen = near(without, cell, detector.grid).any()  # by the ego and honest teammates
    return {"hit": not stands.any(), "seen_without": bool(seen), **boxes}


def near(found: Detections, cell: tuple[int, int], grid: BevGrid) -> Bool:
    """Which boxes are centred within `NEAR_M` of a cell's centre."""
    x, y = grid.x_min_m + (cell[1] + 0.5) * grid.cell_m, grid.y_min_m + (cell[0] + 0.5) * grid.cell_m
    return np.asarray(np.hypot(found.boxes[:, 0] - x, found.boxes[:, 1] - y) <= NEAR_M)


# ------------------------------------------------------------------------------------------------------- the tables
def render(lines: Lines, epsilon: float = EPSILON) -> Iterator[str]:
    """Markdown: harm and attack loss, whether their order is as it should be, one object faked or hidden."""
    scenes = {w: len({line["scene"] for line in lines if line["what"] == w}) for w in HALVES}
    yield (
        f"{scenes['strength']} scenes ({scenes['targets']} for one object faked or hidden), one frame each, "
        f"undefended; eps {epsilon:g}, {STEPS} steps."
    )
    for table, what in ((_strengths, "strength"), (_targets, "targets")):
        by_detector: dict[str, list[Any]] = {}
        for line in lines:
            if line["what"] == what:
                by_detector.setdefault(line["detector"], []).append(line["rows"])
        if by_detector:
            yield ""
            yield from table({d: by_detector[d] for d in DETECTORS if d in by_detector})


def _strengths(rows: Mapping[str, Lines]) -> Iterator[str]:
    yield "| detector | attackers | attack | AP@0.5 | AP@0.7 | boxes a frame | attack loss | order |"
    yield "|---|--:|---|--:|--:|--:|--:|---|"
    held = []
    for name, mine in rows.items():
        for kind in ("ego only", "honest"):
            yield _row(name, 0, kind, [r[f"{kind}/0"] for r in mine], "")
        for m in ATTACKERS:
            losses = [float(np.mean([r[f"{kind}/{m}"]["loss"] for r in mine])) for kind in ORDER]
            held.append(all(a <= b for a, b in pairwise(losses)))
            for kind in ORDER:
                said = ("holds" if held[-1] else "BROKEN") if kind == ORDER[-1] else ""
                yield _row(name, m, kind, [r[f"{kind}/{m}"] for r in mine], said)
    yield ""
    broken = len(held) - sum(held)
    yield f"APGD >= PGD >= FGSM >= noise in attack loss: holds in {sum(held)} cells, broken in {broken}."


def _targets(rows: Mapping[str, Lines]) -> Iterator[str]:
    yield "| detector | attackers | one fake | of | one hidden | of | missed: seen without attackers | other boxes |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for (name, mine), m in product(rows.items(), ATTACKERS):
        fake, hide = ([r[f"{kind}/{m}"] for r in mine if r[f"{kind}/{m}"]["hit"] is not None] for kind in TARGETED)
        missed = [r for r in hide if not r["hit"]]
        others = [abs(abs(r["boxes"] - r["clean"]) - 1) for r in [*fake, *hide] if r["hit"]]
        yield (
            f"| {name} | {m} | {_share(fake)} | {len(fake)} | {_share(hide)} | {len(hide)} | "
            f"{sum(r['seen_without'] for r in missed)} of {len(missed)} | "
            f"{shown(float(np.mean(others)) if others else None, '.1f')} |"
        )


def _share(rows: Lines) -> str:
    if not rows:
        return "–"
    share = float(np.mean([r["hit"] for r in rows]))
    return f"{100 * share:.0f} %" + ("" if share >= 0.9 else " (below 90 %)")


def _row(name: str, m: int, kind: str, rows: Lines, order: str) -> str:
    ap = average_precision([FrameMatches.from_dict(r["matches"]) for r in rows])
    loss = float(np.mean([r["loss"] for r in rows])) if "loss" in rows[0] else None
    figures = [shown(ap[0.5], ".3f"), shown(ap[0.7], ".3f"), f"{np.mean([r['boxes'] for r in rows]):.1f}"]
    return f"| {name} | {m} | {kind} | {' | '.join(figures)} | {shown(loss, '.3f')} | {order} |"


def main() -> None:
    args = options(
        __doc__,
        scenes=100,
        split=Option("test", choices=("val", "test")),
        seed=0,
        detectors=Option(DETECTORS, choices=DETECTORS),
        what=Option(None, "one half of the work; else both", choices=HALVES),
        epsilon=Option(EPSILON, "budget of all attacks"),
        jobs=1,
        out=Option(Path("runs/attack_table"), "folder where results are kept"),
    )
    found = study(
        partial(one_scene, split=args.split, seed=args.seed, names=tuple(args.detectors), epsilon=args.epsilon),
        list(product((args.what,) if args.what else HALVES, range(args.scenes))),
        args.out,
        make_executor(args.jobs, threads=1),
        decides=[detector_of(name) for name in args.detectors],
        tell=lambda done, total: print(f"{done} of {total}", file=sys.stderr, flush=True),
    )
    print("\n".join(render([line for lines in found for line in lines], args.epsilon)))


if __name__ == "__main__":
    main()
