"""Penalised PGD: a sign-gradient search that lowers one loss while another must stay at nothing.

The attacks that know, or guess, how they will be judged share this base. They differ in where they may move (`reach`),
in their target subsets, and in what must not happen (the penalty).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air
from robosac.attacks.base import plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.ball import Ball
from robosac.attacks.features.descent import Arrays, Judge, Visit, best, by_autograd, descend, steps_of
from robosac.attacks.features.gradient import WhiteBox
from robosac.attacks.features.norms import Linf
from robosac.attacks.features.objectives import BalancedInvertedBce, Loss, Objective
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.projection import Reaches, reach_of
from robosac.attacks.features.target_subsets import FullFusion, TargetSubsets
from robosac.attacks.settings import number, part
from robosac.types import Id, Message

Judged: TypeAlias = Callable[[Arrays], tuple[Tensor, Tensor]]  # arrays -> harm, penalty: scalars, the penalty >= 0


@dataclass(frozen=True, kw_only=True)
class PenalisedPgd(WhiteBox):
    """A base: `steps` sign steps on `harm + penalty_weight * penalty`, the step falling linearly to a tenth.

    Sent is the iterate of the lowest harm among those of the least penalty, the honest message included.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
        step_per_epsilon: length of the first step as a share of what each feature may move by.
        steps: number of steps; each costs one forward and one backward pass for the target subsets.
        objective: the harm, a loss to be minimised.
        penalty_weight: of what must not happen, against the harm; it rules once a limit is passed.
    """

    step_per_epsilon: float = number(0.2, low=0.0)
    steps: int = number(20, low=0)
    objective: Objective = part(Objective, BalancedInvertedBce)
    penalty_weight: float = number(20.0, low=0.0)

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        problem = self.problem(honest, air, colluders, self.targets())
        judged = by_logits(problem, problem.objective_loss, self.penalty(air, problem))
        return self.optimised(honest, air, judged, {i: self.reach(air, message) for i, message in honest.items()})

    def problem(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders, targets: TargetSubsets) -> Problem:
        """This frame's problem on some target subsets."""
        return Problem.on_frame(air, honest, self.objective, targets, colluders.rng(air, "problem"))

    def optimised(
        self, honest: Mapping[Id, Message], air: Air, judged: Judged, reach: Mapping[Id, Reaches]
    ) -> list[Message]:
        """The messages of all attackers in `honest`, optimised together, each feature within its `reach`."""
        ball = Ball.around(honest, air.codec, Linf(), plain_budget(self), reach)
        judge = weighed(judged, self.penalty_weight)
        return ball.messages(honest, self.searched(ball, judge, reach, ball.tensors(ball.clean)).arrays)

    def searched(
        self, ball: Ball, judge: Judge, reach: Mapping[Id, Reaches], start: Sequence[Tensor], *, stride: float = 1.0
    ) -> Visit:
        """The best of what a search from `start` comes by; its steps are `stride` times as long as the settings say."""
        moves = [np.asarray(reach_of(name, reach[who]), np.float32) for who, name in ball.keys]
        lengths = [torch.from_numpy(np.asarray(stride * self.step_per_epsilon * m, np.float32)) for m in moves]
        rule = steps_of(lengths, last_share=0.1, steps=self.steps)
        return best(descend(by_autograd(judge, ball.keys), start, rule, ball.project(), self.steps))

    # ------------------------------------------------------------------------------------------ can be overridden
    def targets(self) -> TargetSubsets:
        """On which subsets the attack is optimised."""
        return FullFusion()

    def reach(self, air: Air, message: Message) -> Reaches:
        """How far each feature may move, at most `epsilon`."""
        return plain_budget(self)

    def penalty(self, air: Air, problem: Problem) -> Loss | None:
        """What must stay 0; None where nothing must."""
        return None


def by_logits(problem: Problem, harm: Loss, penalty: Loss | None) -> Judged:
    """Arrays -> harm and penalty, both functions of the class logits."""

    def judged(arrays: Arrays) -> tuple[Tensor, Tensor]:
        logits = problem.logits(arrays)
        return harm(logits), 0.0 * logits.sum() if penalty is None else penalty(logits)

    return judged


def weighed(judged: Judged, penalty_weight: float) -> Judge:
    """What is minimised is the weighted sum; what is compared is the penalty, then the harm."""

    def judge(arrays: Arrays) -> tuple[Tensor, tuple[float, ...]]:
        harm, penalty = judged(arrays)
        return harm + penalty_weight * penalty, (penalty.item(), harm.item())

    return judge
