"""How far attacks get that know the defence, or guess how they will be judged: `python -m benchmarks.adaptive`

One frame of each of the first validation scenes, 1 and 2 of the teammates attacking, a defence (the default, or another
by `--defense`) with the shipped calibration (nothing here is read off the test scenes). The same messages, adapted to
that defence, are judged by it and fused undefended:

- `jaccard`, `map`, `seen`: share of subsets with an attacker that each calibrated measure accepts, over random ones;
- `took in`: frames in which what the defence fused holds an attacker;
- AP at IoU 0.5 and 0.7 under the defence and with everybody fused, mean boxes a frame with everybody fused;
- `blamed`: frames in which it accuses an honest teammate.

`--shift` prints how far `pose_pert` really moves an object, by budget. Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, by_cell, first_frame, options
from robosac import attacks
from robosac.agreement import BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.evaluation.ap import FrameMatches, average_precision, match_truth
from robosac.evaluation.play import Played, play, region_of
from robosac.experiments.opened import DetectorRef, look_up
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy
from robosac.subsets import draw
from robosac.types import EGO_ALONE, Detections, Detector, Request, keyed_rng

NAMES: Final = (
    "none",
    "pgd_balanced",
    "adaptive_pgd",
    "knows_seed",
    "pretend_benign",
    "bac",
    "pose_pert",
    "frame_up",
    "evasive_balanced",
    "evasive_hide",
    "evasive_rerank",
    "evasive_geometry",
    "evasive_geometry_fine",
    "evasive_ghosts",
    "evasive_collusion",
    "evasive_framing",
)
MEASURES: Final = (BoxJaccard(), ScoreMapOverlap(), SeenScoreMap())
SUBSETS: Final = 6  # subsets with an attacker that are judged a frame
EPSILONS: Final = (0.1, 0.25, 0.5)
Item = tuple[str, int, int]  # attack, attackers, scene


def attacked(item: Item, *, ref: DetectorRef, seed: int, defense: str) -> dict[str, Any]:
    """One frame under one attack, judged and fused by each measure, as plain data."""
    name, m, index = item
    detector, attack = ref.open(), None if name == "none" else open_attack(name)
    (p,) = play(
        [first_frame("val", index)], detector, attack, (m,), [policy(defense)], seed=seed, calibration=ref.calibration
    )
    return judged(p, detector, ref, keyed_rng(seed, p.frame.scenario, "subsets", m))


def judged(p: Played, detector: Detector, ref: DetectorRef, rng: np.random.Generator) -> dict[str, Any]:
    """What the measures accept of subsets with an attacker, and the harm done with and without ROBOSAC."""
    request, truth = Request.of(p.frame.ego), p.truth
    attackers, inbox = truth.attackers, [r.message for r in p.inbox]
    session = detector.open(p.frame.ego, request, inbox)
    everybody = frozenset(session.ids)
    drawn = [draw(session.ids, int(rng.integers(1, len(everybody) + 1)), rng) for _ in range(4 * SUBSETS)]
    malicious = [everybody, *(s for s in drawn if s & attackers)][:SUBSETS]
    alone, *results = session.detect([EGO_ALONE, *malicious])
    accepted: dict[str, list[bool]] = {}
    for measure in MEASURES:
        compare = measure.against(alone, p.frame.ego, detector.grid)
        assert ref.calibration is not None
        asked = ref.calibration.measures[measure.name].threshold
        accepted[measure.name] = [bool(compare(r) >= asked(len(s))) for s, r in zip(malicious, results, strict=True)]
    honest = [detector.encode(view, request) for view in p.frame.others.values()]
    clean = detector.open(p.frame.ego, request, honest).detect([frozenset(p.frame.others)])[0]
    return {
        "accepted": accepted,
        "took": bool(p.verdict.used & attackers),
        "blamed": bool(p.verdict.accused - attackers),
        "defended": p.record.matches.to_dict(),
        "undefended": match_truth(results[0], truth, region_of(detector)).to_dict(),
        "boxes": len(results[0]),
        "shift": shift(clean, results[0]),
    }


def line(name: str, m: int, rows: Sequence[Mapping[str, Any]]) -> str:
    """One row of the table."""

    def ap(key: str) -> str:
        found = average_precision([FrameMatches.from_dict(r[key]) for r in rows])
        return "".join(f"{found[iou] or 0.0:>8.3f}" for iou in (0.5, 0.7))

    passed = "".join(f"{np.mean([a for r in rows for a in r['accepted'][x.name]]):>9.2f}" for x in MEASURES)
    took, boxes, blamed = (float(np.mean([r[key] for r in rows])) for key in ("took", "boxes", "blamed"))
    return f"{name:<22}{m:>2}{passed}{took:>9.2f}{ap('defended')}{ap('undefended')}{boxes:>7.1f}{blamed:>8.2f}"


def shift(clean: Detections, moved: Detections) -> float:
    """Metres along +x that the box went that moved most in that direction; boxes are paired with the nearest."""
    if len(clean) == 0 or len(moved) == 0:
        return 0.0
    apart = np.linalg.norm(clean.boxes[:, None, :2] - moved.boxes[None, :, :2], axis=2)
    along = moved.boxes[apart.argmin(axis=1), 0] - clean.boxes[:, 0]
    return float(along[apart.min(axis=1) < 1.5].max(initial=0.0))


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a shipped name"),
        scenes=20,
        seed=0,
        attacks=Option(NAMES, choices=("none", *attacks.names())),
        attackers=(1, 2),
        defense=Option("robosac", "a preset of configs/defenses"),
        shift=Option(False, "how far pose_pert gets, too"),
        jobs=1,
        out=Path("runs/adaptive"),
    )
    ref = look_up(args.detector, "cpu", None)
    if ref.calibration is None:
        raise SystemExit(f"expected thresholds beside the weights of {ref.called}; run `robosac calibrate`")

    work = partial(attacked, ref=ref, seed=args.seed, defense=args.defense)

    def measure(names: Sequence[str], counts: Sequence[int]) -> dict[tuple[Any, ...], list[Any]]:
        return by_cell(work, product(names, counts), args.scenes, args.out, args.jobs)

    print(
        f"{ref.called}, {args.defense}, {args.scenes} validation scenes, seed {args.seed}; share accepted of subsets "
        "with an attacker"
    )
    print(
        f"{'attack':<22}{'m':>2}{'jaccard':>9}{'map':>9}{'seen':>9}{'took in':>9}{'defence':>8}"
        f"{'@.7':>8}{'nobody':>8}{'@.7':>8}{'boxes':>7}{'blamed':>8}"
    )
    found = measure(args.attacks, args.attackers)
    print("\n".join(line(name, m, found[name, m]) for m in args.attackers for name in args.attacks))
    if args.shift:
        print("\npose_pert, metres moved of 0.9, by budget and attackers: 10 %, median, 90 %")
        shifts = measure([f"pose_pert:epsilon={e},bearing_deg=0" for e in EPSILONS], (1, 2))
        for (name, m), rows in shifts.items():
            low, median, high = np.quantile([r["shift"] for r in rows], [0.1, 0.5, 0.9])
            print(f"  {name:<36} {m} of 5: {low:5.2f} {median:5.2f} {high:5.2f}")


if __name__ == "__main__":
    main()
