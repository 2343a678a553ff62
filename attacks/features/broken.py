"""Features that break as a faulty encoder or link would break them: a share of them is lost, saturated or no number."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Altering, Stage
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.maps import nothing, share_of_features
from robosac.attacks.measures import floats
from robosac.attacks.registry import register
from robosac.attacks.settings import choice, number
from robosac.types import Array, Codec, Message


@dataclass(frozen=True, kw_only=True)
class _Broken(Altering):
    """A share of the features of each float array, drawn anew every frame, is set to one value: override `value`.

    Attributes:
        share: of the features.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET, UNIT = "share", "share of the features"

    share: float = number(0.1, low=0.0, high=1.0)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest share of an array's features that changed; `inf` where anything but float arrays did."""
        return share_of_features(honest, sent)

    def altered(self, honest: Message, air: Air, colluders: Colluders) -> Message:
        return honest.with_payload(**{n: self._broken(honest, n, air, colluders) for n in floats(honest)})

    def _broken(self, honest: Message, name: str, air: Air, colluders: Colluders) -> Array:
        out: Array = honest.payload[name].copy()
        count = math.floor(self.share * out.size + 1e-9)
        at = colluders.rng(air, honest.sender, name).permutation(out.size)[:count]
        out.ravel()[at] = self.value(honest.payload[name], name, air.codec)
        return out

    @abstractmethod
    def value(self, x: Array, name: str, codec: Codec) -> float:
        """What the features of the array `x` of this name are set to."""


@register("dropout")
@dataclass(frozen=True, kw_only=True)
class Dropout(_Broken):
    """Features are lost: set to 0, or to what of the codec's range is nearest to it."""

    share: float = 0.3

    def value(self, x: Array, name: str, codec: Codec) -> float:
        return nothing(codec, name)


@register("saturation")
@dataclass(frozen=True, kw_only=True)
class Saturation(_Broken):
    """Features are driven to the end of the codec's range; where that is open, far beyond what is honest.

    Attributes:
        scale: without an upper bound, times the largest honest feature.
    """

    scale: float = number(10.0, low=1.0)

    def value(self, x: Array, name: str, codec: Codec) -> float:
        _, _, _, high = codec.arrays.get(name, ((), "", -np.inf, np.inf))
        most = float(np.finfo(x.dtype).max)
        return min(most, high if math.isfinite(high) else self.scale * max(float(np.abs(x).max(initial=0.0)), 1.0))


@register("non_finite")
@dataclass(frozen=True, kw_only=True)
class NonFinite(_Broken):
    """Features that are no numbers, outside of any codec: one of them in a sum makes a whole map worthless.

    Attributes:
        kind: "nan" or "inf".
    """

    share: float = 0.01
    kind: Literal["nan", "inf"] = choice("nan", "nan", "inf")

    def value(self, x: Array, name: str, codec: Codec) -> float:
        return math.nan if self.kind == "nan" else math.inf
