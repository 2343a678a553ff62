"""Which measure of agreement tells honest subsets from attacked ones? `python -m benchmarks.agreement_study`

On validation scenes (never on test scenes): for each measure, the threshold that refuses 2 % of the honest subsets of a
size, and the share of attacked subsets of that size that pass it. This is what the default's `unseen_weight` was read
off; it decides nothing at run time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from robosac import attacks, detectors
from robosac.agreement import Agreement, BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.air import Attack
from robosac.evaluation.play import Moment, play
from robosac.executors import set_threads
from robosac.registry.defenses import policy
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, Detector, Request

MEASURES: dict[str, Agreement] = {
    "box Jaccard": BoxJaccard(),
    "score map": ScoreMapOverlap(),
    **{f"seen, unseen weight {w:g}": SeenScoreMap(unseen_weight=w) for w in (0.0, 0.1, 0.25, 0.5)},
}
Key = tuple[str, str, int, int]  # measure, attack ("" = honest), attackers, subset size


def agreements(
    detector: Detector, index: int, strikes: Mapping[str, Attack], sizes: Sequence[int]
) -> Iterator[tuple[Key, float]]:
    """Agreements of all honest and all contaminated subsets of one validation frame."""
    moment = Moment(*scenario("val", index).snapshot(0).frame())
    for name, m in [("", 0), *((name, m) for name in strikes for m in (1, 2))]:
        (p,) = play([moment], detector, strikes.get(name), (m,), [policy("none")], seed=0)
        inbox, attackers = [r.message for r in p.inbox], p.truth.attackers
        subsets = [frozenset(c) for size in sizes for c in combinations(sorted(p.frame.others), size)]
        tried = [s for s in subsets if s & attackers or not m]
        session = detector.open(p.frame.ego, Request.of(p.frame.ego), inbox)
        reference, *results = session.detect([EGO_ALONE, *tried])
        for measure, agreement in MEASURES.items():
            compare = agreement.against(reference, p.frame.ego, detector.grid)
            for subset, result in zip(tried, results, strict=True):
                yield (measure, name, m, len(subset)), compare(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="mean")
    parser.add_argument("--first", type=int, default=60, help="first validation scene")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--epsilons", default="0.1,0.5")
    args = parser.parse_args()
    set_threads(1)
    detector = detectors.load(args.detector)
    strikes = {f"pgd {e}": attacks.load("pgd", epsilon=float(e)) for e in args.epsilons.split(",")}
    sizes = (1, 3, 4, 5)
    found: dict[Key, list[float]] = {}
    for index in range(args.first, args.first + args.scenes):
        for key, value in agreements(detector, index, strikes, sizes):
            found.setdefault(key, []).append(value)
    cells = [(name, m) for name in strikes for m in (1, 2)]
    print(f"{args.scenes} validation scenes, detector {args.detector}; % of attacked subsets accepted at 2 % refusals")
    print(f"{'measure':24s} size  threshold  " + "  ".join(f"{name}, {m} of 5" for name, m in cells))
    for measure in MEASURES:
        for size in sizes:
            threshold = float(np.quantile(found[measure, "", 0, size], 0.02))
            passed = [100 * float(np.mean(np.array(found[measure, n, m, size]) >= threshold)) for n, m in cells]
            print(f"{measure:24s} {size:4d}  {threshold:9.2f}  " + "  ".join(f"{p:15.1f}" for p in passed))


if __name__ == "__main__":
    main()
