"""The place itself, where rays can be cast again: what a sensor would have measured with other traffic.

`Recast` implements `robosac.air.World`. It holds its scenario and a frame number and nothing that is heavy: surfaces
are built when the first ray is cast, and across processes it travels as a recipe (what `scenario` was called with).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.boxes import iou_bev, pose_xyz_rpy, transform_boxes
from robosac.simulation.lidar import Surfaces, build_surfaces, cast, loudness
from robosac.simulation.meshes import TEMPLATES, colours, place
from robosac.types import Array, Bool, Float32, Float64, Int64, View, keyed_rng

if TYPE_CHECKING:
    from robosac.simulation.scenario import Scenario, Snapshot

_BEYOND_M: Final = 0.01  # a ray that goes on behind a surface starts this far behind it
_LAYERS: Final = 24  # surfaces of vehicles now gone that one ray may cross
_SAME_M: Final = 0.5  # a measured range that far from the first surface was not measured on it
_PAINT: Final = 0.5


class Recast:
    """The world of one `Snapshot`: see `robosac.air.World.seen`.

    Vehicles that are put in are meshes of the simulator, scaled to their boxes; vehicles that are taken out are those
    whose own box overlaps one of the given ones. Only rays that returned something are cast again: what a ray would
    have met that was lost to the sky, nobody measured.
    """

    def __init__(self, scenario: Scenario, index: int, snapshot: Snapshot | None = None) -> None:
        self._scenario, self._index = scenario, index
        self._seen: Callable[[], Snapshot | None] = (lambda: None) if snapshot is None else weakref.ref(snapshot)

    def __reduce__(self) -> tuple[Callable[..., Recast], tuple[Any, ...]]:
        s = self._scenario
        return _from_recipe, (s.split, s.index, s.seed, s.config, self._index)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recast:
        return self  # it cannot change

    @cached_property
    def _rebuilt(self) -> Snapshot:
        return self._scenario.snapshot(self._index)

    @property
    def _snapshot(self) -> Snapshot:
        return self._seen() or self._rebuilt

    def seen(self, view: View, *, added: Float32, removed: Float32) -> Float32:
        """Points `(N', 4)` of `view`, sensor frame, with vehicles in boxes `added` `(M, 7)` and without those in
        `removed` `(K, 7)`. Rays that are lost leave no point; those that meet neither keep theirs, bit by bit.

        Raises:
            InputError: the view belongs to no agent of this world.
        """
        now = self._snapshot
        surfaces, config = now.surfaces, now.scenario.config
        world_T_sensor = now.world_T_sensor[now.agent(view.id).id]
        gone = self._vehicles_in(removed, world_T_sensor)
        distance = np.linalg.norm(view.points[:, :3].astype(np.float64), axis=1)
        safe = np.maximum(distance, 1e-6)[:, None]
        local = view.points[:, :3] / safe
        rays = (local @ world_T_sensor[:3, :3].T).astype(np.float32)
        origin = world_T_sensor[:3, 3]

        first = cast(surfaces, origin, rays, config.max_range_m)
        owner = np.where(first["primID"] >= 0, surfaces.owner[first["primID"]], -1)
        on_it = np.abs(first["tfar"] - distance) < _SAME_M
        freed: Bool = np.isin(owner, gone) & on_it
        # what a ray now measures: where its range was off by noise, it still is
        noise = np.where(on_it, distance - first["tfar"], 0.0)
        reach = np.where(freed, np.inf, distance)
        glow = view.points[:, 3].astype(np.float64)
        heard = np.ones(len(rays), np.float64)
        behind = np.flatnonzero(freed)
        reach[behind], glow[behind], heard[behind] = _behind(
            surfaces, origin, rays[behind], first["tfar"][behind], gone, config.max_range_m
        )
        new = freed & np.isfinite(reach)
        if len(added):
            cars = _vehicles(added, world_T_sensor)
            hit = cast(cars, origin, rays, config.max_range_m)
            stopped = (hit["primID"] >= 0) & (hit["tfar"] < reach)
            k = np.flatnonzero(stopped)
            reach[k] = hit["tfar"][k]
            heard[k], glow[k] = loudness(cars, rays[k], _only(hit, k))
            new |= stopped
        # a return that is new may be lost like any other
        key = (now.scenario.seed, now.scenario.split, now.scenario.index, "recast", self._index, view.id)
        luck = keyed_rng(*key).random(len(rays))
        audible = 1 - np.exp(-heard / config.faint_power) if config.faint_power > 0 else np.ones(len(rays))
        lost = (freed & ~np.isfinite(reach)) | (new & (luck >= audible))
        points = view.points.copy()
        at = np.flatnonzero(new & ~lost)
        points[at, :3] = local[at] * np.maximum(reach[at] + noise[at], 0.0)[:, None]
        points[at, 3] = np.clip(glow[at], 0, 1)
        return np.asarray(points[~lost])

    def _vehicles_in(self, boxes: Float32, world_T_sensor: Float64) -> Int64:
        """Indices of the vehicles that boxes `(K, 7)` in the sensor frame show, as seen from above."""
        if not len(boxes):
            return np.zeros(0, np.int64)
        overlap = iou_bev(transform_boxes(world_T_sensor, boxes), self._snapshot.boxes)
        best = overlap.argmax(axis=1)
        return np.unique(best[overlap[np.arange(len(boxes)), best] > 0]).astype(np.int64)


def _from_recipe(split: str, index: int, seed: int, config: Any, frame: int) -> Recast:
    from robosac.simulation.scenario import scenario

    return Recast(scenario(split, index, seed=seed, config=config), frame)


def _behind(
    surfaces: Surfaces, origin: Float64, rays: Float32, start_m: Array, gone: Int64, max_range_m: float
) -> tuple[Float64, Float64, Float64]:
    """Where rays `(R, 3)` end that pass through the vehicles in `gone`: ranges (inf: nowhere), intensity, power."""
    passed = start_m.astype(np.float64) + _BEYOND_M
    reach, glow, power = np.full(len(rays), np.inf), np.zeros(len(rays)), np.zeros(len(rays))
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
        power[done], glow[done] = loudness(surfaces, rays[done], ending)
        left = left[~ends & (passed[left] <= max_range_m)]
        passed[left] += _BEYOND_M
    return reach, glow, power


def _only(hit: dict[str, Any], index: Array) -> dict[str, Any]:
    return {k: hit[k][index] for k in ("primID", "tfar", "Ng")}


def _vehicles(boxes: Float32, world_T_sensor: Float64) -> Surfaces:
    """Surfaces of vehicles in boxes `(M, 7)` of the sensor frame, upright in it."""
    names = np.select([boxes[:, 3] > 8.0, boxes[:, 5] > 1.9], ["bus", "van"], "sedan")
    parts, shades = [], []
    for name in sorted(set(names.tolist())):
        some = boxes[names == name].astype(np.float64)
        local = np.stack([pose_xyz_rpy(x, y, z - h / 2, yaw_rad=yaw) for x, y, z, _, _, h, yaw in some])
        parts.append(place(TEMPLATES[name], some[:, 3:6], world_T_sensor @ local))
        shades.append(colours(TEMPLATES[name], np.full(len(some), _PAINT)))
    triangles = np.concatenate(parts)
    return build_surfaces(triangles, np.zeros(len(triangles), np.int64), np.concatenate(shades))
