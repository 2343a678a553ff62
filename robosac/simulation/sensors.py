"""LiDARs: where their beams point, how far they see, and what is wrong with their returns.

Beams of the models that are built are after the makers' manuals, rounded to a hundredth of a degree; of those with
more than 64 beams the crowded middle is evenly spaced here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from robosac.types import Array, InputError


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One LiDAR. Angles in degrees, in the sensor's frame; 0 is level, azimuth 0 is +x.

    Attributes:
        elevations_deg: of the beams, in any order.
        columns: rays of a beam in a full turn.
        view_deg: horizontal field of view, about +x; 360 is a full turn.
        min_range_m, max_range_m: no return comes from nearer or further.
        range_sigma_m: standard deviation of the range noise, along the ray.
        drop_rate: probability that a return is lost whatever its power.
        faint_power: returns weaker than about this (reflectivity x cos(incidence) at 20 m) are lost, softly.
        jitter_deg: standard deviation of each ray's elevation.
        shows_carrier: whether returns from the body that carries it are kept.
        drops: probability that a ray meets a drop of rain, spray or dust on its first 25 m or so.
        gain, levels: intensity is multiplied by `gain`, cut at 1 and, where `levels` is not 0, rounded to so many.
    """

    elevations_deg: tuple[float, ...]
    columns: int = 1024
    view_deg: float = 360.0
    min_range_m: float = 0.0
    max_range_m: float = 70.0
    range_sigma_m: float = 0.02
    drop_rate: float = 0.04
    faint_power: float = 0.003
    jitter_deg: float = 0.0
    shows_carrier: bool = False
    drops: float = 0.0
    gain: float = 1.0
    levels: int = 0

    def __post_init__(self) -> None:
        if not self.elevations_deg or not all(-90 < e < 90 for e in self.elevations_deg):
            raise InputError(f"expected elevations in (-90, 90) degrees, at least one, got {self.elevations_deg}")
        if self.columns < 1 or not 0 < self.view_deg <= 360:
            got = (self.columns, self.view_deg)
            raise InputError(f"expected columns >= 1 and view_deg in (0, 360], got {got}")
        if not 0 <= self.min_range_m < self.max_range_m < float("inf"):
            ranges = (self.min_range_m, self.max_range_m)
            raise InputError(f"expected 0 <= min_range_m < max_range_m < inf, got {ranges}")
        if not (0 <= self.drop_rate < 1 and 0 <= self.drops < 1):
            raise InputError(f"expected drop_rate and drops in [0, 1), got {self.drop_rate} and {self.drops}")

    def in_levels(self, intensity: Array) -> Array:
        """Intensities in [0, 1] as it reports them: rounded to its `levels`, where it has any."""
        return np.round(intensity * self.levels) / self.levels if self.levels else intensity


def evenly(beams: int, low_deg: float, high_deg: float) -> tuple[float, ...]:
    """Elevations of beams that are evenly spread."""
    return tuple(np.linspace(low_deg, high_deg, beams).tolist())


def _rounded(*parts: Array | list[float]) -> tuple[float, ...]:
    return tuple(np.round(np.concatenate([np.asarray(p, np.float64) for p in parts]), 2).tolist())


def _between(first: float, last: float, beams: int) -> Array:
    return np.linspace(first, last, beams)


