"""Feature maps moved about: shifted, turned, mirrored, erased, mixed (shift, rotation and erasing are MADE's suite).

These act on every float array of at least three axes, `(..., H, W)`, and know nothing: what an attacker sends is its
own map, in the wrong place. Fresh luck every frame says in which direction and where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from scipy.ndimage import affine_transform
from scipy.optimize import minimize_scalar

from robosac.air import Air, Knowledge
from robosac.attacks.base import Budgeted, Stage
from robosac.attacks.colluders import Crew
from robosac.attacks.features.maps import maps_of, nothing, pairs, share_of_cells
from robosac.attacks.settings import integer, real
from robosac.types import Array, Message, Subset

_SAME: Final = 1e-4  # of the largest feature: two turned maps that differ by less are one


@dataclass(frozen=True, kw_only=True)
class _Geometry(Budgeted):
    STAGE: ClassVar = Stage.FEATURES

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> GeometryAttacker:
        return GeometryAttacker(self, Crew.gather(attackers, rng))

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        """A map `(..., H, W)`, moved; `empty` is what a cell holds where nothing was seen."""
        raise NotImplementedError


@dataclass(frozen=True)
class GeometryAttacker:
    """One scenario. It remembers nothing from frame to frame."""

    attack: _Geometry
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its maps.

        Raises:
            InputError: the detector sends no maps.
        """
        honest = self.crew.honest(air)
        if self.attack.budget == 0:
            return list(honest.values())
        return [self._lie(air, m) for m in honest.values()]

    def _lie(self, air: Air, honest: Message) -> Message:
        # one stream for all maps of a message: levels of a pyramid move the same way
        maps = maps_of(honest, air.codec)
        lies = {
            n: self.attack.moved(x, nothing(air.codec, n), self.crew.rng(air, honest.sender)) for n, x in maps.items()
        }
        return honest.with_payload(**{n: np.ascontiguousarray(lies[n], x.dtype) for n, x in maps.items()})


@dataclass(frozen=True, kw_only=True)
class FeatureShift(_Geometry):
    """The map moves along its rows or its columns; what comes in at the edge is empty.

    Attributes:
        cells: how far, in cells of each map.
    """

    BUDGET: ClassVar = "cells"
    UNIT: ClassVar = "cells"

    cells: int = 4

    def __post_init__(self) -> None:
        integer(self, "cells", low=0)

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        row, col = [(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]
        return shifted(x, row * self.cells, col * self.cells, empty)

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """The least shift along an axis that makes the honest maps those sent; `inf` where none does."""

        def least(a: Array, b: Array) -> float:
            return float(next((k for k in range(max(a.shape[-2:]) + 1) if _shifted_by(a, b, k)), math.inf))

        return _largest(honest, sent, least)


@dataclass(frozen=True, kw_only=True)
class FeatureRotate(_Geometry):
    """The map turns about its middle, left or right, read bilinearly; what comes in at the edge is empty.

    Attributes:
        degrees: how far.
    """

    BUDGET: ClassVar = "degrees"
    UNIT: ClassVar = "degrees"

    degrees: float = 15.0

    def __post_init__(self) -> None:
        real(self, "degrees", low=0.0, high=180.0)

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        return turned(x, self.degrees * rng.choice([-1.0, 1.0]), empty)

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """The turn, to a hundredth of a degree, that makes the honest maps those sent; `inf` where none does."""
        return _largest(honest, sent, _turn_between)


@dataclass(frozen=True, kw_only=True)
class _Share(_Geometry):
    """A geometry whose budget is a share of the cells.

    Attributes:
        share: of the map's cells.
    """

    BUDGET: ClassVar = "share"
    UNIT: ClassVar = "share of the cells"

    share: float = 0.25

    def __post_init__(self) -> None:
        real(self, "share", low=0.0, high=1.0)

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
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


@dataclass(frozen=True, kw_only=True)
class FeatureErase(_Share):
    """A rectangle of the map is emptied."""

    def moved(self, x: Array, empty: float, rng: np.random.Generator) -> Array:
        rows, cols = self.region(x, rng)
        out: Array = x.copy()
        out[..., rows, cols] = empty
        return out


@dataclass(frozen=True, kw_only=True)
class FeatureMix(_Share):
    """Square regions of the map change places with one another.

    Attributes:
        block: their edge in cells; smaller where a map has no room for two.
    """

    block: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self, "block", low=1)

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


