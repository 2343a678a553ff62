"""Claimed poses that are off by rule: GPS offset, heading bias, drift. The payload itself stays honest.

Only `world_T_payload` changes, and it stays rigid: a translation in the world's plane, or a turn about the vertical
through the sensor. The pose that does most harm is searched for in `robosac.attacks.pose.pose_gradient`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Budgeted, Stage, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.pose.claims import Move, heading_size, offset_size, within
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Id, Message, Subset, keyed_rng


@dataclass(frozen=True, kw_only=True)
class FalsePose(Budgeted):
    """A base for poses that are claimed by rule. Subclasses say how far off, `claim`."""

    STAGE: ClassVar = Stage.POSE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> PoseAttacker:
        return PoseAttacker(self, Colluders.gather(attackers, rng))

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return offset_size(honest, sent)

    @abstractmethod
    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        """How far off an attacker claims to be, `seconds` after its first frame; `rng` is the same in every frame."""


@register("gps_offset")
@dataclass(frozen=True, kw_only=True)
class GpsOffset(FalsePose):
    """Every attacker claims to be elsewhere by a fixed distance, in a direction of its own for a whole scenario.

    Attributes:
        offset_m: how far.
    """

    BUDGET, UNIT = "offset_m", "m"

    offset_m: float = number(2.0, low=0.0)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        return _towards(rng.uniform(-math.pi, math.pi), self.offset_m)


@register("heading_bias")
@dataclass(frozen=True, kw_only=True)
class HeadingBias(FalsePose):
    """Every attacker claims to head elsewhere by a fixed angle, to a side of its own for a whole scenario.

    Far from the sender it moves what was seen by more: 5 degrees are 3.5 m at 40 m.

    Attributes:
        bias_deg: how far.
    """

    BUDGET, UNIT = "bias_deg", "degrees"

    bias_deg: float = number(5.0, low=0.0, high=180.0)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return heading_size(honest, sent)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        return 0.0, 0.0, math.radians(self.bias_deg) * (1.0 if rng.random() < 0.5 else -1.0)


@register("drift")
@dataclass(frozen=True, kw_only=True)
class Drift(FalsePose):
    """The claimed position leaves the true one slowly, so that no two frames tell.

    Attributes:
        limit_m: how far at most.
        metres_per_second: how fast, from the attacker's first frame on, in which it is honest.
    """

    BUDGET, UNIT = "limit_m", "m"

    limit_m: float = number(5.0, low=0.0)
    metres_per_second: float = number(1.0, low=0.0)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        metres = min(self.metres_per_second * max(seconds, 0.0), self.limit_m)
        return _towards(rng.uniform(-math.pi, math.pi), metres)


@dataclass(frozen=True)
class PoseAttacker:
    """One scenario of a `FalsePose`. It remembers when each attacker was first heard."""

    attack: FalsePose
    colluders: Colluders
    began_ns: dict[Id, int] = field(default_factory=dict)

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its pose."""
        return [self._claimed(who, message, air) for who, message in self.colluders.honest(air).items()]

    def _claimed(self, who: Id, message: Message, air: Air) -> Message:
        seconds = (message.sensed_ns - self.began_ns.setdefault(who, message.sensed_ns)) / 1e9
        move = self.attack.claim(seconds, keyed_rng(self.colluders.seed, air.scenario, who, "pose"))
        return within(message, move, self.attack.perturbation_size, plain_budget(self.attack))


def _towards(direction: float, metres: float) -> Move:
    return metres * math.cos(direction), metres * math.sin(direction), 0.0
