"""FGSM, BIM, PGD, MI-FGSM and the C&W margin on the features as sent: one loop of steps, a small value an attack.

What is perturbed is the message's payload in the sender's own frame, before the ego warps it: something an attacker can
really send (the reference implementation perturbs the map after warping). All attackers of a frame collude; they are
optimised together for the full fusion, the honest teammates' messages included.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.base import Stage, Stateless, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.ball import Ball, Rng
from robosac.attacks.features.descent import Visit, best, by_autograd, by_loss, descend, last, steps_of
from robosac.attacks.features.norms import Linf, Norm
from robosac.attacks.features.objectives import InvertedBce, Margin, Objective
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.target_subsets import FullFusion, TargetSubsets
from robosac.attacks.measures import difference
from robosac.attacks.registry import register
from robosac.attacks.settings import number, part
from robosac.types import Array, Id, Message

WHITE_BOX = Knowledge.MODEL | Knowledge.TEAMMATES | Knowledge.VICTIM


@dataclass(frozen=True, kw_only=True)
class WhiteBox(Stateless):
    """A base: the float arrays of the messages are perturbed by what the victim's detector makes of them.

    Attributes:
        epsilon: budget of each attacker in the units of the features as sent, counted by `counted_by`.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"

    epsilon: float | str = number(0.5, low=0.0, sd=True)

    def counted_by(self) -> Norm:
        """What the budget counts."""
        return Linf()

    @property
    def unit(self) -> str:
        return self.counted_by().unit

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        moved = difference(honest, sent)
        return math.inf if moved is None else self.counted_by().size(moved)


@dataclass(frozen=True, kw_only=True)
class FeatureGradient(WhiteBox):
    """A base: perturb all float arrays of the attackers' messages so that an objective falls; override `search`.

    Attributes:
        objective: what is minimised.
        target_subsets: on which subsets.
        norm: what the budget counts.
    """

    objective: Objective = part(Objective, InvertedBce)
    target_subsets: TargetSubsets = part(TargetSubsets, FullFusion)
    norm: Norm = part(Norm, Linf)

    def counted_by(self) -> Norm:
        return self.norm

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        ball = Ball.around(honest, air.codec, self.norm, plain_budget(self))
        rng = colluders.rng(air, "problem")
        problem = Problem.on_frame(air, honest, self.objective, self.target_subsets, rng)
        return ball.messages(honest, self.search(problem, ball, partial(colluders.rng, air)))

    @abstractmethod
    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        """The arrays to be sent, in the order of `ball.keys`; they are rounded into the ball afterwards."""


@dataclass(frozen=True, kw_only=True)
class Descent(FeatureGradient):
    """A base: `steps` steps of a fixed length down the gradient, projected after each; the last iterate is sent.

    Attributes:
        step_per_epsilon: length of a step as a share of epsilon, so that a smaller budget takes smaller steps.
        steps: number of steps; each costs one forward and one backward pass of fusion and head.
    """

    step_per_epsilon: float = number(0.2, low=0.0)
    steps: int = number(15, low=0)

    def descended(
        self, problem: Problem, ball: Ball, start: list[Tensor], *, momentum: float = 0.0, judged: bool = False
    ) -> Visit:
        """The last iterate from `start`; its loss is taken only if it is to be `judged`."""
        rule = steps_of(self.step_per_epsilon * plain_budget(self), steepest=ball.steepest, momentum=momentum)
        look = by_autograd(by_loss(problem.loss), ball.keys)
        return last(descend(look, start, rule, ball.project(), self.steps, judge_last=judged))

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        return self.descended(problem, ball, ball.tensors(ball.clean)).arrays


@register("fgsm")
@dataclass(frozen=True, kw_only=True)
class Fgsm(FeatureGradient):
    """The fast gradient sign method (Goodfellow et al., arXiv 1412.6572): one step of the whole budget."""

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        look = by_autograd(by_loss(problem.loss), ball.keys)
        rule = steps_of(plain_budget(self), steepest=ball.steepest)
        return last(descend(look, ball.tensors(ball.clean), rule, ball.project(), 1, judge_last=False)).arrays


@register("bim")
@dataclass(frozen=True, kw_only=True)
class Bim(Descent):
    """The basic iterative method (Kurakin et al., arXiv 1607.02533) as in ROBOSAC: starts at the honest message."""


@register("cw_margin")
@dataclass(frozen=True, kw_only=True)
class CwMargin(Descent):
    """The Carlini and Wagner margin (arXiv 1608.04644) as ROBOSAC publishes it: under an L-inf clamp, zero start.

    `CwL2` is the method of that paper, which minimises the L2 norm of the perturbation.
    """

    objective: Objective = field(default_factory=Margin)


@register("pgd")
@dataclass(frozen=True, kw_only=True)
class Pgd(Descent):
    """Projected gradient descent (Madry et al., arXiv 1706.06083) as in ROBOSAC: a Gaussian start, 15 steps.

    Attributes:
        start_std_per_epsilon: standard deviation of the start as a share of epsilon; under another norm than L-inf,
            the typical size of the start.
        restarts: searches after the first, each from another start; that of the lowest loss is sent. Each costs as much
            as the first.
    """

    start_std_per_epsilon: float = number(0.2, low=0.0)
    restarts: int = number(0, low=0)

    def initial(self, clean: Array, rng: np.random.Generator) -> Array:
        """Where the search for one array begins, before it is projected."""
        std = plain_budget(self) * self.start_std_per_epsilon * self.norm.spread(clean.size)
        return np.asarray(clean + std * rng.standard_normal(clean.shape, dtype=np.float32))

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        def once(turn: int) -> Visit:
            role = (turn,) if turn else ()
            start = {(i, n): self.initial(clean, rng(i, n, *role)) for (i, n), clean in ball.clean.items()}
            return self.descended(problem, ball, ball.project()(ball.tensors(start)), judged=self.restarts > 0)

        return best(map(once, range(self.restarts + 1))).arrays


@register("mi_fgsm")
@dataclass(frozen=True, kw_only=True)
class MiFgsm(Descent):
    """Iterative FGSM with momentum (Dong et al., arXiv 1710.06081): steps along a decaying sum of past gradients.

    Attributes:
        momentum: decay of the sum; each gradient enters it with L1 norm 1.
    """

    step_per_epsilon: float = 0.1
    steps: int = 10
    momentum: float = number(1.0, low=0.0)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        return self.descended(problem, ball, ball.tensors(ball.clean), momentum=self.momentum).arrays
