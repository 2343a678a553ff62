"""Procedural traffic seen by ray-cast LiDAR: `scenario(split, index).snapshot(k).frame()` -> `Frame`, `Truth`."""

from robosac.simulation.config import KINDS, SPLITS, SimConfig
from robosac.simulation.scenario import Scenario, Snapshot, scenario

__all__ = ["KINDS", "SPLITS", "Scenario", "SimConfig", "Snapshot", "scenario"]
