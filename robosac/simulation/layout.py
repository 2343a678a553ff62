"""What stands still: roads, lanes and the traffic they call for, buildings and street furniture.

A `Sketch` collects the parts while one of the three kinds of place is drawn; `finish` freezes it into a `Layout`.
Traffic keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import shapely

from robosac.boxes import corners_bev
from robosac.simulation.geometry import STEP_M, corridor, flat_boxes, offset
from robosac.types import Array, Bool, Float64, Int64

REACH_M: Final = 115.0  # how far streets and what stands along them go from the middle


@dataclass(frozen=True)
class Demand:
    """Traffic that a lane calls for: vehicles one behind another between two places of the lane.

    role: "parked", "queued", "moving" or "turning". gap_m and speed_mps are ranges to draw from; fill is the share
    of slots that are taken; at_most bounds their number; mix names the mixture of models; square: parked at right
    angles to the lane.
    """

    lane: int
    role: str
    from_m: float
    to_m: float
    gap_m: tuple[float, float]
    speed_mps: tuple[float, float] = (0.0, 0.0)
    fill: float = 1.0
    at_most: int = 1000
    mix: str = "city"
    square: bool = False


@dataclass(frozen=True, eq=False)
class Lanes:
    """Many lines in one array: `points` `(P, 3)` [x y heading] every `STEP_M`; lane i starts at `first[i]`."""

    points: Float64
    first: Int64
    count: Int64

    def poses(self, lane: Array, s: Array, lateral: Array) -> Float64:
        """Poses `(..., 3)` [x y heading] at distances `s` (metres) along lanes; straight on before and beyond."""
        at = np.asarray(s) / STEP_M
        last = self.count[lane] - 2
        cell = np.clip(np.floor(at).astype(np.int64), 0, last)
        part = (at - cell)[..., None]
        low, high = self.points[self.first[lane] + cell], self.points[self.first[lane] + cell + 1]
        pose: Float64 = low + part * (high - low)
        pose[..., 2] = (low + np.clip(part, 0, 1) * (high - low))[..., 2]
        pose[..., 0] -= lateral * np.sin(pose[..., 2])
        pose[..., 1] += lateral * np.cos(pose[..., 2])
        return pose


@dataclass(frozen=True, eq=False)
class Layout:
    """A place. `solids` maps a mesh template to rows `(N, 8)` [x y yaw l w h bottom reflectivity], bottom above the
    ground; `roads` `(R, 7)` are rectangles that only vehicles use; `focus_xy` is where things happen.
    """

    kind: str
    lanes: Lanes
    demands: tuple[Demand, ...]
    roads: Float64
    solids: dict[str, Float64]
    focus_xy: Float64
    roadside_xy: Float64


@dataclass
class Sketch:
    """A layout being drawn."""

    kind: str
    lanes: list[Float64] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    roads: list[Float64] = field(default_factory=list)
    solids: dict[str, list[Float64]] = field(default_factory=dict)

    def lane(self, line: Float64) -> int:
        self.lanes.append(line)
        return len(self.lanes) - 1

    def length_m(self, lane: int) -> float:
        return (len(self.lanes[lane]) - 1) * STEP_M

    def solid(self, template: str, rows: Array) -> None:
        """Adds rows `(N, 8)` (see `Layout.solids`)."""
        self.solids.setdefault(template, []).append(np.asarray(rows, np.float64).reshape(-1, 8))

    def road(self, line: Float64, half_width_m: float) -> None:
        self.roads.append(corridor(line, half_width_m))

    def finish(self, focus_xy: Array, roadside_xy: Array, turn_rad: float) -> Layout:
        """Clears the roads of solids and turns the whole place about the origin."""
        roads = np.concatenate(self.roads)
        solids = {name: np.concatenate(rows) for name, rows in self.solids.items()}
        solids = {name: rows[~touching(rows, roads)] for name, rows in solids.items()}
        count = np.array([len(line) for line in self.lanes], np.int64)
        first = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64)
        return Layout(
            self.kind,
            Lanes(_turn(np.concatenate(self.lanes), turn_rad, 2), first, count),
            tuple(self.demands),
            _turn(roads, turn_rad, 6),
            {name: _turn(rows, turn_rad, 2) for name, rows in solids.items() if len(rows)},
            _turn(np.asarray(focus_xy, np.float64)[None], turn_rad)[0],
            _turn(np.asarray(roadside_xy, np.float64)[None], turn_rad)[0],
        )


def touching(rows: Float64, areas: Array) -> Bool:
    """Which solids `(N,)` touch one of the areas `(R, 7)`, seen from above."""
    solids = corners_bev(flat_boxes(rows[:, :2], rows[:, 3], rows[:, 4], rows[:, 2]))
    streets = shapely.STRtree(shapely.polygons(corners_bev(areas)))
    blocked = np.zeros(len(rows), dtype=bool)
    blocked[streets.query(shapely.polygons(solids), predicate="intersects")[0]] = True
    return blocked


def _turn(rows: Float64, angle_rad: float, heading_column: int | None = None) -> Float64:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    out: Float64 = rows.copy()
    out[:, 0], out[:, 1] = cos * rows[:, 0] - sin * rows[:, 1], sin * rows[:, 0] + cos * rows[:, 1]
    if heading_column is not None:
        out[:, heading_column] += angle_rad
    return out


def rows_along(
    line: Float64,
    s: Array,
    lateral: Array | float,
    length: Array | float,
    width: Array | float,
    height: Array | float,
    shade: Array | float,
    bottom: Array | float,
) -> Float64:
    """Rows `(N, 8)` of solids at distances `s` along a line and `lateral` to its left, turned with the line."""
    at = np.clip(np.round(np.asarray(s) / STEP_M).astype(np.int64), 0, len(line) - 1)
    x, y, heading = line[at].T
    columns = [
        x - lateral * np.sin(heading),
        y + lateral * np.cos(heading),
        heading,
        length,
        width,
        height,
        bottom,
        shade,
    ]
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float64)


def parked_row(
    sketch: Sketch,
    line: Float64,
    lateral_m: float,
    span: tuple[float, float],
    fill: float,
    rng: np.random.Generator,
    *,
    mix: str = "parked",
    square: bool = False,
) -> None:
    """A row of parked vehicles along a line; half of the rows face each way where they stand square."""
    lane = sketch.lane(offset(line, lateral_m))
    gap = (0.4, 0.9) if square else (0.5, 1.3)
    start = span[0] + rng.uniform(0, 3)
    sketch.demands.append(Demand(lane, "parked", start, span[1], gap, fill=fill, mix=mix, square=square))
