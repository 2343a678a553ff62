"""Maps shifted and turned, and by how much a map that was sent is shifted or turned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy.ndimage import affine_transform
from scipy.optimize import minimize_scalar

from robosac.attacks.features.maps import map_pairs
from robosac.types import Array, Message

_SAME: Final = 1e-4  # of the largest feature: two turned maps that differ by less are one


def shifted(x: Array, rows: int, cols: int, empty: float) -> Array:
    """A map `(..., H, W)` moved by whole cells, `empty` where nothing moves in."""
    out: Array = np.roll(x, (rows, cols), (-2, -1))
    out[..., _entered(rows), :] = empty
    out[..., _entered(cols)] = empty
    return out


def _entered(cells: int) -> slice:
    return slice(cells) if cells >= 0 else slice(cells, None)


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


def shift_between(honest: Message, sent: Sequence[Message]) -> float:
    """The least shift along an axis that makes the honest maps those sent; `inf` where none does."""

    def least(a: Array, b: Array) -> float:
        return float(next((k for k in range(max(a.shape[-2:]) + 1) if _shifted_by(a, b, k)), math.inf))

    return _largest(honest, sent, least)


def turn_between(honest: Message, sent: Sequence[Message]) -> float:
    """The turn in degrees, to a hundredth, that makes the honest maps those sent; `inf` where none does."""
    return _largest(honest, sent, _turned_by)


def _shifted_by(a: Array, b: Array, k: int) -> bool:
    """Whether `b` is `a` moved by k cells along one axis."""
    if k == 0:
        return a.tobytes() == b.tobytes()
    # what came in at the edge is one value: it is read from the corner where it came in
    ways = [(k, 0, b.flat[0]), (0, k, b.flat[0]), (-k, 0, b.flat[-1]), (0, -k, b.flat[-1])]
    return any(np.array_equal(shifted(a, rows, cols, float(empty)), b) for rows, cols, empty in ways)


def _turned_by(a: Array, b: Array) -> float:
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
    both = map_pairs(honest, sent)
    return math.inf if both is None else float(max((of(a, b) for a, b in both), default=0.0))
