"""What can be proved of boxes, and what a result of proved boxes is worth: `python -m benchmarks.certificates`

One frame of each of the first validation scenes, every subset of the five teammates decoded.

- *certified*: of everybody's boxes (score >= 0.3), the share that m attackers cannot have invented, and cannot have
  hidden either; true boxes and false ones by the truth. Nobody attacks.
- *AP* of `Certified(attackers=m)` without attackers and with m of them, beside the ego alone, everybody fused and the
  oracle. Messages of attacks that know a defence were made against ROBOSAC's default.
- three attacks on results, more than any message can do to a detector: whatever an attacker is in shows nothing
  (`results gone`), everybody's boxes 1.5 m aside with full scores (`results moved`), or thirty ghosts and nothing else
  (`results flooded`).

Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, first_frame, options
from robosac import attacks
from robosac.certificates import Witnesses, withstands
from robosac.defenses.certified import Certified, certified_result
from robosac.evaluation.ap import FP, TP, FrameMatches, ap_replicates, average_precision, match_truth
from robosac.evaluation.bootstrap import difference, scene_weights
from robosac.evaluation.play import play, region_of
from robosac.executors import make_executor
from robosac.experiments.opened import DetectorRef, look_up
from robosac.experiments.studies import study
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy
from robosac.types import EGO_ALONE, Detections, Request, Subset, keyed_rng

ON_RESULTS: Final = ("results gone", "results moved", "results flooded")
NAMES: Final = ("pgd", "pgd_balanced", "adaptive_pgd", "gps_offset", *ON_RESULTS)
LEVELS: Final = (1, 2)
SHOWN: Final = 0.3
Item = tuple[str, int, int]  # attack, attackers, scene
Decodes = Mapping[Subset, Detections]


def measured(item: Item, *, ref: DetectorRef, seed: int) -> dict[str, Any]:
    """One frame under one attack: every policy's matches with the truth, and what is certified of everybody's boxes."""
    name, m, index = item
    detector, on_results = ref.open(), name in ON_RESULTS
    attack = None if m == 0 or on_results else open_attack(name)
    # the policy is only there to receive: what knows a defence is made against it
    (p,) = play(
        [first_frame("val", index)], detector, attack, (m,), [policy("robosac")], seed=seed, calibration=ref.calibration
    )
    session = detector.open(p.frame.ego, Request.of(p.frame.ego), [r.message for r in p.inbox])
    ids, attackers = tuple(session.ids), p.truth.attackers
    subsets = [frozenset(c) for size in range(len(ids) + 1) for c in combinations(ids, size)]
    decodes: Decodes = dict(zip(subsets, session.detect(subsets), strict=True))
    if on_results:
        decodes = replaced(decodes, attackers, name, keyed_rng(seed, p.frame.scenario, name, m))
    everybody = decodes[frozenset(ids)]

    def match(found: Detections) -> FrameMatches:
        return match_truth(found, p.truth, region_of(detector), agents=(p.frame.ego.id, *p.frame.others))

    results = {
        "ego-only": decodes[EGO_ALONE],
        "none": everybody,
        "oracle": decodes[frozenset(ids) - attackers],
        **{f"certified-{k}": certified_result(decodes, ids, Certified(attackers=k))[0] for k in LEVELS},
    }
    return {
        "matches": {row: match(found).to_dict() for row, found in results.items()},
        "boxes": counted(everybody, decodes, ids, match(everybody)),
    }


def replaced(decodes: Decodes, attackers: Subset, how: str, rng: np.random.Generator) -> Decodes:
    """What subsets with an attacker show, in place of what they did."""
    everybody = max(decodes, key=len)
    if how == "results gone":
        shows = Detections.empty()
    elif how == "results moved":
        boxes, angle = decodes[everybody].boxes.copy(), rng.uniform(-np.pi, np.pi)
        boxes[:, :2] += 1.5 * np.array([np.cos(angle), np.sin(angle)], np.float32)
        shows = Detections(boxes, np.ones(len(boxes), np.float32))
    else:
        ghosts = np.zeros((30, 7), np.float32)
        ghosts[:, :2] = rng.uniform(-40, 40, (30, 2))
        ghosts[:, 3:7] = 4.5, 1.9, 1.6, 0
        shows = Detections(ghosts, np.ones(30, np.float32))
    return {s: shows if s & attackers else d for s, d in decodes.items()}


def counted(found: Detections, decodes: Decodes, ids: Sequence[str], matches: FrameMatches) -> dict[str, list[int]]:
    """True and false boxes: how many, and those not invented and not hidden by m, for each of the levels."""
    sure = np.flatnonzero(found.scores >= SHOWN)
    fewest = Witnesses.of(found.boxes[sure], decodes, ids, Certified().tolerance).inventors(SHOWN)
    outcome = matches.hits(0.5)[sure]
    rows = {}
    for what, kind in (("true", TP), ("false", FP)):
        kinds = outcome == kind
        holds = [kinds & withstands(fewest, k) for k in (LEVELS[0], LEVELS[1], *(2 * m for m in LEVELS))]
        rows[what] = [int(kinds.sum()), *(int(h.sum()) for h in holds)]
    return rows


def shares(rows: Sequence[Mapping[str, Any]]) -> str:
    """What is certified of everybody's boxes where nobody attacks."""
    lines = ["everybody's boxes, nobody attacks:  not invented m=1   m=2   nor hidden m=1   m=2      of"]
    for what in ("true", "false"):
        n, *held = np.sum([r["boxes"][what] for r in rows], axis=0).tolist()
        one, two, both, both_two = (f"{h / max(n, 1):.3f}" for h in held)
        lines.append(f"  {what:<33}{one:>17}{two:>6}{both:>17}{both_two:>6}{n:>8}")
    return "\n".join(lines)


