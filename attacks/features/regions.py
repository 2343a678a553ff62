"""Where the ego can see for itself and where it is blind, on the map of one attacker: budgets by region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robosac.air import Air
from robosac.attacks.features.projection import Reach
from robosac.attacks.measures import floats
from robosac.boxes import invert_pose, transform_points
from robosac.types import Array, BevGrid, Bool, Float64, InputError, Message
from robosac.visibility import seen_cells


def regional_reach(air: Air, message: Message, *, blind: float, seen: float) -> Mapping[str, Reach]:
    """How far each feature may move: `blind` where the ego sees nothing, `seen` where it does. By name of the array.

    Reads the detector's grid and the ego's view.

    Raises:
        InputError: the detector has no grid, or an array is no map of the sender's surroundings.
    """
    grid = air.detector.grid
    if grid is None:
        raise InputError(
            f"expected a detector with a BEV grid, to tell where the ego is blind, got {air.detector.name!r} without "
            "one; use an attack with one budget for the whole message"
        )
    visible = on_sender_maps(seen_cells(air.ego.points, grid) > 0, grid, air, message)
    return {name: np.where(where, seen, blind) for name, where in visible.items()}


def on_sender_maps(cells: Bool, grid: BevGrid, air: Air, message: Message) -> Mapping[str, Bool]:
    """A mask `(H, W)` on the ego's grid, read on each float array of a message, by its claimed pose: `(1, H', W')`.

    A payload is taken for maps `(C, H', W')` that cover the extents of the detector's grid in the sender's own frame,
    whatever their resolution: what nearly every detector in bird's-eye view sends.

    Raises:
        InputError: an array is no such map.
    """
    read: dict[str, Bool] = {}
    for name in floats(message):
        shape = np.asarray(message.payload[name]).shape
        if len(shape) != 3:
            raise InputError(
                f"expected {name!r} from {message.sender!r} to be a map (C, H, W) of the sender's surroundings, got "
                f"shape {shape}; use an attack with one budget for the whole message"
            )
        read[name] = on_sender_map(cells, grid, air.to.world_T_ego, message.world_T_payload, shape[1:])[None]
    return read


def on_sender_map(
    cells: Bool, grid: BevGrid, world_T_ego: Float64, world_T_sender: Float64, shape: tuple[int, ...]
) -> Bool:
    """A mask `(H, W)` on the ego's grid, read at the centres of the cells `(H', W')` of a sender's map of that extent.

    Level rasters seen from above: only x, y and yaw of the claimed pose count. False for a cell off the ego's grid.
    """
    rows, cols = shape
    x = grid.x_min_m + (np.arange(cols) + 0.5) * (grid.cols * grid.cell_m / cols)
    y = grid.y_min_m + (np.arange(rows) + 0.5) * (grid.rows * grid.cell_m / rows)
    ego_T_sender = invert_pose(world_T_ego) @ world_T_sender
    yaw = np.arctan2(ego_T_sender[1, 0], ego_T_sender[0, 0])
    sender: Array = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    ego = sender @ turn.T + ego_T_sender[:2, 3]
    inside = grid.contains(ego)
    row, col = grid.cells(ego[inside])
    read = np.zeros(len(ego), dtype=np.bool_)
    read[inside] = cells[row, col]
    return read.reshape(rows, cols)


def on_map(xy: Array, grid: BevGrid, world_T_ego: Float64, world_T_sender: Float64) -> Bool:
    """Which points `(N, 2)` in the ego frame are on a sender's map, by its claimed pose. Returns `(N,)`."""
    sender_T_ego = invert_pose(world_T_sender) @ world_T_ego
    return grid.contains(transform_points(sender_T_ego, np.concatenate([xy, np.zeros((len(xy), 2))], axis=1)))
