"""Noise on the features as sent: what the budget alone does, without any knowledge. The baseline of every attack.

Gaussian and uniform noise move every feature a little; dropout, saturation and what is not finite break a share of them
as a faulty encoder or link would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol

import numpy as np

from robosac.air import Air, Knowledge
from robosac.attacks.base import Budgeted, Stage, floats, linf_spent
from robosac.attacks.colluders import Crew
from robosac.attacks.features.maps import nothing, share_of_features
from robosac.attacks.features.projection import rooms
from robosac.attacks.settings import real
from robosac.types import Array, Codec, Id, InputError, Message, Subset


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


# ---------------------------------------------------------------------------------------------- a share of the features
@dataclass(frozen=True, kw_only=True)
class _Broken(Budgeted):
    """A share of the features of each float array, drawn anew every frame, is set to one value.

    Attributes:
        share: of the features.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "share"
    UNIT: ClassVar = "share of the features"

    share: float = 0.1

    def __post_init__(self) -> None:
        real(self, "share", low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> FaultAttacker:
        return FaultAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest share of an array's features that changed; `inf` where anything but float arrays did."""
        return share_of_features(honest, sent)

    def value(self, x: Array, name: str, codec: Codec) -> float:
        """What the features of the array `x` of this name are set to."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Dropout(_Broken):
    """Features are lost: set to 0, or to what of the codec's range is nearest to it."""

    share: float = 0.3

    def value(self, x: Array, name: str, codec: Codec) -> float:
        return nothing(codec, name)


@dataclass(frozen=True, kw_only=True)
class Saturation(_Broken):
    """Features are driven to the end of the codec's range; where that is open, far beyond what is honest.

    Attributes:
        scale: without an upper bound, times the largest honest feature.
    """

    scale: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "scale", low=1.0)

    def value(self, x: Array, name: str, codec: Codec) -> float:
        _, _, _, high = codec.arrays.get(name, ((), "", -np.inf, np.inf))
        most = float(np.finfo(x.dtype).max)
        return min(most, high if math.isfinite(high) else self.scale * max(float(np.abs(x).max(initial=0.0)), 1.0))


@dataclass(frozen=True, kw_only=True)
class NonFinite(_Broken):
    """Features that are no numbers, outside of any codec: one of them in a sum makes a whole map worthless.

    Attributes:
        kind: "nan" or "inf".
    """

    share: float = 0.01
    kind: Literal["nan", "inf"] = "nan"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("nan", "inf"):
            raise InputError(f"expected kind of NonFinite to be 'nan' or 'inf', got {self.kind!r}")

    def value(self, x: Array, name: str, codec: Codec) -> float:
        return math.nan if self.kind == "nan" else math.inf


@dataclass(frozen=True)
class FaultAttacker:
    """One scenario of an attack that breaks a share of the features."""

    attack: _Broken
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays."""
        honest = self.crew.honest(air)
        if self.attack.share == 0:
            return list(honest.values())
        return [m.with_payload(**{n: self._broken(air, m, n) for n in floats(m)}) for m in honest.values()]

    def _broken(self, air: Air, honest: Message, name: str) -> Array:
        out: Array = honest.payload[name].copy()
        count = math.floor(self.attack.share * out.size + 1e-9)
        at = self.crew.rng(air, honest.sender, name).permutation(out.size)[:count]
        out.ravel()[at] = self.attack.value(honest.payload[name], name, air.codec)
        return out


ATTACKS: Final[Mapping[str, type[Any]]] = {
    "dropout": Dropout,
    "gaussian_noise": GaussianNoise,
    "non_finite": NonFinite,
    "saturation": Saturation,
    "uniform_noise": UniformNoise,
}
