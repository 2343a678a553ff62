"""Where a pose may be: every motion that brings several objects of one agent onto objects of another.

A place is voted for by every pair of objects that it would bring together, for every turn within the limits. This is
exhaustive, so that the result does not depend on the error, the order of boxes or a random draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from robosac.poses.objects import Objects
from robosac.types import Bool, Float64, Int64

_STEP_DEG: Final = 1.75
_NEAR_M: Final = 0.9  # pairs whose motions differ by less vote for one another
_PER_TURN: Final = 4  # places of each turn that are looked at
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


def hypotheses(own: Objects, theirs: Objects, pivot: Float64, limits: Limits, *, most: int = 8) -> list[Float64]:
    """Vectors `(3,)` `[x y yaw]` about `pivot (2,)`, best first, at most so many, each unlike those before."""
    turns = np.radians(np.arange(-limits.degrees, limits.degrees + 1e-9, _STEP_DEG))
    cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
    x, y = (theirs.xy - pivot).T
    there = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)  # (T, M, 2) about the pivot
    steps = (own.xy - pivot)[None, :, None] - there[:, None]  # (T, N, M, 2)
    near = steps[..., 0] ** 2 + steps[..., 1] ** 2 <= limits.metres**2
    turn, a, b = np.nonzero(near & _parallel(own, theirs, turns) & similar(own, theirs))
    step, weight = steps[turn, a, b], np.sqrt(own.weight[a] * theirs.weight[b])
    votes, place = _votes(step, weight, turn)
    order = np.lexsort((-votes, turn))
    rank = np.arange(len(order)) - np.searchsorted(turn, turn[order])  # among those of its turn
    few = order[rank < _PER_TURN]
    few = few[np.argsort(-votes[few], kind="stable")]
    found = np.column_stack([place[few], turns[turn[few]]])
    kept: list[Float64] = []
    while len(found) and len(kept) < most:
        away = found - found[0]
        kept.append(found[0])
        found = found[(np.hypot(away[:, 0], away[:, 1]) > _NEAR_M) | (np.abs(away[:, 2]) > np.radians(2.5))]
    return kept


def _votes(step: Float64, weight: Float64, turn: Int64) -> tuple[Float64, Float64]:
    """What steps `(P, 2)` of one turn get from those near, `(P,)`, and the places `(P, 2)` that these say."""
    votes, sums = weight.copy(), weight[:, None] * step
    if len(step):
        tree = cKDTree(np.column_stack([step, 2 * _NEAR_M * turn]), balanced_tree=False, compact_nodes=False)
        i, j = tree.query_pairs(_NEAR_M, output_type="ndarray").T
        close = np.maximum(1 - ((step[i] - step[j]) ** 2).sum(axis=1) / _NEAR_M**2, 0.0)
        to, by, share = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([close, close])
        share *= weight[by]
        votes += np.bincount(to, share, len(step))
        sums += np.column_stack([np.bincount(to, share * step[by, k], len(step)) for k in range(2)])
    return votes, sums / np.maximum(votes, 1e-12)[:, None]


def similar(own: Objects, theirs: Objects) -> Bool:
    """`(N, M)`, which pairs are of like size: a car is not a bus."""
    ratio = own.size[:, None, 0] / theirs.size[None, :, 0]
    return np.asarray((ratio < _LONGEST) & (ratio > 1 / _LONGEST))


def _parallel(own: Objects, theirs: Objects, turns: Float64) -> Bool:
    """`(T, N, M)`, which pairs head alike once turned."""
    apart = half_turn(own.yaw[:, None] - theirs.yaw - turns[:, None, None])
    return np.asarray((np.abs(apart) <= np.radians(_TURN_DEG)) | ~(own.headed[:, None] & theirs.headed))


def half_turn(angle: Float64) -> Float64:
    """Angles modulo pi, in [-pi/2, pi/2)."""
    return np.asarray((angle + np.pi / 2) % np.pi - np.pi / 2)
