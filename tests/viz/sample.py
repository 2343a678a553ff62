"""A small made-up frame for the pictures: flat ground, cars as shells of points, six teammates."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.types import Detections, Frame, Trial, View, keyed_rng

WHERE = {"car-1": (18.0, 3.4, 3.1), "car-2": (-14, -3.5, 0.0), "car-3": (3.5, 24, -1.5), "car-4": (-3.5, -22, 1.5),
         "car-5": (52, 3.2, 3.1), "rsu-1": (9, 10, 0.0)}  # fmt: skip


def sample_frame(seed: int = 0) -> tuple[Frame, np.ndarray]:
    """The frame and its true boxes `(G, 7)` in the ego frame."""
    rng = keyed_rng(seed, "sample frame")
    n = 22
    truth = np.zeros((n, 7), np.float32)
    lane = rng.integers(0, 4, n)
    along = rng.uniform(-38, 38, n)
    truth[:, 0] = np.where(lane < 2, along, np.where(lane == 2, 3.5, -3.5))
    truth[:, 1] = np.where(lane < 2, np.where(lane == 0, -3.5, 3.5), along)
    truth[:, 2], truth[:, 3:6] = -1.0, [4.4, 1.85, 1.6]
    truth[:, 6] = np.where(lane < 2, np.pi * lane, np.where(lane == 2, -1.57, 1.57))

    def view(name: str, pose: np.ndarray) -> View:
        around = rng.uniform(-60, 60, (9000, 2))
        ground = np.column_stack([around, np.full(len(around), -1.8)])
        side = rng.uniform(-0.5, 0.5, (n, 70, 2))
        edge = np.abs(side).argmax(axis=2)[..., None] == np.arange(2)
        side = np.where(edge, np.sign(side) * 0.5, side) * truth[:, None, 3:5]
        cos, sin = np.cos(truth[:, 6, None]), np.sin(truth[:, 6, None])
        x = truth[:, 0, None] + cos * side[..., 0] - sin * side[..., 1]
        y = truth[:, 1, None] + sin * side[..., 0] + cos * side[..., 1]
        near = np.hypot(truth[:, 0] - pose[0, 3], truth[:, 1] - pose[1, 3]) < 26
        cars = np.stack([x, y, rng.uniform(-1.7, -0.2, x.shape)], axis=-1)[near].reshape(-1, 3)
        walls = np.concatenate([_wall(rng, sx * 12, sy * 12, sx, sy) for sx in (-1, 1) for sy in (-1, 1)])
        walls = walls[np.hypot(*(walls[:, :2] - pose[:2, 3]).T) < 30]
        xyz = transform_points(invert_pose(pose), np.concatenate([ground, cars, walls]))
        points = np.column_stack([xyz, np.full(len(xyz), 0.5)]).astype(np.float32)
        return View(name, "roadside" if name.startswith("rsu") else "vehicle", 0, points, pose)

    others = {name: view(name, pose_xyz_rpy(x, y, 0, yaw_rad=yaw)) for name, (x, y, yaw) in WHERE.items()}
    return Frame("sample", 0, view("ego", np.eye(4)), MappingProxyType(others)), truth


def _wall(rng: np.random.Generator, x: float, y: float, sx: int, sy: int) -> np.ndarray:
    along, up = rng.uniform(0, 26, 700), rng.uniform(-1.8, 4, 700)
    first = np.arange(700) % 2 == 0
    return np.column_stack([np.where(first, x, x + sx * along), np.where(first, y + sy * along, y), up])


def sample_detections(truth: np.ndarray, seed: int = 0, mistakes: int = 4) -> tuple[Detections, np.ndarray]:
    """Most of the true boxes, a little off, and some that are nowhere; with the outcome of each."""
    rng = keyed_rng(seed, "sample detections")
    near = truth[rng.random(len(truth)) < 0.8].copy()
    near[:, :2] += rng.normal(0, 0.15, (len(near), 2))
    wrong = np.zeros((mistakes, 7), np.float32)
    wrong[:, :2], wrong[:, 3:6] = rng.uniform(-36, 36, (mistakes, 2)), [4.4, 1.85, 1.6]
    wrong[:, 6] = rng.uniform(-3, 3, mistakes)
    boxes = np.concatenate([near, wrong]).astype(np.float32)
    hits = np.array([1] * len(near) + [0] * mistakes, np.int8)
    return Detections(boxes, rng.uniform(0.3, 1, len(boxes)).astype(np.float32)), hits


TRIALS = (
    Trial(frozenset({"car-1", "car-2"}), 0.21, False, 0.55),
    Trial(frozenset({"car-3"}), 0.34, False, 0.55),
    Trial(frozenset({"car-2", "car-4", "rsu-1"}), 0.83, True, 0.6),
)
