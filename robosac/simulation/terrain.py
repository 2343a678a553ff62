"""The ground: gentle waves, known in closed form, and their triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.types import Array, Float32, Float64

_CELL_M: Final = 7.0
_CELLS: Final = 36  # the mesh reaches 126 m from its centre


@dataclass(frozen=True, eq=False)
class Terrain:
    """Height `z = sum_i amplitude_i sin(wave_i . xy + phase_i)`, metres; waves `(K, 2)` in rad/m."""

    amplitude: Float64
    wave: Float64
    phase: Float64

    @classmethod
    def draw(cls, rng: np.random.Generator, max_grade: float) -> Terrain:
        """Four waves of 90 to 300 m whose slopes together never exceed `max_grade`."""
        length = rng.uniform(90, 300, 4)
        angle = rng.uniform(0, 2 * np.pi, 4)
        grades = rng.dirichlet(np.ones(4)) * max_grade * rng.uniform(0.3, 1.0)
        k = 2 * np.pi / length
        wave = np.stack([k * np.cos(angle), k * np.sin(angle)], axis=1)
        return cls(grades / k, wave, rng.uniform(0, 2 * np.pi, 4))

    def height(self, xy: Array) -> Float64:
        """Ground height `(N,)` at `xy` `(N, 2)`."""
        return np.asarray(np.sin(xy @ self.wave.T + self.phase) @ self.amplitude, np.float64)

    def slope(self, xy: Array) -> Float64:
        """dz/dx, dz/dy `(N, 2)` at `xy` `(N, 2)`."""
        return np.asarray((np.cos(xy @ self.wave.T + self.phase) * self.amplitude) @ self.wave, np.float64)

    def mesh(self, centre_xy: Array) -> Float32:
        """Triangles `(T, 3, 3)` of the ground about `centre_xy` `(2,)`, on a grid that is fixed in the world."""
        start = np.round(np.asarray(centre_xy) / _CELL_M) - _CELLS // 2
        ticks = np.arange(_CELLS + 1)
        x, y = np.meshgrid((start[0] + ticks) * _CELL_M, (start[1] + ticks) * _CELL_M, indexing="ij")
        z = self.height(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
        v = np.stack([x, y, z], axis=-1)
        a, b, c, d = v[:-1, :-1], v[1:, :-1], v[1:, 1:], v[:-1, 1:]
        lower, upper = np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)
        return np.concatenate([lower.reshape(-1, 3, 3), upper.reshape(-1, 3, 3)]).astype(np.float32)
