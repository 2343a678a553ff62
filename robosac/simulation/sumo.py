"""Traffic by SUMO: vehicles that follow one another, queue, give way and obey signals. An extra: libsumo.

libsumo holds one simulation a process. So each drive starts one, takes what it needs and closes it; what came out is
kept, so that scenes asked for again cost nothing. The same trips and seed give the same numbers in any process.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from robosac.types import Array, Float64, InputError

STEP_S: Final = 0.1
_OPTIONS: Final = {
    "step-length": STEP_S,
    "time-to-teleport": -1,  # who waits for long goes on waiting
    "collision.action": "none",
    "xml-validation": "never",
    "xml-validation.net": "never",
    "no-step-log": "true",
    "no-warnings": "true",
    "duration-log.disable": "true",
}
_KEEPS_ITS_LANE: Final = 0  # SUMO changes lanes in one step, or stops between two and then touches those beside it
_OUTSIDE_MPS: Final = 25.0  # faster than all: nobody catches up with who is not on the network
_HEAVY_ACCEL: Final = 1.3  # of trucks and buses, m/s^2; SUMO's cars have 2.6
_LOCK: Final = Lock()


@dataclass(frozen=True)
class Trip:
    """A vehicle, and the edges it drives along: from `depart_s` on, or from when there is room for it. It keeps to the
    lane that it begins in, which must lead the whole way.
    """

    depart_s: float
    edges: tuple[str, ...]
    length_m: float
    width_m: float
    height_m: float
    min_gap_m: float
    heavy: bool = False


@dataclass(frozen=True, eq=False)
class Drive:
    """The trips `(V,)` that were on the road between two times, as positions in the list of trips, and at K times,
    `STEP_S` apart, [x y yaw] `(K, V, 3)` of their centres and their speeds `(K, V)`. Nothing here can be written to.

    Who enters later or leaves earlier is outside of the network before and after, straight on, at a speed of its own.
    """

    trips: tuple[int, ...]
    places: Float64
    speed_mps: Float64


def libsumo() -> Any:
    """The extra, imported when it is needed.

    Raises:
        InputError: it is not installed or does not load; says what to do.
    """
    try:
        return importlib.import_module("libsumo")
    except (ImportError, OSError) as error:
        raise InputError(
            f"expected SUMO for the traffic of sim:sumo, got {error}; pip install 'robosac[sumo]' (100 MB)"
        ) from None


def centres(front_xy: Array, angle_deg: Array, length_m: Array) -> Float64:
    """[x y yaw] `(..., 3)` of centres, yaw in [-pi, pi), from how SUMO says where vehicles are: the middle of the front
    bumper `(..., 2)`, and an angle clockwise from north (+y) `(...)`.
    """
    yaw = np.radians(90.0 - np.asarray(angle_deg, np.float64))
    yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
    half = np.asarray(length_m) / 2
    x = np.asarray(front_xy)[..., 0] - half * np.cos(yaw)
    y = np.asarray(front_xy)[..., 1] - half * np.sin(yaw)
    return np.stack([x, y, yaw], axis=-1)


@lru_cache(maxsize=16)
def drive(network: Path, trips: tuple[Trip, ...], *, seed: int, start_s: float, steps: int) -> Drive:
    """Simulate trips from time 0, and return what is on the road in `steps` steps from `start_s` on.

    Raises:
        InputError: the extra is missing, or libsumo runs another simulation in this process.
    """
    sumo = libsumo()
    words = [word for name, value in _OPTIONS.items() for word in (f"--{name}", str(value))]
    with _LOCK:
        if sumo.isLoaded():
            raise InputError(
                "expected no SUMO simulation in this process, since libsumo holds one, got one that runs; "
                "end it by libsumo.close()"
            )
        sumo.start(["sumo", "--net-file", str(network), "--seed", str(seed), *words])
        try:
            _enter(sumo, trips)
            if start_s > 0:  # 0 would be one step
                sumo.simulationStep(start_s)
            rows = []
            for k in range(steps + 1):
                if k:
                    sumo.simulationStep()
                rows.append(_now(sumo))
        finally:
            sumo.close()
    return _collected(rows, np.array([trip.length_m for trip in trips]))


def _enter(sumo: Any, trips: Sequence[Trip]) -> None:
    for name, edges in {"-".join(trip.edges): trip.edges for trip in trips}.items():
        sumo.route.add(name, edges)
    for i, trip in enumerate(trips):
        kind = f"kind-{i}"
        sumo.vehicletype.copy("DEFAULT_VEHTYPE", kind)
        sumo.vehicletype.setLength(kind, trip.length_m)
        sumo.vehicletype.setWidth(kind, trip.width_m)
        sumo.vehicletype.setHeight(kind, trip.height_m)
        sumo.vehicletype.setMinGap(kind, trip.min_gap_m)
        if trip.heavy:
            sumo.vehicletype.setAccel(kind, _HEAVY_ACCEL)
        where = {"depart": str(trip.depart_s), "departLane": "best", "departSpeed": "max"}
        sumo.vehicle.add(str(i), "-".join(trip.edges), kind, **where)
        sumo.vehicle.setLaneChangeMode(str(i), _KEEPS_ITS_LANE)


def _now(sumo: Any) -> dict[int, tuple[float, float, float, float]]:
    """Front x, front y, SUMO's angle and speed of who is on the road, by trip."""
    return {
        int(name): (
            *sumo.vehicle.getPosition(name)[:2],
            sumo.vehicle.getAngle(name),
            sumo.vehicle.getSpeed(name),
        )
        for name in sumo.vehicle.getIDList()
    }


def _collected(rows: Sequence[dict[int, tuple[float, float, float, float]]], length_m: Float64) -> Drive:
    trips = sorted({trip for row in rows for trip in row})
    read = np.full((len(rows), len(trips), 4), np.nan)
    for k, row in enumerate(rows):
        for v, trip in enumerate(trips):
            read[k, v] = row.get(trip, np.nan)
    places = centres(read[..., :2], read[..., 2], length_m[trips])
    speed = read[..., 3].copy()
    for v in range(len(trips)):
        there = np.flatnonzero(~np.isnan(speed[:, v]))
        first, last = there[0], there[-1]
        places[first : last + 1, v, 2] = np.unwrap(places[first : last + 1, v, 2])
        for known, others in ((first, np.arange(first)), (last, np.arange(last + 1, len(rows)))):
            places[others, v] = places[known, v]
            speed[others, v] = _OUTSIDE_MPS
            ahead = (others - known) * STEP_S * _OUTSIDE_MPS
            places[others, v, 0] += ahead * np.cos(places[known, v, 2])
            places[others, v, 1] += ahead * np.sin(places[known, v, 2])
    for array in (places, speed):
        array.flags.writeable = False
    return Drive(tuple(trips), places, speed)
