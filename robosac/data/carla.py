"""Poses as CARLA, and so OPV2V, writes them: `[x y z roll yaw pitch]` in metres and degrees, z up.

The matrix is the one that the field builds of these numbers: a turn by yaw about z, by *minus* pitch about y and by
*minus* roll about x. CARLA's y axis points to the right; the numbers are used as they stand, and since everything is
only ever used relative to one another, nothing notices.
"""

from __future__ import annotations

import numpy as np

from robosac.types import Array, Float64


def matrices(xyz_m: Array, roll_yaw_pitch_deg: Array) -> Float64:
    """Poses `(G, 4, 4)` at `(G, 3)` metres, turned by `(G, 3)` degrees."""
    roll, yaw, pitch = np.radians(np.asarray(roll_yaw_pitch_deg, dtype=np.float64)).T
    (cr, cy, cp), (sr, sy, sp) = np.cos([roll, yaw, pitch]), np.sin([roll, yaw, pitch])
    out = np.zeros((len(roll), 4, 4))
    out[:, 0, :3] = np.stack([cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr], axis=1)
    out[:, 1, :3] = np.stack([cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr], axis=1)
    out[:, 2, :3] = np.stack([sp, -cp * sr, cp * cr], axis=1)
    out[:, :3, 3] = xyz_m
    out[:, 3, 3] = 1.0
    return out


def roll_yaw_pitch_deg(poses: Float64) -> Float64:
    """The angles `(G, 3)` in degrees of which `matrices` builds the rotations of `poses` `(G, 4, 4)`."""
    pitch = np.arctan2(poses[:, 2, 0], np.hypot(poses[:, 2, 1], poses[:, 2, 2]))
    roll = np.arctan2(-poses[:, 2, 1], poses[:, 2, 2])
    yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    angles: Float64 = np.degrees(np.stack([roll, yaw, pitch], axis=1))
    return angles
