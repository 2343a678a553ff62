"""Rotated boxes: corners, bird's-eye-view IoU, non-maximum suppression, rigid transforms.

Boxes are `(N, 7)` `[x y z l w h yaw]` (centre, metres, radians counter-clockwise from +x). IoU is that of the
rotated rectangles seen from above, from compiled code (`robosac.box_kernels`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

import numpy as np

from robosac.score_maps import rasterise_boxes as rasterise_boxes  # docs/own_detector.md shows it here
from robosac.types import Array, Bool, Float32, Float64, Int64

IOU_TOLERANCE: Final = 1e-5
_CORNER_SIGNS = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]) / 2


def wrap_angle(angle: Array) -> Array:
    """Angles in radians, brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def corners_bev(boxes: Array) -> Float64:
    """Corners `(N, 4, 2)` of boxes `(N, 7)` seen from above, counter-clockwise from the front left."""
    b = np.asarray(boxes, dtype=np.float64)
    local = _CORNER_SIGNS[None] * b[:, None, 3:5]
    cos, sin = np.cos(b[:, 6, None]), np.sin(b[:, 6, None])
    x = b[:, 0, None] + cos * local[..., 0] - sin * local[..., 1]
    y = b[:, 1, None] + sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y], axis=-1)


def pairs_touch(a: Array, b: Array) -> Bool:
    """Which boxes `a[i]` and `b[i]`, both `(P, 7)`, share a point seen from above. Returns `(P,)`.

    Separating axes: two rectangles are apart if and only if they are apart along a side of one of them.
    """
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    cos_a, sin_a, cos_b, sin_b = np.cos(a[:, 6]), np.sin(a[:, 6]), np.cos(b[:, 6]), np.sin(b[:, 6])
    cos, sin = np.abs(cos_a * cos_b + sin_a * sin_b), np.abs(cos_a * sin_b - sin_a * cos_b)
    (la, wa), (lb, wb) = a[:, 3:5].T, b[:, 3:5].T
    touch = 2 * np.abs(cos_a * dx + sin_a * dy) <= la + cos * lb + sin * wb
    touch &= 2 * np.abs(cos_a * dy - sin_a * dx) <= wa + sin * lb + cos * wb
    touch &= 2 * np.abs(cos_b * dx + sin_b * dy) <= lb + cos * la + sin * wa
    touch &= 2 * np.abs(cos_b * dy - sin_b * dx) <= wb + sin * la + cos * wa
    return np.asarray(touch)


def reaches(iou: Array, threshold: float) -> Bool:
    """Where IoU is at least a threshold, by the one rule of the project: down to `IOU_TOLERANCE` below it.

    Boxes are stored in float32: to 128 m from the origin a coordinate is off by up to 4e-6 m, and the IoU of vehicles
    by up to 1e-5. Without the tolerance two boxes of IoU 1/2 would be a pair at some headings and none at others.
    """
    return np.asarray(np.asarray(iou) >= threshold - IOU_TOLERANCE)


def iou_bev(a: Array, b: Array) -> Float64:
    """BEV IoU `(N, M)` of every box of `a` `(N, 7)` with every box of `b` `(M, 7)`.

    A box that is not finite, or whose length or width is not positive, overlaps nothing.
    """
    kernels = _kernels()
    found: Float64 = kernels.iou_of_all(kernels.prepared(a), kernels.prepared(b))
    return found


def pairs_exceeding(boxes: Array, iou: float) -> tuple[Int64, Int64, Float64]:
    """The pairs `i < j` of boxes `(N, 7)` that overlap by more than `iou`, and by how much: `(P,)` each.

    "More" is beyond `IOU_TOLERANCE`, see `reaches`. Memory is that of the pairs found.
    """
    kernels = _kernels()
    found: tuple[Int64, Int64, Float64] = kernels.pairs_above(kernels.prepared(boxes), iou + IOU_TOLERANCE)
    return found


def pairs_reaching(a: Array, b: Array, iou: float) -> tuple[Int64, Int64, Float64]:
    """The pairs of boxes `a[i]` `(N, 7)` and `b[j]` `(M, 7)` that overlap by at least `iou` > 0, in order: i, j and the
    overlap, `(P,)` each. "At least" is that of `reaches`. Memory is that of the pairs found.
    """
    kernels = _kernels()
    found: tuple[Int64, Int64, Float64] = kernels.pairs_of_two(
        kernels.prepared(a), kernels.prepared(b), iou - IOU_TOLERANCE
    )
    return found


