"""Vehicles whose places over time are given, whoever moved them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robosac.types import Array, Float64


class Vehicles(Protocol):
    """V vehicles over time: what the rest of the simulator asks of traffic. Sizes `(V, 3)` [l w h] in metres."""

    @property
    def model(self) -> tuple[str, ...]: ...
    @property
    def role(self) -> tuple[str, ...]: ...
    @property
    def size(self) -> Float64: ...
    @property
    def paint(self) -> Float64: ...

    def __len__(self) -> int: ...

    def poses(self, t_s: float | Array) -> Float64:
        """[x y yaw] of every vehicle at a time `(V, 3)`, or at times `(F,)`: `(F, V, 3)`."""
        ...

    def speeds(self, t_s: float) -> Float64:
        """Metres a second `(V,)`."""
        ...


@dataclass(frozen=True, eq=False)
class Tracks:
    """V vehicles at K times: `times_s` `(K,)`, `places` `(K, V, 3)` [x y yaw] of their centres, yaw continuous in time,
    `speed_mps` `(K, V)`. Between two times they go straight; before the first and after the last they stand.
    """

    model: tuple[str, ...]
    role: tuple[str, ...]
    size: Float64
    paint: Float64
    times_s: Float64
    places: Float64
    speed_mps: Float64

    def __len__(self) -> int:
        return len(self.model)

    def poses(self, t_s: float | Array) -> Float64:
        """[x y yaw] of every vehicle at a time `(V, 3)`, or at times `(F,)`: `(F, V, 3)`."""
        return self._between(self.places, np.asarray(t_s, np.float64))

    def speeds(self, t_s: float) -> Float64:
        """Metres a second `(V,)`."""
        return self._between(self.speed_mps, np.asarray(t_s, np.float64))

    def _between(self, values: Float64, t_s: Float64) -> Float64:
        at = np.interp(t_s, self.times_s, np.arange(len(self.times_s)))
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, len(self.times_s) - 1)
        part = (at - low).reshape(*at.shape, *[1] * (values.ndim - 1))
        found: Float64 = values[low] + part * (values[high] - values[low])
        return found

    def turned(self, angle_rad: float) -> Tracks:
        """The same, turned about the origin."""
        cos, sin = np.cos(angle_rad), np.sin(angle_rad)
        x, y, yaw = np.moveaxis(self.places, -1, 0)
        places = np.stack([cos * x - sin * y, sin * x + cos * y, yaw + angle_rad], axis=-1)
        return Tracks(self.model, self.role, self.size, self.paint, self.times_s, places, self.speed_mps)

    def and_standing(self, others: Vehicles) -> Tracks:
        """These, then others that stand still."""
        count = len(self.times_s)
        places = np.broadcast_to(others.poses(0.0), (count, len(others), 3))
        return Tracks(
            self.model + others.model,
            self.role + others.role,
            np.concatenate([self.size, others.size]),
            np.concatenate([self.paint, others.paint]),
            self.times_s,
            np.concatenate([self.places, places], axis=1),
            np.concatenate([self.speed_mps, np.zeros((count, len(others)))], axis=1),
        )
