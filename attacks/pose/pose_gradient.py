"""The claimed pose that does most harm, found by finite differences of the victim's logits (AdvGPS, arXiv 2401.17499).

Three numbers an attacker, x, y and yaw; sign steps in a disc of positions and an interval of headings. The encoder is
not in the loop, so any detector whose session has logits will do: poses are tried by opening sessions with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Knowledge, invented
from robosac.attacks.base import Stage, Stateless, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.descent import Visit, best, descend, steps_of
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.attacks.features.objectives import InvertedBce, Loss, Objective
from robosac.attacks.features.problem import Problem, open_session
from robosac.attacks.features.target_subsets import FullFusion, TargetSubsets
from robosac.attacks.pose.claims import Move, moved, pose_change, within
from robosac.attacks.registry import register
from robosac.attacks.settings import number, part
from robosac.types import Array, Id, Message, Subset


@register("pose_gradient")
@dataclass(frozen=True, kw_only=True)
class PoseGradient(Stateless):
    """Sign steps on (x, y, yaw) of every attacker together; of the poses visited the most harmful is claimed.

    A step costs one session and `(6 A + 1) S` decodes for A attackers and S subsets, fewer at once where the detector
    takes few messages.

    Attributes:
        limit_m: the claimed position is at most this far from the true one.
        degrees_per_m: the claimed heading is off by at most this for each metre of the limit.
        steps: number of steps.
        step_per_limit: length of a step as a share of the limits.
        probe_per_limit: half the width of the finite differences, likewise.
        start_per_limit: the search begins at random within this share: at the true pose a slope may well be zero.
        objective: what is minimised.
        target_subsets: on which subsets.
    """

    STAGE: ClassVar = Stage.POSE
    BUDGET, UNIT = "limit_m", "m"

    limit_m: float = number(2.0, low=0.0)
    degrees_per_m: float = number(2.5, low=0.0)
    steps: int = number(10, low=0)
    step_per_limit: float = number(0.2, low=0.0, high=1.0)
    probe_per_limit: float = number(0.1, low=1e-6, high=1.0)
    start_per_limit: float = number(0.2, low=0.0, high=1.0)
    objective: Objective = part(Objective, InvertedBce)
    target_subsets: TargetSubsets = part(TargetSubsets, FullFusion)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Metres off, or the metres to which the degrees off are tied, whichever is more."""
        change = pose_change(honest, sent[0]) if len(sent) == 1 else None
        if change is None:
            return math.inf
        metres, degrees = change
        return max(metres, 0.0 if degrees == 0 else degrees / self.degrees_per_m if self.degrees_per_m else math.inf)

    def move(self, offset: Array) -> Move:
        """Metres and radians of an offset `(3,)` in shares of the limits."""
        yaw = math.radians(self.limit_m * self.degrees_per_m) * float(offset[2])
        return self.limit_m * float(offset[0]), self.limit_m * float(offset[1]), yaw

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        rng = colluders.rng(air, "problem")
        problem = Problem.on_frame(air, honest, self.objective, self.target_subsets, rng)
        trials = PoseTrials(air, problem.clean.subsets, problem.objective_loss)
        drawn = [self.start_per_limit * colluders.rng(air, who, "pose").uniform(-1.0, 1.0, 3) for who in honest]

        def look(at: list[Tensor], slopes: bool) -> Visit:
            return self._looked(trials, honest, at[0], differences=slopes)

        start = _inside([torch.from_numpy(np.stack(drawn))])
        found = best(descend(look, start, steps_of(self.step_per_limit), _inside, self.steps))
        return list(self._claimed(honest, found.arrays[0]).values())

    def _claimed(self, honest: Mapping[Id, Message], at: Tensor) -> dict[Id, Message]:
        return {
            who: within(m, self.move(row), self.perturbation_size, plain_budget(self))
            for (who, m), row in zip(honest.items(), at.numpy(), strict=True)
        }

    def _looked(self, trials: PoseTrials, honest: Mapping[Id, Message], at: Tensor, *, differences: bool) -> Visit:
        """The loss at the offsets `at (A, 3)`, and its central differences `(A, 3)` where asked for."""
        claimed = self._claimed(honest, at)
        if not differences:
            return Visit([at], (trials.losses(claimed, [])[0],))
        probe = self.probe_per_limit * np.eye(3)
        # probes may leave the limits by their width: they are only tried, never sent
        tried = [
            moved(honest[who], self.move(row + side * along))
            for who, row in zip(honest, at.numpy(), strict=True)
            for along in probe
            for side in (1.0, -1.0)
        ]
        value, *around = trials.losses(claimed, tried)
        pairs = torch.tensor(around, dtype=torch.float64).reshape(len(at), 3, 2)
        return Visit([at], (value,), [pairs[..., 0] - pairs[..., 1]])


@dataclass(frozen=True, eq=False)
class PoseTrials:
    """Messages tried out on the attacker's copy of the victim's detector.

    Attributes:
        air: the frame.
        subsets: the S target subsets.
        loss: of their logits `(S, H, W)`.
    """

    air: Air
    subsets: Sequence[Subset]
    loss: Loss

    def losses(self, claimed: Mapping[Id, Message], tried: Sequence[Message]) -> list[float]:
        """The loss of `claimed`, then that with each of `tried` in place of its sender's claimed message.

        Messages that are tried share a session with the others under invented names: the ego is encoded once for all.
        """
        most, present = self.air.codec.max_messages, len(self.air.others) + len(claimed)
        fit = len(tried) if most is None else min(len(tried), most - present)
        if tried and fit < 1:  # no place beside the others: one session each
            return [self._opened(who, [])[0] for who in (claimed, *({**claimed, m.sender: m} for m in tried))]
        first, *rest = list(_chunks(tried, fit)) or [[]]
        found = self._opened(claimed, first)
        return found + [value for chunk in rest for value in self._opened(claimed, chunk)[1:]]

    def _opened(self, claimed: Mapping[Id, Message], tried: Sequence[Message]) -> list[float]:
        names = [invented(m.sender, k) for k, m in enumerate(tried)]
        extra = {name: replace(m, sender=name) for name, m in zip(names, tried, strict=True)}
        swaps = [{}, *({m.sender: name} for name, m in zip(names, tried, strict=True))]
        subsets = [frozenset(swap.get(i, i) for i in s) for swap in swaps for s in self.subsets]
        with torch.no_grad():
            logits = open_session(self.air, {**claimed, **extra}).logits({}, subsets)
            return [float(self.loss(part)) for part in logits.split(len(self.subsets))]


def _chunks(messages: Sequence[Message], size: int) -> Iterator[Sequence[Message]]:
    return (messages[k : k + size] for k in range(0, len(messages), max(size, 1)))


def _inside(arrays: Sequence[Tensor]) -> list[Tensor]:
    """The nearest offsets `(A, 3)` within the limits: a disc of positions, an interval of headings."""
    (at,) = (x.numpy() for x in arrays)
    distance = np.maximum(np.hypot(at[:, 0], at[:, 1]), 1.0)
    made = np.stack([at[:, 0] / distance, at[:, 1] / distance, np.clip(at[:, 2], -1.0, 1.0)], axis=1)
    return [torch.from_numpy(made)]
