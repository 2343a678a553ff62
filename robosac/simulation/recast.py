"""Rays cast again at the simulated place: what a sensor would have measured with other traffic."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from robosac.boxes import iou_bev, transform_boxes, upright_poses
from robosac.simulation.lidar import Surfaces, build_surfaces, cast, detection_chance, returned
from robosac.simulation.meshes import TEMPLATES, colours, place
from robosac.simulation.sensors import Sensor
from robosac.types import Array, Bool, Float32, Float64, Int64, View

_BEYOND_M: Final = 0.01  # a ray that goes on behind a surface starts this far behind it
_LAYERS: Final = 24  # surfaces of vehicles now gone that one ray may cross
_SAME_M: Final = 0.5  # a measured range that far from the first surface was not measured on it
_PAINT: Final = 0.5


def recast(
    view: View,
    *,
    added: Float32,
    removed: Float32,
    surfaces: Surfaces,
    boxes: Float64,
    world_T_sensor: Float64,
    sensor: Sensor,
    rng: np.random.Generator,
) -> Float32:
    """Points `(N', 4)` that the sensor of `view` would have measured with other traffic, in its frame.

    Vehicles that are put in are meshes of the simulator, scaled to their boxes; vehicles that are taken out are those
    whose own box overlaps one of the given ones. Only rays that returned something are cast again: what a ray would
    have met that was lost to the sky, nobody measured. Rays that are lost leave no point; those that meet neither keep
    theirs, bit by bit.

    Args:
        view: what was measured.
        added, removed: boxes `(M, 7)`, `(K, 7)` of the sensor frame: put in, taken out.
        surfaces: what there is; `boxes` `(V, 7)` are those of its vehicles in the world, by owner.
        world_T_sensor: the true pose `(4, 4)`.
        sensor: what measured the view.
        rng: decides which weak returns are lost.
    """
    gone = _vehicles_in(removed, boxes, world_T_sensor)
    distance = np.linalg.norm(view.points[:, :3].astype(np.float64), axis=1)
    safe = np.maximum(distance, 1e-6)[:, None]
    local = view.points[:, :3] / safe
    rays = (local @ world_T_sensor[:3, :3].T).astype(np.float32)
    origin = world_T_sensor[:3, 3]

    first = cast(surfaces, origin, rays, sensor.max_range_m)
    owner = np.where(first["primID"] >= 0, surfaces.owner[first["primID"]], -1)
    on_it = np.abs(first["tfar"] - distance) < _SAME_M
    freed: Bool = np.isin(owner, gone) & on_it
    # what a ray now measures: where its range was off by noise, it still is
    noise = np.where(on_it, distance - first["tfar"], 0.0)
    reach = np.where(freed, np.inf, distance)
    intensity = view.points[:, 3].astype(np.float64)
    power = np.ones(len(rays), np.float64)
    behind = np.flatnonzero(freed)
    reach[behind], intensity[behind], power[behind] = _behind(
        surfaces, origin, rays[behind], first["tfar"][behind], gone, sensor.max_range_m
    )
    new = freed & np.isfinite(reach)
    if len(added):
        cars = _vehicles(added, world_T_sensor)
        hit = cast(cars, origin, rays, sensor.max_range_m)
        stopped = (hit["primID"] >= 0) & (hit["tfar"] < reach)
        k = np.flatnonzero(stopped)
        reach[k] = hit["tfar"][k]
        power[k], intensity[k] = returned(cars, rays[k], _only(hit, k))
        new |= stopped
    # a return that is new may be lost like any other
    luck = rng.random(len(rays))
    lost = (freed & ~np.isfinite(reach)) | (new & (luck >= detection_chance(power, sensor.faint_power)))
    points = view.points.copy()
    at = np.flatnonzero(new & ~lost)
    points[at, :3] = local[at] * np.maximum(reach[at] + noise[at], 0.0)[:, None]
    points[at, 3] = sensor.in_levels(np.clip(intensity[at] * sensor.gain, 0, 1))
    return np.asarray(points[~lost])


def _vehicles_in(boxes: Float32, vehicles: Float64, world_T_sensor: Float64) -> Int64:
    """Indices of the vehicles `(V, 7)` that boxes `(K, 7)` in the sensor frame show, as seen from above."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    overlap = iou_bev(transform_boxes(world_T_sensor, boxes), vehicles)
    best = overlap.argmax(axis=1)
    return np.unique(best[overlap[np.arange(len(boxes)), best] > 0]).astype(np.int64)


def _behind(
    surfaces: Surfaces, origin: Float64, rays: Float32, start_m: Array, gone: Int64, max_range_m: float
) -> tuple[Float64, Float64, Float64]:
    """Where rays `(R, 3)` end that pass through the vehicles in `gone`: ranges (inf: nowhere), intensity, power."""
    passed = start_m.astype(np.float64) + _BEYOND_M
    reach, intensity, power = np.full(len(rays), np.inf), np.zeros(len(rays)), np.zeros(len(rays))
    left = np.arange(len(rays))
    for _ in range(_LAYERS):
        if not len(left):
            break
        hit = cast(surfaces, origin + rays[left] * passed[left, None], rays[left], max_range_m)
        met = hit["primID"] >= 0
        left, hit = left[met], _only(hit, np.flatnonzero(met))
        passed[left] += hit["tfar"]
        ends = ~np.isin(surfaces.owner[hit["primID"]], gone) & (passed[left] <= max_range_m)
        done = left[ends]
        reach[done] = passed[done]
        ending = {**_only(hit, np.flatnonzero(ends)), "tfar": passed[done].astype(np.float32)}
        power[done], intensity[done] = returned(surfaces, rays[done], ending)
        left = left[~ends & (passed[left] <= max_range_m)]
        passed[left] += _BEYOND_M
    return reach, intensity, power


def _only(hit: dict[str, Any], index: Array) -> dict[str, Any]:
    return {k: hit[k][index] for k in ("primID", "tfar", "Ng")}


def _vehicles(boxes: Float32, world_T_sensor: Float64) -> Surfaces:
    """Surfaces of vehicles in boxes `(M, 7)` of the sensor frame, upright in it."""
    names = np.select([boxes[:, 3] > 8.0, boxes[:, 5] > 1.9], ["bus", "van"], "sedan")
    parts, shades = [], []
    for name in sorted(set(names.tolist())):
        some = boxes[names == name].astype(np.float64)
        local = upright_poses(some)
        local[:, 2, 3] -= some[:, 5] / 2
        parts.append(place(TEMPLATES[name], some[:, 3:6], world_T_sensor @ local))
        shades.append(colours(TEMPLATES[name], np.full(len(some), _PAINT)))
    triangles = np.concatenate(parts)
    return build_surfaces(triangles, np.zeros(len(triangles), np.int64), np.concatenate(shades))
