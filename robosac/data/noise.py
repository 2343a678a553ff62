"""Errors of measured poses: position and heading, drawn anew for every scan, the same in any order of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robosac.boxes import pose_xyz_rpy
from robosac.types import Float64, InputError


class PoseNoise(Protocol):
    """A law of errors. Values: settings, repr, equality."""

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Error in x and y, metres in the world, and of the heading, radians."""
        ...


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Normal errors; `sigma_m` and `sigma_deg` are standard deviations, of x and y each and of the heading."""

    sigma_m: float = 0.0
    sigma_deg: float = 0.0

    def __post_init__(self) -> None:
        _check("Gaussian", sigma_m=self.sigma_m, sigma_deg=self.sigma_deg)

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, y, turn = (float(v) for v in rng.normal(size=3))
        return x * self.sigma_m, y * self.sigma_m, turn * float(np.radians(self.sigma_deg))


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """Laplace errors, rarer and larger; `scale_m` and `scale_deg` are the scale b: standard deviation b sqrt(2)."""

    scale_m: float = 0.0
    scale_deg: float = 0.0

    def __post_init__(self) -> None:
        _check("Laplace", scale_m=self.scale_m, scale_deg=self.scale_deg)

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, y, turn = (float(v) for v in rng.laplace(size=3))
        return x * self.scale_m, y * self.scale_m, turn * float(np.radians(self.scale_deg))


def measured(world_T_sensor: Float64, noise: PoseNoise, rng: np.random.Generator) -> Float64:
    """What an agent believes its pose `(4, 4)` to be: moved in the world's plane, turned about the world's z axis."""
    dx, dy, turn = noise.draw(rng)
    pose: Float64 = world_T_sensor.copy()
    pose[:3, :3] = pose_xyz_rpy(0, 0, 0, yaw_rad=turn)[:3, :3] @ pose[:3, :3]
    pose[:2, 3] += dx, dy
    return pose


def _check(law: str, **sizes: float) -> None:
    for name, value in sizes.items():
        if not 0 <= value < float("inf"):
            raise InputError(f"expected {law} {name} to be >= 0 and finite, got {value}")
