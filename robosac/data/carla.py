"""Poses as CARLA, and so OPV2V, writes them: `[x y z roll yaw pitch]` in metres and degrees, z up.

The matrix is the one that the field builds of these numbers: a turn by yaw about z, by *minus* pitch about y and by
*minus* roll about x. CARLA's y axis points to the right; the numbers are used as they stand, and since everything is
only ever used relative to one another, nothing notices.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from robosac.types import Array, Float64


def matrices(xyz_m: Array, roll_yaw_pitch_deg: Array) -> Float64:
    """Poses `(G, 4, 4)` at `(G, 3)` metres, turned by `(G, 3)` degrees; NaN where an angle is not finite."""
    yaw_pitch_roll = np.asarray(roll_yaw_pitch_deg, np.float64)[:, [1, 2, 0]] * [1, -1, -1]
    out = np.tile(np.eye(4), (len(yaw_pitch_roll), 1, 1))
    turned = np.isfinite(yaw_pitch_roll).all(axis=1)
    out[~turned] = np.nan
    if turned.any():
        out[turned, :3, :3] = Rotation.from_euler("ZYX", yaw_pitch_roll[turned], degrees=True).as_matrix()
    out[:, :3, 3] = xyz_m
    return out


def roll_yaw_pitch_deg(poses: Float64) -> Float64:
    """The angles `(G, 3)` in degrees of which `matrices` builds the rotations of `poses` `(G, 4, 4)`."""
    yaw_pitch_roll = Rotation.from_matrix(poses[:, :3, :3]).as_euler("ZYX", degrees=True)
    angles: Float64 = (yaw_pitch_roll * [1, -1, -1])[:, [2, 0, 1]]
    return angles
