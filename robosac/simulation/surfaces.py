"""Everything of a scenario that rays can hit: solids, ground and vehicles as triangles."""

from __future__ import annotations

from typing import Final

import numpy as np

from robosac.simulation.layout import Layout
from robosac.simulation.lidar import Surfaces, build_surfaces
from robosac.simulation.meshes import TEMPLATES, colours, place, resting_poses
from robosac.simulation.terrain import Terrain
from robosac.simulation.traffic import MODELS, Traffic
from robosac.types import Float32, Float64

_ASPHALT: Final = 0.18


def solids_of(layout: Layout, terrain: Terrain) -> tuple[Float32, Float32]:
    """Triangles `(T, 3, 3)` of what stands still, world frame, and how each reflects `(T,)`."""
    triangles, shades = [np.zeros((0, 3, 3), np.float32)], [np.zeros(0, np.float32)]
    for name, rows in layout.solids.items():
        z = terrain.height(rows[:, :2]) + rows[:, 6]
        # walls reach below the ground, which may fall away under their far ends
        sink = np.where(rows[:, 6] == 0, 0.6, 0.0)
        poses = resting_poses(rows[:, :2], rows[:, 2], z - sink, np.zeros((len(rows), 2)))
        sizes = rows[:, 3:6] + sink[:, None] * [0, 0, 1]
        triangles.append(place(TEMPLATES[name], sizes, poses))
        shades.append(colours(TEMPLATES[name], rows[:, 7]))
    return np.concatenate(triangles), np.concatenate(shades)


def surfaces_of(
    solids: tuple[Float32, Float32], ground: Float32, traffic: Traffic, world_T_object: Float64
) -> Surfaces:
    """Surfaces of the solids (see `solids_of`), of ground triangles `(T, 3, 3)` and of the vehicles at their poses
    `(V, 4, 4)`; `owner` is the vehicle's index, -1 for what stands still.
    """
    model = np.array(traffic.model)
    triangles, shades = [solids[0], ground], [solids[1], np.full(len(ground), _ASPHALT, np.float32)]
    owner = [np.full(len(solids[0]) + len(ground), -1, np.int64)]
    for name in MODELS:
        at = np.flatnonzero(model == name)
        if len(at):
            triangles.append(place(TEMPLATES[name], traffic.size[at], world_T_object[at]))
            shades.append(colours(TEMPLATES[name], traffic.paint[at]))
            owner.append(np.repeat(at, len(TEMPLATES[name].triangles)))
    return build_surfaces(np.concatenate(triangles), np.concatenate(owner), np.concatenate(shades))
