"""A single-vehicle detector to compute by hand: every point is the centre of a car, its intensity the score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.types import Array, Detections, Float32, Frame, Message, Request, View

CAR = (4.0, 2.0, 1.5)
POSES = {
    "ego": pose_xyz_rpy(0.0, 0.0, 2.0),
    "a": pose_xyz_rpy(10.0, -5.0, 2.0, yaw_rad=0.5),
    "b": pose_xyz_rpy(-8.0, 12.0, 2.5, yaw_rad=-2.0),
    "c": pose_xyz_rpy(3.0, 20.0, 1.5, yaw_rad=3.0),
}


def cars(points: Float32) -> tuple[Float32, Float32]:
    """A car 4 x 2 m at each point, along the sensor's x axis."""
    boxes = np.zeros((len(points), 7), np.float32)
    boxes[:, :3], boxes[:, 3:6] = points[:, :3], CAR
    return boxes, points[:, 3].copy()


def view(name: str, seen: Iterable[tuple[float, float, float]]) -> View:
    """An agent that sees cars at `(x, y, score)` of the world, on the ground."""
    rows = np.array([(x, y, 0.0, score) for x, y, score in seen], np.float32).reshape(-1, 4)
    pose = POSES[name]
    return View(name, "vehicle", 0, transform_points(invert_pose(pose), rows), pose)


def frame(**seen: Iterable[tuple[float, float, float]]) -> Frame:
    views = {name: view(name, cars_seen) for name, cars_seen in seen.items()}
    return Frame("plain", 0, views.pop("ego"), views)


SCENE = frame(
    ego=[(15.0, 0.0, 0.9), (-15.0, 3.0, 0.8)],
    a=[(15.5, 0.2, 0.95), (20.0, 20.0, 0.7)],
    b=[(-15.2, 3.1, 0.6), (20.3, 20.0, 0.7), (-20.0, -20.0, 0.5)],
    c=[(15.0, 0.0, 0.4), (-5.0, -25.0, 0.6)],
)


def on_open_ground(scene: Frame) -> Frame:
    """The same, and the ego's rays cross the ground all around: points of no score, which are no cars."""
    angle = np.linspace(-np.pi, np.pi, 1440, endpoint=False)
    rings = [
        np.stack([r * np.cos(angle), r * np.sin(angle), -2.0 + 0 * angle, 0 * angle], axis=1) for r in (10, 20, 45)
    ]
    points = np.concatenate([scene.ego.points, *rings]).astype(np.float32)
    return replace(scene, ego=replace(scene.ego, points=points))


def sent(detector: object, scene: Frame) -> tuple[Request, list[Message]]:
    """The request of a frame's ego and what its teammates honestly send."""
    to: Request = Request.of(scene.ego)  # type: ignore[attr-defined]
    return to, [detector.encode(v, to) for v in scene.others.values()]  # type: ignore[attr-defined]


def equal(a: Detections, b: Detections) -> bool:
    """To the bit."""
    return a.boxes.tobytes() == b.boxes.tobytes() and a.scores.tobytes() == b.scores.tobytes()


def centres(found: Detections) -> list[tuple[float, ...]]:
    """Centres of the boxes, best first, rounded to decimetres."""
    xy: Array = np.round(found.boxes[:, :2].astype(np.float64), 1) + 0.0
    return [tuple(map(float, row)) for row in xy]
