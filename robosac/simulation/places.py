"""The three kinds of place: intersections, urban streets with side streets, highways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robosac.simulation.geometry import arc, bend, offset, reverse, sample_line, straight
from robosac.simulation.layout import REACH_M, Demand, Layout, Sketch, parked_row
from robosac.simulation.streetside import barrier, building_row, furniture
from robosac.types import Float64, InputError

_BAY_M = 2.3  # a parking lane beside the kerb


@dataclass(frozen=True, eq=False)
class Arm:
    """A street that leaves a junction: its middle line outward, lanes each way, parking and half its width."""

    angle_rad: float
    line: Float64
    lanes: int
    lane_m: float
    parking: bool

    @property
    def drive_m(self) -> float:
        return self.lanes * self.lane_m

    @property
    def half_m(self) -> float:
        return self.drive_m + (_BAY_M if self.parking else 0.3)

    def inbound(self, lane: int) -> Float64:
        return reverse(offset(self.line, (lane + 0.5) * self.lane_m))

    def outbound(self, lane: int) -> Float64:
        return offset(self.line, -(lane + 0.5) * self.lane_m)


def draw_layout(kind: str, rng: np.random.Generator) -> Layout:
    """A random place of the given kind."""
    if kind == "intersection":
        return _intersection(rng)
    if kind == "urban":
        return _urban(rng)
    if kind == "highway":
        return _highway(rng)
    raise InputError(f"expected a kind of place among intersection, urban, highway, got {kind!r}")


# -------------------------------------------------------------------------------------------- intersections
def _intersection(rng: np.random.Generator) -> Layout:
    sketch = Sketch("intersection")
    names = [0, 1, 2, 3] if rng.random() < 0.65 else [0, 1, 2]
    lane_m = rng.uniform(3.0, 3.5)
    main, side = int(rng.choice([1, 2, 2])), int(rng.choice([1, 1, 2]))
    arms = []
    for i in names:
        angle = i * np.pi / 2 + rng.uniform(-0.08, 0.08)
        wide = main if i % 2 == 0 else side
        arms.append(Arm(angle, straight(np.zeros(2), angle, REACH_M), wide, lane_m, bool(rng.random() < 0.6)))
    radius = max(a.half_m for a in arms) + rng.uniform(2.5, 4.0)
    green = int(rng.integers(2))
    for i, arm in enumerate(arms):
        sketch.road(arm.line, arm.half_m)
        _approach(sketch, arms, i, radius, i % 2 == green, rng)
        line_arm(sketch, arms, i, radius, rng)
    corner = arms[0].angle_rad + (arms[1].angle_rad - arms[0].angle_rad) / 2
    reach = max(arms[0].half_m, arms[1].half_m) + 1.0
    roadside = reach * np.sqrt(2) * np.array([np.cos(corner), np.sin(corner)])
    return sketch.finish(np.zeros(2), roadside, rng.uniform(0, 2 * np.pi))


def _approach(sketch: Sketch, arms: list[Arm], i: int, radius: float, green: bool, rng: np.random.Generator) -> None:
    """The lanes that reach the junction from arm i, through it and out again."""
    arm = arms[i]
    stop = REACH_M - radius - 1.5
    for k in range(arm.lanes):
        came = arm.inbound(k)
        came = came[: int(REACH_M - radius)]
        exits = []
        for j, out in enumerate(arms):
            turn = (out.angle_rad - arm.angle_rad) % (2 * np.pi)
            if j == i or (turn < 2.5 and k != arm.lanes - 1) or (turn > 3.8 and k != 0):
                continue  # right turns from the outer lane, left turns from the inner one
            left = out.outbound(min(k, out.lanes - 1) if 2.5 <= turn <= 3.8 else (out.lanes - 1 if turn < 2.5 else 0))
            left = left[int(radius) :]
            line = sample_line(np.concatenate([came[:-1, :2], bend(came[-1], left[0]), left[1:, :2]]))
            exits.append((sketch.lane(line), abs(turn - np.pi) < 0.7))
        if not exits:
            continue
        ahead = [lane for lane, is_straight in exits if is_straight] or [exits[0][0]]
        beyond = stop + 2 * radius + 4
        speed = (6.0, 13.0)
        if green:
            lane = ahead[int(rng.integers(len(ahead)))]
            sketch.demands.append(Demand(lane, "moving", 10, beyond + 70, (6, 24), speed))
        else:
            lane = exits[int(rng.integers(len(exits)))][0]
            sketch.demands.append(
                Demand(
                    lane,
                    "queued",
                    15,
                    stop - rng.uniform(0, 1.5),
                    (1.2, 3.2),
                    fill=0.96,
                    at_most=int(rng.integers(3, 10)),
                )
            )
            lane = ahead[0]
            sketch.demands.append(Demand(lane, "moving", beyond + 2, beyond + 70, (7, 26), speed))
        for lane, is_straight in exits:
            if not is_straight and rng.random() < (0.75 if green else 0.25):
                slow = (0.0, 0.3) if rng.random() < 0.3 else (3.0, 6.5)
                sketch.demands.append(
                    Demand(lane, "turning", stop + 4, beyond, (3, 9), slow, at_most=int(rng.integers(1, 3)))
                )


def line_arm(sketch: Sketch, arms: list[Arm], i: int, radius: float, rng: np.random.Generator) -> None:
    """Parked rows and building fronts on both sides of arm i."""
    arm = arms[i]
    for side in (1, -1):
        if arm.parking and rng.random() < 0.85:
            span = (radius + rng.uniform(3, 6), REACH_M - 10)
            parked_row(sketch, arm.line, side * (arm.drive_m + _BAY_M / 2 + 0.05), span, rng.uniform(0.6, 0.95), rng)
        pavement = rng.uniform(1.6, 3.5)
        start = _corner_start(arms, i, side, pavement)
        building_row(sketch, arm.line, side, arm.half_m + pavement, (start, REACH_M), rng, openness=0.2)
        furniture(sketch, arm.line, side, arm.half_m, (radius + 2, REACH_M - 10), rng)


def _corner_start(arms: list[Arm], i: int, side: int, pavement: float) -> float:
    """How far along arm i its fronts can begin on that side without standing in the neighbouring arm's street."""
    angles = [(side * (a.angle_rad - arms[i].angle_rad)) % (2 * np.pi) for a in arms]
    j = min((k for k in range(len(arms)) if k != i), key=lambda k: angles[k])
    angle = angles[j]
    if angle > 2.5:
        return 0.0  # nothing joins on this side
    clear = arms[j].half_m + pavement
    near, far = arms[i].half_m + pavement, arms[i].half_m + pavement + 14
    return max(float((clear + lateral * np.cos(angle)) / np.sin(angle)) for lateral in (near, far))


