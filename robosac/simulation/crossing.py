"""The crossing that SUMO's traffic drives over: who sets out, and what stands along its streets.

The streets and the signals are always the same. What differs from scene to scene is the traffic, the moment of the
signals' cycle, what stands beside the streets, and how the whole place is turned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from robosac.simulation import sumo
from robosac.simulation.geometry import corridor, offset, sample_line, straight
from robosac.simulation.layout import REACH_M, Layout, Sketch, touching
from robosac.simulation.network import CROSSING, Network, crossing
from robosac.simulation.places import Arm, line_arm
from robosac.simulation.tracks import Tracks
from robosac.simulation.traffic import MODELS, draw_bodies, draw_paint, draw_traffic, ever_at
from robosac.types import Array, Float64, Int64

ARMS: Final = ("east", "north", "west", "south")  # counter-clockwise, in steps of a quarter turn
_PER_HOUR: Final = {"east": 1000.0, "north": 350.0, "west": 1000.0, "south": 350.0}  # vehicles that come, on average
_LEVEL: Final = (0.7, 1.2)  # of all arms, and again of each
_TURNS: Final = {1: 0.13, 2: 0.75, 3: 0.12}  # right, ahead, left: quarter turns from where one comes
_WARM_UP_S: Final = 90.0  # at least: more than twice what the way through takes at the limit
_AHEAD_M: Final = 9.0  # who is longer does not turn
_OVERHEAD_M: Final = 3.0  # what begins higher may be above a vehicle
_NAMES: Final = tuple(MODELS)
_HEAVY: Final = ("truck", "lorry", "bus")


def draw_crossing(times_s: Array, places: np.random.Generator, driving: np.random.Generator) -> tuple[Layout, Tracks]:
    """The crossing and its traffic at `times_s` `(F,)`; `places` decides what stands still, `driving` who drives.

    Raises:
        InputError: the extra that SUMO is part of is missing.
    """
    turn = float(places.uniform(0, 2 * np.pi))
    layout = _layout(crossing(), turn, places)
    tracks = _drawn(times_s, driving).turned(turn)
    if layout.demands:
        tracks = tracks.and_standing(draw_traffic(layout, np.zeros(1), places))
    swept = ever_at(tracks, times_s)
    solids = {name: rows[~touching(rows, swept) | (rows[:, 6] > _OVERHEAD_M)] for name, rows in layout.solids.items()}
    return replace(layout, solids={name: rows for name, rows in solids.items() if len(rows)}), tracks


def draw_trips(until_s: float, rng: np.random.Generator) -> tuple[tuple[sumo.Trip, ...], Int64, Float64]:
    """Trips over the crossing, in order of departure, the indices `(V,)` of their models, and what paint they have."""
    level = rng.uniform(*_LEVEL)
    found: list[tuple[float, str]] = []
    for arm in ARMS:
        mean = 3600 / (_PER_HOUR[arm] * level * rng.uniform(*_LEVEL))
        departs = np.cumsum(rng.exponential(mean, int(2 * until_s / mean) + 20))
        found += [(float(t), arm) for t in np.round(departs, 1) if t < until_s]
    found.sort()
    model, size = draw_bodies(len(found), "city", rng)
    turns = rng.choice(list(_TURNS), size=len(found), p=list(_TURNS.values()))
    turns = np.where(size[:, 0] > _AHEAD_M, 2, turns)
    gaps = rng.uniform(1.2, 3.0, len(found))
    trips = tuple(
        sumo.Trip(
            depart,
            (f"{arm}_far", f"{arm}_in", f"{ARMS[(ARMS.index(arm) + int(k)) % 4]}_out"),
            length_m=round(float(body[0]), 3),
            width_m=round(float(body[1]), 3),
            height_m=round(float(body[2]), 3),
            min_gap_m=round(float(gap), 2),
            heavy=_NAMES[m] in _HEAVY,
        )
        for (depart, arm), k, body, gap, m in zip(found, turns, size, gaps, model, strict=True)
    )
    return trips, model, draw_paint(len(found), rng)


def _drawn(times_s: Array, rng: np.random.Generator) -> Tracks:
    """Who is on the road at `times_s`, as SUMO drives them; the network's own axes."""
    cycle = crossing().signals.cycle_s
    start = round(_WARM_UP_S + float(rng.uniform(0, cycle)), 1)
    steps = int(np.ceil(round(float(np.max(times_s)) / sumo.STEP_S, 6)))
    trips, model, paint = draw_trips(start + steps * sumo.STEP_S, rng)
    seed = int(rng.integers(2**31 - 1))
    drive = sumo.drive(CROSSING, trips, seed=seed, start_s=start, steps=steps)
    seen = list(drive.trips)
    return Tracks(
        tuple(_NAMES[int(m)] for m in model[seen]),
        ("moving",) * len(seen),
        np.array([[trips[i].length_m, trips[i].width_m, trips[i].height_m] for i in seen]).reshape(-1, 3),
        paint[seen],
        np.arange(steps + 1, dtype=np.float64) * sumo.STEP_S,
        drive.places,
        drive.speed_mps,
    )


def _layout(network: Network, turn_rad: float, rng: np.random.Generator) -> Layout:
    """Streets with parked cars, buildings and what stands on pavements, turned about the middle."""
    sketch = Sketch("intersection")
    for lane in network.lanes:
        line = sample_line(lane.line)
        sketch.roads.append(corridor(line, lane.width_m / 2))
        if not lane.within_junction:
            sketch.lane(line)
    arms = []
    for i, name in enumerate(ARMS):
        angle = i * np.pi / 2
        line = straight(np.zeros(2), angle, REACH_M)
        half = max(network.half_width_m(f"{name}_in"), network.half_width_m(f"{name}_out"))
        arms.append(Arm(angle, line, 1, half, bool(rng.random() < 0.6)))
    stops = [float(np.hypot(*network.edge(f"{name}_in")[0].line[-1])) for name in ARMS]
    for i, arm in enumerate(arms):
        sketch.road(arm.line, arm.half_m)
        line_arm(sketch, arms, i, max(stops), rng)
    i, side = int(rng.integers(4)), int(rng.choice([-1, 1]))
    mast = offset(arms[i].line, side * (arms[i].half_m + 1.0))[round(stops[i])]
    return sketch.finish(np.zeros(2), mast[:2], turn_rad)
