"""Overlaps of rotated rectangles, pair by pair, compiled by numba: no array of all pairs is ever made.

What two rectangles share is bounded by the pieces of each one's sides that lie within the other; Green's theorem makes
an area of them (segments are clipped as Liang and Barsky do). Sides on one line would be counted twice or not at all;
of those the second rectangle's count, as if it were a hair smaller. Figures are those of shapely to within 1e-7, and
1e-14 where no two sides are nearly parallel.

Boxes are rows of `prepared`: `[x y half_length half_width cos sin radius area]`; one that is not finite or has no area
lies at NaN and is near to nothing. Compiled code is kept beside this file, or in the user's cache where that cannot be
written. Where numba is missing the functions run as plain Python: the same figures, but a hundred times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from robosac.types import Array, Bool, Float64, Int64

_HAIR_M = 1e-10
_PARALLEL_RAD = 1e-8
_F = TypeVar("_F", bound=Callable[..., Any])

numba: Any
try:
    import numba
except ImportError:  # an installation without its dependencies
    numba = None


def _compiled(function: _F) -> _F:
    if numba is None:
        return function
    try:
        return cast(_F, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # there is no folder in which compiled code could be kept
        return cast(_F, numba.njit(error_model="numpy")(function))


def prepared(boxes: Array) -> Float64:
    """Rows `(N, 8)` of boxes `(N, 7)`, as the functions below take them."""
    b = np.asarray(boxes, dtype=np.float64)
    fit = np.isfinite(b).all(axis=1) & (b[:, 3] > 0) & (b[:, 4] > 0)
    b = np.where(fit[:, None], b, np.nan)
    out: Float64 = np.empty((len(b), 8))
    out[:, 0:2], out[:, 2:4] = b[:, 0:2], b[:, 3:5] / 2
    out[:, 4], out[:, 5] = np.cos(b[:, 6]), np.sin(b[:, 6])
    out[:, 6], out[:, 7] = np.hypot(out[:, 2], out[:, 3]), b[:, 3] * b[:, 4]
    return out


@_compiled
def _near(a: Float64, i: int, b: Float64, j: int) -> bool:
    """Whether the circles about `a[i]` and `b[j]` meet."""
    dx, dy, reach = b[j, 0] - a[i, 0], b[j, 1] - a[i, 1], a[i, 6] + b[j, 6]
    near: bool = dx * dx + dy * dy < reach * reach
    return near


@_compiled
def _inside(
    x: float, y: float, dx: float, dy: float, half_l: float, half_w: float, in_x: float, in_y: float, slack: float
) -> float:
    """Share of the segment from (x, y) by (dx, dy) within a rectangle about the origin.

    Where the segment runs along one of the rectangle's sides it is moved by (`in_x`, `in_y`), and that side by `slack`.
    """
    if dx == 0.0:
        x, half_l = x + in_x, half_l - slack
    if dy == 0.0:
        y, half_w = y + in_y, half_w - slack
    rx, ry = 1.0 / (dx if abs(dx) > 1e-200 else 1e-200), 1.0 / (dy if abs(dy) > 1e-200 else 1e-200)
    mid_x, mid_y, span_x, span_y = -x * rx, -y * ry, half_l * abs(rx), half_w * abs(ry)
    start = max(0.0, max(mid_x - span_x, mid_y - span_y))
    return max(0.0, min(1.0, min(mid_x + span_x, mid_y + span_y)) - start)


@_compiled
def _iou(a: Float64, i: int, b: Float64, j: int) -> float:
    """IoU of `a[i]` with `b[j]`, which are near."""
    half_l, half_w, long, wide = a[i, 2], a[i, 3], b[j, 2], b[j, 3]
    dx, dy = b[j, 0] - a[i, 0], b[j, 1] - a[i, 1]
    cos, sin = a[i, 4] * b[j, 4] + a[i, 5] * b[j, 5], a[i, 4] * b[j, 5] - a[i, 5] * b[j, 4]
    if abs(sin) < _PARALLEL_RAD:
        sin = 0.0
    if abs(cos) < _PARALLEL_RAD:
        cos = 0.0
    # the sides of a in the frame of b: along (fx, fy) and (gx, gy) from the corner (x, y)
    fx, fy, gx, gy = 2 * half_l * cos, -2 * half_l * sin, 2 * half_w * sin, 2 * half_w * cos
    x = -(b[j, 4] * dx + b[j, 5] * dy) - (fx + gx) / 2
    y = -(b[j, 4] * dy - b[j, 5] * dx) - (fy + gy) / 2
    of_a = _inside(x, y, fx, fy, long, wide, 0.0, 0.0, _HAIR_M)
    of_a += _inside(x + gx, y + gy, fx, fy, long, wide, 0.0, 0.0, _HAIR_M)
    of_a += _inside(x, y, gx, gy, long, wide, 0.0, 0.0, _HAIR_M)
    of_a += _inside(x + fx, y + fy, gx, gy, long, wide, 0.0, 0.0, _HAIR_M)
    # and those of b in the frame of a, each times its cross product with the way to it
    fx, fy, gx, gy = 2 * long * cos, 2 * long * sin, -2 * wide * sin, 2 * wide * cos
    x = a[i, 4] * dx + a[i, 5] * dy - (fx + gx) / 2
    y = a[i, 4] * dy - a[i, 5] * dx - (fy + gy) / 2
    c, s = cos * _HAIR_M, sin * _HAIR_M
    twice = _inside(x, y, fx, fy, half_l, half_w, -s, c, 0.0) * (x * fy - y * fx)
    twice -= _inside(x, y, gx, gy, half_l, half_w, c, s, 0.0) * (x * gy - y * gx)
    x, y = x + gx, y + gy
    twice -= _inside(x, y, fx, fy, half_l, half_w, s, -c, 0.0) * (x * fy - y * fx)
    x, y = x - gx + fx, y - gy + fy
    twice += _inside(x, y, gx, gy, half_l, half_w, -c, -s, 0.0) * (x * gy - y * gx)
    shared = max(0.5 * (twice + of_a * a[i, 7] / 2), 0.0)
    iou: float = min(shared / (a[i, 7] + b[j, 7] - shared), 1.0)
    return iou


@_compiled
def iou_of_all(a: Float64, b: Float64) -> Float64:
    """IoU `(N, M)` of rows `(N, 8)` with rows `(M, 8)`."""
    out = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            if _near(a, i, b, j):
                out[i, j] = _iou(a, i, b, j)
    return out


@_compiled
def _may_exceed(rows: Float64, i: int, j: int, over: float) -> bool:
    """Whether the IoU of two rows may be more than `over`; it is at most the ratio of their areas."""
    return _near(rows, i, rows, j) and min(rows[i, 7], rows[j, 7]) > over * max(rows[i, 7], rows[j, 7])


@_compiled
def kept_of(ranked: Float64, over: float) -> Bool:
    """Which rows `(N,)`, best first, greedy suppression keeps: one goes where a kept, better one overlaps by more."""
    kept = np.ones(len(ranked), np.bool_)
    for i in range(len(ranked)):
        if kept[i]:
            for j in range(i + 1, len(ranked)):
                if kept[j] and _may_exceed(ranked, i, j, over):
                    kept[j] = _iou(ranked, i, ranked, j) <= over
    return kept


@_compiled
def _doubled(pairs: Int64, shared: Float64) -> tuple[Int64, Float64]:
    """Pairs `(2, P)` and their IoU `(P,)` with room for as many more."""
    more_pairs, more_shared = np.empty((2, 2 * len(shared)), np.int64), np.empty(2 * len(shared))
    more_pairs[:, : len(shared)], more_shared[: len(shared)] = pairs, shared
    return more_pairs, more_shared


@_compiled
def pairs_above(rows: Float64, over: float) -> tuple[Int64, Int64, Float64]:
    """Pairs `i < j` of rows `(N, 8)` whose IoU is more than `over`, in order, and that IoU: `(P,)` each."""
    pairs, shared, n = np.empty((2, 64 + 4 * len(rows)), np.int64), np.empty(64 + 4 * len(rows)), 0
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            if not _may_exceed(rows, i, j, over):
                continue
            iou = _iou(rows, i, rows, j)
            if iou > over:
                if n == len(shared):
                    pairs, shared = _doubled(pairs, shared)
                pairs[0, n], pairs[1, n], shared[n] = i, j, iou
                n += 1
    return pairs[0, :n].copy(), pairs[1, :n].copy(), shared[:n].copy()


@_compiled
def pairs_of_two(a: Float64, b: Float64, at_least: float) -> tuple[Int64, Int64, Float64]:
    """Pairs of rows `(N, 8)` with rows `(M, 8)` whose IoU is `at_least` > 0, in order, and that IoU: `(P,)` each."""
    pairs, shared, n = np.empty((2, 64 + 4 * len(a)), np.int64), np.empty(64 + 4 * len(a)), 0
    for i in range(len(a)):
        for j in range(len(b)):
            if not _near(a, i, b, j) or min(a[i, 7], b[j, 7]) < at_least * max(a[i, 7], b[j, 7]):
                continue
            iou = _iou(a, i, b, j)
            if iou >= at_least:
                if n == len(shared):
                    pairs, shared = _doubled(pairs, shared)
                pairs[0, n], pairs[1, n], shared[n] = i, j, iou
                n += 1
    return pairs[0, :n].copy(), pairs[1, :n].copy(), shared[:n].copy()
