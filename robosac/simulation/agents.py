"""Who is connected: vehicles that share what they see, and the road-side unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robosac.boxes import pose_xyz_rpy
from robosac.simulation.config import SimConfig
from robosac.simulation.layout import Layout
from robosac.simulation.sensors import Sensor
from robosac.simulation.terrain import Terrain
from robosac.simulation.tracks import Vehicles
from robosac.simulation.traffic import CARS
from robosac.types import Array, Float64, Id

_RANGE_MARGIN_M = 1.0  # teammates are chosen this much inside the communication range


@dataclass(frozen=True, eq=False)
class Agent:
    """A connected sensor. `vehicle` is its carrier's index in the traffic, -1 for a road-side unit; `mount` `(4, 4)`
    is carrier_T_sensor, or world_T_sensor of a road-side unit. `sensor`: its own, else the config's.
    """

    id: Id
    kind: str
    vehicle: int
    mount: Float64
    sensor: Sensor | None = None


def choose_agents(
    layout: Layout, terrain: Terrain, traffic: Vehicles, times_s: Array, config: SimConfig, rng: np.random.Generator
) -> tuple[Agent, ...] | None:
    """The connected agents, the ego first, or None where no vehicle has enough teammates in range at all times.

    The ego is a car 8 to 34 m from where things happen, if one qualifies; teammates are drawn one by one, those
    that stand far from the ones already chosen more likely.
    """
    count = int(rng.choice(config.vehicle_counts))
    movable = np.array([m in CARS and r != "parked" for m, r in zip(traffic.model, traffic.role, strict=True)])
    able = np.flatnonzero(movable)
    if len(able) < count:
        return None
    places = traffic.poses(times_s)[:, able, :2]  # (F, C, 2)
    reach = config.comm_range_m - min(_RANGE_MARGIN_M, config.comm_range_m / 2)
    apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)  # (F, C, C)
    linked = (apart < reach).all(axis=0)
    fit = linked.sum(axis=1) >= count
    if config.roadside:
        fit &= (np.linalg.norm(places - layout.roadside_xy, axis=-1) < reach).all(axis=0)
    if not fit.any():
        return None
    off = np.linalg.norm(places.mean(axis=0) - layout.focus_xy, axis=-1)
    preferred = fit & (off > 8) & (off < 34)
    ego = int(rng.choice(np.flatnonzero(preferred if preferred.any() else fit & (off <= off[fit].min() + 20))))
    chosen = [ego]
    while len(chosen) < count:
        nearest = apart.mean(axis=0)[chosen].min(axis=0)
        weight = np.where(linked[ego], np.minimum(nearest, 25.0) ** 2, 0.0)
        weight[chosen] = 0.0
        chosen.append(int(rng.choice(len(able), p=weight / weight.sum())))
    agents = [_car(i, int(able[c]), traffic, config, rng) for i, c in enumerate(chosen)]
    if config.roadside:
        roll, pitch = _tilt(rng, config)
        x, y = layout.roadside_xy
        z = float(terrain.height(layout.roadside_xy[None])[0]) + config.roadside_height_m
        mount = pose_xyz_rpy(x, y, z, roll, pitch, rng.uniform(-np.pi, np.pi))
        agents.append(Agent("rsu-1", "roadside", -1, mount))
    return tuple(agents)


def _car(i: int, vehicle: int, traffic: Vehicles, config: SimConfig, rng: np.random.Generator) -> Agent:
    length, _, height = traffic.size[vehicle]
    z = max(rng.uniform(1.85, 2.1), height + 0.2)
    roll, pitch = _tilt(rng, config)
    return Agent(f"car-{i + 1}", "vehicle", vehicle, pose_xyz_rpy(-0.1 * length, 0.0, z, roll, pitch, 0.0))


def _tilt(rng: np.random.Generator, config: SimConfig) -> tuple[float, float]:
    roll, pitch = np.radians(np.clip(rng.normal(0, 0.4, 2), -1, 1) * config.sensor_tilt_deg)
    return float(roll), float(pitch)
