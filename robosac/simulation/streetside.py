"""What lines a street: building fronts, walls, hedges, trees, poles and bins."""

from __future__ import annotations

import numpy as np

from robosac.simulation.layout import Sketch, rows_along
from robosac.types import Float64


def building_row(
    sketch: Sketch,
    line: Float64,
    side: int,
    front_m: float,
    span: tuple[float, float],
    rng: np.random.Generator,
    *,
    openness: float = 0.25,
) -> None:
    """Buildings shoulder to shoulder along one side (+1 left, -1 right) of a line, their fronts `front_m` from it.

    `openness` is the chance of a gap between two of them, which a wall or a hedge closes half of the time.
    """
    n = int(max(span[1] - span[0], 0) / 8) + 1
    length = rng.uniform(8, 22, n)
    opening = rng.random(n) < openness
    gap = np.where(opening, rng.uniform(2.5, 7, n), 0.0)
    start = span[0] + np.concatenate([[0.0], np.cumsum(length + gap)[:-1]])
    keep = start < span[1]
    depth, height = rng.uniform(8, 13, n), rng.uniform(4.5, 18, n)
    front = front_m + rng.uniform(0, 1.0, n)
    shade = rng.uniform(0.2, 0.6, n)
    lateral = side * (front + depth / 2)
    sketch.solid("block", rows_along(line, start + length / 2, lateral, length, depth, height, shade, 0.0)[keep])
    closed = keep & opening & (rng.random(n) < 0.5)
    fence = rows_along(
        line,
        start + length + gap / 2,
        side * (front + 0.4),
        gap,
        rng.uniform(0.2, 0.9, n),
        rng.uniform(1, 2.2, n),
        shade,
        0.0,
    )
    sketch.solid("block", fence[closed])


def furniture(
    sketch: Sketch, line: Float64, side: int, kerb_m: float, span: tuple[float, float], rng: np.random.Generator
) -> None:
    """Trees, lamp posts, bins, signs and cabinets on a pavement whose kerb is `kerb_m` from the line."""
    room = max(span[1] - span[0], 0)
    if rng.random() < 0.6:
        n = int(room / 9)
        s = span[0] + (np.arange(n) + rng.uniform(0.1, 0.9, n)) * 9
        keep = rng.random(n) < 0.75
        lateral = side * (kerb_m + 1.7)
        radius, trunk = rng.uniform(1.0, 1.5, n), rng.uniform(0.2, 0.45, n)
        bottom, height = rng.uniform(1.9, 2.6, n), rng.uniform(2.5, 5, n)
        sketch.solid("block", rows_along(line, s, lateral, trunk, trunk, bottom + 0.6, 0.25, 0.0)[keep])
        sketch.solid("crown", rows_along(line, s, lateral, 2 * radius, 2 * radius, height, 0.35, bottom)[keep])
    n = int(room / 24)
    s = span[0] + (np.arange(n) + rng.uniform(0.2, 0.8, n)) * 24
    sketch.solid("block", rows_along(line, s, side * (kerb_m + 0.5), 0.16, 0.16, rng.uniform(5, 8, n), 0.5, 0.0))
    n = int(rng.poisson(room / 20))
    s = span[0] + rng.uniform(0, 1, n) * room
    size, height = rng.uniform(0.4, 1.4, n), rng.uniform(0.8, 1.8, n)
    sketch.solid("block", rows_along(line, s, side * (kerb_m + 1.2), size, 0.6, height, rng.uniform(0.1, 0.7, n), 0.0))


def barrier(
    sketch: Sketch,
    line: Float64,
    lateral_m: float,
    width_m: float,
    height_m: float,
    shade: float,
    bottom_m: float = 0.0,
) -> None:
    """A wall or rail along the whole of a line, in pieces of 10 m."""
    s = np.arange(5.0, len(line) - 5, 10.0)
    sketch.solid("block", rows_along(line, s, lateral_m, 10.05, width_m, height_m, shade, bottom_m))
