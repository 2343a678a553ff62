"""A multi-beam LiDAR by ray casting (Embree), with range noise, lost returns and intensity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from robosac.simulation.sensors import Sensor
from robosac.types import Array, Float32, Float64, Int64, RobosacError

_REFERENCE_M = 20.0  # the range at which a return's power is reflectivity x cos(incidence)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """A frame's triangles, ready to be hit: whose each is `owner` `(T,)` (-1: nobody's) and how it reflects `(T,)`.

    `depth_m` `(T,)`: returns come from within what is behind the triangle, so deep on average, as of leaves; None
    where everything is solid.
    """

    tree: Any
    owner: Int64
    reflectivity: Float32
    depth_m: Float32 | None = None


@lru_cache(maxsize=1)
def _device() -> Any:
    try:
        from embreex.rtcore import EmbreeDevice
    except ImportError as error:
        raise RobosacError(
            f"expected the ray caster `embreex` to be importable, got: {error}; run `pip install embreex`"
        ) from error
    return EmbreeDevice()


def build_surfaces(triangles: Float32, owner: Int64, reflectivity: Float32, depth_m: Float32 | None = None) -> Surfaces:
    """Surfaces of triangles `(T, 3, 3)` in the world frame. Raises `RobosacError` if embreex is missing."""
    device = _device()
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    tree = EmbreeScene(device)
    TriangleMesh(tree, np.ascontiguousarray(triangles, np.float32))
    return Surfaces(tree, owner, reflectivity, depth_m)


def cast(surfaces: Surfaces, origin: Float64, directions: Float32, max_range_m: float) -> dict[str, Any]:
    """First hits of unit `directions` `(R, 3)` from `origin` `(3,)`, world frame: "primID" `(R,)` (-1: none),
    "tfar" `(R,)` metres, "Ng" `(R, 3)` normals of any length and either sign.
    """
    origins = np.ascontiguousarray(np.broadcast_to(origin.astype(np.float32), directions.shape))
    reach = np.full(len(directions), max_range_m, np.float32)
    hit: dict[str, Any] = surfaces.tree.run(origins, np.ascontiguousarray(directions), dists=reach, output=1)
    return hit


def returned(surfaces: Surfaces, rays: Float32, hit: dict[str, Any]) -> tuple[Float32, Float32]:
    """Return power and intensity `(R,)` of unit `rays` `(R, 3)` whose `hit` (of `cast`, arrays `(R, ...)`) is on
    a surface each. Power is reflectivity x cos(incidence) x (20 m / range)^2.
    """
    normal, distance = hit["Ng"], hit["tfar"]
    facing = np.abs(np.einsum("ij,ij->i", normal, rays)) / np.sqrt(np.einsum("ij,ij->i", normal, normal))
    bright = surfaces.reflectivity[hit["primID"]]
    power = bright * facing * (_REFERENCE_M / np.maximum(distance, 2.0)) ** 2
    return power, bright * (0.3 + 0.7 * facing) * np.exp(-distance / 100)


def detection_chance(power: Array, faint_power: float) -> Array:
    """Probability `(R,)` that a return of power `(R,)` is detected: 63 % at `faint_power`; 1 where that is 0."""
    return 1 - np.exp(-power / faint_power) if faint_power > 0 else np.ones_like(power)


@lru_cache(maxsize=8)
def _rays(elevations_deg: tuple[float, ...], columns: int, view_deg: float) -> Float32:
    elevation = np.radians(np.array(elevations_deg))[:, None]
    azimuth = np.arange(columns) * 2 * np.pi / columns
    if view_deg < 360:
        azimuth = azimuth[np.abs((azimuth + np.pi) % (2 * np.pi) - np.pi) <= np.radians(view_deg / 2)]
    rays = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth[None]),
            np.cos(elevation) * np.sin(azimuth[None]),
            np.sin(elevation) * np.ones_like(azimuth[None]),
        ],
        axis=-1,
    )
    return rays.reshape(-1, 3).astype(np.float32)


def scan(
    surfaces: Surfaces, world_T_sensor: Float64, own: int, rng: np.random.Generator, sensor: Sensor
) -> tuple[Float32, Int64]:
    """One sweep: points `(N, 4)` [x y z intensity] in the sensor frame and whose surface each is on `(N,)`.

    Returns from the carrier's own body (`own`) are blanked, as real sensors do, unless the sensor shows them. A return
    is lost with probability `drop_rate`, and more often the weaker it is: power is reflectivity x cos(incidence) x
    (20 m / range)^2.
    """
    rays = _rays(sensor.elevations_deg, sensor.columns, sensor.view_deg)
    phase = rng.uniform(0, 2 * np.pi / sensor.columns)
    turn = np.array([[np.cos(phase), -np.sin(phase), 0], [np.sin(phase), np.cos(phase), 0], [0, 0, 1]])
    local = rays @ turn.T.astype(np.float32)
    if sensor.jitter_deg > 0:
        local[:, 2] += np.float32(np.radians(sensor.jitter_deg)) * rng.standard_normal(len(local), dtype=np.float32)
        local /= np.linalg.norm(local, axis=1, keepdims=True)
    world = local @ world_T_sensor[:3, :3].T.astype(np.float32)
    hit = cast(surfaces, world_T_sensor[:3, 3], world, sensor.max_range_m)
    ray = np.flatnonzero(hit["primID"] >= 0)
    triangle = hit["primID"][ray]
    distance = hit["tfar"][ray]
    power, intensity = returned(surfaces, world[ray], {"primID": triangle, "tfar": distance, "Ng": hit["Ng"][ray]})
    luck = rng.random(len(ray), dtype=np.float32)
    sigma = rng.standard_normal(len(ray), dtype=np.float32)
    sparkle = rng.standard_normal(len(ray), dtype=np.float32)
    owner = surfaces.owner[triangle]
    chance = (1 - sensor.drop_rate) * detection_chance(power, sensor.faint_power)
    kept = (luck < chance) & (sensor.shows_carrier | (owner != own) | (own < 0)) & (distance >= sensor.min_range_m)
    measured = distance[kept] + np.float32(sensor.range_sigma_m) * sigma[kept]
    if surfaces.depth_m is not None:
        measured += surfaces.depth_m[triangle[kept]] * rng.standard_exponential(len(measured), dtype=np.float32)
        measured = np.minimum(measured, np.float32(sensor.max_range_m))  # the sensor gives up there, among leaves too
    points = np.empty((len(measured), 4), np.float32)
    points[:, :3] = local[ray[kept]] * measured[:, None]
    points[:, 3] = np.clip(intensity[kept] * (1 + 0.08 * sparkle[kept]) * np.float32(sensor.gain), 0, 1)
    owner = owner[kept]
    if sensor.drops > 0:
        points, owner = _in_rain(points, owner, local, (ray, distance), (ray[kept], measured), sensor, rng)
    points[:, 3] = sensor.in_levels(points[:, 3])
    return points, owner


def _in_rain(
    points: Float32,
    owner: Int64,
    local: Float32,
    met_at: tuple[Int64, Float32],
    shown_at: tuple[Int64, Float32],
    sensor: Sensor,
    rng: Any,
) -> tuple[Float32, Int64]:
    """The points of a scan where some rays `(R, 3)` ended in a drop before they met a surface. `met_at` are the rays
    that meet one and how far away, the carrier's own body included; `shown_at` those that the points stand for."""
    ray, measured = shown_at
    met = np.flatnonzero(rng.random(len(local)) < sensor.drops)
    reach = (1.0 + rng.standard_exponential(len(met), dtype=np.float32) * 8.0).astype(np.float32)
    end = np.full(len(local), np.inf, np.float32)
    end[met_at[0]] = met_at[1]
    end[ray] = measured
    before = (reach < end[met]) & (reach >= sensor.min_range_m) & (reach <= sensor.max_range_m)
    met, reach = met[before], reach[before]
    wet = np.zeros(len(local), np.bool_)
    wet[met] = True
    drops = np.concatenate([local[met] * reach[:, None], np.full((len(met), 1), 0.02, np.float32)], axis=1)
    dry = ~wet[ray]
    return np.concatenate([points[dry], drops]), np.concatenate([owner[dry], np.full(len(met), -1, np.int64)])
