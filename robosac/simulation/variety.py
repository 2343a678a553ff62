"""How far simulated roads and sensors differ from one another: what is drawn anew for every scenario.

A `SimConfig` without a variety is one world, seen by one sensor. With one, who is connected, the ground, what stands
along the road, the vehicles' shapes and every sensor are drawn, so that a detector cannot learn one sensor by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robosac.types import InputError


@dataclass(frozen=True, kw_only=True)
class Variety:
    """What a scenario may differ in; 0 leaves a thing as it is.

    Attributes:
        roadside: probability that a road-side unit takes part.
        clutter: largest number of things along 10 m of a road's side, see `robosac.simulation.roadside`.
        yards: mean number of yards of parked vehicles.
        people: mean number of groups of people, and of cyclists, on the road.
        rain: probability of rain, in which up to 2 % of all rays end in a drop.
        max_grade: of the ground, at most.
        turned: probability that a vehicle's sensor does not look ahead but anywhere.
        smaller: largest share by which vehicles are smaller than the models of `robosac.simulation.traffic`.
    """

    roadside: float = 0.35
    clutter: float = 1.2
    yards: float = 1.5
    people: float = 6.0
    rain: float = 0.15
    max_grade: float = 0.06
    turned: float = 0.3
    smaller: float = 0.15

    def __post_init__(self) -> None:
        for name in ("roadside", "rain", "turned"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} to be a probability, got {getattr(self, name)}")
        for name in ("clutter", "yards", "people"):
            if not 0 <= getattr(self, name) <= 100:
                raise InputError(f"expected {name} in [0, 100], got {getattr(self, name)}")
        if not 0 <= self.max_grade <= 0.1 or not 0 <= self.smaller < 0.5:
            got = (self.max_grade, self.smaller)
            raise InputError(f"expected max_grade in [0, 0.1] and smaller in [0, 0.5), got {got}")


@dataclass(frozen=True)
class Weather:
    """What holds for one scenario: the share of rays that meet a drop, what windows reflect, how deep leaves are."""

    drops: float = 0.0
    glass: float = 1.0
    leaves_m: float = 0.0


def draw_weather(variety: Variety, rng: np.random.Generator) -> Weather:
    """The weather of one scenario."""
    drops = float(rng.uniform(0.001, 0.02)) if rng.random() < variety.rain else 0.0
    return Weather(drops, float(rng.choice([1.0, 0.3, 0.05])), float(rng.choice([0.0, 0.15, 0.4])))
