"""Motions between two agents' objects, refined by weighted least squares: those of several pairs of agents at once.

Objects that are each other's nearest are paired, a residual is weighed by the scatter of both boxes along and across
their headings and once more by how well it fits (iteratively, Geman-McClure), headings count modulo pi. The scale of
the residuals is estimated with the motion, so that a worse detector gets a wider covariance.

All pairs of agents are padded to one size, `K` motions are refined side by side, and each stops where it would alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from robosac.poses.free import FreeGround
from robosac.poses.hypotheses import similar
from robosac.poses.objects import HEADING_DEG, Objects
from robosac.poses.offset import moved
from robosac.types import Array, Bool, Float64, Int64

GATE: Final = 3.5  # standard deviations within which two boxes can be one object
_ROUNDS: Final = 10
_SOFT: Final = 2.5  # residuals beyond this many standard deviations lose their weight
_PRIOR_DOF: Final = 6.0  # the scatter assumed counts as much as so many residuals
_REFUTED: Final = 0.7  # a box on free ground speaks against a motion, as much as this share of a pair speaks for it
_HEADING: Final = float(np.radians(HEADING_DEG) * np.sqrt(2))
_SPEED, _SPREAD = 25.0, 10.0  # metres per second: of traffic, and by which cars differ
_OLDEST_S: Final = 0.3  # a message that claims to be older gets no more freedom for it
_FREE: Final = 1e-6  # information of a prior that says nothing
HONEST_M, HONEST_DEG = 0.28, 0.28
"""Relative error of two honest poses, .2 m and .2 degrees each: standard deviations of a coordinate, the heading."""
_HELD: Final = np.array([HONEST_M**-2, HONEST_M**-2, np.radians(HONEST_DEG) ** -2])


@dataclass(frozen=True, eq=False)
class Fit:
    """A motion that was refined.

    Attributes:
        vector: `(4,)` `[x y yaw lag]`, metres and radians, about the sender's claimed place; the lag is how far the
            objects drove on, each along its heading, since an older message's scan.
        covariance: `(4, 4)` of it.
        pairs: `(n, 2)` rows of the ego's and of the teammate's objects that it brings together.
        support: how well these fit, at most one for each.
        cost: like a negative log likelihood, doubled; the prior is in it.
    """

    vector: Float64
    covariance: Float64
    pairs: Int64
    support: float
    cost: float

    def sigma_m(self, places: Array, pivot: Array) -> float:
        """Standard deviation of a coordinate of places `(N, 2)` once moved, RMS; infinite for none."""
        return sigma_of(self.vector, self.covariance, places, pivot)

    def deviations(self) -> float:
        """How many of its own standard deviations the motion is from none."""
        v = self.vector[:3]
        return float(np.sqrt(max(float(v @ np.linalg.solve(self.covariance[:3, :3], v)), 0.0)))


@dataclass(frozen=True, eq=False)
class Problem:
    """Two agents' objects, both in the ego's frame by claimed poses, at least one each.

    Attributes:
        own, theirs: the ego's and the teammate's.
        pivot: `(2,)` where the teammate claims to be, metres.
        age_s: of its message: since then objects may have moved.
        ground: where the ego's own rays show that nothing stands.
    """

    own: Objects
    theirs: Objects
    pivot: Float64
    age_s: float = 0.0
    ground: FreeGround | None = None

    @property
    def driven_s(self) -> float:
        """How long objects may have driven on."""
        return min(max(abs(self.age_s), 1e-4), _OLDEST_S)


@dataclass(frozen=True, eq=False)
class _Sides:
    """What problems are to the fit, padded: a row a problem, or a row a motion that is refined."""

    own: Float64  # (K, N, 2) places about the pivot
    ahead: Float64  # (K, N, 2) headings, unit vectors
    theirs: Float64  # (K, M, 2) places about the pivot
    turn: Float64  # (K, N, M) between headings
    xx: Float64  # (K, N, M) information of a pair's step
    xy: Float64
    yy: Float64
    heading: Float64  # (K, N, M) information of its turn
    unlike: Float64  # (K, N, M) 0, or infinite where two objects are no pair
    weight: Float64  # (K, N, M)

    def of(self, rows: Array) -> _Sides:
        """Rows, some of them often."""
        return _Sides(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class _Paired:
    """What motions leave of each of the ego's objects `(K, N)` and its nearest of the teammate's."""

    nearest: Int64
    found: Bool  # whether these are each other's nearest, and near enough
    square: Float64  # of the distance in standard deviations; 0 where not found
    step: Float64  # (K, N, 2)
    turned: Float64  # (K, M, 2) the teammate's places about the pivot, turned


class Refiner:
    """Refines motions of several problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        self.lag = np.array([(_SPEED * p.driven_s) ** -2 for p in problems])
        n, m = (max(len(side) for side in both) for both in zip(*((p.own, p.theirs) for p in problems), strict=True))
        sides = [_sides(p, n, m) for p in problems]
        self.sides = _Sides(*(np.stack([getattr(s, f.name) for s in sides]) for f in fields(_Sides)))

    def fit(
        self, which: Sequence[int], starts: Sequence[Float64], free: Sequence[tuple[bool, bool]]
    ) -> list[Fit | None]:
        """Each motion of the problem `which`, refined from a start `(3,)`; None where nothing is brought together.

        `free`: whether its place and its heading may be anything. What is not has a Gaussian prior about the claim.
        """
        of = np.asarray(which, np.int64)
        held = np.where(np.repeat(np.asarray(free, np.bool_).reshape(-1, 2), (2, 1), axis=1), _FREE, _HELD)
        prior = np.concatenate([held, self.lag[of, None]], axis=1)
        vector = np.concatenate([np.reshape(starts, (-1, 3)), np.zeros((len(of), 1))], axis=1)
        every = self.sides.of(of)
        going, empty, sides = np.arange(len(of)), np.zeros(len(of), np.bool_), every
        for k in range(_ROUNDS):
            if not len(going):
                break
            pairs = _paired(sides, vector[going], GATE * max(1.0, 2.0 - k / 2))
            normal, slope, _ = _normal(sides, pairs, vector[going])
            some, at = pairs.found.any(axis=1), prior[going]
            right = slope - at * vector[going]
            change = np.linalg.solve(normal + at[:, :, None] * np.eye(4), right[:, :, None])[:, :, 0]
            empty[going[~some]] = True
            vector[going[some]] += change[some]
            on = some if k < 2 else some & (np.abs(change).max(axis=1) >= 1e-4)
            if not on.all():
                going, sides = going[on], sides.of(np.flatnonzero(on))
        return self._made(every, of, vector, prior, empty)

    def _made(self, sides: _Sides, of: Int64, vector: Float64, prior: Float64, empty: Bool) -> list[Fit | None]:
        """Fits of motions that are as good as they get."""
        pairs = _paired(sides, vector, GATE)
        normal, _, scale = _normal(sides, pairs, vector)
        weight = np.take_along_axis(sides.weight, pairs.nearest[:, :, None], axis=2)[:, :, 0]
        support = (weight * pairs.found * np.maximum(1 - pairs.square / GATE**2, 0.0)).sum(axis=1)
        refuted = self._refuted(of, vector, pairs)
        cost = (prior * vector**2).sum(axis=1) - GATE**2 * (support - _REFUTED * refuted)
        covariance = np.linalg.inv(normal / scale[:, None, None] + prior[:, :, None] * np.eye(4))
        made: list[Fit | None] = []
        for k in range(len(of)):
            rows = np.flatnonzero(pairs.found[k])
            if empty[k] or not len(rows):
                made.append(None)
                continue
            both = np.stack([rows, pairs.nearest[k, rows]], axis=1)
            made.append(Fit(vector[k], covariance[k], both, float(support[k]), float(cost[k])))
        return made

    def _refuted(self, of: Int64, vector: Float64, pairs: _Paired) -> Float64:
        """How many of the teammate's objects, by weight, each motion puts on free ground `(K,)`; those that the ego
        shows are not."""
        out = np.zeros(len(of))
        for number, problem in enumerate(self.problems):
            rows = np.flatnonzero(of == number)
            if problem.ground is None or not len(rows):
                continue
            where = problem.ground.refuted(problem.theirs, vector[rows], problem.pivot)
            k, a = np.nonzero(pairs.found[rows])
            where[k, pairs.nearest[rows[k], a]] = False
            out[rows] = (where * problem.theirs.weight).sum(axis=1)
        return out


