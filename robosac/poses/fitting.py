"""How far a claimed pose is off: the motion that brings most objects of two agents together, with its uncertainty.

Two explanations compete. *Honest*: the pose is off by no more than honest poses are, a Gaussian prior on the motion.
*Free*: its place, its heading or both are off by anything. The gain of the free one, in units of a chi square, says how
much the objects speak against the claim; what gain honest frames show is for calibration to tell.

Motions are looked for everywhere within the limits (`hypotheses`) and refined (`refining`). What fits nearly as well
somewhere else is kept, too: in a row of parked cars there is no telling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.poses.free import FreeGround
from robosac.poses.hypotheses import Limits, hypotheses
from robosac.poses.objects import Objects
from robosac.poses.offset import Offset, moved
from robosac.poses.refining import Fit, Problem, Refiner
from robosac.types import Float64

_APART_M: Final = 0.8  # two motions are different where they move what is seen by more than this
_NEAR_M: Final = 3.0  # a free motion so small is told apart by less, since less is tried
_AT_ONCE: Final = 64  # problems that are refined together: of 64 teammates a thousand pairs may be asked
_PER_NUMBER: Final = 5.0  # by how much a free number must better the fit: a range of metres in place of decimetres

_Asked = tuple[int, Float64, tuple[bool, bool]]  # a problem, a start, and whether place and heading are free


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
    if not len(own) or not len(theirs):
        return None
    problem = Problem(own, theirs, np.asarray(pivot, np.float64), age_s, free_ground)
    return estimates([problem], limits)[0]


def estimates(problems: Sequence[Problem], limits: Limits | None = None) -> list[PoseEstimate | None]:
    """What `estimate` says of each of several problems, many of which are refined together."""
    within = limits or Limits()
    some = [problems[k : k + _AT_ONCE] for k in range(0, len(problems), _AT_ONCE)]
    return [found for part in some for found in _estimates(part, within)]


def _estimates(problems: Sequence[Problem], within: Limits) -> list[PoseEstimate | None]:
    refiner = Refiner(problems)
    first = [
        [(k, h, (True, True)) for h in (np.zeros(3), *hypotheses(p.own, p.theirs, p.pivot, within))]
        + [(k, np.zeros(3), (False, False))]
        for k, p in enumerate(problems)
    ]
    searched = [
        _Searched(p, near, elsewhere, honest, within)
        for p, (near, *elsewhere, honest) in zip(problems, _fits(refiner, first), strict=True)
    ]
    second = [[one for f in s.freed for one in _held(k, f)] for k, s in enumerate(searched)]
    return [s.estimate(held) for s, held in zip(searched, _fits(refiner, second), strict=True)]


def _fits(refiner: Refiner, asked: Sequence[Sequence[_Asked]]) -> list[list[Fit | None]]:
    """Fits of `(problem, start, free)`, a list for each list."""
    every = [one for some in asked for one in some]
    fits = iter(refiner.fit([k for k, _, _ in every], [s for _, s, _ in every], [f for _, _, f in every]))
    return [[next(fits) for _ in some] for some in asked]


class _Searched:
    """The motions that were found for one problem."""

    def __init__(
        self, problem: Problem, near: Fit | None, elsewhere: Sequence[Fit | None], honest: Fit | None, within: Limits
    ) -> None:
        self.problem, self.honest = problem, honest
        self.found = [f for f in (near, *elsewhere) if f is not None and within.hold(f.vector)]
        self.near = None if near is None or np.hypot(*near.vector[:2]) > _NEAR_M else near
        self.freed: list[Fit] = []  # those that may leave their place or their heading as honest
        if self.found:
            best = min(self.found, key=lambda f: f.cost)
            self.freed = [best] if self.near is None or self.near is best else [best, self.near]

    def estimate(self, held: Sequence[Fit | None]) -> PoseEstimate | None:
        """By those that leave their heading, and their place, as honest: two for each of `freed`."""
        if not self.found:
            return None
        honest, free = self.honest, _simplest(self.freed[0], held[:2])
        shift = None if self.near is None else _simplest(self.freed[-1], held[-2:])
        claimed = 0.0 if honest is None else honest.cost
        others = [*self.found, *([honest] if honest is not None else [])]
        places = np.stack([moved(self.problem.theirs.xy, f.vector, self.problem.pivot) for f in others])

        def lead(of: Fit) -> float:
            away = places - moved(self.problem.theirs.xy, of.vector, self.problem.pivot)
            apart_m = np.sqrt((away**2).sum(axis=2).mean(axis=1))
            costs = [f.cost for f, metres in zip(others, apart_m, strict=True) if metres > _APART_M]
            return min(costs, default=float("inf")) - of.cost

        return PoseEstimate(
            honest=honest,
            shift=shift,
            free=free,
            gain_of_shift=0.0 if shift is None else claimed - shift.cost,
            gain=claimed - free.cost,
            shown=min(len(self.problem.own), len(self.problem.theirs)),
            lead_of_honest=-float("inf") if honest is None else lead(honest),
            lead_of_free=lead(free),
            pivot=self.problem.pivot,
        )


def _held(k: int, best: Fit) -> tuple[_Asked, _Asked]:
    """What is asked to leave the heading, and the place, of a motion as honest."""
    start = best.vector[:3]
    return (k, start * [1, 1, 0], (True, False)), (k, start * [0, 0, 1], (False, True))


def _simplest(best: Fit, held: Sequence[Fit | None]) -> Fit:
    """The best motion, or one with its heading, or its place, as honest where that fits nearly as well."""
    priced = [(best.cost + 3 * _PER_NUMBER, best)]
    priced += [(f.cost + n * _PER_NUMBER, f) for f, n in zip(held, (2, 1), strict=True) if f is not None]
    return min(priced, key=lambda one: one[0])[1]
