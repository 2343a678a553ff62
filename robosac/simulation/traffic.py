"""Vehicles: which models, where on their lanes, how fast; and that no two ever share a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.boxes import pairs_touch
from robosac.simulation.layout import Demand, Lanes, Layout
from robosac.simulation.tracks import Vehicles
from robosac.types import Array, Bool, Float64, Int64

# model -> ((l, w, h) of the smallest, (l, w, h) of the largest), metres
MODELS: Final[dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "sedan": ((4.35, 1.75, 1.40), (5.05, 1.92, 1.52)),
    "coupe": ((4.10, 1.74, 1.28), (4.60, 1.90, 1.40)),
    "hatchback": ((3.50, 1.62, 1.42), (4.40, 1.83, 1.58)),
    "estate": ((4.50, 1.78, 1.44), (5.00, 1.90, 1.55)),
    "suv": ((4.20, 1.78, 1.60), (5.10, 2.00, 1.88)),
    "van": ((4.80, 1.90, 1.90), (6.30, 2.10, 2.75)),
    "minivan": ((4.50, 1.80, 1.72), (5.20, 1.95, 2.00)),
    "truck": ((6.50, 2.25, 2.80), (10.0, 2.55, 3.70)),
    "lorry": ((12.0, 2.50, 3.60), (16.5, 2.55, 4.00)),
    "bus": ((10.5, 2.50, 2.90), (12.5, 2.55, 3.30)),
}
CARS: Final = ("sedan", "coupe", "hatchback", "estate", "suv")  # those that carry a roof sensor
MIXES: Final[dict[str, tuple[float, ...]]] = {
    "city": (0.22, 0.03, 0.17, 0.10, 0.20, 0.12, 0.05, 0.06, 0.01, 0.04),
    "parked": (0.22, 0.03, 0.22, 0.10, 0.20, 0.15, 0.06, 0.02, 0.00, 0.00),
    "lot": (0.26, 0.05, 0.25, 0.12, 0.24, 0.02, 0.06, 0.00, 0.00, 0.00),
    "fast": (0.28, 0.06, 0.12, 0.14, 0.22, 0.10, 0.05, 0.02, 0.00, 0.01),
    "freight": (0.12, 0.01, 0.08, 0.05, 0.10, 0.14, 0.03, 0.17, 0.26, 0.04),
}
_NAMES: Final = tuple(MODELS)
_LOW: Final = np.array([low for low, _ in MODELS.values()])
_HIGH: Final = np.array([high for _, high in MODELS.values()])


@dataclass(frozen=True, eq=False)
class Traffic:
    """V vehicles on lanes at constant speeds. Arrays `(V,)`, sizes `(V, 3)` [l w h] in metres."""

    lanes: Lanes
    model: tuple[str, ...]
    role: tuple[str, ...]
    size: Float64
    paint: Float64
    lane: Int64
    start_m: Float64
    speed_mps: Float64
    lateral_m: Float64
    turned_rad: Float64

    def __len__(self) -> int:
        return len(self.model)

    def poses(self, t_s: float | Array) -> Float64:
        """[x y yaw] of every vehicle at a time `(V, 3)`, or at times `(F,)`: `(F, V, 3)`."""
        t = np.asarray(t_s, np.float64)[..., None]
        pose = self.lanes.poses(self.lane, self.start_m + self.speed_mps * t, self.lateral_m)
        pose[..., 2] += self.turned_rad
        return pose

    def speeds(self, t_s: float) -> Float64:
        """Metres a second `(V,)`, the same at any time."""
        return self.speed_mps

    def select(self, keep: Bool) -> Traffic:
        """The vehicles where `keep` `(V,)` is true."""
        at = np.flatnonzero(keep)
        return Traffic(
            self.lanes,
            tuple(self.model[i] for i in at),
            tuple(self.role[i] for i in at),
            *(getattr(self, name)[at] for name in _ARRAYS),
        )


_ARRAYS: Final = ("size", "paint", "lane", "start_m", "speed_mps", "lateral_m", "turned_rad")


def draw_traffic(layout: Layout, times_s: Array, rng: np.random.Generator) -> Traffic:
    """Vehicles that meet the layout's demands and touch neither each other nor a solid at any of `times_s` `(F,)`.

    Where two would, the one that was drawn for the later demand is left out; those that turn come first.
    """
    order = {"turning": 0, "queued": 1, "moving": 2, "parked": 3}
    groups = [_fill(d, rng) for d in sorted(layout.demands, key=lambda d: order[d.role])]
    roles = tuple(role for role, columns in groups for _ in range(len(columns)))
    rows = np.concatenate([columns for _, columns in groups])
    model = rows[:, 0].astype(np.int64)
    traffic = Traffic(
        layout.lanes,
        tuple(_NAMES[i] for i in model),
        roles,
        rows[:, 1:4],
        rows[:, 4],
        rows[:, 5].astype(np.int64),
        *rows[:, 6:].T,
    )
    return traffic.select(_no_collisions(traffic, times_s))


def ever_at(traffic: Vehicles, times_s: Array) -> Float64:
    """Boxes `(F * V, 7)` of unit height on the plane, of every vehicle at every time `(F,)`."""
    poses = traffic.poses(times_s)
    boxes = np.ones((*poses.shape[:2], 7))
    boxes[..., :2], boxes[..., 3:5], boxes[..., 6] = poses[..., :2], traffic.size[:, :2], poses[..., 2]
    return boxes.reshape(-1, 7)


def _fill(demand: Demand, rng: np.random.Generator) -> tuple[str, Float64]:
    """The role and the vehicles of one demand, from its far end backwards:
    `(N, 10)` [model l w h paint lane start speed lateral turned].
    """
    span = demand.to_m - demand.from_m
    n = min(int(max(span, 0) / ((1.7 if demand.square else 3.6) + demand.gap_m[0])) + 1, 4 * demand.at_most)
    model, size = draw_bodies(n, demand.mix, rng)
    takes = size[:, 1 if demand.square else 0]
    gap = rng.uniform(*demand.gap_m, n)
    back = np.cumsum(takes + gap) - gap - takes / 2
    parked = demand.role == "parked"
    if parked:
        back += np.cumsum(np.where(rng.random(n) < 0.06, rng.uniform(2, 7, n), 0))  # driveways
    taken = (back + takes / 2 <= span) & (rng.random(n) < demand.fill)
    taken &= np.cumsum(taken) <= demand.at_most
    speed = np.full(n, rng.uniform(*demand.speed_mps))
    lateral = rng.normal(0, 0.06 if parked else 0.12, n)
    turned = rng.normal(0, 0.02 if parked else 0.006, n)
    if demand.square:
        turned += np.where(rng.random(n) < 0.5, 1, -1) * np.pi / 2
    elif parked:
        turned += np.where(rng.random(n) < 0.15, np.pi, 0.0)
    paint = draw_paint(n, rng)
    lane = np.full(n, demand.lane)
    rows = np.column_stack([model, size, paint, lane, demand.to_m - back, speed, lateral, turned])
    return demand.role, rows[taken]


def draw_bodies(n: int, mix: str, rng: np.random.Generator) -> tuple[Int64, Float64]:
    """Indices `(N,)` of models, in the order of `MODELS`, of one of `MIXES`, and sizes `(N, 3)` [l w h] in metres."""
    model = rng.choice(len(_NAMES), size=n, p=MIXES[mix])
    grown = np.clip(rng.uniform(0, 1, (n, 1)) + rng.normal(0, 0.1, (n, 3)), 0, 1)
    return model, _LOW[model] + grown * (_HIGH[model] - _LOW[model])


def draw_paint(n: int, rng: np.random.Generator) -> Float64:
    """How the paint of vehicles `(N,)` reflects."""
    paint: Float64 = rng.choice([0.12, 0.3, 0.5, 0.75], size=n) * rng.uniform(0.8, 1.2, n)
    return paint


def _no_collisions(traffic: Traffic, times_s: Array, margin_m: float = 0.15) -> Bool:
    """Which vehicles `(V,)` stay when each gives way to those before it that it would touch at some time."""
    poses = traffic.poses(times_s)  # (F, V, 3)
    radius = np.hypot(traffic.size[:, 0], traffic.size[:, 1]) / 2 + margin_m
    gap = poses[:, :, None, :2] - poses[:, None, :, :2]
    near = (gap**2).sum(-1) < (radius[:, None] + radius) ** 2  # (F, V, V)
    still = traffic.speed_mps == 0
    near[1:, still[:, None] & still] = False  # two that stand still are tested once
    f, i, j = np.nonzero(np.triu(near, 1))
    boxes = np.zeros((*poses.shape[:2], 7))
    boxes[..., :2], boxes[..., 6] = poses[..., :2], poses[..., 2]
    boxes[..., 3:5] = traffic.size[:, :2] + margin_m
    touch = pairs_touch(boxes[f, i], boxes[f, j])
    keep = np.ones(len(traffic), dtype=bool)
    clashes = sorted(set(zip(j[touch].tolist(), i[touch].tolist(), strict=True)))
    for later, earlier in clashes:  # in order of `later`: whether `earlier` stays is settled by then
        if keep[earlier]:
            keep[later] = False
    return keep
