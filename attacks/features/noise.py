"""Noise on the features as sent: what the budget alone does, without any knowledge. The baseline of every attack."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Altering, Stage, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.projection import feasible_sets
from robosac.attacks.measures import linf_size
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Array, Message


@dataclass(frozen=True, kw_only=True)
class _Noise(Altering):
    """Independent noise on every feature, clipped to the budget: override `draw`.

    Attributes:
        epsilon: L-inf budget a feature, in the units of the features as sent.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET, UNIT = "epsilon", "L-inf a feature"

    epsilon: float | str = number(0.5, low=0.0, sd=True)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return linf_size(honest, sent)

    def altered(self, honest: Message, air: Air, colluders: Colluders) -> Message:
        allowed = feasible_sets(honest, air.codec, plain_budget(self))
        drawn = {n: self.draw(s.lower.shape, colluders.rng(air, honest.sender, n)) for n, s in allowed.items()}
        return honest.with_payload(**{n: s.clip(honest.payload[n] + drawn[n]) for n, s in allowed.items()})

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Noise for an array of a shape."""


@register("gaussian_noise")
@dataclass(frozen=True, kw_only=True)
class GaussianNoise(_Noise):
    """Independent normal noise on every feature, clipped to the budget.

    Attributes:
        sigma_per_epsilon: standard deviation before clipping, as a share of epsilon.
    """

    sigma_per_epsilon: float = number(0.4, low=0.0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return plain_budget(self) * self.sigma_per_epsilon * rng.standard_normal(shape)


@register("uniform_noise")
@dataclass(frozen=True, kw_only=True)
class UniformNoise(_Noise):
    """Independent noise, uniform over the whole budget, on every feature."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.uniform(-plain_budget(self), plain_budget(self), shape)
