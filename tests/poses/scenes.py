"""Small worlds of boxes for the laws of poses."""

from __future__ import annotations

import numpy as np

from robosac.boxes import pose_xyz_rpy
from robosac.capabilities import Claim
from robosac.poses import Offset, PoseCheck, PoseVerdict
from robosac.types import Detections, Float64

LIMITS = (12.0, 20.0)


def cars(count: int, seed: int = 0, *, half_m: float = 35.0) -> Float64:
    """Boxes `(count, 7)` at random places at least 6 m apart, any headings, different sizes."""
    rng = np.random.default_rng(seed)
    places: list[Float64] = []
    while len(places) < count:
        at = rng.uniform(-half_m, half_m, 2)
        if all(np.hypot(*(at - p)) > 6.0 for p in places) and np.hypot(*at) > 4.0:
            places.append(at)
    boxes = np.zeros((count, 7))
    boxes[:, :2] = np.array(places).reshape(-1, 2)
    boxes[:, 3:6] = np.stack([rng.uniform(4.0, 5.2, count), rng.uniform(1.7, 2.0, count), np.full(count, 1.6)], axis=1)
    boxes[:, 6] = rng.uniform(-np.pi, np.pi, count)
    return boxes


def shown(boxes: Float64, score: float = 0.9) -> Detections:
    return Detections(np.asarray(boxes, np.float32).reshape(-1, 7), np.full(len(boxes), score, np.float32))


def noisy(boxes: Float64, seed: int, sigma_m: float = 0.15, sigma_deg: float = 2.0) -> Float64:
    rng = np.random.default_rng(seed)
    out = boxes.copy()
    out[:, :2] += rng.normal(size=(len(out), 2)) * sigma_m
    out[:, 6] += np.radians(sigma_deg) * rng.normal(size=len(out))
    return out


def claimed(error: Offset, boxes: Float64, x_m: float = 8.0, y_m: float = 3.0) -> tuple[Detections, Claim]:
    """What a teammate at a place shows of boxes once its claimed pose is off, and that claim."""
    off = Offset(error.x_m, error.y_m, error.yaw_rad, (x_m, y_m))
    return shown(off.boxes(boxes)), Claim(off.matrix @ pose_xyz_rpy(x_m, y_m, 0.0, yaw_rad=0.4), 0.0)


def judged(own: Float64, theirs: Float64, error: Offset, check: PoseCheck | None = None) -> PoseVerdict:
    rule = check or PoseCheck()
    found, claim = claimed(error, theirs)
    return rule.judge(rule.look(shown(own), found, claim), found, *LIMITS)


def left_m(verdict: PoseVerdict, error: Offset) -> float:
    """How far the sender's place is off after the correction."""
    off = Offset(error.x_m, error.y_m, error.yaw_rad, (8.0, 3.0))
    pose = verdict.offset.matrix @ off.matrix @ pose_xyz_rpy(8.0, 3.0, 0.0)
    return float(np.hypot(*(pose[:2, 3] - [8.0, 3.0])))
