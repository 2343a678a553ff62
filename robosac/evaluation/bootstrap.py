"""Intervals by resampling whole scenes.

Frames of one scene share their streets, cars and attackers, so they are no independent draws: a resample takes
scenes, with replacement, and every frame of a drawn scene comes along. A resample of S scenes is a row of S
multiplicities, `weights (B, S)`; a statistic is then computed from weighted sums, for all B resamples at once.
Two policies that are compared use the *same* weights, so that what makes a scene hard cancels in their difference.

Intervals are percentile intervals: the (1 - level)/2 and (1 + level)/2 quantiles of the replicates. Of one scene, or
where only one scene has anything to count, resampling says nothing about others: there is no interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.types import Array, Float64, InputError, Int64

REPLICATES: Final = 1000
LEVEL: Final = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its percentile interval, `low <= high`, in the figure's own unit; None where there is none."""

    value: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Replicated:
    """A statistic on the data itself and on each resample.

    Attributes:
        value: the statistic on all scenes, each taken once.
        replicates: `(B,)` the statistic on each resample, in the order of the weights' rows.
        defined: `(B,)` where a resample leaves the statistic defined and says something of it; `replicates` is 0
            elsewhere.
    """

    value: float
    replicates: Float64
    defined: Array

    def estimate(self, level: float = LEVEL) -> Estimate:
        """The value with its percentile interval over the resamples that leave it defined.

        Raises:
            InputError: `level` is outside of (0, 1).
        """
        if not 0 < level < 1:
            raise InputError(f"expected level to be in (0, 1), got {level}; 0.95 asks for a 95 % interval")
        kept = self.replicates[self.defined]
        if len(kept) == 0:
            return Estimate(self.value, None, None)
        low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
        return Estimate(self.value, float(low), float(high))


def scene_weights(n_scenes: int, rng: np.random.Generator, replicates: int = REPLICATES) -> Int64:
    """How often each scene is drawn in each resample, `(replicates, n_scenes)`; every row sums to `n_scenes`.

    Raises:
        InputError: no scene, or no replicate.
    """
    if n_scenes < 1 or replicates < 1:
        raise InputError(f"expected at least one scene and one replicate, got {n_scenes} and {replicates}")
    draws = rng.multinomial(n_scenes, np.full(n_scenes, 1 / n_scenes), size=replicates)
    return np.asarray(draws, dtype=np.int64)


def ratio(numerator: Array, denominator: Array, weights: Int64) -> Replicated | None:
    """A ratio of sums over scenes, such as a rate or a mean over frames.

    `numerator` and `denominator` are sums a scene, `(S,)`. Returns None where the denominator is 0 on the data.
    """
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if below.sum() == 0:
        return None
    tops, bottoms = _weighted(weights, above), _weighted(weights, below)
    defined = (bottoms != 0) & several(below)
    replicates = np.divide(tops, bottoms, out=np.zeros_like(tops), where=defined)
    return Replicated(float(above.sum() / below.sum()), replicates, defined)


def several(counts: Array) -> bool:
    """Whether more than one scene has something to count, `counts (S,)`: else there is nothing to resample."""
    return int(np.count_nonzero(counts)) > 1


def difference(a: Replicated | None, b: Replicated | None) -> Replicated | None:
    """`a - b`, paired: both must come from the same weights. None where either is undefined."""
    if a is None or b is None:
        return None
    _same_resamples(a, b)
    return _where_defined(a.value - b.value, a.replicates - b.replicates, a.defined & b.defined)


def recovered_share(policy: Replicated | None, low: Replicated | None, high: Replicated | None) -> Replicated | None:
    """Share of the gap between `low` (ego only) and `high` (the oracle) that a policy recovers, paired.

    `(policy - low) / (high - low)`: 0 is no better than alone, 1 is as good as knowing the attackers; it may leave
    [0, 1]. Resamples without a gap are left out. None where the data show no gap (`high <= low`): there is nothing
    to recover, and a ratio would mean nothing.
    """
    if policy is None or low is None or high is None or high.value <= low.value:
        return None
    _same_resamples(policy, low)
    _same_resamples(policy, high)
    gap = high.replicates - low.replicates
    defined = policy.defined & low.defined & high.defined & (gap > 0)
    gain = policy.replicates - low.replicates
    shares = np.divide(gain, gap, out=np.zeros_like(gain), where=defined)
    return _where_defined((policy.value - low.value) / (high.value - low.value), shares, defined)


def _weighted(weights: Int64, per_scene: Float64) -> Float64:
    if weights.shape[1] != len(per_scene):
        raise InputError(f"expected weights of {len(per_scene)} scenes, got {weights.shape[1]}; draw them for these")
    return np.asarray(weights.astype(np.float64) @ per_scene)


def _same_resamples(a: Replicated, b: Replicated) -> None:
    if a.replicates.shape != b.replicates.shape:
        raise InputError(
            f"expected replicates from the same resamples, got {len(a.replicates)} and {len(b.replicates)}; "
            "pass the same weights to both"
        )


def _where_defined(value: float, replicates: Float64, defined: Array) -> Replicated:
    return Replicated(float(value), np.where(defined, replicates, 0.0), defined)
