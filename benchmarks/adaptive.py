"""How far attacks get that know the defence, or guess how they will be judged: `python -m benchmarks.adaptive`

One frame of each of the first validation scenes, 1 and 2 of the teammates lying, the default defence with the shipped
calibration (nothing here is read off the test scenes). The same messages, adapted to that defence, are judged by it
and fused undefended:

- `jaccard`, `map`, `seen`: share of subsets with an attacker that each calibrated measure accepts, over random ones;
- `took in`: frames in which the subset that ROBOSAC fused holds an attacker;
- AP at IoU 0.5 under ROBOSAC and with everybody fused, mean boxes a frame with everybody fused;
- `blamed`: frames in which ROBOSAC accuses an honest teammate; `ms`: what the attack costs a frame.

`--shift` prints how far `pose_pert` really moves an object, by budget.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.attack_strength import Scene, scenes
from robosac import attacks, detectors
from robosac.agreement import BoxJaccard, Compare, ScoreMapOverlap, SeenScoreMap
from robosac.attacks.base import Measured
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.evaluation.ap import FrameMatches, average_precision, match_truth
from robosac.evaluation.play import attacked_air, choose_attackers, region_of
from robosac.registry.detectors import saved_calibration
from robosac.subsets import draw
from robosac.types import EGO_ALONE, Detections, Detector, Message, Received, Subset, Verdict, keyed_rng

NAMES: Final = ("none", "pgd_balanced", "adaptive_pgd", "knows_seed", "pretend_benign", "bac", "pose_pert", "frame_up")
MEASURES: Final = (BoxJaccard(), ScoreMapOverlap(), SeenScoreMap())
SUBSETS: Final = 6  # polluted ones that are judged a frame
EPSILONS: Final = (0.1, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Attacked:
    """A scene under attack: who lies, what came in, what ROBOSAC said, what all of it fused would be."""

    scene: Scene
    liars: Subset
    inbox: Sequence[Message]
    verdict: Verdict
    everybody: Detections
    ms: float
    accepted: dict[str, list[bool]] = field(default_factory=dict)  # by measure, for polluted subsets


def attacked(
    attack: Measured | None, m: int, scene: Scene, detector: Detector, calibration: Calibration, seed: int
) -> Attacked:
    """One frame of one cell."""
    frame, defense = scene.frame, Robosac()
    liars = choose_attackers(seed, frame.scenario, sorted(scene.honest), m)
    defender = defense.start(frame.scenario, calibration, keyed_rng(seed, frame.scenario, "defense", m))
    inbox, began = list(scene.honest.values()), time.perf_counter()
    if attack is not None:
        told = defense.surrogate(calibration, detector.name)
        knows = attack.knowledge
        air = attacked_air(
            frame, detector, scene.request, scene.honest, liars, knowledge=knows, defense=told, defender=defender
        )
        lies = attack.start(frame.scenario, liars, keyed_rng(seed, frame.scenario, "attack", m)).send(air)
        inbox = [*(x for i, x in scene.honest.items() if i not in liars), *lies]
    ms = 1e3 * (time.perf_counter() - began)
    session = detector.open(frame.ego, scene.request, inbox)
    everybody = frozenset(session.ids)
    rng = keyed_rng(seed, frame.scenario, "subsets", m)
    drawn = [draw(session.ids, int(rng.integers(1, len(everybody) + 1)), rng) for _ in range(4 * SUBSETS)]
    polluted = [everybody, *(s for s in drawn if s & liars)][:SUBSETS]
    alone, *results = session.detect([EGO_ALONE, *polluted])
    accepted = {}
    for measure in MEASURES:
        compare: Compare = measure.against(alone, frame.ego, detector.grid)
        asked = calibration.measures[measure.name].threshold
        accepted[measure.name] = [compare(r) >= asked(len(s)) for s, r in zip(polluted, results, strict=True)]
    verdict = defender.step(detector, frame.ego, scene.request, [Received.honest(m, scene.request) for m in inbox])
    return Attacked(scene, liars, inbox, verdict, results[0], ms, accepted)


def line(name: str, m: int, played: Sequence[Attacked], detector: Detector) -> str:
    """One row of the table."""

    def ap(results: Sequence[Detections]) -> float:
        matches: list[FrameMatches] = [
            match_truth(r, p.scene.truth, region_of(detector)) for r, p in zip(results, played, strict=True)
        ]
        return average_precision(matches)[0.5] or 0.0

    passed = "".join(f"{np.mean([a for p in played for a in p.accepted[x.name]]):>9.2f}" for x in MEASURES)
    took = np.mean([bool(p.verdict.used & p.liars) for p in played])
    blamed = np.mean([bool(p.verdict.accused - p.liars) for p in played])
    defended, undefended = ap([p.verdict.result for p in played]), ap([p.everybody for p in played])
    boxes = np.mean([len(p.everybody) for p in played])
    ms = np.median([p.ms for p in played])
    return (
        f"{name:<16}{m:>2}{passed}{took:>9.2f}{defended:>9.3f}{undefended:>9.3f}{boxes:>7.1f}{blamed:>8.2f}{ms:>7.0f}"
    )


def shift(clean: Detections, moved: Detections) -> float:
    """Metres along +x that the box went that moved most in that direction; boxes are paired with the nearest."""
    if len(clean) == 0 or len(moved) == 0:
        return 0.0
    apart = np.linalg.norm(clean.boxes[:, None, :2] - moved.boxes[None, :, :2], axis=2)
    along = moved.boxes[apart.argmin(axis=1), 0] - clean.boxes[:, 0]
    return float(along[apart.min(axis=1) < 1.5].max(initial=0.0))


def shifts(data: Sequence[Scene], detector: Detector, calibration: Calibration, seed: int) -> None:
    """Print how far `pose_pert` moves one object of the full fusion that it wants 0.9 m further along +x."""
    print("\npose_pert, metres moved of 0.9, by budget and attackers: 10 %, median, 90 %")
    for epsilon in EPSILONS:
        for m in (1, 2):
            attack = attacks.load("pose_pert", epsilon=epsilon, bearing_deg=0.0)
            got = []
            for scene in data:
                session = detector.open(scene.frame.ego, scene.request, list(scene.honest.values()))
                clean = session.detect([frozenset(session.ids)])[0]
                got.append(shift(clean, attacked(attack, m, scene, detector, calibration, seed).everybody))
            low, median, high = np.quantile(got, [0.1, 0.5, 0.9])
            print(f"  eps {epsilon:<5g} {m} of 5: {low:5.2f} {median:5.2f} {high:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--detector", default="mean", help="a shipped name")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacks", nargs="+", choices=("none", *attacks.names()), default=NAMES)
    parser.add_argument("--attackers", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--shift", action="store_true", help="how far pose_pert gets, too")
    args = parser.parse_args()
    detector = detectors.load(args.detector)
    calibration = saved_calibration(detector)
    if calibration is None:
        raise SystemExit(f"expected thresholds beside the weights of {detector.name}; run `robosac calibrate`")
    data = list(scenes(detector, args.scenes))
    print(
        f"{detector.name}, {len(data)} validation scenes, seed {args.seed}; share accepted of subsets with an attacker"
    )
    print(
        f"{'attack':<16}{'m':>2}{'jaccard':>9}{'map':>9}{'seen':>9}{'took in':>9}{'robosac':>9}{'nobody':>9}"
        f"{'boxes':>7}{'blamed':>8}{'ms':>7}"
    )
    for m in args.attackers:
        for name in args.attacks:
            attack = None if name == "none" else attacks.load(name)
            played = [attacked(attack, m, scene, detector, calibration, args.seed) for scene in data]
            print(line(name, m, played, detector), flush=True)
    if args.shift:
        shifts(data, detector, calibration, args.seed)


if __name__ == "__main__":
    main()
