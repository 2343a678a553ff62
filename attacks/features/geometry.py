"""Feature maps moved about: shifted, turned, mirrored, erased, mixed (shift, rotation and erasing are MADE's suite).

These act on every float array of at least three axes, `(..., H, W)`, and know nothing: what an attacker sends is its
own map, in the wrong place. In which direction and where is drawn anew every frame.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Altering, Stage
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.maps import maps_of, nothing, share_of_cells
from robosac.attacks.features.moves import shift_between, shifted, turn_between, turned
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Array, Message


@dataclass(frozen=True, kw_only=True)
class _Geometry(Altering):
    """A base: override `moved`."""

    STAGE: ClassVar = Stage.FEATURES

    def altered(self, honest: Message, air: Air, colluders: Colluders) -> Message:
        # one stream for all maps of a message: levels of a pyramid move the same way
        moved = {
            n: np.ascontiguousarray(self.moved(x, nothing(air.codec, n), colluders.rng(air, honest.sender)), x.dtype)
            for n, x in maps_of(honest, air.codec).items()
        }
        return honest.with_payload(**moved)

    @abstractmethod
    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        """A map `(..., H, W)`, moved; `empty` is what a cell holds where nothing was seen."""


@register("feature_shift")
@dataclass(frozen=True, kw_only=True)
class FeatureShift(_Geometry):
    """The map moves along its rows or its columns; what comes in at the edge is empty.

    Attributes:
        cells: how far, in cells of each map.
    """

    BUDGET, UNIT = "cells", "cells"

    cells: int = number(4, low=0)

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        row, col = [(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]
        return shifted(x, row * self.cells, col * self.cells, empty)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """The least shift along an axis that makes the honest maps those sent; `inf` where none does."""
        return shift_between(honest, sent)


@register("feature_rotate")
@dataclass(frozen=True, kw_only=True)
class FeatureRotate(_Geometry):
    """The map turns about its middle, left or right, read bilinearly; what comes in at the edge is empty.

    Attributes:
        degrees: how far.
    """

    BUDGET, UNIT = "degrees", "degrees"

    degrees: float = number(15.0, low=0.0, high=180.0)

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        return turned(x, self.degrees * rng.choice([-1.0, 1.0]), empty)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """The turn, to a hundredth of a degree, that makes the honest maps those sent; `inf` where none does."""
        return turn_between(honest, sent)


@dataclass(frozen=True, kw_only=True)
class _Share(_Geometry):
    """A geometry whose budget is a share of the cells.

    Attributes:
        share: of the map's cells.
    """

    BUDGET, UNIT = "share", "share of the cells"

    share: float = number(0.25, low=0.0, high=1.0)

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Share of the cells in which anything changed; `inf` where anything but maps did."""
        return share_of_cells(honest, sent)

    def region(self, x: Array, rng: np.random.Generator) -> tuple[slice, slice]:
        """Rows and columns of a rectangle of the map's own proportions that holds at most the share of its cells."""
        rows, cols = x.shape[-2:]
        area = math.floor(self.share * rows * cols + 1e-9)
        high = min(rows, max(1, round(rows * math.sqrt(self.share))), max(area, 1))
        wide = min(cols, area // high)
        top, left = rng.integers(rows - high + 1), rng.integers(cols - wide + 1)
        return slice(top, top + high), slice(left, left + wide)


@register("feature_flip")
@dataclass(frozen=True, kw_only=True)
class FeatureFlip(_Share):
    """A rectangle of the map is mirrored, left to right or front to back."""

    share: float = 1.0

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        rows, cols = self.region(x, rng)
        out: Array = x.copy()
        part = x[..., rows, cols]
        # a rectangle one cell wide is its own mirror image
        axis = -1 if part.shape[-2] < 2 else -2 if part.shape[-1] < 2 else int(rng.choice([-1, -2]))
        out[..., rows, cols] = np.flip(part, axis)
        return out


@register("feature_erase")
@dataclass(frozen=True, kw_only=True)
class FeatureErase(_Share):
    """A rectangle of the map is emptied."""

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        rows, cols = self.region(x, rng)
        out: Array = x.copy()
        out[..., rows, cols] = empty
        return out


@register("feature_mix")
@dataclass(frozen=True, kw_only=True)
class FeatureMix(_Share):
    """Square regions of the map change places with one another.

    Attributes:
        block: their edge in cells; smaller where two do not fit on a map.
    """

    block: int = number(8, low=1)

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        rows, cols = x.shape[-2:]
        edge = min(self.block, rows, cols)
        # the largest blocks of which the share holds at least two
        while edge > 1 and min((rows // edge) * (cols // edge), math.floor(self.share * rows * cols / edge**2)) < 2:
            edge //= 2
        across = cols // edge
        count = (rows // edge) * across
        chosen = rng.permutation(count)[: math.floor(self.share * rows * cols / edge**2 + 1e-9)]
        if len(chosen) < 2:
            return x
        inside = np.arange(edge)
        row = (chosen // across * edge)[:, None, None] + inside[:, None]
        col = (chosen % across * edge)[:, None, None] + inside
        out: Array = x.copy()
        out[..., row, col] = x[..., np.roll(row, 1, axis=0), np.roll(col, 1, axis=0)]
        return out
