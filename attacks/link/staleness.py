"""Messages that are older than they should be: replayed, sold as fresh, frozen. No paper of the field evaluates them.

A message holds no frame number, so that how many frames old a payload is cannot be read from it. `perturbation_size` is
therefore coarse, the least it can have been: 0 for the honest message, one frame for a message that differs from it in
nothing but what the attack may make old, `inf` for any other.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Budgeted, Stage
from robosac.attacks.colluders import Colluders
from robosac.attacks.measures import same_but
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Id, Message, Subset


@dataclass(frozen=True, kw_only=True)
class Stale(Budgeted):
    """A base for attacks that send what was sensed before. Subclasses say which parts are old, `blend`.

    Frames are counted as the attacker lived them, silent ones of a schedule included. Until it has lived enough of
    them it sends honestly.

    Attributes:
        frames: how many frames old at most.
    """

    STAGE: ClassVar = Stage.TIME
    BUDGET, UNIT = "frames", "frames"
    OLD: ClassVar[tuple[str, ...]]  # what may differ from the honest message

    frames: int = number(5, low=0)

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> StaleAttacker:
        return StaleAttacker(self, Colluders.gather(attackers, rng))

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        if len(sent) != 1 or not same_but(honest, sent[0], *self.OLD) or sent[0].sensed_ns > honest.sensed_ns:
            return math.inf
        return 0.0 if same_but(honest, sent[0]) else 1.0

    def age(self, lived: int) -> int:
        """How many frames old a message shall be, `lived` frames after the attacker's first."""
        return self.frames if lived >= self.frames else 0

    @abstractmethod
    def blend(self, now: Message, old: Message) -> Message:
        """What is sent in place of `now`, the honest message, by who still has `old`."""


@register("replay")
@dataclass(frozen=True, kw_only=True)
class Replay(Stale):
    """The message of some frames ago with its own time and pose: true, but late. A check of freshness sees it."""

    OLD: ClassVar = ("payload", "world_T_payload", "sensed_ns")

    def blend(self, now: Message, old: Message) -> Message:
        return replace(old, to=now.to)


@register("sold_as_fresh")
@dataclass(frozen=True, kw_only=True)
class SoldAsFresh(Stale):
    """The payload and pose of some frames ago, claimed to be of now: what moved since then is in the wrong place."""

    OLD: ClassVar = ("payload", "world_T_payload")

    def blend(self, now: Message, old: Message) -> Message:
        return replace(now, payload=old.payload, world_T_payload=old.world_T_payload)


@register("freeze")
@dataclass(frozen=True, kw_only=True)
class Freeze(Stale):
    """A LiDAR that hangs while the GPS goes on: one payload for `frames + 1` frames under the poses and times of now.

    What it shows rides along with the sender. After that it is renewed, so that no message is older than the budget.
    """

    OLD: ClassVar = ("payload",)

    def blend(self, now: Message, old: Message) -> Message:
        return replace(now, payload=old.payload)

    def age(self, lived: int) -> int:
        return lived % (self.frames + 1)


@dataclass(frozen=True)
class StaleAttacker:
    """One scenario of a `Stale` attack. It remembers its honest messages, as many as the budget asks."""

    attack: Stale
    colluders: Colluders
    _kept: dict[Id, deque[Message]] = field(default_factory=dict)
    _lived: dict[Id, int] = field(default_factory=dict)  # messages ever

    def watch(self, air: Air) -> None:
        """Live through a frame in which nothing is sent: what will be old is recorded all the same."""
        for who, message in self.colluders.honest(air).items():
            self._kept.setdefault(who, deque(maxlen=self.attack.frames + 1)).append(message)
            self._lived[who] = self._lived.get(who, 0) + 1

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present."""
        self.watch(air)
        return [self._old(who, now) for who, now in self.colluders.honest(air).items()]

    def _old(self, who: Id, now: Message) -> Message:
        kept, lived = self._kept[who], self._lived[who] - 1
        age = self.attack.age(lived)
        return now if age == 0 else self.attack.blend(now, kept[-1 - age])