# ------------------------------------------------------------------------------------------- urban streets
def _urban(rng: np.random.Generator) -> Layout:
    sketch = Sketch("urban")
    lane_m = rng.uniform(2.9, 3.3)
    radius = rng.uniform(150, 900) * rng.choice([-1, 1])
    line = arc(2 * REACH_M, radius)
    middle = len(line) // 2
    half = lane_m + _BAY_M
    sketch.road(line, half)
    joins = _side_streets(sketch, line, half, rng)
    jam = rng.random() < 0.45
    for direction in (1, -1):
        course = offset(line, -lane_m / 2) if direction == 1 else reverse(offset(line, lane_m / 2))
        lane = sketch.lane(course)
        speed, gap = ((0.0, 4.0), (2.0, 6.0)) if jam else ((4.0, 10.0), (6.0, 20.0))
        sketch.demands.append(Demand(lane, "queued" if jam else "moving", 20, 2 * REACH_M - 20, gap, speed, fill=0.9))
    for side in (1, -1):
        cuts = sorted((s - w, s + w) for s, w, which in joins if which == side)
        edges = [12.0, *(x for cut in cuts for x in cut), 2 * REACH_M - 12]
        pavement = rng.uniform(1.8, 3.5)
        fill = rng.uniform(0.55, 0.95)
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            parked_row(sketch, line, side * (lane_m + _BAY_M / 2 + 0.05), (a + 4, b - 4), fill, rng)
            building_row(sketch, line, side, half + pavement, (a + 1, b), rng)
            furniture(sketch, line, side, half, (a + 2, b - 2), rng)
    roadside = offset(line, half + 0.8)[middle + int(rng.integers(-8, 9)), :2]
    return sketch.finish(line[middle, :2], roadside, rng.uniform(0, 2 * np.pi))


