"""Points of a scan from the columns of its file, and what their intensities mean.

Intensities are brought to [0, 1]. Of bytes and 16-bit numbers the type says how, scan by scan. Of others the
recording says it, once for each kind of agent: the highest value of a few scans, spread over all of it, is at most 1,
255 or 65535. So a reading means the same in every scan, dark or bright. Nothing is cut off: what is beyond the scale
stays beyond 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from robosac import pcd
from robosac.data.recording import DataError
from robosac.types import Array, Float32

_OF_BYTES: Final = (np.arange(256) / 255).astype(np.float32)
_OF_TYPE: Final = {"u1": 255.0, "u2": 65535.0}
_SCALES: Final = (1.0, 255.0, 65535.0)
_ROUNDING: Final = 1.01  # a value of 1 and a bit is still of 0..1
SAMPLED: Final = 32  # scans that say how intensities are scaled
_T = TypeVar("_T")


@dataclass(eq=False)
class Scales:
    """How the intensities of a recording are scaled, by kind of agent; found when it is first asked for.

    `scans` gives a few scans of a kind: their raw intensities.
    """

    scans: Callable[[str], Iterable[Array]]
    _found: dict[str, float] = field(default_factory=dict, init=False)
    _seen: dict[str, dict[str, None]] = field(default_factory=dict, init=False)

    def of(self, raw: Array, kind: str) -> Float32:
        """Intensities `(N,)` of a scan, in [0, 1]."""
        name = raw.dtype.str[1:]
        if name in _OF_TYPE:
            self._say(kind, f"{_OF_TYPE[name]:.0f} is 1 ({8 * raw.dtype.itemsize}-bit numbers)")
            return unit_intensity(raw)
        if kind not in self._found:
            others = (_finite(r) for r in self.scans(kind) if r.dtype.str[1:] not in _OF_TYPE)
            highest = max((float(r.max()) for r in others if r.size), default=0.0)
            self._found[kind] = next((s for s in _SCALES if highest <= s * _ROUNDING), _SCALES[-1])
            self._say(kind, f"{self._found[kind]:.0f} is 1 (up to {highest:g} in {SAMPLED} scans or fewer)")
        return unit_intensity(raw, self._found[kind])

    def said(self) -> Mapping[str, str]:
        """What was found so far, kind by kind, in words."""
        return {kind: "; ".join(texts) for kind, texts in sorted(self._seen.items())}

    def _say(self, kind: str, text: str) -> None:
        self._seen.setdefault(kind, {})[text] = None


def spread(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many, evenly spread over all."""
    return [
        items[i] for i in sorted({round(k) for k in np.linspace(0, len(items) - 1, min(most, len(items))).tolist()})
    ]


def intensities(paths: Sequence[_T], read: Callable[[_T], Mapping[str, Array]]) -> Iterable[Array]:
    """Raw intensities of some of these scans, whose columns `read` gives; scans that are broken say nothing."""
    for path in spread(paths, SAMPLED):
        with suppress(DataError):
            columns = read(path)
            if "intensity" in columns and columns["intensity"].ndim == 1:
                yield columns["intensity"]


def unit_intensity(raw: Array, scale: float = 1.0) -> Float32:
    """Intensities `(N,)` divided by what the type calls full, or by `scale`; those that are not finite are 0."""
    unit: Float32 = _finite(raw) / np.float32(_OF_TYPE.get(raw.dtype.str[1:], scale))
    return unit


def _finite(raw: Array) -> Float32:
    with np.errstate(over="ignore"):
        return np.nan_to_num(np.asarray(raw, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def points_of(found: Mapping[str, Array], path: Path, scales: Scales, kind: str) -> Float32:
    """Points `(N, 4)` of a scan's columns; those that are not finite are left out. Intensity, in [0, 1], is the field
    `intensity`, else the red byte of `rgb`, else 0; `kind` is that of the agent.

    Raises:
        DataError: if there is no x, y or z.
    """
    columns = {name: column for name, column in found.items() if column.ndim == 1}
    if missing := [c for c in ("x", "y", "z") if c not in columns]:
        raise DataError(path, f"expected fields x y z, got {' '.join(found)}: no {missing[0]}")
    points: Float32 = np.empty((len(columns["x"]), 4), np.float32)
    with np.errstate(over="ignore"):  # a double that no float32 holds becomes inf, and goes
        for k, name in enumerate(("x", "y", "z")):
            points[:, k] = columns[name]
    points[:, 3] = _intensity(columns, scales, kind)
    if np.isfinite(points.sum(dtype=np.float64)):  # which no sum with a NaN or inf in it is
        return points
    finite: Float32 = points[np.isfinite(points[:, :3]).all(axis=1)]
    return finite


def _intensity(columns: Mapping[str, Array], scales: Scales, kind: str) -> Array | float:
    if "intensity" in columns:
        return scales.of(columns["intensity"], kind)
    for name in ("rgb", "rgba"):
        if name in columns:
            red: Float32 = _OF_BYTES[pcd.colour(columns[name])]
            return red
    return 0.0


def floats(raw: bytes, columns: int, path: Path) -> Mapping[str, Array]:
    """Columns x, y, z, intensity of a file that is nothing but float32 numbers, `columns` to a point.

    Raises:
        DataError: if it does not hold whole points.
    """
    if len(raw) % (4 * columns):
        names = " ".join(("x", "y", "z", "intensity", "ring")[:columns])
        raise DataError(path, f"expected points of {4 * columns} bytes, float32 {names}, got {len(raw)} bytes")
    table = np.frombuffer(raw, dtype="<f4").reshape(-1, columns)
    return {name: table[:, k] for k, name in enumerate(("x", "y", "z", "intensity"))}
