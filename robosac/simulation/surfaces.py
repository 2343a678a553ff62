"""Everything of a scenario that rays can hit: solids, ground and vehicles as triangles."""

from __future__ import annotations

from typing import Final

import numpy as np

from robosac.simulation.layout import Layout
from robosac.simulation.lidar import Surfaces, build_surfaces
from robosac.simulation.meshes import TEMPLATES, colours, place, resting_poses
from robosac.simulation.terrain import Terrain
from robosac.simulation.tracks import Vehicles
from robosac.simulation.traffic import MODELS
from robosac.types import Float32, Float64

_ASPHALT: Final = 0.18


Solids = tuple[Float32, Float32, Float32]
"""Triangles `(T, 3, 3)` of what stands still, world frame, how each reflects and how deep it is `(T,)`, metres."""


def solids_of(layout: Layout, terrain: Terrain, leaves_m: float = 0.0) -> Solids:
    """What stands still; `leaves_m` is how deep rays go into the crowns of trees and bushes on average."""
    triangles, shades = [np.zeros((0, 3, 3), np.float32)], [np.zeros(0, np.float32)]
    depth = [np.zeros(0, np.float32)]
    for name, rows in layout.solids.items():
        z = terrain.height(rows[:, :2]) + rows[:, 6]
        # walls reach below the ground, which may fall away under their far ends
        sink = np.where(rows[:, 6] == 0, 0.6, 0.0)
        poses = resting_poses(rows[:, :2], rows[:, 2], z - sink, np.zeros((len(rows), 2)))
        sizes = rows[:, 3:6] + sink[:, None] * [0, 0, 1]
        triangles.append(place(TEMPLATES[name], sizes, poses))
        shades.append(colours(TEMPLATES[name], rows[:, 7]))
        depth.append(np.full(len(shades[-1]), leaves_m if name == "crown" else 0.0, np.float32))
    return np.concatenate(triangles), np.concatenate(shades), np.concatenate(depth)


def surfaces_of(
    solids: Solids, ground: Float32, traffic: Vehicles, world_T_object: Float64, glass: float = 1.0
) -> Surfaces:
    """Surfaces of the solids, of ground triangles `(T, 3, 3)` and of the vehicles at their poses `(V, 4, 4)`; `owner`
    is the vehicle's index, -1 for what stands still. Windows reflect `glass` times what they reflect by day.
    """
    model = np.array(traffic.model)
    triangles, shades = [solids[0], ground], [solids[1], np.full(len(ground), _ASPHALT, np.float32)]
    owner = [np.full(len(solids[0]) + len(ground), -1, np.int64)]
    for name in dict.fromkeys([*MODELS, *traffic.model]):
        at = np.flatnonzero(model == name)
        if len(at):
            template = TEMPLATES[name]
            triangles.append(place(template, traffic.size[at], world_T_object[at]))
            shade = colours(template, traffic.paint[at])
            shades.append(shade * np.where(np.tile(template.glass, len(at)), np.float32(glass), np.float32(1)))
            owner.append(np.repeat(at, len(template.triangles)))
    every = np.concatenate(triangles)
    depth = None
    if solids[2].any():
        depth = np.concatenate([solids[2], np.zeros(len(every) - len(solids[2]), np.float32)])
    return build_surfaces(every, np.concatenate(owner), np.concatenate(shades), depth)
