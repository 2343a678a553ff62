"""Do calibrated thresholds keep their promise? `python -m benchmarks.calibration_check`

Thresholds are read off `--frames` honest frames at level alpha; then the share of as many OTHER honest frames whose
random subset of a size is refused is counted, for each detector, measure and size. The frames are the first of a
split's scenes; each split gives two draws, one in each direction. The bar for a cell is alpha plus three standard
errors of a rate on that many frames.

The promise itself is on average over calibrations, and both sides of the comparison are drawn: of `m` further frames,
R are refused with R ~ BetaBinomial(m, k, n + 1 - k), `k = floor(alpha (n + 1))`, where agreements do not tie (Vovk
2012), less where they do. That law is wider than the bar's: `P` is the exact probability, under it, of at least as many
refusals as were counted, and the summary says how many cells are to be expected over the bar though all is as promised.
Random draws from all of the frames follow: their mean rate is what the promise is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor, sqrt
from typing import Final

import numpy as np
from scipy.stats import betabinom

from benchmarks.machine import Option, first_frame, options, refusing
from robosac.agreement import Agreement, BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.calibration import honest_scores, merged
from robosac.conformal import conformal_threshold
from robosac.executors import default_jobs, make_executor
from robosac.registry.detectors import cached_detector
from robosac.types import Detector, Frame, Int64, keyed_rng

MEASURES: Final[tuple[Agreement, ...]] = (SeenScoreMap(), ScoreMapOverlap(), BoxJaccard())
Agreements = Mapping[str, Mapping[int, Sequence[float]]]  # measure -> size -> one a frame


@dataclass(frozen=True)
class Cell:
    """One detector, measure and size: `refused` of `others` honest frames, thresholds from `frames` honest frames."""

    draw: str
    detector: str
    measure: str
    size: int
    threshold: float
    refused: int
    others: int
    frames: int
    alpha: float

    @property
    def rate(self) -> float:
        return self.refused / self.others

    @property
    def bar(self) -> float:
        """The rate allowed."""
        return bar(self.alpha, self.others)

    @property
    def ok(self) -> bool:
        return self.rate <= self.bar

    @property
    def chance(self) -> float:
        """Probability of at least as many refusals where the promise holds and agreements do not tie."""
        return chance(self.refused, self.others, self.frames, self.alpha)


def bar(alpha: float, others: int) -> float:
    """Alpha plus three standard errors of a rate alpha on so many frames."""
    return alpha + 3 * sqrt(alpha * (1 - alpha) / others)


def chance(refused: int, others: int, frames: int, alpha: float) -> float:
    """P(R >= refused), R ~ BetaBinomial(others, k, frames + 1 - k), k = floor(alpha (frames + 1))."""
    k = floor(alpha * (frames + 1) + 1e-12)
    return float(betabinom.sf(refused - 1, others, k, frames + 1 - k))


def check(
    detector: str,
    calibrating: Agreements,
    others: Agreements,
    alpha: float,
    *,
    draw: str = "",
    confidence: float | None = None,
) -> list[Cell]:
    """Thresholds from the agreements of some honest frames, refusals among those of others."""
    cells = []
    for measure, by_size in calibrating.items():
        for size, values in sorted(by_size.items()):
            threshold = conformal_threshold(np.array(values), alpha, confidence=confidence)
            tried = np.array(others[measure][size])
            refused = int((tried < threshold).sum())  # the defence accepts at agreement >= threshold
            cells.append(Cell(draw, detector, measure, size, threshold, refused, len(tried), len(values), alpha))
    return cells


def gather(detector: Detector, frames: Iterable[Frame], seed: int, role: str) -> Agreements:
    """Agreements of one random honest subset a size and frame; a generator a frame, so that none moves another's."""
    return merged(honest_scores(detector, [f], MEASURES, keyed_rng(seed, role, f.scenario)) for f in frames)


def scores_of(index: int, *, detector: str, split: str, seed: int) -> Agreements:
    frame = first_frame(split, index).frame
    return gather(cached_detector(detector, "cpu", None), [frame], seed, "calibration check")


def simulated(detector: str, split: str, frames: int, *, seed: int, jobs: int) -> Agreements:
    """Agreements on the first frame of each of the first `frames` scenes of a split, whatever the number of jobs."""
    work = partial(scores_of, detector=detector, split=split, seed=seed)
    done = dict(make_executor(jobs, threads=1).run(work, range(frames)))
    return merged(done[index] for index in range(frames))


