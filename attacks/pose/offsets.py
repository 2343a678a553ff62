"""Lies about where the payload was sensed: GPS offset, heading bias, drift. The payload itself stays honest.

Only `world_T_payload` changes, and it stays rigid: a translation in the world's plane, or a turn about the vertical
through the sensor. The pose that does most harm is searched for in `robosac.attacks.pose.pose_gradient`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np

from robosac.air import Air, Knowledge
from robosac.attacks.base import Budgeted, Stage, same_array, same_but
from robosac.attacks.colluders import Crew
from robosac.attacks.settings import real
from robosac.types import Float64, Id, Message, Subset, keyed_rng

Move: TypeAlias = tuple[float, float, float]  # metres along the world's x and y, radians counter-clockwise
_RIGID: Final = 1e-6  # how far a change of rotation may be from a rotation, entry by entry


@dataclass(frozen=True, kw_only=True)
class PoseLie(Budgeted):
    """A base for poses that are claimed by rule. Subclasses say how far off, `claim`."""

    STAGE: ClassVar = Stage.POSE

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> PoseAttacker:
        return PoseAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return offset_spent(honest, sent)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        """How far off an attacker claims to be, `seconds` after its first frame; `rng` is the same in every frame."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GpsOffset(PoseLie):
    """Every attacker claims to be elsewhere by a fixed distance, in a direction of its own for a whole scenario.

    Attributes:
        offset_m: how far.
    """

    BUDGET: ClassVar = "offset_m"
    UNIT: ClassVar = "m"

    offset_m: float = 2.0

    def __post_init__(self) -> None:
        real(self, "offset_m", low=0.0)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        return _towards(rng.uniform(-math.pi, math.pi), self.offset_m)


@dataclass(frozen=True, kw_only=True)
class HeadingBias(PoseLie):
    """Every attacker claims to head elsewhere by a fixed angle, to a side of its own for a whole scenario.

    Far from the sender it moves what was seen by more: 5 degrees are 3.5 m at 40 m.

    Attributes:
        bias_deg: how far.
    """

    BUDGET: ClassVar = "bias_deg"
    UNIT: ClassVar = "degrees"

    bias_deg: float = 5.0

    def __post_init__(self) -> None:
        real(self, "bias_deg", low=0.0, high=180.0)

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return heading_spent(honest, sent)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        return 0.0, 0.0, math.radians(self.bias_deg) * (1.0 if rng.random() < 0.5 else -1.0)


@dataclass(frozen=True, kw_only=True)
class Drift(PoseLie):
    """The claimed position leaves the true one slowly, so that no two frames tell.

    Attributes:
        limit_m: how far at most.
        metres_per_second: how fast, from the attacker's first frame on, in which it is honest.
    """

    BUDGET: ClassVar = "limit_m"
    UNIT: ClassVar = "m"

    limit_m: float = 5.0
    metres_per_second: float = 1.0

    def __post_init__(self) -> None:
        real(self, "limit_m", low=0.0)
        real(self, "metres_per_second", low=0.0)

    def claim(self, seconds: float, rng: np.random.Generator) -> Move:
        metres = min(self.metres_per_second * max(seconds, 0.0), self.limit_m)
        return _towards(rng.uniform(-math.pi, math.pi), metres)


@dataclass(frozen=True)
class PoseAttacker:
    """One scenario of a `PoseLie`. It remembers when each attacker was first heard."""

    attack: PoseLie
    crew: Crew
    began_ns: dict[Id, int] = field(default_factory=dict)

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its pose."""
        return [self._lie(who, message, air) for who, message in self.crew.honest(air).items()]

    def _lie(self, who: Id, message: Message, air: Air) -> Message:
        seconds = (message.sensed_ns - self.began_ns.setdefault(who, message.sensed_ns)) / 1e9
        move = self.attack.claim(seconds, keyed_rng(self.crew.seed, air.scenario, who, "pose"))
        return within(message, move, self.attack.spent, self.attack.budget)


def _towards(direction: float, metres: float) -> Move:
    return metres * math.cos(direction), metres * math.sin(direction), 0.0


# ----------------------------------------------------------------------------------------------- moving and measuring
def moved(message: Message, move: Move) -> Message:
    """The message as if its payload had been sensed elsewhere; no move leaves it bit-identical."""
    x, y, yaw = move
    pose: Float64 = np.array(message.world_T_payload)
    if yaw:
        turn = np.array([[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        pose[:3, :3] = turn @ pose[:3, :3]
    if x:  # adding 0 would turn -0.0 into 0.0
        pose[0, 3] += x
    if y:
        pose[1, 3] += y
    return replace(message, world_T_payload=pose)


def within(
    message: Message, move: Move, spent: Callable[[Message, Sequence[Message]], float], budget: float
) -> Message:
    """`moved`, by a hair less where rounding (of large world coordinates, say) would exceed the budget."""
    share, less = 1.0, 1e-12
    while True:
        x, y, yaw = (share * part for part in move)
        lie = moved(message, (x, y, yaw))
        if spent(message, [lie]) <= budget:
            return lie
        share, less = max(share - less, 0.0), 2 * less


def pose_change(honest: Message, sent: Message) -> tuple[float, float] | None:
    """Metres and degrees between two claimed poses; None where anything else differs or the pose is not rigid.

    Exactly 0 for what is bit-identical, position and rotation each on their own.
    """
    if not same_but(honest, sent, "world_T_payload"):
        return None
    a, b = np.asarray(honest.world_T_payload), np.asarray(sent.world_T_payload)
    if b.shape != (4, 4) or not np.isfinite(b).all() or not same_array(a[3], b[3]):
        return None
    metres = float(np.linalg.norm(b[:3, 3] - a[:3, 3]))
    if same_array(a[:3, :3], b[:3, :3]):
        return metres, 0.0
    turn = b[:3, :3] @ np.linalg.inv(a[:3, :3])
    if np.abs(turn @ turn.T - np.eye(3)).max() > _RIGID or np.linalg.det(turn) < 0:
        return None
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return metres, math.degrees(math.atan2(float(np.linalg.norm(axis)), float(np.trace(turn)) - 1.0))


def offset_spent(honest: Message, sent: Sequence[Message]) -> float:
    """Metres between the claimed and the true position; `inf` where anything else differs, the heading included."""
    change = pose_change(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if change is None or change[1] > 0 else change[0]


def heading_spent(honest: Message, sent: Sequence[Message]) -> float:
    """Degrees between the claimed and the true heading; `inf` where anything else differs, the position included."""
    change = pose_change(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if change is None or change[0] > 0 else change[1]


ATTACKS: Final[Mapping[str, type[Any]]] = {"drift": Drift, "gps_offset": GpsOffset, "heading_bias": HeadingBias}