def table(m: int, found: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]], names: Sequence[str]) -> list[str]:
    """AP of each row of policies, without attackers and under each attack by m."""
    kinds = ("ego-only", "none", "oracle", f"certified-{m}")
    lines = [f"{'AP@0.5, ' + str(m) + ' attack':<20}" + "".join(f"{k:>13}" for k in kinds) + "   lost (95 %)"]
    clean = _matches(found["", 0], kinds[-1])
    for name in ("", *names):
        rows = found[name, m if name else 0]
        ap = [average_precision(_matches(rows, k))[0.5] or 0.0 for k in kinds]
        lost = f"   {_lost(clean, _matches(rows, kinds[-1]))}" if name else ""
        lines.append(f"{name or 'nobody attacks':<20}" + "".join(f"{a:>13.3f}" for a in ap) + lost)
    return lines


def _matches(rows: Sequence[Mapping[str, Any]], policy_name: str) -> list[FrameMatches]:
    return [FrameMatches.from_dict(r["matches"][policy_name]) for r in rows]


def _lost(clean: Sequence[FrameMatches], attacked: Sequence[FrameMatches]) -> str:
    """How much AP an attack takes, paired over scenes."""
    weights = scene_weights(len(clean), keyed_rng(0, "bootstrap"))
    both = [ap_replicates({f"{k:06d}": [x] for k, x in enumerate(side)}, weights)[0.5] for side in (clean, attacked)]
    apart = difference(*both)
    if apart is None:
        return "-"
    e = apart.estimate()
    return f"{e.value:.3f}" + ("" if e.low is None or e.high is None else f" ({e.low:.3f} to {e.high:.3f})")


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a shipped name"),
        first=Option(0, "first validation scene"),
        scenes=20,
        seed=0,
        attacks=Option(NAMES, choices=(*attacks.names(), *ON_RESULTS)),
        jobs=1,
        out=Path("runs/certificates"),
    )
    ref = look_up(args.detector, "cpu", None)
    scenes = range(args.first, args.first + args.scenes)
    cells = [("", 0), *product(args.attacks, LEVELS)]
    items = [(name, m, index) for name, m in cells for index in scenes]
    made = study(partial(measured, ref=ref, seed=args.seed), items, args.out, make_executor(args.jobs))
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for (name, m, _), row in zip(items, made, strict=True):
        found.setdefault((name, m), []).append(row)
    print(f"{ref.called}, validation scenes {scenes[0]} to {scenes[-1]}, seed {args.seed}\n")
    print(shares(found["", 0]))
    for m in LEVELS:
        print("\n" + "\n".join(table(m, found, args.attacks)))


if __name__ == "__main__":
    main()
