"""Points and poses of one's own, checked: what is wrong is named, and what to do."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robosac.errors import InputError

_FARTHEST_M: Final = 2000.0  # no LiDAR of a vehicle sees so far
_ROUND: Final = 1e-3  # of what is to be a rotation


def checked_points(whose: str, points: Any) -> NDArray[np.float32]:
    """Points `(N, 4)` float32 `[x y z intensity]`, of `(N, 3)` or `(N, 4)`; intensity 0 where there is none.

    Raises:
        InputError: they have another shape, are not finite, or not in metres, or intensity is not in [0, 1].
    """
    found = np.asarray(points)
    if found.ndim != 2 or found.shape[1] not in (3, 4) or not np.issubdtype(found.dtype, np.number):
        raise InputError(
            f"expected points of {whose!r} as (N, 3) [x y z] or (N, 4) [x y z intensity], got {found.dtype} "
            f"{found.shape}; one row a point"
        )
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found).all(axis=1)).sum())
        raise InputError(
            f"expected finite points of {whose!r}, got {bad} rows with NaN or infinity; leave them out: "
            "points[np.isfinite(points).all(axis=1)]"
        )
    farthest = float(np.abs(found[:, :3]).max(initial=0.0))
    if farthest > _FARTHEST_M:
        raise InputError(
            f"expected points of {whose!r} in metres in the sensor's own frame, got one at {farthest:.0f}; millimetres "
            "are divided by 1000, points in the world are multiplied by the inverse of the pose"
        )
    if found.shape[1] == 4 and len(found):
        low, high = float(found[:, 3].min()), float(found[:, 3].max())
        if low < 0 or high > 1:
            raise InputError(
                f"expected intensities of {whose!r} in [0, 1], got {low:g} to {high:g}; divide by the sensor's "
                "largest, 255 mostly"
            )
    full = np.zeros((len(found), 4), np.float32)
    full[:, : found.shape[1]] = found
    return full


def checked_pose(whose: str, pose: Any) -> NDArray[np.float64]:
    """A pose `world_T_sensor (4, 4)` float64: right-handed, z up, metres.

    Raises:
        InputError: it is something else; says what it looks like.
    """
    found = np.asarray(pose)
    if found.shape != (4, 4) or not np.issubdtype(found.dtype, np.number) or not np.isfinite(found).all():
        raise InputError(
            f"expected the pose of {whose!r} as a finite (4, 4) matrix world_T_sensor, got {found.dtype} "
            f"{found.shape}; of position and yaw: [[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]]"
        )
    made = found.astype(np.float64)
    if not np.allclose(made[3], [0, 0, 0, 1]):
        turned = " it looks transposed: use pose.T" if np.allclose(made[:, 3], [0, 0, 0, 1]) else ""
        raise InputError(f"expected the last row of the pose of {whose!r} to be [0 0 0 1], got {made[3]};{turned}")
    rotation = made[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROUND):
        raise InputError(
            f"expected a rotation in the pose of {whose!r}, got rows of length "
            f"{np.round(np.linalg.norm(rotation, axis=1), 3)}; take scale and shear out"
        )
    if np.linalg.det(rotation) < 0:
        raise InputError(
            f"expected a right-handed pose of {whose!r} (x ahead, y left, z up), got a left-handed one; from CARLA or "
            "Unreal, mirror y: M = np.diag([1, -1, 1, 1]), pose = M @ pose @ M, points[:, 1] *= -1"
        )
    if rotation[2, 2] < 0:
        raise InputError(
            f"expected z up in the pose of {whose!r}, got a sensor upside down; a camera's axes (z ahead) or "
            "north-east-down are turned first"
        )
    return made
