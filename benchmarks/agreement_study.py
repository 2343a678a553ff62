"""Which measure of agreement tells honest subsets from attacked ones? `python -m benchmarks.agreement_study`

On validation scenes (never on test scenes): for each measure, the threshold that refuses 2 % of the honest subsets of a
size, and the share of attacked subsets of that size that pass it. This is what the default's `unseen_weight` was read
off; it decides nothing at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Final, TypeAlias

import numpy as np

from benchmarks.machine import Option, first_frame, options, undefended
from robosac import detectors
from robosac.agreement import BoxJaccard, Compare, ScoreMapOverlap, SeenScoreMap
from robosac.executors import set_threads
from robosac.registry.attacks import open_attack
from robosac.types import EGO_ALONE, BevGrid, Detections, Detector, Request, View

Against: TypeAlias = Callable[[Detections, View, BevGrid], Compare]
MEASURES: Final[dict[str, Against]] = {
    "box Jaccard": BoxJaccard().against,
    "score map": ScoreMapOverlap().against,
    **{f"seen, unseen weight {w:g}": SeenScoreMap(unseen_weight=w).against for w in (0.0, 0.1, 0.25, 0.5)},
}
COUNTS: Final = (1, 2)
Found: TypeAlias = dict[tuple[str, str, int, int], list[float]]  # measure, attack ("" = honest), attackers, size


def agreements(
    detector: Detector,
    scenes: Sequence[int],
    strikes: Mapping[str, str],
    sizes: Sequence[int],
    measures: Mapping[str, Against],
    grid: BevGrid,
) -> Found:
    """Agreements of all honest subsets of validation frames, and of all that hold one of one or two attackers."""
    found: Found = {}
    for index, (name, m) in product(scenes, [("", 0), *product(strikes, COUNTS)]):
        attack = open_attack(strikes[name]) if name else None
        p = undefended(first_frame("val", index), detector, attack, m)
        subsets = [frozenset(c) for size in sizes for c in combinations(sorted(p.frame.others), size)]
        tried = [s for s in subsets if s & p.truth.attackers or not m]
        session = detector.open(p.frame.ego, Request.of(p.frame.ego), [r.message for r in p.inbox])
        reference, *results = session.detect([EGO_ALONE, *tried])
        for measure, against in measures.items():
            compare = against(reference, p.frame.ego, grid)
            for subset, result in zip(tried, results, strict=True):
                found.setdefault((measure, name, m, len(subset)), []).append(compare(result))
    return found


def main() -> None:
    args = options(
        __doc__,
        detector="mean",
        first=Option(60, "first validation scene"),
        scenes=40,
        epsilons=Option("0.1,0.5", "comma-separated"),
    )
    set_threads(1)
    detector = detectors.load(args.detector)
    strikes = {f"pgd {e}": f"pgd:epsilon={e}" for e in args.epsilons.split(",")}
    sizes = (1, 3, 4, 5)
    scenes = range(args.first, args.first + args.scenes)
    found = agreements(detector, scenes, strikes, sizes, MEASURES, detector.grid)
    cells = list(product(strikes, COUNTS))
    print(f"{args.scenes} validation scenes, detector {args.detector}; % of attacked subsets accepted at 2 % refusals")
    print(f"{'measure':24s} size  threshold  " + "  ".join(f"{name}, {m} of 5" for name, m in cells))
    for measure, size in product(MEASURES, sizes):
        threshold = float(np.quantile(found[measure, "", 0, size], 0.02))
        passed = [100 * float(np.mean(np.array(found[measure, n, m, size]) >= threshold)) for n, m in cells]
        print(f"{measure:24s} {size:4d}  {threshold:9.2f}  " + "  ".join(f"{p:15.1f}" for p in passed))


if __name__ == "__main__":
    main()
