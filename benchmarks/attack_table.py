"""What attacks on features do where nobody defends: three fusions, bounded and unbounded, 1 to 3 of 5 attackers.

    python -m benchmarks.attack_table --jobs 2    # 100 held-out scenes; goes on if stopped, prints Markdown

One frame a scene, everybody fused. *Attack loss* is minus the objective that PGD, FGSM and APGD minimise (binary
cross-entropy towards inverted pseudo-labels, mean over cells): higher is stronger. All take the same number of steps,
but FGSM, which is one step. *Fake* succeeds if a box of score >= 0.3 stands within 2.5 m of the chosen cell, where
none stood before; *hide* if no box at all is left within 2.5 m of the chosen object. A scene without anything to fake
or hide within the attackers' reach is not counted. `--what` runs one half: `strength` or `targets`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from robosac import attacks, detectors
from robosac.attacks.base import Measured
from robosac.attacks.features.objectives import InvertedBce
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.target_subsets import FullFusion
from robosac.detectors.bev.detector import BevDetector
from robosac.evaluation.ap import FrameMatches, average_precision, match_truth
from robosac.evaluation.play import Staged, attacked_air, choose_attackers, stage
from robosac.executors import Processes
from robosac.experiments.studies import study
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, BevGrid, Detections, Message, Subset, keyed_rng

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


@lru_cache(maxsize=8)
def detector_of(name: str) -> BevDetector:
    return detectors.load(name)


def attack_of(name: str, epsilon: float = EPSILON) -> Measured:
    """A preset with the steps of all others; one aimed at one object takes them twice as long as its preset does."""
    if name in TARGETED:
        return attacks.load(name, steps=STEPS, step_per_epsilon=0.1, epsilon=epsilon)
    return attacks.load(name, epsilon=epsilon, **({"steps": STEPS} if hasattr(attacks.load(name), "steps") else {}))


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame under one detector, and its attackers."""

    detector: BevDetector
    staged: Staged
    liars: Subset
    seed: int

    def lies(self, attack: Measured) -> tuple[list[Message], Any]:
        """What everybody sends under an attack, and the attacker that made it."""
        s = self.staged
        air = attacked_air(s.frame, self.detector, s.request, s.honest, self.liars, attack.knowledge)
        attacker = attack.start(s.frame.scenario, self.liars, keyed_rng(self.seed, s.frame.scenario, "attack"))
        return [*(m for i, m in s.honest.items() if i not in self.liars), *attacker.send(air)], attacker

    def problem(self, attack: Any, attacker: Any) -> Problem:
        """The problem as the attacker posed it to itself."""
        s = self.staged
        air = attacked_air(s.frame, self.detector, s.request, s.honest, self.liars, attack.knowledge)
        honest = attacker.colluders.honest(air)
        return Problem.on_frame(
            air, honest, attack.objective, attack.target_subsets, attacker.colluders.rng(air, "problem")
        )

    def fused(self, messages: Sequence[Message], subset: Subset | None = None) -> Detections:
        session = self.detector.open(self.staged.frame.ego, self.staged.request, messages)
        return session.detect([frozenset(session.ids) if subset is None else subset])[0]

    def row(self, found: Detections) -> dict[str, Any]:
        return {"matches": match_truth(found, self.staged.truth, self.detector.grid).to_dict(), "boxes": len(found)}

    def inverted(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The objective of PGD on this frame: it depends on the honest messages alone."""
        s = self.staged
        air = attacked_air(s.frame, self.detector, s.request, s.honest, self.liars, attacks.load("pgd").knowledge)
        honest = {i: s.honest[i] for i in sorted(self.liars)}
        return InvertedBce().make_loss(Problem.on_frame(air, honest, InvertedBce(), FullFusion(), keyed_rng(0)).clean)

    def judged(self, messages: Sequence[Message], aim: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
        """As `row`, of the full fusion, with the attack loss: minus the objective of its logits."""
        session = self.detector.open(self.staged.frame.ego, self.staged.request, messages)
        everybody = frozenset(session.ids)
        with torch.no_grad():
            loss = -float(aim(session.logits({}, [everybody])))
        return {**self.row(session.detect([everybody])[0]), "loss": loss}


def play(item: tuple[str, int], *, split: str, seed: int, names: Sequence[str], epsilon: float) -> list[dict[str, Any]]:
    """One half of the work on one scene, under every detector: a line each."""
    what, index = item
    made = scenario(split, index, seed=seed).snapshot(0).frame()
    lines = []
    for name in names:
        detector = detector_of(name)
        staged = next(stage([made], detector))
        scenes = {
            m: Scene(
                detector, staged, choose_attackers(seed, staged.frame.scenario, list(staged.frame.others), m), seed
            )
            for m in (0, *ATTACKERS)
        }
        rows = targets(scenes, epsilon) if what == "targets" else strength(scenes, epsilon)
        lines.append({"scene": index, "what": what, "detector": name, "rows": rows})
    return lines


def strength(scenes: Mapping[int, Scene], epsilon: float) -> dict[str, Any]:
    """Harm and attack loss by number of attackers, the frame without any beside it."""
    everybody = list(scenes[0].staged.honest.values())
    rows = {
        "honest/0": scenes[0].row(scenes[0].fused(everybody)),
        "ego only/0": scenes[0].row(scenes[0].fused(everybody, EGO_ALONE)),
    }
    for m in ATTACKERS:
        aim = scenes[m].inverted()
        for kind in ORDER:
            sent, _ = scenes[m].lies(attack_of(kind, epsilon))
            rows[f"{kind}/{m}"] = scenes[m].judged(sent, aim)
    return rows


def targets(scenes: Mapping[int, Scene], epsilon: float) -> dict[str, Any]:
    """One object faked, one hidden, by number of attackers."""
    return {f"{kind}/{m}": aimed_at_one(scenes[m], kind, epsilon) for m in ATTACKERS for kind in TARGETED}


def aimed_at_one(scene: Scene, kind: str, epsilon: float = EPSILON) -> dict[str, Any]:
    """Whether one object was faked or hidden; `hit` is None where there was no target."""
    attack: Any = attack_of(kind, epsilon)
    sent, attacker = scene.lies(attack)
    cell = attack.objective.target(scene.problem(attack, attacker).clean)
    if cell is None:
        return {"hit": None}
    found, honest = scene.fused(sent), scene.fused(list(scene.staged.honest.values()))
    before = near(honest, cell, scene.detector.grid)
    if kind == "fake_one":
        if before.any():
            return {"hit": None}
        hit = bool((near(found, cell, scene.detector.grid) & (found.scores >= SHOWN)).any())
        return {"hit": hit, "boxes": len(found), "clean": len(honest)}
    if not before.any():
        return {"hit": None}
    without = scene.fused(list(scene.staged.honest.values()), frozenset(scene.staged.honest) - scene.liars)
    return {
        "hit": not near(found, cell, scene.detector.grid).any(),
        "seen_without": bool(near(without, cell, scene.detector.grid).any()),  # by the ego and honest teammates
        "boxes": len(found),
        "clean": len(honest),
    }


def near(found: Detections, cell: tuple[int, int], grid: BevGrid) -> np.ndarray[Any, Any]:
    """Which boxes are centred within `NEAR_M` of a cell's centre."""
    x, y = grid.x_min_m + (cell[1] + 0.5) * grid.cell_m, grid.y_min_m + (cell[0] + 0.5) * grid.cell_m
    return np.asarray(np.hypot(found.boxes[:, 0] - x, found.boxes[:, 1] - y) <= NEAR_M)


# ------------------------------------------------------------------------------------------------------ the tables
Lines = Sequence[Mapping[str, Any]]


def render(lines: Lines, epsilon: float = EPSILON) -> Iterator[str]:
    """Markdown: harm and attack loss, whether their order is as it should be, one object faked or hidden."""
    scenes = {w: len({line["scene"] for line in lines if line["what"] == w}) for w in HALVES}
    yield (
        f"{scenes['strength']} scenes ({scenes['targets']} for one object faked or hidden), one frame each, "
        f"undefended; eps {epsilon:g}, {STEPS} steps."
    )
    for table, what in ((_strengths, "strength"), (_targets, "targets")):
        rows = {d: found for d in DETECTORS if (found := _rows(lines, d, what))}
        if rows:
            yield ""
            yield from table(rows)


def _strengths(rows: Mapping[str, Lines]) -> Iterator[str]:
    yield "| detector | liars | attack | AP@0.5 | AP@0.7 | boxes a frame | attack loss | order |"
    yield "|---|--:|---|--:|--:|--:|--:|---|"
    broken = 0
    for name, mine in rows.items():
        for kind in ("ego only", "honest"):
            yield _row(name, 0, kind, [r[f"{kind}/0"] for r in mine], "")
        for m in ATTACKERS:
            losses = {kind: float(np.mean([r[f"{kind}/{m}"]["loss"] for r in mine])) for kind in ORDER}
            holds = all(losses[a] <= losses[b] for a, b in pairwise(ORDER))
            broken += not holds
            for kind in ORDER:
                said = ("holds" if holds else "BROKEN") if kind == ORDER[-1] else ""
                yield _row(name, m, kind, [r[f"{kind}/{m}"] for r in mine], said)
    yield ""
    held = len(rows) * len(ATTACKERS) - broken
    yield f"APGD >= PGD >= FGSM >= noise in attack loss: holds in {held} cells, broken in {broken}."


def _targets(rows: Mapping[str, Lines]) -> Iterator[str]:
    yield "| detector | liars | one fake | of | one hidden | of | missed: seen without the liars | other boxes |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, mine in rows.items():
        for m in ATTACKERS:
            fake = [r for r in (found[f"fake_one/{m}"] for found in mine) if r["hit"] is not None]
            hide = [r for r in (found[f"hide_one/{m}"] for found in mine) if r["hit"] is not None]
            missed = [r for r in hide if not r["hit"]]
            others = [abs(abs(r["boxes"] - r["clean"]) - 1) for r in [*fake, *hide] if r["hit"]]
            beyond = f"{np.mean(others):.1f}" if others else "–"
            yield (
                f"| {name} | {m} | {_share(fake)} | {len(fake)} | {_share(hide)} | {len(hide)} | "
                f"{sum(r['seen_without'] for r in missed)} of {len(missed)} | {beyond} |"
            )


def _rows(lines: Lines, name: str, what: str) -> list[Any]:
    return [line["rows"] for line in lines if line["detector"] == name and line["what"] == what]


def _share(rows: Lines) -> str:
    if not rows:
        return "–"
    share = float(np.mean([r["hit"] for r in rows]))
    return f"{100 * share:.0f} %" + ("" if share >= 0.9 else " (below 90 %)")


def _row(name: str, m: int, kind: str, rows: Lines, order: str) -> str:
    ap = average_precision([FrameMatches.from_dict(r["matches"]) for r in rows])
    boxes = float(np.mean([r["boxes"] for r in rows]))
    loss = f"{np.mean([r['loss'] for r in rows]):.3f}" if "loss" in rows[0] else "–"
    shown = ["–" if (v := ap[t]) is None else f"{v:.3f}" for t in (0.5, 0.7)]
    return f"| {name} | {m} | {kind} | {shown[0]} | {shown[1]} | {boxes:.1f} | {loss} | {order} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detectors", nargs="+", default=list(DETECTORS), choices=DETECTORS)
    parser.add_argument("--what", choices=HALVES, help="one half of the work; default: both")
    parser.add_argument("--epsilon", type=float, default=EPSILON, help="budget of all attacks")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/attack_table"), help="folder where results are kept")
    args = parser.parse_args()
    halves = HALVES if args.what is None else (args.what,)
    work = partial(play, split=args.split, seed=args.seed, names=tuple(args.detectors), epsilon=args.epsilon)
    found = study(
        work,
        list(product(halves, range(args.scenes))),
        args.out,
        Processes(jobs=args.jobs, threads=1),
        decides=[detector_of(name) for name in args.detectors],
        tell=lambda done, total: print(f"{done} of {total}", file=sys.stderr, flush=True),
    )
    print("\n".join(render([line for lines in found for line in lines], args.epsilon)))


if __name__ == "__main__":
    main()
