"""What a step does to the verifier's data, and how far that is from what its own steps do.

A step is known by its *effect*: for each part of the verifier's data, the logarithm of the loss after the step over the
loss after its reversal. It depends on products alone, not on rank or gauge, and curvature, which raises the loss either
way, drops out to first order. Two steps that teach the same have effects that point the same way, whatever they cost
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FLOOR: Final = 1e-6  # of a loss: a part that is learnt to the end does not make a step infinitely large
Effect: TypeAlias = Sequence[float]
"""Of one step, a number a part of the verifier's data."""


def effect(after: Sequence[float], reversed: Sequence[float]) -> list[float] | None:
    """Of a step, from the losses of each part after it and after its reversal; None where one is no number of 0 or
    more, so that nothing can be said.
    """
    both = np.array([after, reversed], np.float64)
    if not (np.isfinite(both).all() and (both >= 0).all()):
        return None
    both = np.maximum(both, FLOOR)
    return [float(v) for v in np.log(both[0] / both[1])]


def rise(loss: float, reference: float) -> float:
    """By which share a loss is above another; what is not finite is above everything."""
    return (loss - reference) / max(abs(reference), 1e-12) if np.isfinite(loss) else float("inf")


def least_rise(after: Sequence[float], reversed: Sequence[float], reference: Sequence[float]) -> float:
    """Of half a step: the least share by which a part's loss rises, below 0 where half of it helps anywhere.

    By the parabola through the losses after the step, after its reversal and without it. Half, since a step that helps
    may be too long. Infinite where a loss is no number of 0 or more.
    """
    p, m, r = (np.array(v, np.float64) for v in (after, reversed, reference))
    if not (np.isfinite([p, m, r]).all() and (np.array([p, m, r]) >= 0).all()):
        return float("inf")
    return float((((p - m) / 4 + (p + m - 2 * r) / 8) / np.maximum(r, FLOOR)).min())


def angle(x: Effect, y: Effect) -> float:
    """Between two effects, degrees in [0, 180]; 90 where one is nothing."""
    a, b = np.array(x, np.float64), np.array(y, np.float64)
    long = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 90.0 if long < 1e-12 else float(np.degrees(np.arccos(np.clip(a @ b / long, -1.0, 1.0))))


def size(x: Effect) -> float:
    """Its length: .1 where the step and its reversal are ten percent apart in one part."""
    return float(np.linalg.norm(x))


def away(x: Effect, own: Mapping[str, Sequence[Effect]]) -> float:
    """Degrees by which an effect is further from the verifier's own than these are from each other.

    Args:
        x: of a client's step.
        own: part -> effects of the steps that the verifier learnt there, two or more.

    Returns:
        The least over parts; 0 or below where it is as near to one of a part's effects as they are to each other.
        Infinite without a part.
    """
    found = [
        min(angle(x, e) for e in effects) - max((angle(d, e) for d in effects for e in effects), default=0.0)
        for effects in own.values()
        if effects
    ]
    return min(found, default=float("inf"))


def summed(effects: Iterable[Effect]) -> list[float]:
    """Of all rounds: what a client always does adds up, and what chance does to it does not."""
    together: NDArray[Any] = np.sum([np.array(e, np.float64) for e in effects], axis=0)
    return [float(v) for v in np.atleast_1d(together)]