def _side_streets(
    sketch: Sketch, line: Float64, half: float, rng: np.random.Generator
) -> list[tuple[float, float, int]]:
    """Side streets that join the main one: (place along it, half the opening, side)."""
    joins: list[tuple[float, float, int]] = []
    middle = len(line) // 2
    for side in (1, -1):
        for at in (middle + rng.uniform(-38, -12), middle + rng.uniform(12, 38)):
            if rng.random() < 0.3:
                continue
            x, y, heading = line[int(at)]
            lane_m = rng.uniform(2.8, 3.1)
            arm = Arm(0.0, straight(np.array([x, y]), heading + side * np.pi / 2, 75), 1, lane_m, True)
            sketch.road(arm.line, arm.half_m)
            pavement = rng.uniform(1.5, 2.5)
            for s in (1, -1):
                lateral = s * (arm.drive_m + _BAY_M / 2 + 0.05)
                parked_row(sketch, arm.line, lateral, (half + 4, 73), rng.uniform(0.5, 0.95), rng)
                building_row(sketch, arm.line, s, arm.half_m + pavement, (half + 14, 75), rng)
                furniture(sketch, arm.line, s, arm.half_m, (half + 4, 75), rng)
            came, gone = sketch.lane(arm.inbound(0)), sketch.lane(arm.outbound(0))
            sketch.demands.append(
                Demand(came, "queued", 5, 75 - half - 2, (1.5, 4), fill=0.95, at_most=int(rng.integers(0, 5)))
            )
            sketch.demands.append(Demand(came, "moving", 5, 50, (8, 25), (3.0, 6.0), at_most=2))
            sketch.demands.append(Demand(gone, "moving", half + 3, 75, (8, 30), (3.0, 7.0), at_most=3))
            joins.append((float(at), arm.half_m + 1.0, side))
    return joins


# ----------------------------------------------------------------------------------------------- highways
def _highway(rng: np.random.Generator) -> Layout:
    sketch = Sketch("highway")
    lane_m, lanes = rng.uniform(3.4, 3.75), int(rng.integers(2, 5))
    line = arc(300.0, rng.uniform(700, 4000) * rng.choice([-1, 1]))
    middle = len(line) // 2
    median, shoulder = rng.uniform(1.2, 3.0), rng.uniform(1.0, 3.0)
    edge = median + lanes * lane_m + shoulder
    modes = [_highway_mode(rng) for _ in range(2)]
    for (speed, gap), direction in zip(modes, (1, -1), strict=True):
        way = line if direction == 1 else reverse(line)
        sketch.road(offset(line, -direction * (median + edge) / 2), (edge - median) / 2)
        for k in range(lanes):
            lane = sketch.lane(offset(way, -(median + (k + 0.5) * lane_m)))
            pace = float(rng.uniform(*speed)) * (1.1 - 0.12 * k)
            mix = "freight" if k >= min(lanes - 1, 2) else "fast"
            sketch.demands.append(Demand(lane, "moving", 25, 275, gap, (pace, pace), mix=mix))
    if rng.random() < 0.6:
        barrier(sketch, line, 0.0, 0.5, rng.uniform(0.8, 1.2), 0.4)
    else:
        for lateral in (-median / 2, median / 2):
            barrier(sketch, line, lateral, 0.12, 0.35, 0.6, bottom_m=0.4)
    for side in (1, -1):
        barrier(sketch, line, side * (edge + 0.4), 0.12, 0.35, 0.6, bottom_m=0.4)
        if rng.random() < 0.5:
            barrier(sketch, line, side * (edge + 2.0), 0.3, rng.uniform(2.5, 4.5), 0.35)
        furniture(sketch, line, side, edge + 2.5, (30.0, len(line) - 30.0), rng)
    roadside = offset(line, rng.choice([-1, 1]) * (edge + 0.9))[middle, :2]
    return sketch.finish(line[middle, :2], roadside, rng.uniform(0, 2 * np.pi))


def _highway_mode(rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, float]]:
    """Speed and gap ranges: free, dense or jammed."""
    u = rng.random()
    if u < 0.25:
        return (23.0, 32.0), (14.0, 40.0)
    if u < 0.6:
        return (10.0, 18.0), (6.0, 16.0)
    return (0.5, 4.0), (2.0, 6.0)
