"""Harm within limits: a sign-gradient search that lowers one loss while another must stay at nothing.

The attacks that know, or guess, how they will be judged share this loop and the base class around it. They differ in
where they may move (`reach`), which subsets they have in mind, and what they must not be caught at (the penalty).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.base import Budgeted, Stage, linf_spent
from robosac.attacks.colluders import Crew
from robosac.attacks.features.objectives import BalancedInvertedBce, Loss, Objective
from robosac.attacks.features.problem import Aim, FullFusion, Key, Problem
from robosac.attacks.features.projection import Reach, Room, rooms
from robosac.attacks.settings import instance, integer, real
from robosac.types import Array, Id, InputError, Message, Subset

WHITE_BOX = Knowledge.MODEL | Knowledge.TEAMMATES | Knowledge.VICTIM
Reaches: TypeAlias = Reach | Mapping[str, Reach]  # for a whole message, or by name of the array
Judged: TypeAlias = Callable[[Mapping[Key, Tensor]], tuple[Tensor, Tensor]]  # arrays -> harm, penalty


@dataclass(frozen=True, kw_only=True)
class Steered(Budgeted):
    """A base: `steps` sign steps on `harm + penalty_weight * penalty`, the step falling linearly to a tenth.

    Sent is the iterate of the lowest harm among those of the least penalty, the honest message included.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
        step_per_epsilon: length of the first step as a share of what each feature may move by.
        steps: number of steps; each costs one forward and one backward pass for the subsets in mind.
        objective: the harm, a loss to be minimised.
        penalty_weight: of what must not happen, against the harm; it rules once a limit is passed.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"
    UNIT: ClassVar = "L-inf a feature"

    epsilon: float = 0.5
    step_per_epsilon: float = 0.2
    steps: int = 20
    objective: Objective = field(default_factory=BalancedInvertedBce)
    penalty_weight: float = 20.0

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)
        real(self, "step_per_epsilon", low=0.0)
        integer(self, "steps", low=0)
        instance(self, "objective", Objective)
        real(self, "penalty_weight", low=0.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return SteeredAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return linf_spent(honest, sent)

    # ------------------------------------------------------------------------------------------ can be overridden
    def in_mind(self) -> Aim:
        """On which subsets the attack is optimised."""
        return FullFusion()

    def reach(self, air: Air, message: Message) -> Reaches:
        """How far each feature may move, at most `epsilon`."""
        return self.epsilon

    def penalty(self, air: Air, problem: Problem) -> Loss | None:
        """What must stay 0; None where nothing must."""
        return None


@dataclass(frozen=True)
class SteeredAttacker:
    """One scenario of a `Steered` attack. It remembers nothing from frame to frame."""

    attack: Steered
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays.

        Raises:
            InputError: the detector's session is not `Differentiable`.
        """
        honest = self.crew.honest(air)
        if not honest or self.attack.epsilon == 0:
            return list(honest.values())
        attack = self.attack
        problem = Problem.pose(air, honest, attack.objective, attack.in_mind(), self.crew.rng(air, "problem"))
        harm = attack.objective.aim(problem.unattacked)
        judged = by_logits(problem, harm, attack.penalty(air, problem))
        reach = {who: attack.reach(air, message) for who, message in honest.items()}
        return steer_messages(attack, air, honest, judged, reach)


def by_logits(problem: Problem, harm: Loss, penalty: Loss | None) -> Judged:
    """Arrays -> harm and penalty, both functions of the class logits."""

    def judged(arrays: Mapping[Key, Tensor]) -> tuple[Tensor, Tensor]:
        logits = problem.logits(arrays)
        return harm(logits), 0.0 * logits.sum() if penalty is None else penalty(logits)

    return judged


def steer_messages(
    attack: Steered, air: Air, honest: Mapping[Id, Message], judged: Judged, reach: Mapping[Id, Reaches]
) -> list[Message]:
    """The messages of all attackers in `honest`, steered together, each feature within its `reach`, by attacker."""
    allowed: dict[Key, Room] = {}
    reaches: dict[Key, Reach] = {}
    for who, message in honest.items():
        own = reach[who]
        for name, room in rooms(message, air.codec, own).items():
            allowed[who, name] = room
            reaches[who, name] = own[name] if isinstance(own, Mapping) else own
    start = {(who, name): honest[who].payload[name] for who, name in allowed}
    final = steer(
        judged,
        start,
        allowed,
        {key: attack.step_per_epsilon * np.asarray(reach, dtype=np.float32) for key, reach in reaches.items()},
        steps=attack.steps,
        penalty_weight=attack.penalty_weight,
    )
    return [m.with_payload(**{n: a for (i, n), a in final.items() if i == who}) for who, m in honest.items()]


def steer(
    judged: Judged,
    start: Mapping[Key, Array],
    allowed: Mapping[Key, Room],
    step: Mapping[Key, Array],
    *,
    steps: int,
    penalty_weight: float,
) -> dict[Key, Array]:
    """The iterate of the least harm among those of the least penalty, of `steps` sign steps from `start`.

    Args:
        judged: arrays -> harm and penalty, scalars; the penalty is >= 0 and 0 where nothing is wrong.
        step: length of the first step, a number or an array that broadcasts; it falls linearly to a tenth.

    Float32 inside, each array's own dtype outside.

    Raises:
        InputError: a gradient is NaN or inf.
    """
    keys = list(start)
    lower = [torch.from_numpy(allowed[k].lower).float() for k in keys]
    upper = [torch.from_numpy(allowed[k].upper).float() for k in keys]
    length = [torch.from_numpy(np.asarray(step[k], dtype=np.float32)) for k in keys]
    current = [torch.from_numpy(np.asarray(start[k])).float() for k in keys]
    best, least = current, (np.inf, np.inf)
    for turn in range(steps + 1):
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in current]
            harm, penalty = judged(dict(zip(keys, leaves, strict=True)))
            if (reached := (penalty.item(), harm.item())) < least:
                best, least = current, reached
            total = harm + penalty_weight * penalty
            if turn == steps or not total.requires_grad:
                break
            slopes = torch.autograd.grad(total, leaves, materialize_grads=True)
        if not all(bool(g.isfinite().all()) for g in slopes):
            raise InputError(f"expected finite gradients of the logits, got NaN or inf at harm {reached[1]:.4g}")
        share = 1.0 - 0.9 * turn / max(steps - 1, 1)
        current = [
            torch.clamp(x - share * d * g.sign(), lo, up)
            for x, g, d, lo, up in zip(current, slopes, length, lower, upper, strict=True)
        ]
    return {k: allowed[k].clip(x.numpy()) for k, x in zip(keys, best, strict=True)}