def _sides(problem: Problem, n: int, m: int) -> _Sides:
    own, theirs = problem.own, problem.theirs
    scatter = own.covariances(_SPREAD * problem.driven_s)[:, None] + theirs.covariances()[None]  # turns are small
    xx, xy, yy = scatter[..., 0, 0], scatter[..., 0, 1], scatter[..., 1, 1]
    det = xx * yy - xy**2
    headed = own.headed[:, None] & theirs.headed[None]
    ahead = np.stack([np.cos(own.yaw), np.sin(own.yaw)], axis=1)
    lines = (_padded(own.xy - problem.pivot, n), _padded(ahead, n), _padded(theirs.xy - problem.pivot, m))
    unlike = np.where(similar(own, theirs), 0.0, np.inf)
    squares = (own.yaw[:, None] - theirs.yaw[None], yy / det, -xy / det, xx / det, headed / _HEADING**2)
    weight = np.sqrt(own.weight[:, None] * theirs.weight[None])
    turn, xx, xy, yy, heading = (_padded(s, n, m) for s in squares)
    apart, weights = _padded(unlike, n, m, np.inf), _padded(weight, n, m)
    return _Sides(*lines, turn, xx, xy, yy, heading, apart, weights)


def _padded(array: Float64, n: int, m: int | None = None, value: float = 0.0) -> Float64:
    out = np.full((n, array.shape[1] if m is None else m), value)
    out[: array.shape[0], : array.shape[1]] = array
    return out


