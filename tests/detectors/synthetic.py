"""A tiny world for tests: level ground, boxes with sampled sides, sensors anywhere. No ray casting, no occlusion."""

from __future__ import annotations

from functools import cache

import numpy as np

from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.detectors.bev.raster import rasterise
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.types import Float32, Float64, View

MOUNT_M = 2.0


def world_boxes(rng: np.random.Generator, count: int) -> Float32:
    """Cars `(count, 7)` in the world, on ground at z = 0, on a 12 m lattice so that none overlap."""
    lattice = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4)), axis=-1).reshape(-1, 2) * 12.0
    boxes = np.zeros((count, 7), np.float32)
    boxes[:, :2] = rng.permutation(lattice)[:count] + rng.uniform(-2, 2, (count, 2))
    boxes[:, 3:6] = [4.5, 1.9, 1.6]
    boxes[:, 2] = 0.8
    boxes[:, 6] = rng.uniform(-np.pi, np.pi, count)
    return boxes


def scan(rng: np.random.Generator, boxes: Float32, world_T_sensor: Float64, range_m: float = 30.0) -> Float32:
    """Points `(N, 4)` in the sensor frame: ground everywhere, and the surface of every box within range."""
    ground = np.c_[world_T_sensor[:2, 3] + rng.uniform(-38, 38, (8000, 2)), np.zeros(8000)]
    near = boxes[np.hypot(*(boxes[:, :2] - world_T_sensor[:2, 3]).T) < range_m]
    unit = rng.uniform(-0.5, 0.5, (len(near), 300, 3))
    face = rng.integers(0, 3, unit.shape[:2])
    np.put_along_axis(unit, face[..., None], rng.choice([-0.5, 0.5], (*face.shape, 1)), axis=2)
    local = unit * near[:, None, 3:6]
    cos, sin = np.cos(near[:, 6, None]), np.sin(near[:, 6, None])
    x = near[:, 0, None] + cos * local[..., 0] - sin * local[..., 1]
    y = near[:, 1, None] + sin * local[..., 0] + cos * local[..., 1]
    surface = np.stack([x, y, near[:, 2, None] + local[..., 2]], axis=-1).reshape(-1, 3)
    world = np.c_[np.concatenate([ground, surface]), np.zeros(len(ground) + len(surface))]
    world[:, 2] += rng.normal(0, 0.02, len(world))
    points = transform_points(invert_pose(world_T_sensor), world)
    points[:, 3:] = 0.5
    return points


def view(name: str, points: Float32, world_T_sensor: Float64) -> View:
    return View(name, "vehicle", 0, points, world_T_sensor)


@cache
def scene_views(seed: int = 0, agents: int = 4, cars: int = 12) -> tuple[list[View], Float32]:
    """Views of some agents around the origin, and the cars `(cars, 7)` in the world."""
    rng = np.random.default_rng(seed)
    boxes = world_boxes(rng, cars)
    views = []
    for k in range(agents):
        x, y = rng.uniform(-15, 15, 2)
        pose = pose_xyz_rpy(x, y, MOUNT_M, yaw_rad=rng.uniform(-np.pi, np.pi))
        views.append(view(f"v{k}", scan(rng, boxes, pose), pose))
    return views, boxes


def cached_frame(seed: int = 0, agents: int = 3) -> CachedFrame:
    """A `CachedFrame` of the tiny world, with all agents vehicles whose own bodies are not among the cars scanned."""
    views, boxes = scene_views(seed, agents)
    rasters = [rasterise(v.points) for v in views]
    poses = np.stack([v.world_T_sensor for v in views])
    bodies = np.zeros((agents, 7), np.float32)
    bodies[:, :3] = poses[:, :3, 3] - [0, 0, MOUNT_M - 0.8]
    bodies[:, 3:6] = [4.5, 1.9, 1.6]
    near = np.hypot(*(boxes[None, :, :2] - poses[:, None, :2, 3]).transpose(2, 0, 1)) < 30.0
    hits = np.concatenate([near * 300, np.zeros((agents, agents))], axis=1).astype(np.int64)
    return CachedFrame(
        np.stack([r.bits for r in rasters]),
        np.stack([r.plane for r in rasters]),
        poses,
        len(boxes) + np.arange(agents),
        np.concatenate([boxes, bodies]),
        hits,
        np.ones(agents, dtype=np.bool_),
    )
