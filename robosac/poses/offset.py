"""The error of a claimed pose, seen from above, and messages without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robosac.boxes import invert_pose, pose_xyz_rpy, wrap_angle
from robosac.types import Array, Float32, Float64, Message


@dataclass(frozen=True)
class Offset:
    """A rigid motion in the ego's ground plane that brings what a message shows to where it is.

    It turns by `yaw_rad` about `pivot_m`, where the sender claims to be, then moves by `x_m`, `y_m`.

    Attributes:
        x_m, y_m: in the ego's frame.
        yaw_rad: counter-clockwise.
        pivot_m: `(x, y)` of the sender's claimed place in the ego's frame.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0
    pivot_m: tuple[float, float] = (0.0, 0.0)

    @property
    def metres(self) -> float:
        """How far the sender is from where it claims to be."""
        return float(np.hypot(self.x_m, self.y_m))

    @property
    def vector(self) -> Float64:
        """`(3,)` `[x_m, y_m, yaw_rad]`."""
        return np.array([self.x_m, self.y_m, self.yaw_rad])

    @property
    def matrix(self) -> Float64:
        """`(4, 4)`: claimed places in the ego's frame to true ones, in the ego's frame."""
        back, turn = np.eye(4), pose_xyz_rpy(self.x_m, self.y_m, 0.0, yaw_rad=self.yaw_rad)
        back[:2, 3] = -np.asarray(self.pivot_m)
        turn[:2, 3] += self.pivot_m
        return np.asarray(turn @ back)

    def points(self, xy: Array) -> Float64:
        """Places `(N, 2)` in the ego's frame, moved."""
        return moved(xy, self.vector, self.pivot_m)

    def boxes(self, boxes: Array) -> Float32:
        """Boxes `(N, 7)` in the ego's frame, moved."""
        out = np.array(boxes, np.float64)
        out[:, :2] = self.points(out[:, :2])
        out[:, 6] = wrap_angle(out[:, 6] + self.yaw_rad)
        return out.astype(np.float32)

    @staticmethod
    def between(ego_T_true: Float64, ego_T_claimed: Float64) -> Offset:
        """The error of a claimed pose where the true one is known, both `(4, 4)` from the payload's frame."""
        motion = ego_T_true @ invert_pose(ego_T_claimed)
        pivot = ego_T_claimed[:2, 3]
        x, y = ego_T_true[:2, 3] - pivot
        return Offset(float(x), float(y), float(np.arctan2(motion[1, 0], motion[0, 0])), (pivot[0], pivot[1]))


def moved(xy: Array, vector: Array, pivot: Array | tuple[float, float]) -> Float64:
    """Places `(N, 2)` turned about a pivot and moved by `vector (3,)` `[x y yaw]`."""
    cos, sin = np.cos(vector[2]), np.sin(vector[2])
    out: Float64 = (np.asarray(xy, np.float64) - pivot) @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(out + pivot + vector[:2], np.float64)


def mended(message: Message, offset: Offset, world_T_ego: Float64) -> Message:
    """The message with the pose that brings what it shows to where it is: the claimed one, moved by the offset."""
    pose = world_T_ego @ offset.matrix @ invert_pose(world_T_ego) @ np.asarray(message.world_T_payload, np.float64)
    return replace(message, world_T_payload=pose)
