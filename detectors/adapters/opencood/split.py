"""A user's own collated batch, cut into its agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from robosac.detectors.adapters.opencood.batch import Cells, Geometry, Raster, Voxels, unplaced
from robosac.types import Array, Float32, InputError


@dataclass(frozen=True, eq=False)
class Split:
    """A user's collated batch of one frame, agent by agent, the ego first."""

    cells: tuple[Cells, ...]
    geometry: Geometry


def split(batch: Mapping[str, Any], kind: Literal["pillars", "voxels", "bev"]) -> Split:
    """Cut a collated batch (`batch["ego"]` is the model's input, batch size 1) into its agents.

    Raises:
        InputError: if it is no such batch or holds several frames.
    """
    ego = batch.get("ego") if isinstance(batch, Mapping) else None
    if not isinstance(ego, Mapping) or "processed_lidar" not in ego or "record_len" not in ego:
        keys = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise InputError(
            "expected a batch of an intermediate fusion dataset, collated for testing: a mapping with "
            f"batch['ego']['processed_lidar'] and ['record_len'], got {keys}"
        )
    lengths = [int(n) for n in ego["record_len"]]
    if len(lengths) != 1:
        raise InputError(f"expected a batch of one frame, got {len(lengths)}; use batch_size=1, as for inference")
    count = lengths[0]
    arrays = {name: np.asarray(t.detach().cpu()) for name, t in ego["processed_lidar"].items() if torch.is_tensor(t)}
    cells = _split_rasters(arrays, count) if kind == "bev" else _split_voxels(arrays, count)
    plain = unplaced(count)
    geometry = Geometry(
        _rows(ego, "pairwise_t_matrix", plain.pairwise, np.float64)[:, :count],
        _rows(ego, "prior_encoding", plain.prior, np.float32),
        _rows(ego, "spatial_correction_matrix", plain.correction, np.float64),
    )
    return Split(cells, geometry)


def _rows(ego: Mapping[str, Any], name: str, default: Array, dtype: type) -> Array:
    """The first rows of a per-agent array of the batch, as many as `default` has; `default` where it is absent."""
    if name not in ego:
        return default.astype(dtype)
    array: Array = np.asarray(ego[name].detach().cpu(), dtype)[0][: len(default)]
    if len(array) != len(default):
        raise InputError(f"expected {name} to have a row for each of {len(default)} agents, got {len(array)}")
    return array


def _split_voxels(arrays: Mapping[str, Array], count: int) -> tuple[Cells, ...]:
    wanted = {"voxel_features", "voxel_coords", "voxel_num_points"}
    if not wanted <= set(arrays):
        raise InputError(f"expected processed_lidar to hold {sorted(wanted)}, got {sorted(arrays)}")
    owner = arrays["voxel_coords"][:, 0]
    if len(owner) and owner.max() >= count:
        raise InputError(f"expected voxels of {count} agents (record_len), got some of agent {owner.max()}")
    return tuple(
        Voxels(
            np.ascontiguousarray(arrays["voxel_features"][owner == i], np.float32),
            np.ascontiguousarray(arrays["voxel_coords"][owner == i][:, 1:], np.int32),
            np.ascontiguousarray(arrays["voxel_num_points"][owner == i], np.int32),
        )
        for i in range(count)
    )


def _split_rasters(arrays: Mapping[str, Array], count: int) -> tuple[Cells, ...]:
    images = arrays.get("bev_input")
    if images is None or len(images) != count:
        raise InputError(
            f"expected processed_lidar['bev_input'] with {count} rows (record_len), "
            f"got {'none' if images is None else len(images)}"
        )
    return tuple(Raster(np.asarray(image, np.float32)) for image in images)  # its layout in memory is kept


def raster_points(image: Float32, geometry: Mapping[str, Any]) -> Float32:
    """Points `(N, 4)` at the centres of the occupied cells of a raster `(C, X, Y)`, with the cell's mean intensity."""
    z, x, y = np.nonzero(image[:-1])
    centres = (np.stack([x, y, z], axis=1) + 0.5) * geometry["res"]
    centres += np.array([geometry["L1"], geometry["W1"], geometry["H1"]])
    return np.concatenate([centres, image[-1, x, y][:, None]], axis=1).astype(np.float32)