def table(cells: Sequence[Cell], *, expected: bool = True) -> str:
    """A row a detector, measure and size, a column a draw; cells over the bar are marked with a star."""
    draws = list(dict.fromkeys(c.draw for c in cells))
    rows: dict[tuple[str, str, int], dict[str, Cell]] = {}
    for c in cells:
        rows.setdefault((c.detector, c.measure, c.size), {})[c.draw] = c
    lines = [f"{'detector':12s} {'measure':44s} size  " + "  ".join(f"{d:>14s}" for d in draws) + "    mean"]
    for (detector, measure, size), row in rows.items():
        rates = "  ".join(f"{row[d].rate:13.3f}{' ' if row[d].ok else '*'}" for d in draws)
        lines.append(f"{detector:12s} {measure:44s} {size:4d}  {rates}  {np.mean([c.rate for c in row.values()]):6.3f}")
    return "\n".join([*lines, "", summary(cells, expected=expected)])


def summary(cells: Sequence[Cell], *, expected: bool = True) -> str:
    """How many cells are over the bar, and how many of them to expect though all is as promised on average."""
    first = cells[0]
    least_over = floor(first.bar * first.others + 1e-9) + 1
    single_cell = chance(least_over, first.others, first.frames, first.alpha)
    over = [c for c in cells if not c.ok]
    mean = np.mean([c.rate for c in cells])
    if not expected:
        return f"bar {first.bar:.3f}: {len(over)} of {len(cells)} cells over it (*). Mean refusal rate {mean:.4f}."
    lines = [
        f"bar {first.bar:.3f}: {len(over)} of {len(cells)} cells over it (*); where all is as promised one is with",
        f"probability {single_cell:.4f}, so {len(cells) * single_cell:.1f} are to be expected. The cells of a draw",
        f"share its frames and miss it together. Mean refusal rate {mean:.4f}, alpha {first.alpha:g}.",
    ]
    lines += [
        f"  over: {c.draw}, {c.detector}, {c.measure}, size {c.size}: {c.refused} of {c.others} refused, "
        f"P(as many or more) = {c.chance:.4f}"
        for c in over
    ]
    return "\n".join(lines)


def of_frames(agreements: Agreements, which: Int64) -> Agreements:
    """Those of some of the frames."""
    return {m: {s: np.array(v)[which].tolist() for s, v in by_size.items()} for m, by_size in agreements.items()}


def draws(
    detector: str, split: str, agreements: Agreements, frames: int, alpha: float, confidence: float | None = None
) -> list[Cell]:
    """Thresholds from the first `frames`, refusals among the next; and the other way round."""
    first, second = (of_frames(agreements, np.arange(k, k + frames)) for k in (0, frames))
    there = check(detector, first, second, alpha, draw=split, confidence=confidence)
    return there + check(detector, second, first, alpha, draw=f"{split}, back", confidence=confidence)


def resplit(
    detector: str,
    pool: Sequence[Agreements],
    frames: int,
    alpha: float,
    times: int = 300,
    confidence: float | None = None,
) -> str:
    """The same on random draws of `frames` and as many others from all frames at hand: is it luck or is it broken?"""
    whole = merged(pool)
    rng = keyed_rng(0, "resplit", detector)
    cells: list[Cell] = []
    for _ in range(times):
        order = rng.permutation(min(len(v) for by_size in whole.values() for v in by_size.values()))
        ours, others = (of_frames(whole, order[k : k + frames]) for k in (0, frames))
        cells += check(detector, ours, others, alpha, confidence=confidence)
    rate, over = np.mean([c.rate for c in cells]), np.mean([not c.ok for c in cells])
    return f"{detector}: {times} random draws of all frames: mean refusal rate {rate:.4f}, cells over {over:.4f}"


def main() -> None:
    args = options(
        __doc__,
        detectors=Option(("mean", "late:mean"), "names as `robosac evaluate` takes them"),
        frames=Option(200, "honest frames, and as many others"),
        splits=Option(("calibration", "val"), "two draws each"),
        alphas=(0.02, 0.05),
        confidence=Option(0.95, "of the thresholds that promise for themselves"),
        seed=0,
        jobs=default_jobs(),
    )
    with refusing():
        found = {
            (name, split): simulated(name, split, 2 * args.frames, seed=args.seed, jobs=args.jobs)
            for name in args.detectors
            for split in args.splits
        }
        for alpha, sure in ((a, c) for a in args.alphas for c in (None, args.confidence)):
            cells = [c for (name, split), a in found.items() for c in draws(name, split, a, args.frames, alpha, sure)]
            held = "on average" if sure is None else f"with {sure:.0%} confidence"
            shares = f"share refused of {args.frames} honest frames, thresholds from as many others"
            print(f"alpha {alpha:g} {held}: {shares}")
            print(table(cells, expected=sure is None))
            for name in args.detectors:
                print(resplit(name, [found[name, s] for s in args.splits], args.frames, alpha, confidence=sure))
            print()


if __name__ == "__main__":
    main()
