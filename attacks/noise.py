"""Noise on the features as sent: what the budget alone does, without any knowledge. The baseline of every attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from attacks.base import Budgeted, Stage, linf_spent
from attacks.crew import Crew
from attacks.projection import rooms
from attacks.settings import real
from robosac.air import Air, Knowledge
from robosac.types import Array, Id, Message, Subset


class _Noise(Protocol):
    @property
    def epsilon(self) -> float: ...

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Budgeted):
    """Independent normal noise on every feature, clipped to the budget.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
        sigma_per_epsilon: standard deviation before clipping, as a share of epsilon.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"
    UNIT: ClassVar = "L-inf a feature"

    epsilon: float = 0.5
    sigma_per_epsilon: float = 0.4

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)
        real(self, "sigma_per_epsilon", low=0.0)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> NoiseAttacker:
        return NoiseAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return linf_spent(honest, sent)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return self.epsilon * self.sigma_per_epsilon * rng.standard_normal(shape)


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Budgeted):
    """Independent noise, uniform over the whole budget, on every feature.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"
    UNIT: ClassVar = "L-inf a feature"

    epsilon: float = 0.5

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> NoiseAttacker:
        return NoiseAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return linf_spent(honest, sent)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.uniform(-self.epsilon, self.epsilon, shape)


@dataclass(frozen=True)
class NoiseAttacker:
    """One scenario of a noise attack."""

    noise: _Noise
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays."""
        honest = self.crew.honest(air)
        return list(honest.values()) if self.noise.epsilon == 0 else [self._spoil(m, air, i) for i, m in honest.items()]

    def _spoil(self, message: Message, air: Air, sender: Id) -> Message:
        allowed = rooms(message, air.codec, self.noise.epsilon)
        drawn = {n: self.noise.draw(room.lower.shape, self.crew.rng(air, sender, n)) for n, room in allowed.items()}
        return message.with_payload(**{n: room.clip(message.payload[n] + drawn[n]) for n, room in allowed.items()})


ATTACKS: Final[Mapping[str, type[Any]]] = {"gaussian_noise": GaussianNoise, "uniform_noise": UniformNoise}
