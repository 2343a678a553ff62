"""How far a claimed pose is off: the motion that brings most objects of two agents together, with its uncertainty.

Two explanations compete. *Honest*: the pose is off by no more than honest poses are, a Gaussian prior on the motion.
*Free*: its place, its heading or both are off by anything. The gain of the free one, in units of a chi square, says how
much the objects speak against the claim; what gain honest frames show is for calibration to tell.

Motions are looked for everywhere within the limits (`hypotheses`) and refined by weighted least squares: objects that
are each other's nearest are paired, a residual is weighed by the scatter of both boxes along and across their headings
and once more by how well it fits (iteratively, Geman-McClure), headings count modulo pi. The scale of the residuals is
estimated with the motion, so that a worse detector gets a wider covariance. What fits nearly as well somewhere else is
kept, too: in a row of parked cars there is no telling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.poses.free import FreeGround
from robosac.poses.hypotheses import Limits, half_turn, hypotheses, similar
from robosac.poses.objects import HEADING_DEG, Objects
from robosac.poses.offset import Offset, moved
from robosac.types import Array, Float64, Int64

GATE: Final = 3.5  # standard deviations within which two boxes can be one object
_ROUNDS: Final = 10
_SOFT: Final = 2.5  # residuals beyond this many standard deviations lose their weight
_PRIOR_DOF: Final = 6.0  # the scatter assumed counts as much as so many residuals
_APART_M: Final = 0.8  # two motions are different where they move what is seen by more than this
_NEAR_M: Final = 3.0  # a free motion so small is told apart by less, since less is tried
_PER_NUMBER: Final = 5.0  # by how much a free number must better the fit: a range of metres in place of decimetres
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
class PoseEstimate:
    """What two agents' objects say of a claimed pose.

    Attributes:
        honest: the best motion that an honest pose may need; None where it brings nothing together.
        shift: the best free motion near to the claim; None where there is none.
        free: the best motion anywhere.
        gain_of_shift, gain: by how much these are better than the honest one.
        shown: objects that both might see: the smaller number.
        lead_of_honest, lead_of_free: by how much each is better than the best motion that is another; infinite where
            there is none.
        pivot: `(2,)`, where the sender claims to be.
    """

    honest: Fit | None
    shift: Fit | None
    free: Fit
    gain_of_shift: float
    gain: float
    shown: int
    lead_of_honest: float
    lead_of_free: float
    pivot: Float64

    def offset(self, fit: Fit) -> Offset:
        """A motion with the pivot that it is about."""
        x, y, yaw = map(float, fit.vector[:3])
        return Offset(x, y, yaw, (float(self.pivot[0]), float(self.pivot[1])))


def estimate(
    own: Objects,
    theirs: Objects,
    pivot: Sequence[float],
    *,
    age_s: float = 0.0,
    free_ground: FreeGround | None = None,
    limits: Limits | None = None,
) -> PoseEstimate | None:
    """The motions that bring `theirs` onto `own`, both in the ego's frame by claimed poses; None where nothing fits.

    Args:
        pivot: `(x, y)` where the sender claims to be, ego frame, metres.
        age_s: of the message: since then objects may have moved.
        free_ground: where the ego's own rays show that nothing stands.
        limits: how far off it may be.
    """
    at, within = np.asarray(pivot, np.float64), limits or Limits()
    if not len(own) or not len(theirs):
        return None
    problem = Problem(own, theirs, at, age_s, free_ground)
    starts = [np.zeros(3), *hypotheses(own, theirs, at, within)]
    near, *elsewhere = [problem.fit(h, (True, True)) for h in starts]
    found = [f for f in (near, *elsewhere) if f is not None and within.hold(f.vector)]
    if not found:
        return None
    honest = problem.fit(np.zeros(3), (False, False))
    free = problem.simplest(min(found, key=lambda f: f.cost))
    shift = None if near is None or np.hypot(*near.vector[:2]) > _NEAR_M else problem.simplest(near)
    claimed = 0.0 if honest is None else honest.cost

    def lead(of: Fit) -> float:
        others = [*found, *([honest] if honest is not None else [])]
        return min((f.cost for f in others if problem.apart_m(f, of) > _APART_M), default=float("inf")) - of.cost

    return PoseEstimate(
        honest=honest,
        shift=shift,
        free=free,
        gain_of_shift=0.0 if shift is None else claimed - shift.cost,
        gain=claimed - free.cost,
        shown=min(len(own), len(theirs)),
        lead_of_honest=-float("inf") if honest is None else lead(honest),
        lead_of_free=lead(free),
        pivot=at,
    )


class Problem:
    """Two agents' objects, and the fit of any motion between them."""

    def __init__(
        self, own: Objects, theirs: Objects, pivot: Float64, age_s: float = 0.0, ground: FreeGround | None = None
    ) -> None:
        self.own, self.theirs, self.pivot, self.ground = own, theirs, pivot, ground
        old = min(max(abs(age_s), 1e-4), _OLDEST_S)
        self.lag = (_SPEED * old) ** -2
        self.ahead = np.stack([np.cos(own.yaw), np.sin(own.yaw)], axis=1)
        scatter = own.covariances(_SPREAD * old)[:, None] + theirs.covariances()[None]  # (N, M, 2, 2); turns are small
        self.information = np.linalg.inv(scatter)
        self.alike = similar(own, theirs)
        self.headed = own.headed[:, None] & theirs.headed[None]
        self.weight = np.sqrt(own.weight[:, None] * theirs.weight[None])

    def apart_m(self, a: Fit, b: Fit) -> float:
        """How far two motions bring what the teammate shows from each other, RMS."""
        places = [moved(self.theirs.xy, f.vector, self.pivot) for f in (a, b)]
        return float(np.sqrt(((places[0] - places[1]) ** 2).sum(axis=1).mean()))

    def simplest(self, best: Fit) -> Fit:
        """The best motion, or one that leaves its place or its heading as honest where that fits nearly as well."""
        heading_held = self.fit(best.vector[:3] * [1, 1, 0], (True, False))
        place_held = self.fit(best.vector[:3] * [0, 0, 1], (False, True))
        priced = [(best.cost + 3 * _PER_NUMBER, best)]
        priced += [(f.cost + n * _PER_NUMBER, f) for f, n in ((heading_held, 2), (place_held, 1)) if f is not None]
        return min(priced, key=lambda one: one[0])[1]

    def fit(self, start: Float64, free: tuple[bool, bool]) -> Fit | None:
        """Refined from a start `(3,)`; None where nothing is brought together.

        `free`: whether its place and its heading may be anything. What is not has a Gaussian prior about the claim.
        """
        prior = np.append(np.where(np.repeat(free, (2, 1)), _FREE, _HELD), self.lag)
        vector = np.append(start, 0.0)
        for k in range(_ROUNDS):
            square, step, turn = self._left(vector)
            pairs = self._pairs(square, GATE * max(1.0, 2.0 - k / 2))
            if not len(pairs):
                return None
            normal, slope, _ = self._normal(pairs, square, step, turn, vector)
            change = np.linalg.solve(normal + np.diag(prior), slope - prior * vector)
            vector = vector + change
            if k >= 2 and np.abs(change).max() < 1e-4:
                break
        square, step, turn = self._left(vector)
        pairs = self._pairs(square, GATE)
        if not len(pairs):
            return None
        normal, _, scale = self._normal(pairs, square, step, turn, vector)
        a, b = pairs.T
        support = float((self.weight[a, b] * np.maximum(1 - square[a, b] / GATE**2, 0.0)).sum())
        cost = float(prior @ vector**2) - GATE**2 * (support - _REFUTED * self._refuted(vector, b))
        covariance = np.asarray(np.linalg.inv(normal / scale + np.diag(prior)), np.float64)
        return Fit(vector, covariance, pairs, support, cost)

    def _refuted(self, vector: Float64, paired: Int64) -> float:
        """How many of the teammate's objects, by weight, a motion puts on free ground; those that the ego shows are
        not."""
        if self.ground is None:
            return 0.0
        where = self.ground.refuted(self.theirs, vector, self.pivot)
        where[paired] = False
        return float(self.theirs.weight[where].sum())

    def _left(self, vector: Float64) -> tuple[Float64, Float64, Float64]:
        """What a motion leaves: squared distances `(N, M)` in deviations, steps `(N, M, 2)`, turns `(N, M)`."""
        step = self.own.xy[:, None] - moved(self.theirs.xy, vector, self.pivot)[None] - vector[3] * self.ahead[:, None]
        turn = half_turn(self.own.yaw[:, None] - self.theirs.yaw[None] - vector[2])
        x, y, info = step[..., 0], step[..., 1], self.information
        square = info[..., 0, 0] * x**2 + 2 * info[..., 0, 1] * x * y + info[..., 1, 1] * y**2
        square += np.where(self.headed, (turn / _HEADING) ** 2, 0.0)
        return np.where(self.alike, square, np.inf), step, turn

    def _pairs(self, square: Float64, gate: float) -> Int64:
        """Rows `(n, 2)` of objects that are each other's nearest and near enough."""
        mine, yours = square.argmin(axis=1), square.argmin(axis=0)
        rows = np.flatnonzero(yours[mine] == np.arange(len(mine)))
        rows = rows[square[rows, mine[rows]] <= gate**2]
        return np.stack([rows, mine[rows]], axis=1)

    def _normal(
        self, pairs: Int64, square: Float64, step: Float64, turn: Float64, vector: Float64
    ) -> tuple[Float64, Float64, float]:
        """Normal matrix `(4, 4)`, its right side `(4,)` and the scale of the residuals' variance."""
        a, b = pairs.T
        m2 = square[a, b]
        robust = self.weight[a, b] / (1 + m2 / _SOFT**2) ** 2
        moving = jacobian(moved(self.theirs.xy[b], vector, self.pivot) - self.pivot - vector[:2])
        j = np.concatenate([moving, self.ahead[a][:, :, None]], axis=2)
        weighted = np.einsum("n,nji,njk->nik", robust, j, self.information[a, b])
        normal, slope = np.einsum("nij,njk->ik", weighted, j), np.einsum("nij,nj->i", weighted, step[a, b])
        heading = robust * self.headed[a, b] / _HEADING**2
        normal[2, 2] += heading.sum() + 1e-3  # one object without a heading tells no turn
        slope[2] += (heading * turn[a, b]).sum()
        dof = max(2 * len(a) + int(self.headed[a, b].sum()) - 3, 0)
        scale = (_PRIOR_DOF + float((robust * m2).sum())) / (_PRIOR_DOF + dof * float(robust.mean()))
        return normal, slope, max(scale, 0.5)


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
