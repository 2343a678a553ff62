"""What every attack says beside its settings: where it acts, what its budget is, how large its perturbation became.

An attack is a frozen dataclass that names one of its settings as its budget. At budget 0 it sends what its agents
honestly would, bit by bit; `perturbation_size` reads from the messages how much of the budget went into them, in the
budget's own unit. Attacks that remember nothing from frame to frame derive from `Stateless` or `Altering`.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from robosac.air import Air, Attack, Attacker, Knowledge
from robosac.attacks.colluders import Colluders
from robosac.attacks.settings import Settings, plain_number
from robosac.feature_scale import Amount
from robosac.types import Id, Message, Subset

if TYPE_CHECKING:
    from typing_extensions import Self


class Stage(enum.Enum):
    """Where on its way from a sensor to the ego an attack takes hold. A detector may not have all of them."""

    POINTS = "points"  # the attacker's own scan, before it is encoded: any detector
    FEATURES = "features"  # float arrays as sent
    BOXES = "boxes"  # boxes and scores as sent: late fusion
    POSE = "pose"  # the claimed pose: any detector
    TIME = "time"  # what was sensed when: any detector
    LINK = "link"  # how many messages are sent, and in whose name: any detector


@runtime_checkable
class Measured(Attack, Protocol):
    """An attack of which tests and tables can say how strong it is."""

    @property
    def stage(self) -> Stage: ...

    @property
    def unit(self) -> str:
        """What the budget counts, in words: "L-inf a feature", "m", "boxes"."""
        ...

    @property
    def budget(self) -> Amount:
        """A number, or a multiple of the features' standard deviation such as `2sd` until that is measured."""
        ...

    def with_budget(self, budget: Amount) -> Self: ...

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """How much of the budget one attacker used: `sent` are its messages (sybils included), `honest` its honest one.

        Exactly 0 for the honest message alone; `inf` where something moved that no budget of this attack allows.
        """
        ...


def plain_budget(attack: Measured) -> float:
    """The budget as a number.

    Raises:
        InputError: it is a multiple of a standard deviation that nobody has measured; says how to.
    """
    return plain_number(attack.budget, f"the budget of {type(attack).__name__}")


@dataclass(frozen=True)
class Budgeted(Settings, ABC):
    """A base for attacks: `BUDGET` is the name of the setting that is the budget, `UNIT` what it counts."""

    STAGE: ClassVar[Stage]
    BUDGET: ClassVar[str]
    UNIT: ClassVar[str]

    @property
    def stage(self) -> Stage:
        return self.STAGE

    @property
    def unit(self) -> str:
        return self.UNIT

    @property
    def budget(self) -> Amount:
        stated: Amount = getattr(self, self.BUDGET)
        return stated if isinstance(stated, str) else float(stated)

    @property
    def knowledge(self) -> Knowledge:
        """Its own agents' data alone, unless a subclass says more."""
        return Knowledge.NONE

    def with_budget(self, budget: Amount) -> Self:
        """The same attack with another budget; a budget that is counted is rounded down.

        Raises:
            InputError: it is no budget of this attack; multiples like `2sd` are of budgets in features alone.
        """
        if not isinstance(budget, str):
            kind = type(getattr(self, self.BUDGET))
            budget = math.floor(budget) if kind is int else float(budget)
        return dataclasses.replace(self, **{self.BUDGET: budget})

    @abstractmethod
    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker: ...

    @abstractmethod
    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """See `Measured`."""


@dataclass(frozen=True)
class Stateless(Budgeted):
    """An attack whose attackers remember nothing from frame to frame and act together: override `send`."""

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return StatelessAttacker(self, Colluders.gather(attackers, rng))

    @abstractmethod
    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        """What the attackers of a frame send, at least one present and the budget above 0.

        Args:
            honest: what each attacker that is present would honestly send, in the order of their ids.

        Raises:
            InputError: the detector, or what it sends, is not what this attack needs.
        """


@dataclass(frozen=True)
class Altering(Stateless):
    """A stateless attack of each attacker by itself, one message for one message: override `altered`."""

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        return [self.altered(message, air, colluders) for message in honest.values()]

    @abstractmethod
    def altered(self, honest: Message, air: Air, colluders: Colluders) -> Message:
        """What one attacker sends instead of its honest message. Raises as `send`."""


@dataclass(frozen=True)
class StatelessAttacker:
    """One scenario of a `Stateless` attack."""

    attack: Stateless
    colluders: Colluders

    def send(self, air: Air) -> Sequence[Message]:
        honest = self.colluders.honest(air)
        if not honest or self.attack.budget == 0:
            return list(honest.values())
        return self.attack.send(honest, air, self.colluders)
