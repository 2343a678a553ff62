"""How the size of a perturbation is counted. Values: `Linf()`, `L2()`.

A norm is taken over all float arrays of one attacker's message together; every attacker has the whole budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from robosac.attacks.registry import register
from robosac.types import Array


@runtime_checkable
class Norm(Protocol):
    """What a budget counts. Lists hold the arrays of one message."""

    @property
    def unit(self) -> str:
        """In words, for tables."""
        ...

    def size(self, moved: Sequence[Array]) -> float:
        """The norm of a perturbation, float64."""
        ...

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """The step of norm 1 along which a linear function with these slopes rises most; 0 where all slopes are 0."""
        ...

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        """The nearest perturbation of norm epsilon or less, up to float32."""
        ...

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        """A perturbation drawn from the ball of norm 1."""
        ...

    def spread(self, count: int) -> float:
        """Standard deviation of normal noise on `count` features that counts as noise of size 1."""
        ...


@register("linf")
@dataclass(frozen=True, kw_only=True)
class Linf:
    """The largest change of a feature."""

    @property
    def unit(self) -> str:
        return "L-inf a feature"

    def size(self, moved: Sequence[Array]) -> float:
        return max((float(np.abs(d).max(initial=0.0)) for d in moved), default=0.0)

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        return [g.sign() for g in slopes]

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        return [d.clamp(-epsilon, epsilon) for d in moved]

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        return [rng.uniform(-1.0, 1.0, shape) for shape in shapes]

    def spread(self, count: int) -> float:
        return 1.0


@register("l2")
@dataclass(frozen=True, kw_only=True)
class L2:
    """The root of the summed squares over all features of a message."""

    @property
    def unit(self) -> str:
        return "L2 a message"

    def size(self, moved: Sequence[Array]) -> float:
        return math.sqrt(sum(float(np.square(d, dtype=np.float64).sum()) for d in moved))

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        most = max((float(g.abs().max()) for g in slopes if g.numel()), default=0.0)
        if most == 0.0:
            return [torch.zeros_like(g) for g in slopes]
        scaled = [g / most for g in slopes]  # squares of slopes of 1e-25 would vanish in float32
        return [g / _length(scaled) for g in scaled]

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        length = _length(moved)
        return [d * (epsilon / length) for d in moved] if length > epsilon else list(moved)

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        drawn = [rng.standard_normal(shape) for shape in shapes]
        count = max(sum(d.size for d in drawn), 1)
        radius = rng.uniform() ** (1.0 / count)  # uniform in volume
        return [d * (radius / max(self.size(drawn), 1e-300)) for d in drawn]

    def spread(self, count: int) -> float:
        return 1.0 / math.sqrt(max(count, 1))


def _length(arrays: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(a.double().square().sum()) for a in arrays))
