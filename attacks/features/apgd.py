"""APGD (Croce and Hein, "Reliable evaluation of adversarial robustness", arXiv 2003.01690): no step size to choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from robosac.attacks.base import plain_budget
from robosac.attacks.features.ball import Ball, Rng
from robosac.attacks.features.descent import ArrayLoss, Look, Visit, best, by_autograd, by_loss, descend
from robosac.attacks.features.gradient import FeatureGradient
from robosac.attacks.features.problem import Problem
from robosac.attacks.registry import register
from robosac.attacks.settings import number


@register("apgd")
@dataclass(frozen=True, kw_only=True)
class Apgd(FeatureGradient):
    """Auto-PGD: long steps with momentum, halved at checkpoints where they gained little; the best iterate is sent.

    The paper's first step, 2 epsilon, is for its 100 steps; within 15 it is halved too late to be of use, and plain PGD
    does better (measured on all fusions here). A quarter of it does better than either at 15.

    Attributes:
        steps: gradients taken a search. The last iterate costs a forward pass more, to know whether it is the best.
        first_step_per_epsilon: length of the first step as a share of epsilon; the paper's is 2.
        share_kept: momentum, alpha of equation 1: the share of the new step; the rest repeats the last move.
        gains_wanted: rho, the share of steps between checkpoints that must lower the loss, else the step is halved.
        restarts: searches after the first, each from another start; that of the lowest loss is sent.
    """

    steps: int = number(15, low=1)
    first_step_per_epsilon: float = number(0.5, low=0.0)
    share_kept: float = number(0.75, low=0.0, high=1.0)
    gains_wanted: float = number(0.75, low=0.0, high=1.0)
    restarts: int = number(0, low=0)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        starts = (ball.random(rng, "start", turn) for turn in range(self.restarts + 1))
        return best(self.found(problem.loss, start, ball) for start in starts).arrays

    def found(self, loss: ArrayLoss, start: Sequence[Tensor], ball: Ball) -> Visit:
        """Algorithm 1, signs turned: the loss is minimised. The iterate of the lowest loss."""
        rule = _HalvedSteps(self, ball)
        look = rule.watched(by_autograd(by_loss(loss), ball.keys))
        return best(descend(look, start, rule.step, rule.project, self.steps))


class _HalvedSteps:
    """The step rule of one search: how long a step is depends on the losses so far."""

    def __init__(self, attack: Apgd, ball: Ball) -> None:
        self.attack, self.steepest, self.project = attack, ball.steepest, ball.project()
        self.checkpoints = set(checkpoints_of(attack.steps))
        self.length = attack.first_step_per_epsilon * plain_budget(attack)
        self.previous: list[Tensor] | None = None
        self.losses: list[float] = []
        self.lowest = Visit([], (math.inf,))
        self.gains, self.since = 0, 0  # steps since the last checkpoint that lowered the loss, of how many
        self.halved, self.least_then = False, math.inf  # at the last checkpoint

    def watched(self, look: Look) -> Look:
        """`look`, with the losses and the best iterate kept."""

        def looking(arrays: list[Tensor], slopes: bool) -> Visit:
            visit = look(arrays, slopes)
            if self.losses:
                self.gains, self.since = self.gains + (visit.marks[0] < self.losses[-1]), self.since + 1
            self.losses.append(visit.marks[0])
            self.lowest = best(iter([self.lowest, visit]))
            return visit

        return looking

    def step(self, turn: int, arrays: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        least = self.lowest.marks[0]
        if turn in self.checkpoints:
            stuck = not self.halved and least == self.least_then  # condition 2: the step was kept and gained nothing
            self.halved = self.gains < self.attack.gains_wanted * self.since or stuck  # condition 1: too few gained
            if self.halved:
                self.length, arrays, self.previous = self.length / 2, self.lowest.arrays, self.lowest.arrays
                slopes = self.lowest.slopes or slopes
            self.least_then, self.gains, self.since = least, 0, 0
        moved = [x - self.length * d for x, d in zip(arrays, self.steepest(slopes), strict=True)]
        previous, self.previous = self.previous, arrays
        if previous is None:  # no last move to repeat
            return moved
        alpha, plain = self.attack.share_kept, self.project(moved)
        return [x + alpha * (z - x) + (1 - alpha) * (x - p) for x, z, p in zip(arrays, plain, previous, strict=True)]


def checkpoints_of(steps: int) -> list[int]:
    """Section 3.2: p0 = 0, p1 = 0.22, p(j+1) = p(j) + max(p(j) - p(j-1) - 0.03, 0.06); steps at ceil(p * steps)."""
    shares = [0.0, 0.22]
    while shares[-1] < 1.0:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [k for k in dict.fromkeys(math.ceil(round(p * steps, 9)) for p in shares[1:]) if k < steps]
