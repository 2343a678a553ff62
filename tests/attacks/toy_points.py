"""A street to cast rays at by hand: flat ground, cars that are boxes, a detector that finds boxes in points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robosac.air import Air, Knowledge
from robosac.attacks.points.recast import BoxWorld
from robosac.boxes import invert_pose, pose_xyz_rpy, transform_boxes
from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.types import Detector, Message, Request, View
from tests.attacks.toy import EVERYTHING

HEIGHT_M = 1.9  # of every sensor
CARS = np.array(  # world frame; their floors are the ground at z = -1.9
    [
        [x, y, 0.8 - HEIGHT_M, 4.5, 1.9, 1.6, yaw]
        for x, y, yaw in [(12.0, 4.0, 0.0), (-9.0, -5.0, 1.2), (4.0, -14.0, 0.3)]
    ],
    np.float32,
)
PLACES = {"e": (0.0, 0.0), "a": (22.0, -3.0), "b": (-3.0, 16.0), "c": (18.0, 17.0), "d": (-18.0, 2.0)}


def sweep(world_T_sensor: np.ndarray, cars: np.ndarray) -> np.ndarray:
    """Points of a sensor with 24 x 360 rays."""
    down, round_ = np.radians(np.linspace(-24, -1.5, 24)), np.radians(np.arange(360.0))
    rays = np.stack(
        [
            a.ravel()
            for a in np.broadcast_arrays(
                np.cos(down)[:, None] * np.cos(round_), np.cos(down)[:, None] * np.sin(round_), np.sin(down)[:, None]
            )
        ],
        axis=1,
    )
    points = np.concatenate([rays * (HEIGHT_M / -rays[:, 2:]), np.full((len(rays), 1), 0.2)], axis=1)
    view = View("any", "vehicle", 0, points.astype(np.float32), np.eye(4))
    here = transform_boxes(invert_pose(world_T_sensor), cars)
    return BoxWorld().seen(view, added=here, removed=here[:0])


def detect(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes about groups of points above the ground; as sure as there are many."""
    from scipy.ndimage import label

    up = points[points[:, 2] > -HEIGHT_M + 0.2]
    up = up[np.hypot(up[:, 0], up[:, 1]) < 40]
    grid = np.zeros((100, 100), int)
    cells = np.floor(up[:, :2] / 0.8).astype(int) + 50
    grid[cells[:, 1], cells[:, 0]] = 1
    names, count = label(grid, np.ones((3, 3)))
    whose = names[cells[:, 1], cells[:, 0]]
    boxes, scores = np.zeros((count, 7), np.float32), np.zeros(count, np.float32)
    for k in range(count):
        some = up[whose == k + 1]
        low, high = some.min(axis=0), some.max(axis=0)
        boxes[k] = [*(low[:2] + high[:2]) / 2, 0.8 - HEIGHT_M, *np.maximum(high[:2] - low[:2], 1.0) + 0.4, 1.6, 0.0]
        scores[k] = min(0.4 + len(some) / 100, 0.99)
    return boxes, scores


EARLY = EarlyFusion(detect, name="toy-early")
LATE = LateFusion(detect, name="toy-late", max_boxes=12)


def street_air(
    attackers: Sequence[str],
    others: Sequence[str] = ("x", "y"),
    *,
    index: int = 0,
    knowledge: Knowledge = EVERYTHING,
    detector: Detector = EARLY,
    world: Any = None,
) -> Air:
    """One frame on the street; everybody drives on by half a metre a frame."""
    names = [*attackers, *others]
    spare = iter([n for n in PLACES if n not in names and n != "e"])
    views = {n: _view(n, PLACES[n] if n in PLACES else PLACES[next(spare, "d")], index) for n in [*names, "e"]}
    ego = views.pop("e")
    to = Request.of(ego)
    sent: dict[str, Message] = {n: detector.encode(v, to) for n, v in views.items()}
    return Air(
        scenario="street",
        index=index,
        to=to,
        own={n: views[n] for n in attackers},
        honest={n: sent[n] for n in attackers},
        knowledge=knowledge,
        _detector=detector,
        _others={n: sent[n] for n in others},
        _ego=ego,
        _world=world,
    )


def late_air(attackers: Sequence[str], others: Sequence[str] = ("x", "y"), **more: Any) -> Air:
    """The same with late fusion of at most 12 boxes a message."""
    return street_air(attackers, others, detector=LATE, **more)


def _view(name: str, place: tuple[float, float], index: int) -> View:
    pose = pose_xyz_rpy(place[0] + 0.5 * index, place[1], 0.0, yaw_rad=0.2 * (ord(name[0]) % 5))
    return View(name, "vehicle", 100_000_000 * index, sweep(pose, CARS), pose)
