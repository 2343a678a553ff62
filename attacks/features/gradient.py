"""FGSM, BIM, PGD, MI-FGSM and the C&W margin on the features as sent: one loop of steps, a small value an attack.

What is perturbed is the message's payload in the sender's own frame, before the ego warps it: something an attacker can
really send (the reference implementation perturbs the map after warping). All attackers of a frame collude; they are
optimised together for the full fusion, the honest teammates' messages included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.base import Budgeted, Stage
from robosac.attacks.colluders import Crew
from robosac.attacks.features.norms import Ball, Linf, Norm, Rng, spent
from robosac.attacks.features.objectives import InvertedBce, Margin, Objective
from robosac.attacks.features.problem import Aim, FullFusion, Key, Problem
from robosac.attacks.settings import instance, integer, real
from robosac.types import Array, InputError, Message, Subset

WHITE_BOX = Knowledge.MODEL | Knowledge.TEAMMATES | Knowledge.VICTIM
Loss: TypeAlias = Callable[[Mapping[Key, Tensor]], Tensor]  # the attackers' arrays -> scalar


class Search(Protocol):
    """What `GradientAttacker` asks of an attack."""

    @property
    def epsilon(self) -> float: ...

    @property
    def norm(self) -> Norm: ...

    @property
    def objective(self) -> Objective: ...

    @property
    def aim(self) -> Aim: ...

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        """The arrays to be sent, in the order of `ball.keys`; they are rounded into the ball afterwards."""
        ...


@dataclass(frozen=True, kw_only=True)
class FeatureGradient(Budgeted):
    """A base: perturb all float arrays of the attackers' messages so that an objective falls; override `search`.

    Attributes:
        epsilon: budget of each attacker in the units of the features as sent, counted by `norm`.
        objective: what is minimised.
        aim: on which subsets.
        norm: what the budget counts.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"

    epsilon: float = 0.5
    objective: Objective = field(default_factory=InvertedBce)
    aim: Aim = field(default_factory=FullFusion)
    norm: Norm = field(default_factory=Linf)

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)
        instance(self, "objective", Objective)
        instance(self, "aim", Aim)
        instance(self, "norm", Norm)

    @property
    def unit(self) -> str:
        return self.norm.unit

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> GradientAttacker:
        return GradientAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return spent(self.norm, honest, sent)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Fgsm(FeatureGradient):
    """The fast gradient sign method (Goodfellow et al., arXiv 1412.6572): one step of the whole budget."""

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        return descend(problem.loss, ball.tensors(ball.clean), ball, step=self.epsilon, steps=1)


@dataclass(frozen=True, kw_only=True)
class Descent(FeatureGradient):
    """A base: `steps` steps of a fixed length down the gradient, projected after each; the last iterate is sent.

    Attributes:
        step_per_epsilon: length of a step as a share of epsilon, so that a smaller budget takes smaller steps.
        steps: number of steps; each costs one forward and one backward pass of fusion and head.
    """

    step_per_epsilon: float = 0.2
    steps: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "step_per_epsilon", low=0.0)
        integer(self, "steps", low=0)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        return self.descend(problem.loss, ball, ball.tensors(ball.clean))

    def descend(self, loss: Loss, ball: Ball, start: Sequence[Tensor], *, momentum: float = 0.0) -> list[Tensor]:
        step = self.epsilon * self.step_per_epsilon
        return descend(loss, start, ball, step=step, steps=self.steps, momentum=momentum)


@dataclass(frozen=True, kw_only=True)
class Bim(Descent):
    """The basic iterative method (Kurakin et al., arXiv 1607.02533) as in ROBOSAC: starts at the honest message."""


@dataclass(frozen=True, kw_only=True)
class CwMargin(Descent):
    """The Carlini and Wagner margin (arXiv 1608.04644) as ROBOSAC publishes it: under an L-inf clamp, zero start.

    `CwL2` is the method of that paper, which minimises the L2 norm of the perturbation.
    """

    objective: Objective = field(default_factory=Margin)


@dataclass(frozen=True, kw_only=True)
class Pgd(Descent):
    """Projected gradient descent (Madry et al., arXiv 1706.06083) as in ROBOSAC: a Gaussian start, 15 steps.

    Attributes:
        start_std_per_epsilon: standard deviation of the start as a share of epsilon; under another norm than L-inf,
            the typical size of the start.
        restarts: searches after the first, each from another start; that of the lowest loss is sent. Each costs as much
            as the first.
    """

    start_std_per_epsilon: float = 0.2
    restarts: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "start_std_per_epsilon", low=0.0)
        integer(self, "restarts", low=0)

    def initial(self, clean: Array, rng: np.random.Generator) -> Array:
        """Where the search for one array begins, before it is projected."""
        std = self.epsilon * self.start_std_per_epsilon * self.norm.spread(clean.size)
        return np.asarray(clean + std * rng.standard_normal(clean.shape, dtype=np.float32))

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        def once(turn: int) -> list[Tensor]:
            role = (turn,) if turn else ()
            start = {(i, n): self.initial(clean, rng(i, n, *role)) for (i, n), clean in ball.clean.items()}
            return self.descend(problem.loss, ball, ball.project()(ball.tensors(start)))

        return lowest(problem.loss, ball, once, self.restarts)


