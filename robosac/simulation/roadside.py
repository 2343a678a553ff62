"""What else is along a road: kerbs, plants, people, poles, boxes, banks, and yards where vehicles stand.

It is added to a place that was drawn, so that places without it are as they ever were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from robosac.simulation.geometry import flat_boxes, straight
from robosac.simulation.layout import Demand, Lanes, Layout, touching
from robosac.types import Array, Float64

_REACH_M: Final = 115.0  # about the focus
_YARDS_M: Final = 75.0  # likewise, of the roads that yards are beside
Rows = dict[str, list[Float64]]


def dressed(layout: Layout, rng: np.random.Generator, *, clutter: float, yards: float, gaps: float) -> Layout:
    """A place with more of what real roads have.

    Args:
        layout: as it was drawn.
        rng: decides all.
        clutter: about how many things stand along 10 m of each side.
        yards: mean number of yards, where vehicles stand in rows at any angle to the road.
        gaps: gaps between vehicles are multiplied by it.
    """
    lanes, demands, areas = _yards(layout, int(rng.poisson(yards)), rng)
    demands = [
        *(
            replace(d, gap_m=(d.gap_m[0] * gaps, d.gap_m[1] * gaps)) if d.role == "moving" else d
            for d in layout.demands
        ),
        *demands,
    ]
    layout = _opened(layout, float(rng.choice([0.0, 0.0, 0.4, 0.8, 1.0])), rng)
    made: Rows = {}
    near = _near(layout, _REACH_M)
    length, reach = float(near[:, 3].sum()), float(rng.choice([5.0, 8.0, 20.0]))
    green = rng.uniform(0, 1)
    for kind, share in (
        (_bushes, 1.6 * green),
        (_trees, 0.5 * green),
        (_hedges, 0.12 * green),
        (_poles, 0.4),
        (_people, 0.5),
        (_cycles, 0.4),
        (_boxes, 0.35),
        (_fences, 0.08),
        (_boards, 0.2),
    ):
        count = int(rng.poisson(length / 10 * 2 * clutter * share * rng.uniform(0, 1)))
        if count:
            kind(made, _beside(near, count, rng, reach_m=reach), rng)
    if rng.random() < 0.6:
        _slabs(made, near, rng)
    free = {name: _rows(rows) for name, rows in made.items()}
    free = {name: rows[~touching(rows, layout.roads) | (rows[:, 6] > 3.0)] for name, rows in free.items()}
    if rng.random() < 0.15:
        free["block"] = np.concatenate([free.get("block", np.zeros((0, 8))), _bridge(near, rng)])
    solids = _together(layout.solids, free)
    if len(areas):
        solids = {name: rows[~touching(rows, areas) | _is_low(rows)] for name, rows in solids.items()}
    return replace(
        layout,
        lanes=lanes,
        demands=tuple(demands),
        roads=np.concatenate([layout.roads, areas]),
        solids={name: rows for name, rows in solids.items() if len(rows)},
    )


def with_people(layout: Layout, boxes: Array, rng: np.random.Generator, *, mean: float) -> Layout:
    """The place with people and cyclists on the road, none of whom touches a vehicle of `boxes (N, 7)`, seen from
    above; `mean` is their mean number.
    """
    near = _near(layout, _REACH_M)
    made: Rows = {}
    for kind in (_people, _cycles):
        count = int(rng.poisson(mean))
        if count:
            kind(made, _beside(near, count, rng, on_road=True), rng)
    rows = {name: _rows(parts) for name, parts in made.items()}
    rows = {name: some[~touching(some, boxes)] for name, some in rows.items()}
    solids = _together(layout.solids, rows)
    return replace(layout, solids={name: some for name, some in solids.items() if len(some)})


def _near(layout: Layout, reach_m: float) -> Float64:
    """The roads `(R, 7)` whose middles are within reach of the focus."""
    near: Float64 = layout.roads[np.hypot(*(layout.roads[:, :2] - layout.focus_xy).T) < reach_m]
    return near


def _together(solids: Mapping[str, Float64], more: Mapping[str, Float64]) -> dict[str, Float64]:
    """Solids of two places as those of one."""
    return {n: np.concatenate([part[n] for part in (solids, more) if n in part]) for n in {**solids, **more}}


def _opened(layout: Layout, share: float, rng: np.random.Generator) -> Layout:
    """The place without a share of its buildings."""
    rows = layout.solids.get("block", np.zeros((0, 8)))
    gone = (rows[:, 3] > 4) & (rows[:, 4] > 4) & (rng.random(len(rows)) < share)
    return replace(layout, solids={**layout.solids, "block": rows[~gone]})


def _is_low(rows: Float64) -> Array:
    return np.asarray((rows[:, 5] < 0.25) & (rows[:, 6] == 0))  # a kerb can be parked on


def _rows(parts: list[Float64]) -> Float64:
    return np.concatenate(parts).reshape(-1, 8)


def _add(made: Rows, template: str, *columns: Array | float) -> None:
    """Rows of [x y yaw l w h bottom reflectivity], each a column or one value for all."""
    made.setdefault(template, []).append(np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float64))


def _beside(
    roads: Float64, count: int, rng: np.random.Generator, *, reach_m: float = 7.0, on_road: bool = False
) -> Float64:
    """Places `(count, 3)` [x y heading] up to `reach_m` beside roads, or on them."""
    which = rng.choice(len(roads), size=count, p=roads[:, 3] / roads[:, 3].sum())
    x, y, length, width, yaw = roads[which][:, [0, 1, 3, 4, 6]].T
    along = rng.uniform(-0.5, 0.5, count) * length
    side = rng.choice([-1.0, 1.0], count)
    away = rng.uniform(0, 0.5, count) * width if on_road else width / 2 + 0.2 + reach_m * rng.uniform(0, 1, count) ** 2
    across = side * away
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([x + cos * along - sin * across, y + sin * along + cos * across, yaw], axis=1)


def _spread(at: Float64, copies: int, reach_m: float, rng: np.random.Generator) -> Float64:
    """`copies` places about each place of `at`."""
    many = np.repeat(at, copies, axis=0)
    many[:, :2] += rng.normal(0, reach_m, (len(many), 2))
    return many


def _turned(n: int, rng: np.random.Generator) -> Array:
    return rng.uniform(-np.pi, np.pi, n)


def _bushes(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    at = _spread(at, int(rng.integers(1, 4)), 0.7, rng)
    n = len(at)
    size = rng.uniform(0.5, 2.6, n)
    height = np.clip(size * rng.uniform(0.4, 1.2, n), 0.3, 2.6)
    width = size * rng.uniform(0.5, 1, n)
    _add(made, "crown", at[:, 0], at[:, 1], _turned(n, rng), size, width, height, 0.0, rng.uniform(0.2, 0.6, n))


def _trees(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    n = len(at)
    bottom = rng.uniform(0.9, 3.2, n)
    trunk = rng.uniform(0.15, 0.6, n)
    _add(made, "block", at[:, 0], at[:, 1], _turned(n, rng), trunk, trunk, bottom + 0.8, 0.0, 0.25)
    many = _spread(np.column_stack([at[:, :2], bottom]), int(rng.integers(1, 5)), 0.8, rng)
    m = len(many)
    wide = rng.uniform(1.0, 5.0, m)
    height, lift = rng.uniform(1.2, 5.0, m), rng.uniform(0, 1.5, m)
    _add(made, "crown", many[:, 0], many[:, 1], _turned(m, rng), wide, wide, height, many[:, 2] + lift, 0.35)


def _along(at: Float64, step_m: float, rng: np.random.Generator, longest_m: float) -> Float64:
    """Places in rows that begin at `at` and follow its headings."""
    counts = np.maximum((rng.uniform(2.0, longest_m, len(at)) / step_m).astype(int), 2)
    which = np.repeat(np.arange(len(at)), counts)
    s = step_m * (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts))
    turn = (at[:, 2] + rng.choice([0, 0, np.pi / 2], len(at)) + rng.normal(0, 0.03, len(at)))[which]
    return np.stack([at[which, 0] + s * np.cos(turn), at[which, 1] + s * np.sin(turn), turn], axis=1)


def _hedges(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    row = _along(at, 0.7, rng, 25.0)
    n, width, height = len(row), rng.uniform(0.6, 1.8), rng.uniform(0.5, 2.0)
    tall = height * rng.uniform(0.8, 1.15, n)
    _add(made, "crown", row[:, 0], row[:, 1], row[:, 2], 1.3, width * rng.uniform(0.8, 1.2, n), tall, 0.0, 0.4)


def _poles(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    n = len(at)
    wide = rng.uniform(0.06, 0.4, n)
    tall = np.where(rng.random(n) < 0.4, rng.uniform(0.5, 1.2, n), rng.uniform(2.5, 8, n))
    _add(made, "block", at[:, 0], at[:, 1], _turned(n, rng), wide, wide, tall, 0.0, rng.uniform(0.2, 0.9, n))


def _boards(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    """Signs and hoardings on posts."""
    n = len(at)
    yaw = at[:, 2] + np.pi / 2 + rng.normal(0, 0.2, n)
    bottom = rng.uniform(0.4, 2.5, n)
    _add(made, "block", at[:, 0], at[:, 1], yaw, 0.1, 0.1, bottom + 0.5, 0.0, 0.5)
    wide, tall = rng.uniform(0.5, 3.5, n), rng.uniform(0.5, 1.8, n)
    _add(made, "block", at[:, 0], at[:, 1], yaw, wide, 0.08, tall, bottom, 0.9)


def _people(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    at = _spread(at, int(rng.integers(1, 4)), 0.8, rng)
    n = len(at)
    deep, wide, tall = rng.uniform(0.3, 0.6, n), rng.uniform(0.4, 0.7, n), rng.uniform(1.1, 1.9, n)
    _add(made, "person", at[:, 0], at[:, 1], _turned(n, rng), deep, wide, tall, 0.0, rng.uniform(0.1, 0.7, n))


def _cycles(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    at = _spread(at, int(rng.integers(1, 5)), 1.0, rng)
    n = len(at)
    yaw = at[:, 2] + rng.choice([0.0, np.pi, np.pi / 2], n, p=[0.4, 0.4, 0.2]) + rng.normal(0, 0.15, n)
    long, wide, tall = rng.uniform(1.5, 2.3, n), rng.uniform(0.5, 0.9, n), rng.uniform(1.1, 1.9, n)
    _add(made, "cyclist", at[:, 0], at[:, 1], yaw, long, wide, tall, 0.0, rng.uniform(0.1, 0.7, n))


def _boxes(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    """Cabinets, bins, planters, and now and then a kiosk or a container."""
    n = len(at)
    large = rng.random(n) < 0.12
    long = np.where(large, rng.uniform(2, 8, n), rng.uniform(0.4, 2.0, n))
    wide = np.where(large, rng.uniform(1.2, 3.0, n), rng.uniform(0.3, 1.2, n))
    tall = np.where(large, rng.uniform(1.8, 3.2, n), rng.uniform(0.4, 1.9, n))
    yaw = at[:, 2] + rng.choice([0.0, np.pi / 2], n) + rng.normal(0, 0.1, n)
    _add(made, "block", at[:, 0], at[:, 1], yaw, long, wide, tall, 0.0, rng.uniform(0.1, 0.8, n))


def _fences(made: Rows, at: Float64, rng: np.random.Generator) -> None:
    """Posts with rails, or walls low enough to be seen over."""
    step = float(rng.uniform(1.2, 3.0))
    row = _along(at, step, rng, 40.0)
    n, tall = len(row), float(rng.uniform(0.5, 2.2))
    if rng.random() < 0.35:
        _add(made, "block", row[:, 0], row[:, 1], row[:, 2], step + 0.02, rng.uniform(0.1, 0.5), tall, 0.0, 0.35)
        return
    _add(made, "block", row[:, 0], row[:, 1], row[:, 2], 0.08, 0.08, tall, 0.0, 0.5)
    for height in np.linspace(0.4, 1.0, int(rng.integers(1, 4))) * tall:
        bottom, bright = max(height - 0.07, 0.05), rng.uniform(0.2, 0.6, n)
        _add(made, "block", row[:, 0], row[:, 1], row[:, 2], step, 0.05, 0.07, bottom, bright)


def _slabs(made: Rows, roads: Float64, rng: np.random.Generator) -> None:
    """Pavements a kerb above the road, and sometimes banks behind them."""
    deep, kerb = float(rng.uniform(1.5, 6.0)), float(rng.uniform(0.06, 0.2))
    bank = float(rng.uniform(0.3, 1.5)) if rng.random() < 0.3 else 0.0
    for side in (-1.0, 1.0):
        for away, width, tall in ((0.0, deep, kerb), (deep, float(rng.uniform(4, 10)), bank)):
            if tall > 0:
                across = side * (roads[:, 4] / 2 + 0.05 + away + width / 2)
                x = roads[:, 0] - np.sin(roads[:, 6]) * across
                y = roads[:, 1] + np.cos(roads[:, 6]) * across
                _add(made, "block", x, y, roads[:, 6], roads[:, 3], width, tall, 0.0, 0.2)


def _bridge(roads: Float64, rng: np.random.Generator) -> Float64:
    """A gantry or a bridge over one of the roads."""
    over = roads[int(rng.integers(len(roads)))]
    yaw = over[6] + np.pi / 2
    deep = float(rng.choice([0.6, 8.0]))
    return np.array([[over[0], over[1], yaw, over[4] + 8.0, deep, rng.uniform(0.6, 1.5), rng.uniform(4.5, 6.0), 0.4]])


def _yards(layout: Layout, count: int, rng: np.random.Generator) -> tuple[Lanes, list[Demand], Float64]:
    """Lanes and demands with yards added, and the areas `(A, 7)` they take."""
    lines = [layout.lanes.points]
    first, counts = list(layout.lanes.first), list(layout.lanes.count)
    near = _near(layout, _YARDS_M)
    taken, demands = layout.roads, []
    for _ in range(count if len(near) else 0):
        length, width = float(rng.uniform(7, 45)), float(rng.choice([3.5, 7.0, 14.0]))
        x, y, heading = _beside(near, 1, rng)[0]
        yaw = heading + (rng.normal(0, 0.1) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi))
        turn = rng.uniform(-np.pi, np.pi)
        away = float(rng.uniform(1.0, 22.0))
        x, y = x + away * np.cos(turn), y + away * np.sin(turn)
        if touching(np.array([[x, y, yaw, length, width]]), taken).any():
            continue
        taken = np.concatenate([taken, flat_boxes(np.array([[x, y]]), length, width, np.array([yaw]))])
        rows = {3.5: [0.0], 7.0: [0.0], 14.0: [-4.2, 4.2]}[width]
        for lateral in rows:
            start = np.array([x, y]) - length / 2 * np.array([np.cos(yaw), np.sin(yaw)])
            start = start + lateral * np.array([-np.sin(yaw), np.cos(yaw)])
            line = straight(start, yaw, length)
            first.append(int(sum(counts)))
            counts.append(len(line))
            lines.append(line)
            gap = (0.5, float(rng.uniform(0.8, 2.5)))
            fill, square = float(rng.uniform(0.3, 0.95)), width > 5
            lane = len(counts) - 1
            demands.append(
                Demand(
                    lane, "parked", 0.3, length - 0.3, gap, fill=fill, mix="lot" if square else "city", square=square
                )
            )
    lanes = Lanes(np.concatenate(lines), np.array(first, np.int64), np.array(counts, np.int64))
    return lanes, demands, taken[len(layout.roads) :]
