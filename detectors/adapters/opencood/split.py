"""A user's own collated batch, cut into its agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def split(batch: Mapping[str, Any], kind: Literal["pillars", "voxels", "bev"], modalities: Sequence[str] = ()) -> Split:
    """Cut a collated batch (`batch["ego"]` is the model's input, batch size 1) into its agents.

    `modalities` are the kinds of agents that the model tells apart, empty where there is one.

    Raises:
        InputError: if it is no such batch, holds several frames, or an agent of another kind.
    """
    ego = batch.get("ego") if isinstance(batch, Mapping) else None
    wanted = "agent_modality_list" if modalities else "processed_lidar"
    if not isinstance(ego, Mapping) or wanted not in ego or "record_len" not in ego:
        keys = sorted(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise InputError(
            "expected a batch of an intermediate fusion dataset, collated for testing: a mapping with "
            f"batch['ego'][{wanted!r}] and ['record_len'], got {keys}"
        )
    lengths = [int(n) for n in ego["record_len"]]
    if len(lengths) != 1:
        raise InputError(f"expected a batch of one frame, got {len(lengths)}; use batch_size=1, as for inference")
    count = lengths[0]
    if modalities:
        cells = _by_modality(ego, modalities)
    else:
        arrays = _arrays(ego["processed_lidar"])
        cells = _split_rasters(arrays, count) if kind == "bev" else _split_voxels(arrays, count)
    plain = unplaced(count)
    geometry = Geometry(
        _rows(ego, "pairwise_t_matrix", plain.pairwise, np.float64)[:, :count],
        _rows(ego, "prior_encoding", plain.prior, np.float32),
        _rows(ego, "spatial_correction_matrix", plain.correction, np.float64),
    )
    return Split(cells, geometry)


def _arrays(lidar: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(t.detach().cpu()) for name, t in lidar.items() if torch.is_tensor(t)}


def _by_modality(ego: Mapping[str, Any], modalities: Sequence[str]) -> tuple[Cells, ...]:
    """HEAL's batch: `inputs_m1`, `inputs_m2`, ..., each with the agents of that kind, in the order of all."""
    kinds = [str(kind) for kind in ego["agent_modality_list"]]
    others = sorted(set(kinds) - set(modalities))
    if others:
        raise InputError(
            f"expected agents of {', '.join(modalities)}, the kinds with a LiDAR, got {', '.join(others)}; cameras are "
            "not read here: leave these agents out (heter.mapping_dict)"
        )
    own = {kind: iter(_split_voxels(_arrays(ego[f"inputs_{kind}"]), kinds.count(kind), kind)) for kind in set(kinds)}
    return tuple(next(own[kind]) for kind in kinds)


def _rows(ego: Mapping[str, Any], name: str, default: Array, dtype: type) -> Array:
    """The first rows of a per-agent array of the batch, as many as `default` has; `default` where it is absent."""
    if name not in ego:
        return default.astype(dtype)
    array: Array = np.asarray(ego[name].detach().cpu(), dtype)[0][: len(default)]
    if len(array) != len(default):
        raise InputError(f"expected {name} to have a row for each of {len(default)} agents, got {len(array)}")
    return array


def _split_voxels(arrays: Mapping[str, Array], count: int, modality: str = "") -> tuple[Cells, ...]:
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
            modality,
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