# ------------------------------------------------------------------------------------------------------- maps, moved
def shifted(x: Array, rows: int, cols: int, empty: float) -> Array:
    """A map `(..., H, W)` moved by whole cells, `empty` where nothing moves in."""
    high, wide = x.shape[-2:]
    out = np.full_like(x, empty)
    if abs(rows) < high and abs(cols) < wide:
        (down, right), (up, left) = (
            [slice(max(way * k, 0), n + min(way * k, 0)) for k, n in ((rows, high), (cols, wide))] for way in (1, -1)
        )
        out[..., down, right] = x[..., up, left]
    return out


def turned(x: Array, degrees: float, empty: float) -> Array:
    """A map `(..., H, W)` turned about its middle, read bilinearly; `empty` beyond it. No value leaves the map's."""
    angle = math.radians(degrees)
    # rounded: half a turn must not read the emptiness a rounding error beside the map
    turn = np.round([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], 12)
    middle = (np.array(x.shape[-2:]) - 1) / 2
    flat = x.reshape(-1, *x.shape[-2:]).astype(np.float32)
    out = [affine_transform(m, turn, middle - turn @ middle, order=1, mode="constant", cval=empty) for m in flat]
    low, high = min(float(flat.min(initial=empty)), empty), max(float(flat.max(initial=empty)), empty)
    made: Array = np.clip(np.stack(out), low, high).reshape(x.shape).astype(x.dtype) if out else x.copy()
    return made


def _shifted_by(a: Array, b: Array, k: int) -> bool:
    """Whether `b` is `a` moved by k cells along one axis."""
    if k == 0:
        return a.tobytes() == b.tobytes()
    # what came in at the edge is one value: it is read from the corner where it came in
    ways = [(k, 0, b.flat[0]), (0, k, b.flat[0]), (-k, 0, b.flat[-1]), (0, -k, b.flat[-1])]
    return any(np.array_equal(shifted(a, rows, cols, float(empty)), b) for rows, cols, empty in ways)


def _turn_between(a: Array, b: Array) -> float:
    """Degrees by which `a` was turned to become `b`, to a hundredth; `inf` where a turn does not explain it."""
    if a.tobytes() == b.tobytes():
        return 0.0
    kept = slice(None, None, max(1, len(a) // 8))  # a few channels tell the angle
    few, target = a[kept].astype(np.float32), b[kept].astype(np.float32)
    edge = float(min(max(0.0, b.min()), b.max()))

    def off(degrees: float) -> float:
        return float(np.abs(turned(few, degrees, edge) - target).mean())

    coarse = np.arange(-180.0, 180.5, 1.0)
    starts = coarse[np.argsort([off(d) for d in coarse])[:3]]
    found = [minimize_scalar(off, bounds=(s - 1, s + 1), method="bounded", options={"xatol": 1e-4}) for s in starts]
    degrees = round(float(min(found, key=lambda f: f.fun).x), 2)
    scale = max(float(np.abs(a).max(initial=0.0)), 1e-12)
    exact = np.abs(turned(a, degrees, edge).astype(np.float64) - b).max() <= _SAME * scale
    return abs(degrees) if exact else math.inf


def _largest(honest: Message, sent: Sequence[Message], of: Callable[[Array, Array], float]) -> float:
    """The largest of a measure over the maps; `inf` where anything but maps changed."""
    both = pairs(honest, sent, maps=True)
    return math.inf if both is None else float(max((of(a, b) for a, b in both), default=0.0))


ATTACKS: Final[Mapping[str, type[Any]]] = {
    "feature_erase": FeatureErase,
    "feature_flip": FeatureFlip,
    "feature_mix": FeatureMix,
    "feature_rotate": FeatureRotate,
    "feature_shift": FeatureShift,
}