def nms_bev(boxes: Array, scores: Array, iou_threshold: float) -> Int64:
    """Greedy rotated non-maximum suppression. Returns the kept indices, best score first (ties by index).

    A box goes where a kept, better one overlaps it by more than the threshold; see `pairs_exceeding`.
    """
    kernels = _kernels()
    order = np.argsort(-np.asarray(scores), kind="stable").astype(np.int64)
    kept = kernels.kept_of(kernels.prepared(np.asarray(boxes)[order]), iou_threshold + IOU_TOLERANCE)
    found: Int64 = order[kept]
    return found


def _kernels() -> ModuleType:
    """Imported when the first boxes are compared: numba takes longer to import than all else here."""
    from robosac import box_kernels

    return box_kernels


def load_kernels() -> None:
    """Load what compares boxes now: some 0.3 s, once a process, that the first frame would take longer else."""
    one = np.zeros((1, 7), np.float32)
    nms_bev(one, one[:, 0], float(iou_bev(one, one)[0, 0]))


# ------------------------------------------------------------------------------------------ rigid transforms
def pose_xyz_rpy(
    x_m: float, y_m: float, z_m: float, roll_rad: float = 0.0, pitch_rad: float = 0.0, yaw_rad: float = 0.0
) -> Float64:
    """Pose `(4, 4)` of a frame at (x, y, z), rotated by Rz(yaw) Ry(pitch) Rx(roll); right-handed, z up.

    scipy's `Rotation` takes 38 us where this takes 4, and rounds otherwise (it goes through quaternions), which would
    change the last bits of every simulated scan.
    """
    cr, sr, cp, sp = np.cos(roll_rad), np.sin(roll_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    cy, sy = np.cos(yaw_rad), np.sin(yaw_rad)
    pose = np.eye(4)
    pose[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    pose[:3, 3] = x_m, y_m, z_m
    return pose


def upright_poses(boxes: Array) -> Float64:
    """Poses `(N, 4, 4)` of the frames of boxes `(N, 7)`: at their centres, turned by their headings."""
    poses = np.tile(np.eye(4), (len(boxes), 1, 1))
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    poses[:, 0, 0], poses[:, 0, 1], poses[:, 1, 0], poses[:, 1, 1] = cos, -sin, sin, cos
    poses[:, :3, 3] = boxes[:, :3]
    return poses


def nudge_pose(world_T_sensor: Float64, dx_m: float, dy_m: float, turn_rad: float) -> Float64:
    """A pose `(4, 4)` moved in the world's plane and turned, where it stands, about the world's z axis."""
    pose: Float64 = world_T_sensor.copy()
    pose[:3, :3] = pose_xyz_rpy(0, 0, 0, yaw_rad=turn_rad)[:3, :3] @ pose[:3, :3]
    pose[:2, 3] += dx_m, dy_m
    return pose


def invert_pose(dst_T_src: Float64) -> Float64:
    """`src_T_dst` `(4, 4)` of a rigid `dst_T_src` `(4, 4)`."""
    inverse = np.eye(4)
    inverse[:3, :3] = dst_T_src[:3, :3].T
    inverse[:3, 3] = -dst_T_src[:3, :3].T @ dst_T_src[:3, 3]
    return inverse


def yaw_of(pose: Float64) -> float:
    """Heading in radians of a pose's +x axis, seen from above."""
    return float(np.arctan2(pose[1, 0], pose[0, 0]))


def transform_points(dst_T_src: Float64, points: Array) -> Float32:
    """Points `(N, 3+)` in src, brought to dst; further columns are kept. float32."""
    out = np.array(points, dtype=np.float32)
    out[:, :3] = np.asarray(points[:, :3], np.float64) @ dst_T_src[:3, :3].T + dst_T_src[:3, 3]
    return out


def transform_boxes(dst_T_src: Float64, boxes: Array) -> Float32:
    """Boxes `(N, 7)` in src, brought to dst: the centre exactly, the heading as seen from above in dst."""
    b = np.asarray(boxes, dtype=np.float64)
    out: Float64 = b.copy()
    out[:, :3] = b[:, :3] @ dst_T_src[:3, :3].T + dst_T_src[:3, 3]
    heading = np.stack([np.cos(b[:, 6]), np.sin(b[:, 6]), np.zeros(len(b))], axis=1) @ dst_T_src[:3, :3].T
    out[:, 6] = np.arctan2(heading[:, 1], heading[:, 0])
    return out.astype(np.float32)
