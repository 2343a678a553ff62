"""Where a pose may be: every motion that brings several objects of one agent onto objects of another.

A place is voted for by every pair of objects that it would bring together, for every turn within the limits. This is
exhaustive, so that the result does not depend on the error, the order of boxes or a random draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.poses.objects import Objects
from robosac.poses.offset import moved
from robosac.types import Bool, Float64

_STEP_DEG: Final = 1.75
_NEAR_M: Final = 0.9  # pairs whose motions differ by less vote for one another
_LONGEST: Final = 1.8  # two boxes of one object differ in length by at most this factor
_TURN_DEG: Final = 25.0  # and in heading, modulo pi, by at most this


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far off a pose is looked for: metres of the sender's place, degrees of its heading."""

    metres: float = 14.0
    degrees: float = 14.0

    def hold(self, vector: Float64) -> bool:
        """Whether a motion `(3,)` is within, give or take what refining may add."""
        return bool(np.hypot(*vector[:2]) <= self.metres + 1.0 and abs(vector[2]) <= np.radians(self.degrees + 1.0))


def hypotheses(own: Objects, theirs: Objects, pivot: Float64, limits: Limits, *, most: int = 8) -> Iterator[Float64]:
    """Vectors `(3,)` `[x y yaw]` about `pivot (2,)`, best first, at most so many, each unlike those before."""
    alike = similar(own, theirs)
    if not alike.any():
        return
    found = []
    for turn in np.radians(np.arange(-limits.degrees, limits.degrees + 1e-9, _STEP_DEG)):
        pairs = alike & _parallel(own, theirs, float(turn))
        a, b = np.nonzero(pairs)
        if not len(a):
            continue
        step = own.xy[a] - moved(theirs.xy[b], np.array([0.0, 0.0, turn]), pivot)
        near = np.hypot(step[:, 0], step[:, 1]) <= limits.metres
        step, weight = step[near], np.sqrt(own.weight[a[near]] * theirs.weight[b[near]])
        if not len(step):
            continue
        apart = np.hypot(*(step[:, None] - step[None]).transpose(2, 0, 1))
        close = np.maximum(1 - (apart / _NEAR_M) ** 2, 0.0) * weight
        votes = close.sum(axis=1)
        for k in np.argsort(-votes, kind="stable")[:4]:
            place = close[k] @ step / close[k].sum()
            found.append((float(votes[k]), np.array([*place, turn])))
    kept: list[Float64] = []
    for _, vector in sorted(found, key=lambda one: -one[0]):
        if all(np.hypot(*(vector - k)[:2]) > _NEAR_M or abs(vector[2] - k[2]) > np.radians(2.5) for k in kept):
            kept.append(vector)
            yield vector
        if len(kept) >= most:
            return


def similar(own: Objects, theirs: Objects) -> Bool:
    """`(N, M)`, which pairs are of like size: a car is not a bus."""
    ratio = own.size[:, None, 0] / theirs.size[None, :, 0]
    return np.asarray((ratio < _LONGEST) & (ratio > 1 / _LONGEST))


def _parallel(own: Objects, theirs: Objects, turn: float) -> Bool:
    apart = half_turn(own.yaw[:, None] - theirs.yaw[None] - turn)
    free = ~(own.headed[:, None] & theirs.headed[None])
    return np.asarray((np.abs(apart) <= np.radians(_TURN_DEG)) | free)


def half_turn(angle: Float64) -> Float64:
    """Angles modulo pi, in [-pi/2, pi/2)."""
    return np.asarray((angle + np.pi / 2) % np.pi - np.pi / 2)
