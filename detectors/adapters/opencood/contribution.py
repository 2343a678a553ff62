"""What one agent's maps show in the ego's frame, before a model of OpenCOOD fuses them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from robosac.capabilities import Contribution
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.bev.warp import planar, planar_batch, warp
from robosac.types import BevGrid, Float64, InputError


def in_ego_frame(maps: Mapping[str, Tensor], ego_T_agent: Float64, spec: Spec, grid: BevGrid) -> Contribution:
    """The contribution of one agent.

    Where points are projected to the ego before they are encoded, the maps are in its frame already. Where they are not
    and the model warps inside of its fusion, they are warped here by the same pose, bilinearly. (V2VNet's own warp
    stretches its map by half a cell towards the edges; features differ there a little.)

    Args:
        maps: name -> one agent's `(C, H, W)`, over the area of `grid`; what is no map is left out.
        ego_T_agent: `(4, 4)` from the frame of the maps to the ego's.

    Raises:
        InputError: the model fuses maps of other frames as they are.
    """
    flat = {name: m.detach().float() for name, m in maps.items() if m.ndim == 3}
    if spec.cells == "bev":  # these run along x first
        flat = {name: m.transpose(1, 2) for name, m in flat.items()}
    if np.array_equal(ego_T_agent, np.eye(4)):
        return Contribution(features={name: m.cpu().numpy().copy() for name, m in flat.items()})
    if not spec.warps:
        raise InputError(
            "expected a configuration that projects points to the ego first (fusion.args.proj_first): without it this "
            "model fuses maps as they are, each in its sender's frame, and none shows anything in the ego's"
        )
    pose = planar_batch([planar(ego_T_agent)])
    warped = {name: warp(m[None], pose, _over(grid, m)) for name, m in flat.items()}
    finest = max(warped.values(), key=lambda pair: pair[1].numel())[1]
    return Contribution(
        features={name: moved[0].cpu().numpy() for name, (moved, _) in warped.items()},
        valid=finest[0, 0].cpu().numpy() > 0,
    )


def _over(grid: BevGrid, m: torch.Tensor) -> BevGrid:
    """The grid of a map `(C, H, W)` that covers the area of `grid`."""
    rows, cols = m.shape[1:]
    return BevGrid(grid.x_min_m, grid.y_min_m, grid.cell_m * grid.cols / cols, rows, cols)
