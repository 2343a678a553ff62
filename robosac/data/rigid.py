"""Poses and boxes as files give them, checked: numbers that are finite, rotations that are rotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.spatial.transform import Rotation

from robosac.data.labels import LARGEST
from robosac.data.recording import DataError
from robosac.types import Float64

_SKEW: Final = 0.02  # how far a rotation may be from one, entry by entry


def numbers(value: Any, shape: tuple[int, ...], path: Path, what: str) -> Float64:
    """Numbers of a file, or texts of numbers, as float64 of a shape; NaN and infinity may be among them.

    Raises:
        DataError: if they are anything else (truth values, nothing, lists of unequal length), or of another shape.
    """
    try:
        raw = np.asarray(value, None if isinstance(value, np.ndarray) else object)
        if raw.dtype.kind not in "iuf" and not all(type(v) in (int, float, str) for v in raw.ravel().tolist()):
            raise TypeError
        found = raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(path, f"expected {what} to be numbers of shape {shape}, got {type(value).__name__}") from error
    if found.shape != shape:
        raise DataError(path, f"expected {what} to be numbers of shape {shape}, got shape {found.shape}")
    return found


def array(value: Any, shape: tuple[int, ...], path: Path, what: str) -> Float64:
    """Numbers of a file as float64 of a shape.

    Raises:
        DataError: if they are not numbers, of another shape, not finite or absurdly large.
    """
    found = numbers(value, shape, path, what)
    if not (np.abs(found) <= LARGEST).all():  # NaN compares false
        raise DataError(path, f"expected {what} to be finite and below {LARGEST:g}, got NaN, inf or more")
    return found


def pose_of(rotation: Float64, translation: Float64, path: Path, what: str) -> Float64:
    """A pose `(4, 4)` from a rotation `(3, 3)` and a translation `(3,)`; rounding of the rotation is repaired.

    Raises:
        DataError: if the rotation is none: not orthonormal, or a mirror.
    """
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _SKEW or np.linalg.det(rotation) < 0:
        raise DataError(path, f"expected {what} to hold a rotation, got a matrix that skews, scales or mirrors")
    u, _, vt = np.linalg.svd(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = u @ vt, translation
    return pose


def pose_matrix(value: Any, path: Path, what: str) -> Float64:
    """A pose given as its matrix `(4, 4)`."""
    matrix = array(value, (4, 4), path, what)
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise DataError(path, f"expected {what} to end in 0 0 0 1, got {matrix[3].tolist()}")
    return pose_of(matrix[:3, :3], matrix[:3, 3], path, what)


def rotations(quaternions: Float64) -> Float64:
    """Rotations `(G, 3, 3)` of quaternions `(G, 4)` `[w x y z]`; NaN for one that is off unit length by more than
    rounding.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        unit = np.abs(np.linalg.norm(quaternions, axis=1) - 1) <= _SKEW
    found: Float64 = np.full((len(quaternions), 3, 3), np.nan)
    if unit.any():
        found[unit] = Rotation.from_quat(np.roll(quaternions[unit], -1, axis=1)).as_matrix()
    return found
