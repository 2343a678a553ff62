"""How much harm each attack does to an undefended detector, by budget and number of attackers.

    python -m benchmarks.attack_strength                       # shipped mean fusion, 20 validation scenes
    python -m benchmarks.attack_strength --detector mean-unbounded --scenes 40

One frame a scene, of the validation split: nothing is learnt here about the test scenes. Teammates are fused all, the
attackers included. `boxes` and `score` are the mean number of boxes a frame and the mean score of a box; `ms` is what
the attack itself costs a frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from robosac import attacks, detectors
from robosac.air import Attack
from robosac.evaluation.ap import FrameMatches, average_precision, match_truth
from robosac.evaluation.play import attacked_air, choose_attackers
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, Detections, Detector, Frame, Id, Message, Request, Subset, Truth, keyed_rng

EPSILONS: Final = (0.05, 0.1, 0.25, 0.5)
ATTACKERS: Final = (1, 2)
KINDS: Final = ("noise", "fgsm", "bim", "pgd", "pgd_balanced", "cw")  # a few whose budget is an epsilon


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame, its truth, and what everybody would honestly send."""

    frame: Frame
    truth: Truth
    request: Request
    honest: dict[Id, Message]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    ap: dict[float, float | None]
    boxes: float
    score: float
    ms: float = 0.0

    def __str__(self) -> str:
        values = [self.ap[t] for t in (0.3, 0.5, 0.7)]
        aps = "".join(f"{'-' if v is None else f'{v:.3f}':>8}" for v in values)
        return f"{self.name:<38}{aps}{self.boxes:>8.1f}{self.score:>8.2f}{self.ms:>8.0f}"


def scenes(detector: Detector, count: int) -> Iterator[Scene]:
    """The first frame of each of the first `count` validation scenes."""
    for index in range(count):
        frame, truth = scenario("val", index).snapshot(0).frame()
        request = Request.of(frame.ego)
        yield Scene(frame, truth, request, {i: detector.encode(v, request) for i, v in frame.others.items()})


def fused(detector: Detector, scene: Scene, messages: Sequence[Message], subset: Subset | None = None) -> Detections:
    """What the ego detects with these messages, all of them unless `subset` says otherwise."""
    session = detector.open(scene.frame.ego, scene.request, messages)
    return session.detect([frozenset(session.ids) if subset is None else subset])[0]


def row(name: str, detector: Detector, played: Sequence[tuple[Scene, Detections]], ms: float = 0.0) -> Row:
    """Pool the frames of one cell."""
    grid = detector.grid
    if grid is None:
        raise SystemExit(f"expected a detector with a BEV grid, got {detector.name}")
    matches: list[FrameMatches] = [match_truth(found, scene.truth, grid) for scene, found in played]
    boxes = sum(len(found) for _, found in played)
    score = sum(float(found.scores.sum()) for _, found in played) / max(boxes, 1)
    return Row(name, average_precision(matches), boxes / len(played), score, ms)


def attacked(name: str, attack: Attack, n_attackers: int, detector: Detector, data: Sequence[Scene], seed: int) -> Row:
    """One cell: an attack with `n_attackers` of the teammates, chosen and seeded a scene."""
    played, spent = [], 0.0
    for scene in data:
        chosen = choose_attackers(seed, scene.frame.scenario, sorted(scene.honest), n_attackers)
        attacker = attack.start(scene.frame.scenario, chosen, keyed_rng(seed, scene.frame.scenario, "attack"))
        air = attacked_air(scene.frame, detector, scene.request, scene.honest, chosen, attack.knowledge)
        began = time.perf_counter()
        lies = attacker.send(air)
        spent += time.perf_counter() - began
        inbox = [*(m for i, m in scene.honest.items() if i not in chosen), *lies]
        played.append((scene, fused(detector, scene, inbox)))
    return row(name, detector, played, 1e3 * spent / len(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--detector", default="mean", help="a shipped name or a .safetensors file")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacks", nargs="+", choices=attacks.names(), default=KINDS)
    parser.add_argument("--epsilons", nargs="+", type=float, default=EPSILONS)
    parser.add_argument("--attackers", nargs="+", type=int, default=ATTACKERS)
    args = parser.parse_args()
    detector = detectors.load(args.detector)
    data = list(scenes(detector, args.scenes))
    print(
        f"{detector.name}, {len(data)} validation scenes, {sum(len(s.honest) for s in data) / len(data):.1f} teammates"
    )
    print(f"{'undefended':<38}{'AP@0.3':>8}{'AP@0.5':>8}{'AP@0.7':>8}{'boxes':>8}{'score':>8}{'ms':>8}")
    everyone = [(s, list(s.honest.values())) for s in data]
    print(row("ego only", detector, [(s, fused(detector, s, sent, EGO_ALONE)) for s, sent in everyone]))
    print(row("all honest", detector, [(s, fused(detector, s, sent)) for s, sent in everyone]))
    for kind in args.attacks:
        for count in args.attackers:
            for epsilon in args.epsilons:
                name = f"{kind}, eps {epsilon:g}, {count} attacker{'s' * (count > 1)}"
                print(attacked(name, attacks.load(kind, epsilon=epsilon), count, detector, data, args.seed), flush=True)


if __name__ == "__main__":
    main()
