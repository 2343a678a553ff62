"""Vehicles of other shapes and sensors of other makes, where a `Variety` asks for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from robosac.boxes import pose_xyz_rpy
from robosac.simulation.agents import Agent
from robosac.simulation.sensors import draw_sensor
from robosac.simulation.tracks import Vehicles
from robosac.simulation.traffic import Traffic
from robosac.simulation.variety import Variety, Weather
from robosac.types import Float64

_STYLES: Final = {"suv": ("pickup", 0.2), "sedan": ("hatchback", 0.1)}  # other shapes of the same size
_LOWER_M: Final = 1.3  # than the place it was given, at most, a road-side unit's sensor is
_HIGHER_M: Final = 2.5


def restyled(traffic: Traffic, variety: Variety, rng: np.random.Generator) -> Traffic:
    """The same traffic with vehicles of other shapes, none larger than it was."""
    luck = rng.random(len(traffic))
    model = tuple(
        _STYLES[m][0] if m in _STYLES and u < _STYLES[m][1] else m for m, u in zip(traffic.model, luck, strict=True)
    )
    scale = 1 - variety.smaller * rng.random() * rng.random((len(traffic), 3))
    return replace(traffic, model=model, size=traffic.size * scale)


def outfitted(
    agents: tuple[Agent, ...],
    traffic: Vehicles,
    focus_xy: Float64,
    variety: Variety,
    weather: Weather,
    rng: np.random.Generator,
) -> tuple[Agent, ...]:
    """The agents with sensors of their own: models, places on the roof or the pole, tilt and direction. A road-side
    unit that does not see all around looks at `focus_xy (2,)`, a vehicle ahead.
    """
    made = []
    for agent in agents:
        sensor = draw_sensor(rng, roadside=agent.vehicle < 0, rain=weather.drops)
        around = sensor.view_deg >= 360
        if agent.vehicle < 0:
            mount = _on_a_pole(agent, focus_xy, around, rng)
        else:
            mount = _on_a_roof(traffic.size[agent.vehicle], variety.turned if around else 0.0, rng)
        made.append(replace(agent, mount=mount, sensor=sensor))
    return tuple(made)


def _on_a_pole(agent: Agent, focus_xy: Float64, around: bool, rng: np.random.Generator) -> Float64:
    lift, off = rng.uniform(-_LOWER_M, _HIGHER_M), rng.normal(0, 0.3)
    if around:
        mount: Float64 = agent.mount.copy()
    else:
        dx, dy = focus_xy - agent.mount[:2, 3]
        x, y, z = (float(v) for v in agent.mount[:3, 3])
        mount = pose_xyz_rpy(x, y, z, yaw_rad=float(np.arctan2(dy, dx) + off))
    mount[2, 3] += lift
    return mount


def _on_a_roof(size: Float64, turned: float, rng: np.random.Generator) -> Float64:
    roll, pitch = np.radians(np.clip(rng.normal(0, 0.7, 2), -2.5, 2.5))
    x, y, z = rng.uniform(-0.2, 0.1) * size[0], rng.normal(0, 0.05), size[2] + rng.uniform(0.1, 0.6)
    yaw = rng.uniform(-np.pi, np.pi) if rng.random() < turned else rng.normal(0, 0.01)
    return pose_xyz_rpy(float(x), float(y), float(z), float(roll), float(pitch), float(yaw))
