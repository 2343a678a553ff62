"""APGD (Croce and Hein, "Reliable evaluation of adversarial robustness", arXiv 2003.01690): no step size to choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from robosac.attacks.features.gradient import FeatureGradient, Loss, lowest, slopes_of, value_of
from robosac.attacks.features.norms import Ball, Rng
from robosac.attacks.features.problem import Problem
from robosac.attacks.settings import integer, real


@dataclass(frozen=True, kw_only=True)
class Apgd(FeatureGradient):
    """Auto-PGD: long steps with momentum, halved at checkpoints where they gained little; the best iterate is sent.

    The paper's first step, 2 epsilon, is for its 100 steps; within 15 it is halved too late to be of use, and plain PGD
    does better (measured on all fusions here). A quarter of it does better than either at 15.

    Attributes:
        steps: gradients taken a search. The last iterate costs a forward pass more, to know whether it is the best.
        first_step_per_epsilon: length of the first step as a share of epsilon; the paper's is 2.
        share_kept: momentum, alpha of equation 1: the share of the new step; the rest repeats the last move.
        gains_wanted: rho, the share of steps between checkpoints that must lower the loss, lest the step is halved.
        restarts: searches after the first, each from another start; that of the lowest loss is sent.
    """

    steps: int = 15
    first_step_per_epsilon: float = 0.5
    share_kept: float = 0.75
    gains_wanted: float = 0.75
    restarts: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self, "steps", low=1)
        real(self, "first_step_per_epsilon", low=0.0)
        real(self, "share_kept", low=0.0, high=1.0)
        real(self, "gains_wanted", low=0.0, high=1.0)
        integer(self, "restarts", low=0)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        def once(turn: int) -> list[Tensor]:
            return self.climb_down(problem.loss, ball.random(rng, "start", turn), ball)

        return lowest(problem.loss, ball, once, self.restarts)

    def climb_down(self, loss: Loss, start: Sequence[Tensor], ball: Ball) -> list[Tensor]:
        """Algorithm 1, signs turned: the loss is minimised. Returns the iterate of the lowest loss.

        Raises:
            InputError: a gradient is NaN or inf.
        """
        back, alpha = ball.project(), self.share_kept
        checkpoints = set(checkpoints_of(self.steps))
        step, current, previous = self.first_step_per_epsilon * self.epsilon, list(start), list(start)
        best, best_slopes, least = current, None, math.inf
        last, gains, since = math.inf, 0, 0  # loss of the last iterate; steps that lowered it, of how many
        halved, least_then = False, math.inf  # at the last checkpoint
        for k in range(self.steps):
            value, slopes = slopes_of(loss, ball, current)
            if slopes is None:
                return current
            gains, since = gains + (k > 0 and value < last), since + (k > 0)
            last = value
            if value < least:
                best, best_slopes, least = current, slopes, value
            if k in checkpoints:
                stuck = not halved and least == least_then  # condition 2: the step was kept and nothing came of it
                halved = gains < self.gains_wanted * since or stuck  # condition 1: too few steps gained
                if halved:
                    step, current, previous = step / 2, best, best
                    slopes = best_slopes or slopes
                least_then, gains, since = least, 0, 0
            plain = back([x - step * d for x, d in zip(current, ball.steepest(slopes), strict=True)])
            if k == 0:  # no last move yet
                previous, current = current, plain
                continue
            mixed = [
                x + alpha * (z - x) + (1 - alpha) * (x - p) for x, z, p in zip(current, plain, previous, strict=True)
            ]
            previous, current = current, back(mixed)
        return current if value_of(loss, ball, current) < least else best


def checkpoints_of(steps: int) -> list[int]:
    """Section 3.2: p0 = 0, p1 = 0.22, p(j+1) = p(j) + max(p(j) - p(j-1) - 0.03, 0.06); steps at ceil(p * steps)."""
    shares = [0.0, 0.22]
    while shares[-1] < 1.0:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [k for k in dict.fromkeys(math.ceil(round(p * steps, 9)) for p in shares[1:]) if k < steps]


ATTACKS: Final[Mapping[str, type[Any]]] = {"apgd": Apgd}
