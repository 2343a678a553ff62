"""PGD, BIM and the C&W margin on the features as sent: one sign-gradient loop, a small value an attack.

What is perturbed is the message's payload in the sender's own frame, before the ego warps it: something an attacker can
really send (the reference implementation perturbs the map after warping). All attackers of a frame collude; they are
optimised together for the full fusion, the honest teammates' messages included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from attacks.base import Budgeted, Stage, linf_spent
from attacks.crew import Crew
from attacks.objectives import InvertedBce, Margin, Objective
from attacks.problem import Aim, FullFusion, Key, Problem
from attacks.projection import Room, rooms
from attacks.settings import instance, integer, real
from robosac.air import Air, Knowledge
from robosac.types import Array, InputError, Message, Subset

WHITE_BOX = Knowledge.MODEL | Knowledge.TEAMMATES | Knowledge.VICTIM


@dataclass(frozen=True, kw_only=True)
class SignGradient(Budgeted):
    """`steps` steps of a fixed length against the sign of the gradient, projected after each; the last iterate is sent.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
        step_per_epsilon: length of a step as a share of epsilon, so that a smaller budget takes smaller steps.
        steps: number of steps; each costs one forward and one backward pass of fusion and head.
        objective: what is minimised.
        aim: on which subsets.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"
    UNIT: ClassVar = "L-inf a feature"

    epsilon: float = 0.5
    step_per_epsilon: float = 0.2
    steps: int = 15
    objective: Objective = field(default_factory=InvertedBce)
    aim: Aim = field(default_factory=FullFusion)

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)
        real(self, "step_per_epsilon", low=0.0)
        integer(self, "steps", low=0)
        instance(self, "objective", Objective)
        instance(self, "aim", Aim)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> GradientAttacker:
        return GradientAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return linf_spent(honest, sent)

    def initial(self, clean: Array, rng: np.random.Generator) -> Array:
        """Where the search for one array begins; can be overridden. Projected afterwards."""
        return clean


@dataclass(frozen=True, kw_only=True)
class Pgd(SignGradient):
    """Projected gradient descent (Madry et al., arXiv 1706.06083) as in ROBOSAC: a Gaussian start, 15 steps.

    Attributes:
        start_std_per_epsilon: standard deviation of the start as a share of epsilon.
    """

    start_std_per_epsilon: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "start_std_per_epsilon", low=0.0)

    def initial(self, clean: Array, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        return np.asarray(clean + self.epsilon * self.start_std_per_epsilon * noise)


@dataclass(frozen=True, kw_only=True)
class Bim(SignGradient):
    """The basic iterative method (Kurakin et al., arXiv 1607.02533) as in ROBOSAC: starts at the honest message."""


@dataclass(frozen=True, kw_only=True)
class CwMargin(SignGradient):
    """The Carlini and Wagner margin (arXiv 1608.04644) as ROBOSAC publishes it: under an L-inf clamp, zero start.

    The method of that paper, which minimises the L2 norm of the perturbation, is another attack.
    """

    objective: Objective = field(default_factory=Margin)


@dataclass(frozen=True)
class GradientAttacker:
    """One scenario of a `SignGradient` attack. It remembers nothing from frame to frame."""

    attack: SignGradient
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays.

        Raises:
            InputError: the detector's session is not `Differentiable`.
        """
        honest = self.crew.honest(air)
        if not honest or self.attack.epsilon == 0:
            return list(honest.values())
        allowed = {(i, n): r for i, m in honest.items() for n, r in rooms(m, air.codec, self.attack.epsilon).items()}
        start = {
            (i, n): room.clip(self.attack.initial(honest[i].payload[n], self.crew.rng(air, i, n)))
            for (i, n), room in allowed.items()
        }
        problem = Problem.pose(air, honest, self.attack.objective, self.attack.aim, self.crew.rng(air, "problem"))
        final = descend(
            problem.loss,
            start,
            allowed,
            step=self.attack.epsilon * self.attack.step_per_epsilon,
            steps=self.attack.steps,
        )
        return [
            m.with_payload(**{n: array for (i, n), array in final.items() if i == who}) for who, m in honest.items()
        ]


def descend(
    loss: Callable[[Mapping[Key, Tensor]], Tensor],
    start: Mapping[Key, Array],
    allowed: Mapping[Key, Room],
    *,
    step: float,
    steps: int,
) -> dict[Key, Array]:
    """Minimise `loss` by sign-gradient steps of length `step`, staying in the rooms. Returns the last iterate.

    Float32 inside, each array's own dtype outside. An array that the loss does not depend on stays where it started.

    Raises:
        InputError: a gradient is NaN or inf; a sign of it would be sent as if it meant something.
    """
    keys = list(start)
    lower = [torch.from_numpy(allowed[k].lower).float() for k in keys]
    upper = [torch.from_numpy(allowed[k].upper).float() for k in keys]
    current = [torch.from_numpy(start[k]).float() for k in keys]
    with torch.enable_grad():
        for _ in range(steps):
            leaves = [x.detach().requires_grad_() for x in current]
            value = loss(dict(zip(keys, leaves, strict=True)))
            if not value.requires_grad:
                break
            slopes = torch.autograd.grad(value, leaves, materialize_grads=True)
            if not all(bool(g.isfinite().all()) for g in slopes):
                raise InputError(f"expected finite gradients of the logits, got NaN or inf at loss {value.item():.4g}")
            current = [
                torch.clamp(x.detach() - step * g.sign(), lo, up)
                for x, g, lo, up in zip(leaves, slopes, lower, upper, strict=True)
            ]
    return {k: allowed[k].clip(x.numpy()) for k, x in zip(keys, current, strict=True)}


ATTACKS: Final[Mapping[str, type[Any]]] = {"bim": Bim, "cw_margin": CwMargin, "pgd": Pgd}