def _paired(sides: _Sides, vector: Float64, gate: float) -> _Paired:
    """Objects that are each other's nearest once moved by `vector (K, 4)`, and near enough."""
    cos, sin = np.cos(vector[:, 2, None]), np.sin(vector[:, 2, None])
    x, y = sides.theirs[..., 0], sides.theirs[..., 1]
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    mine = sides.own - vector[:, 3, None, None] * sides.ahead
    yours = turned + vector[:, None, :2]
    dx = mine[:, :, None, 0] - yours[:, None, :, 0]
    dy = mine[:, :, None, 1] - yours[:, None, :, 1]
    square = sides.xx * dx
    square += 2 * sides.xy * dy
    square *= dx
    square += np.square(dy, out=dy) * sides.yy
    turn = _half_turn(sides.turn - vector[:, 2, None, None])
    square += np.square(turn, out=turn) * sides.heading
    square += sides.unlike
    nearest, back = square.argmin(axis=2), square.argmin(axis=1)
    least = np.take_along_axis(square, nearest[:, :, None], axis=2)[:, :, 0]
    found = np.take_along_axis(back, nearest, axis=1) == np.arange(nearest.shape[1])
    found &= least <= gate**2
    step = mine - np.take_along_axis(yours, nearest[:, :, None], axis=1)
    return _Paired(nearest, found, np.where(found, least, 0.0), step, turned)


def _normal(sides: _Sides, pairs: _Paired, vector: Float64) -> tuple[Float64, Float64, Float64]:
    """Normal matrices `(K, 4, 4)`, their right sides `(K, 4)` and the scale of the residuals' variance `(K,)`."""
    k, a = np.arange(len(vector))[:, None], np.arange(pairs.nearest.shape[1])[None]
    at = (k, a, pairs.nearest)
    robust = np.where(pairs.found, sides.weight[at], 0.0) / (1 + pairs.square / _SOFT**2) ** 2
    xx, xy, yy = robust * sides.xx[at], robust * sides.xy[at], robust * sides.yy[at]
    place = pairs.turned[k, pairs.nearest]
    along_x, along_y = np.zeros((*place.shape[:2], 4)), np.zeros((*place.shape[:2], 4))  # how x and y move
    along_x[..., 0], along_x[..., 2], along_x[..., 3] = 1.0, -place[..., 1], sides.ahead[..., 0]
    along_y[..., 1], along_y[..., 2], along_y[..., 3] = 1.0, place[..., 0], sides.ahead[..., 1]
    weighted_x = xx[..., None] * along_x + xy[..., None] * along_y
    weighted_y = xy[..., None] * along_x + yy[..., None] * along_y
    weighted = np.concatenate([weighted_x, weighted_y], axis=1).transpose(0, 2, 1)
    normal = weighted @ np.concatenate([along_x, along_y], axis=1)
    step = np.concatenate([pairs.step[..., 0], pairs.step[..., 1]], axis=1)
    slope = (weighted @ step[..., None])[..., 0]
    turns = sides.heading[at]
    heading = robust * turns
    normal[:, 2, 2] += heading.sum(axis=1) + 1e-3  # one object without a heading tells no turn
    slope[:, 2] += (heading * _half_turn(sides.turn[at] - vector[:, 2, None])).sum(axis=1)
    count = pairs.found.sum(axis=1)
    dof = np.maximum(2 * count + (pairs.found & (turns > 0)).sum(axis=1) - 3, 0)
    scatter = _PRIOR_DOF + dof * robust.sum(axis=1) / np.maximum(count, 1)
    scale = (_PRIOR_DOF + (robust * pairs.square).sum(axis=1)) / scatter
    return normal, slope, np.maximum(scale, 0.5)


def _half_turn(angle: Float64) -> Float64:
    """Angles modulo pi, in [-pi/2, pi/2]: faster than the remainder, and none here is near the ends."""
    return np.asarray(angle - np.pi * np.rint(angle * (1 / np.pi)))


def sigma_of(vector: Float64, covariance: Float64, places: Array, pivot: Array) -> float:
    """Standard deviation of a coordinate of places `(N, 2)` moved by a motion known to `covariance (>=3, >=3)`, RMS."""
    if not len(places):
        return float("inf")
    j = jacobian(moved(places, vector, pivot) - pivot - vector[:2])
    spread = np.einsum("nij,jk,nik->n", j, covariance[:3, :3], j)
    return float(np.sqrt(max(float(spread.mean()), 0.0) / 2))


def jacobian(v: Float64) -> Float64:
    """`(N, 2, 3)`: how places at `v (N, 2)` from the pivot move with x, y and yaw."""
    j = np.zeros((len(v), 2, 3))
    j[:, 0, 0] = j[:, 1, 1] = 1.0
    j[:, 0, 2], j[:, 1, 2] = -v[:, 1], v[:, 0]
    return j
