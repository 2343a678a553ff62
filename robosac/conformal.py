"""Split conformal thresholds: the k-th smallest of n honest scores, and what a threshold of n scores promises.

See `robosac.calibration`, which reads them off the scores of honest frames.
"""

from __future__ import annotations

from math import ceil, floor, log

import numpy as np

from robosac.types import Array, InputError


def conformal_threshold(agreements: Array, alpha: float, *, confidence: float | None = None) -> float:
    """The threshold `(n,)` honest agreements give at level alpha. A further one is below with P <= alpha: on average
    over calibrations, or, with a confidence, for that share of all calibrations.

    Needs `frames_needed(alpha, confidence)`; with fewer no finite threshold keeps the promise, and InputError says so.
    """
    values = np.sort(np.asarray(agreements, dtype=np.float64))
    return float(values[_rank(len(values), alpha, confidence) - 1])


def frames_needed(alpha: float, confidence: float | None = None) -> int:
    """The fewest honest frames that a threshold at level alpha can be read from.

    Raises:
        InputError: if alpha or confidence is outside of (0, 1).
    """
    for name, value in (("alpha", alpha), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"expected {name} inside (0, 1), got {value}; give a share like 0.02 or 0.95")
    if confidence is None:
        return ceil(1 / alpha - 1 - 1e-9)
    return ceil(log(1 - confidence) / log(1 - alpha) - 1e-9)


def refusal_bound(frames: int, alpha: float, *, confidence: float = 0.95, promised: float | None = None) -> float:
    """What the refusal rate of a threshold from `frames` honest frames stays below with this confidence.

    `promised` is the confidence that the threshold was chosen with, None for one that holds on average.

    Source: Vovk, "Conditional validity of inductive conformal predictors" (2012), proposition 2a, as a Beta quantile.
    """
    from scipy.stats import beta

    k = _rank(frames, alpha, promised)
    return float(beta.ppf(confidence, k, frames + 1 - k))


def _rank(frames: int, alpha: float, confidence: float | None = None) -> int:
    """Which of the sorted agreements is the threshold, counted from 1."""
    needed = frames_needed(alpha, confidence)
    if frames < needed:
        raise InputError(f"expected at least {needed} honest frames for alpha={alpha}, got {frames}; add frames")
    k = floor(alpha * (frames + 1) + 1e-12)
    if confidence is not None:
        from scipy.stats import beta

        ranks = np.arange(1, k + 1)
        k = max(1, int((beta.ppf(confidence, ranks, frames + 1 - ranks) <= alpha).sum()))  # grows with the rank
    return max(1, k)