_VLP_32C: Final = (
    *(-25.0, -15.64, -11.31, -8.84, -7.25, -6.15, -5.33, -4.67, -4.0, -3.67, -3.33, -3.0, -2.67, -2.33, -2.0, -1.67),
    *(-1.33, -1.0, -0.67, -0.33, 0.0, 0.33, 0.67, 1.0, 1.33, 1.67, 2.33, 3.33, 4.67, 7.0, 10.33, 15.0),
)
_ABOVE, _BELOW = [15.0, 11.0, 8.0, 5.0, 3.0], [*(-float(e) for e in range(7, 15)), -19.0, -25.0]
MODELS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "vlp-16": _rounded(_between(-15, 15, 16)),
        "vlp-32c": _VLP_32C,
        "hdl-32e": _rounded(_between(-30.67, 10.67, 32)),
        "hdl-64e": _rounded(_between(2.0, -8.33, 32), _between(-8.83, -24.33, 32)),
        "pandar-40": _rounded(_ABOVE, _between(2.0, -6.0, 25), _BELOW),
        "pandar-64": _rounded(_ABOVE, _between(2.0, -6.0, 49), _BELOW),
        "vls-128": _rounded(
            [15.0, 10.3, 7.0, 4.67, 3.33, 2.43],
            _between(1.8, -6.3, 103),
            _between(-6.55, -8.35, 12),
            [-9.24, -10.35, -11.74, -13.57, -16.04, -19.58, -25.0],
        ),
    }
)
"""Elevations of the beams of LiDARs that are built, degrees."""

_COUNTS: Final = (16, 20, 32, 40, 64, 64, 80, 128)


def draw_sensor(rng: np.random.Generator, *, roadside: bool, rain: float) -> Sensor:
    """A LiDAR as it may be met on a road: of one of the patterns, well or badly made; `rain` as `Sensor.drops`."""
    pattern = str(rng.choice(_PATTERNS, p=_ROADSIDE if roadside else _VEHICLE))
    elevations, columns, view = _DRAWN[pattern](rng, roadside)
    lost = rng.random() < 0.3  # simulators that draw no power, and sensors that see in the dark
    return Sensor(
        elevations_deg=elevations,
        columns=columns,
        view_deg=view,
        min_range_m=float(rng.choice([0.0, 1.0, 2.0])),
        max_range_m=float(rng.uniform(70, 130)),
        range_sigma_m=float(rng.choice([0.01, 0.02, 0.03, 0.05])),
        drop_rate=float(rng.choice([0.0, 0.04, 0.1, 0.2, 0.4], p=[0.15, 0.3, 0.3, 0.15, 0.1])),
        faint_power=0.0 if lost else float(10 ** rng.uniform(-3.2, -1.9)),
        jitter_deg=float(rng.choice([0.0, 0.03, 0.08])),
        shows_carrier=bool(rng.random() < 0.3),
        drops=rain,
        gain=float(rng.uniform(0.5, 1.6)),
        levels=int(rng.choice([0, 255])),
    )


Drawn = tuple[tuple[float, ...], int, float]


def _uniform(rng: np.random.Generator, roadside: bool) -> Drawn:
    low = rng.uniform(-38, -22) if roadside else rng.uniform(-30, -15)
    elevations = evenly(int(rng.choice(_COUNTS)), float(low), float(rng.uniform(0, 12)))
    return elevations, int(rng.choice([512, 900, 1024, 1024, 1800])), 360.0


def _built(rng: np.random.Generator, roadside: bool) -> Drawn:
    name = str(rng.choice(sorted(MODELS)))
    return MODELS[name], int(rng.choice([900, 1200, 1800])), 360.0


def _solid_state(rng: np.random.Generator, roadside: bool) -> Drawn:
    tall = float(rng.uniform(25, 40))
    top = float(rng.uniform(-6, 3)) if roadside else float(rng.uniform(8, 14))
    view = float(rng.uniform(90, 125))
    return evenly(int(rng.choice([80, 126, 150])), top - tall, top), int(rng.choice([1200, 1800])), view


_DRAWN: Final[Mapping[str, Callable[[np.random.Generator, bool], Drawn]]] = MappingProxyType(
    {"uniform": _uniform, "built": _built, "solid-state": _solid_state}
)
_PATTERNS: Final = tuple(_DRAWN)
_VEHICLE: Final = (0.55, 0.38, 0.07)
_ROADSIDE: Final = (0.4, 0.25, 0.35)
