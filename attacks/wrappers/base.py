"""An attack around another: it acts at the same stage, with the same budget, which the inner one uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.base import Measured, Stage
from robosac.attacks.settings import Settings, part
from robosac.feature_scale import Amount
from robosac.types import Message, Subset

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class Wrapping(Settings):
    """A base for wrappers: whatever `Measured` asks is asked of the inner attack.

    Attributes:
        attack: the inner attack.
    """

    attack: Measured = part(Measured)

    @property
    def stage(self) -> Stage:
        return self.attack.stage

    @property
    def unit(self) -> str:
        return self.attack.unit

    @property
    def budget(self) -> Amount:
        return self.attack.budget

    @property
    def knowledge(self) -> Knowledge:
        return self.attack.knowledge

    @property
    def needs_ego_frame(self) -> bool:
        """Whether it is to be played on a detector whose messages are in the ego's frame (see `AfterWarp`)."""
        return bool(getattr(self.attack, "needs_ego_frame", False))

    def with_budget(self, budget: Amount) -> Self:
        return dataclasses.replace(self, attack=self.attack.with_budget(budget))

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return self.attack.perturbation_size(honest, sent)

    # ------------------------------------------------------------------------------------------ can be overridden
    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return CheckedAttacker(self, self.attack.start(scenario, attackers, rng))

    def check(self, air: Air) -> None:
        """Raise where the inner attack must not act."""


@dataclass(frozen=True)
class CheckedAttacker:
    """One scenario of a wrapper that only checks; what is remembered is the inner attacker's."""

    attack: Wrapping
    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        self.attack.check(air)
        return self.inner.send(air)