@dataclass(frozen=True, kw_only=True)
class MiFgsm(Descent):
    """Iterative FGSM with momentum (Dong et al., arXiv 1710.06081): steps along a decaying sum of past gradients.

    Attributes:
        momentum: decay of the sum; each gradient enters it with L1 norm 1.
    """

    step_per_epsilon: float = 0.1
    steps: int = 10
    momentum: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "momentum", low=0.0)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        return self.descend(problem.loss, ball, ball.tensors(ball.clean), momentum=self.momentum)


@dataclass(frozen=True)
class GradientAttacker:
    """One scenario of a search by gradient. It remembers nothing from frame to frame."""

    attack: Search
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays.

        Raises:
            InputError: the detector's session is not `Differentiable`.
        """
        attack, honest = self.attack, self.crew.honest(air)
        if not honest or attack.epsilon == 0:
            return list(honest.values())
        ball = Ball.around(honest, air.codec, attack.norm, attack.epsilon)
        problem = Problem.pose(air, honest, attack.objective, attack.aim, self.crew.rng(air, "problem"))
        final = ball.sendable(attack.search(problem, ball, partial(self.crew.rng, air)))
        return [
            m.with_payload(**{n: array for (i, n), array in final.items() if i == who}) for who, m in honest.items()
        ]


# ----------------------------------------------------------------------------------------------------- the search
def slopes_of(loss: Loss, ball: Ball, current: Sequence[Tensor]) -> tuple[float, list[Tensor] | None]:
    """The loss of these arrays and its gradient; None where it depends on none of them.

    Raises:
        InputError: a gradient is NaN or inf; a sign of it would be sent as if it meant something.
    """
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in current]
        value = loss(dict(zip(ball.keys, leaves, strict=True)))
        if not value.requires_grad:
            return value.item(), None
        slopes = torch.autograd.grad(value, leaves, materialize_grads=True)
    if not all(math.isfinite(float(g.sum())) for g in slopes):  # a sum holds on to any NaN or inf, and is cheap
        raise InputError(f"expected finite gradients of the logits, got NaN or inf at loss {value.item():.4g}")
    return value.item(), list(slopes)


def value_of(loss: Loss, ball: Ball, current: Sequence[Tensor]) -> float:
    """The loss of these arrays, without a gradient."""
    with torch.no_grad():
        return loss(dict(zip(ball.keys, current, strict=True))).item()


def descend(
    loss: Loss, start: Sequence[Tensor], ball: Ball, *, step: float, steps: int, momentum: float = 0.0
) -> list[Tensor]:
    """Minimise `loss` by steps of length `step` in the norm of the ball, staying in it. Returns the last iterate.

    With momentum the direction is of a sum of gradients, each of L1 norm 1, that decays by `momentum` a step (Dong et
    al., arXiv 1710.06081, equations 6 and 7). Arrays that the loss does not depend on stay where they started.

    Raises:
        InputError: a gradient is NaN or inf.
    """
    current, total, back = list(start), [torch.zeros_like(x) for x in start], ball.project()
    for _ in range(steps):
        _, slopes = slopes_of(loss, ball, current)
        if slopes is None:
            break
        if momentum:
            sizes = [max(float(g.abs().sum()), 1e-30) for g in slopes]
            total = [momentum * t + g / size for t, g, size in zip(total, slopes, sizes, strict=True)]
            slopes = total
        current = back([x - step * d for x, d in zip(current, ball.steepest(slopes), strict=True)])
    return current


def lowest(loss: Loss, ball: Ball, once: Callable[[int], list[Tensor]], restarts: int) -> list[Tensor]:
    """The result of `once(turn)`, turn 0 to `restarts`, with the lowest loss; without restarts no loss is taken."""
    found = [once(turn) for turn in range(restarts + 1)]
    return found[0] if restarts == 0 else min(found, key=lambda arrays: value_of(loss, ball, arrays))


ATTACKS: Final[Mapping[str, type[Any]]] = {
    "bim": Bim,
    "cw_margin": CwMargin,
    "fgsm": Fgsm,
    "mi_fgsm": MiFgsm,
    "pgd": Pgd,
}
