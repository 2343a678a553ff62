"""Plane geometry of streets: sampled lines, lateral offsets, rectangles along them."""

from __future__ import annotations

from typing import Final

import numpy as np

from robosac.types import Array, Float64

STEP_M: Final = 1.0  # spacing of the samples of every line


def sample_line(xy: Array) -> Float64:
    """A polyline `(K, 2)`, resampled about every `STEP_M`: `(P, 3)` [x y heading], heading continuous."""
    xy = np.asarray(xy, np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    s = np.arange(0.0, length[-1] + 1e-9, STEP_M)
    points = np.stack([np.interp(s, length, xy[:, 0]), np.interp(s, length, xy[:, 1])], axis=1)
    step = np.gradient(points, axis=0)
    return np.concatenate([points, np.unwrap(np.arctan2(step[:, 1], step[:, 0]))[:, None]], axis=1)


def straight(start_xy: Array, heading_rad: float, length_m: float) -> Float64:
    """A straight line `(P, 3)` [x y heading]."""
    start = np.asarray(start_xy, np.float64)
    return sample_line(np.stack([start, start + length_m * np.array([np.cos(heading_rad), np.sin(heading_rad)])]))


def arc(length_m: float, radius_m: float) -> Float64:
    """A line `(P, 3)` of constant curvature through the origin, which it passes half way, heading along +x there."""
    s = np.arange(-length_m / 2, length_m / 2 + 1e-9, STEP_M)
    turn = s / radius_m
    return np.stack([radius_m * np.sin(turn), radius_m * (1 - np.cos(turn)), turn], axis=1)


def offset(line: Array, lateral_m: float) -> Float64:
    """The parallel of a line `(P, 3)` at `lateral_m` to its left."""
    x, y, heading = line.T
    return np.stack([x - lateral_m * np.sin(heading), y + lateral_m * np.cos(heading), heading], axis=1)


def reverse(line: Array) -> Float64:
    """The line `(P, 3)` travelled the other way."""
    return np.stack([line[::-1, 0], line[::-1, 1], line[::-1, 2] + np.pi], axis=1)


def bend(start: Array, end: Array) -> Float64:
    """A smooth turn `(K, 2)` from pose `start` `(3,)` [x y heading] to pose `end`, a cubic Bezier curve whose
    handles make a right turn nearly circular.
    """
    a, d = np.asarray(start[:2], np.float64), np.asarray(end[:2], np.float64)
    handle = 0.39 * float(np.hypot(*(d - a)))
    b = a + handle * np.array([np.cos(start[2]), np.sin(start[2])])
    c = d - handle * np.array([np.cos(end[2]), np.sin(end[2])])
    t = np.linspace(0, 1, 41)[:, None]
    return np.asarray((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d, np.float64)


def flat_boxes(xy: Array, length: Array | float, width: Array | float, yaw: Array) -> Float64:
    """Boxes `(N, 7)` of unit height on the plane, for tests seen from above."""
    n = len(xy)
    columns = [xy[:, 0], xy[:, 1], np.zeros(n), length, width, np.ones(n), yaw]
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float64)


def corridor(line: Array, half_width_m: float, piece_m: int = 12) -> Float64:
    """Rectangles `(N, 7)` that cover a strip about a line `(P, 3)`."""
    cut = line[::piece_m] if (len(line) - 1) % piece_m == 0 else np.concatenate([line[::piece_m], line[-1:]])
    step = np.diff(cut[:, :2], axis=0)
    middle = (cut[1:, :2] + cut[:-1, :2]) / 2
    length = np.hypot(step[:, 0], step[:, 1])
    return flat_boxes(middle, length + 0.5, 2 * half_width_m, np.arctan2(step[:, 1], step[:, 0]))
