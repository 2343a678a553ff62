"""Poses and boxes as files give them, checked: numbers that are finite, rotations that are rotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.spatial.transform import Rotation

from robosac.data.recording import DataError, Objects
from robosac.types import Array, Float64

LONGEST_M: Final = 100.0  # a road vehicle is shorter; what says more is broken and would cost time to count in
MOST_OBJECTS: Final = 10_000
LARGEST: Final = 1e9  # of a coordinate, metres: the earth's circumference is 4e7
_SKEW: Final = 0.02  # how far a rotation may be from one, entry by entry


def array(value: Any, shape: tuple[int, ...], path: Path, what: str) -> Float64:
    """Numbers of a file as float64 of a shape.

    Raises:
        DataError: if they are not numbers, of another shape, not finite or absurdly large.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(path, f"expected {what} to be numbers of shape {shape}, got {type(value).__name__}") from error
    if found.shape != shape:
        raise DataError(path, f"expected {what} to be numbers of shape {shape}, got shape {found.shape}")
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


def rotations(quaternions: Float64, path: Path, what: str) -> Float64:
    """Rotations `(G, 3, 3)` of quaternions `(G, 4)` `[w x y z]`, which may be off unit length by rounding only."""
    length = np.linalg.norm(quaternions, axis=1, keepdims=True)
    if len(length) and np.abs(length - 1).max() > _SKEW:
        raise DataError(path, f"expected {what} to hold unit quaternions, got one of length {length.max():g}")
    found: Float64 = Rotation.from_quat(np.roll(quaternions, -1, axis=1)).as_matrix()
    return found


def objects_of(ids: Sequence[str], world_T_box: Float64, size: Array, path: Path) -> Objects:
    """Labelled objects, their sizes checked; of several under one name the first is taken.

    Raises:
        DataError: if a size is not between 0 and 100 m, or there are too many objects.
    """
    if len(ids) > MOST_OBJECTS:
        raise DataError(path, f"expected at most {MOST_OBJECTS} objects, got {len(ids)}")
    if len(ids) and not (np.isfinite(size).all() and size.min() > 0 and size.max() <= LONGEST_M):
        raise DataError(path, f"expected objects between 0 and {LONGEST_M:g} m long, wide and high, got {_worst(size)}")
    first: dict[str, int] = {}
    for k, name in enumerate(ids):
        first.setdefault(name, k)
    kept = list(first.values())
    return Objects(tuple(first), world_T_box[kept], np.asarray(size[kept], np.float32))


def _worst(size: Array) -> str:
    bad = ~(np.isfinite(size) & (size > 0) & (size <= LONGEST_M)).all(axis=1)
    return " x ".join(f"{v:g}" for v in size[bad][0])
