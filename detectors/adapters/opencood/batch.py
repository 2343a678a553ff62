"""The input of an OpenCOOD model for any choice of agents, built from points.

An agent's `Cells` are what the model reads of its point cloud. `assemble` puts several together the way the project's
collate does: the agent's index in the first column of the voxel coordinates, the ego first, matrices of all agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.adapters.opencood.voxels import voxelise
from robosac.types import Array, Float32, Float64, keyed_rng

Hypes: TypeAlias = Mapping[str, Any]
Data: TypeAlias = dict[str, Any]

_BODY_M: Final = (-1.95, 2.95, -1.1, 1.1)  # x, x, y, y: where a scan hits the vehicle that carries the sensor


@dataclass(frozen=True, eq=False)
class Voxels:
    """A sparse input: `features (V, P, 4)` float32, `coords (V, 3)` int32 [z y x], `counts (V,)` int32.

    `modality` is the kind of its agent's encoder, empty where all share one.
    """

    features: Float32
    coords: Array
    counts: Array
    modality: str = ""

    @property
    def empty(self) -> bool:
        return len(self.counts) == 0

    def points(self) -> Float32:
        """The points `(N, 4)` that the voxels hold, voxel by voxel."""
        slots = np.arange(self.features.shape[1])
        return np.ascontiguousarray(self.features[slots < self.counts[:, None]])


@dataclass(frozen=True, eq=False)
class Raster:
    """A dense input `image (C, X, Y)` float32: a channel of occupied cells a height, and mean intensity as the last."""

    image: Float32
    modality: str = ""

    @property
    def empty(self) -> bool:
        return False  # a raster without points is an ordinary all-zero input


Cells: TypeAlias = Voxels | Raster


@dataclass(frozen=True, eq=False)
class Geometry:
    """What the model gets to know about its agents, the ego first.

    Attributes:
        pairwise: `(N, N, 4, 4)` float64; `[i, j]` maps points from agent i to agent j.
        prior: `(N, 3)` float32 [speed / 30 km/h, delay in frames, 1 for roadside units].
        correction: `(N, 4, 4)` float64, from where an agent believed the ego to be to where it is.
    """

    pairwise: Float64
    prior: Float32
    correction: Float64

    def of(self, rows: Sequence[int]) -> Geometry:
        """The same for some of the agents, in the order given."""
        index = np.asarray(rows, np.int64)
        return Geometry(self.pairwise[np.ix_(index, index)], self.prior[index], self.correction[index])


def unplaced(count: int) -> Geometry:
    """Agents of whom nothing is known, all at the ego's place."""
    eye = np.tile(np.eye(4), (count, count, 1, 1))
    return Geometry(eye, np.zeros((count, 3), np.float32), eye[0].copy())


# ------------------------------------------------------------------------------------------------- from points
def in_range(points: Float32, lidar_range: Sequence[float]) -> Float32:
    """Points `(N, 4)` strictly inside of `lidar_range (6,)`, lower corner then upper."""
    low, high = np.asarray(lidar_range[:3]), np.asarray(lidar_range[3:])
    with np.errstate(invalid="ignore"):
        inside = ((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)
    return points[inside]


def without_body(points: Float32) -> Float32:
    """Points `(N, 4)` in the sensor frame that did not hit the vehicle carrying the sensor."""
    x, y = points[:, 0], points[:, 1]
    return points[~((x >= _BODY_M[0]) & (x <= _BODY_M[1]) & (y >= _BODY_M[2]) & (y <= _BODY_M[3]))]


def preprocess_of(hypes: Hypes, modality: str = "") -> Mapping[str, Any]:
    """The settings by which points become cells; HEAL has some for each kind of agent."""
    found: Mapping[str, Any] = (
        hypes["heter"]["modality_setting"][modality]["preprocess"] if modality else hypes["preprocess"]
    )
    return found


def cells_of(points: Float32, hypes: Hypes, kind: Literal["pillars", "voxels", "bev"], modality: str = "") -> Cells:
    """What the model reads of points `(N, 4)` in the frame in which it encodes them.

    A voxel keeps a limited number of points. Those are drawn, as in training, from shuffled points; the shuffle here is
    always the same one, so that the same points give the same cells.
    """
    settings = preprocess_of(hypes, modality)
    lidar_range = settings["cav_lidar_range"]
    points = in_range(np.ascontiguousarray(points, np.float32), lidar_range)
    if kind == "bev":
        return Raster(_raster(points, settings["geometry_param"]))
    args = settings["args"]
    points = points[keyed_rng("opencood", "shuffle").permutation(len(points))]
    voxels = voxelise(points, args["voxel_size"], lidar_range, args["max_points_per_voxel"], args["max_voxel_test"])
    return Voxels(*voxels, modality)


def _raster(points: Float32, geometry: Mapping[str, Any]) -> Float32:
    """`(C, X, Y)` of points in range: channel z is 1 where a point fell, the last is the mean intensity of the cell."""
    rows, cols, channels = geometry["input_shape"]
    origin = np.array([geometry["L1"], geometry["W1"], geometry["H1"]])
    x, y, z = ((points[:, :3] - origin) / geometry["res"]).astype(np.int64).T
    image = np.zeros((rows, cols, channels), np.float32)  # channels last in memory, as upstream: the kernels differ
    image[x, y, z] = 1.0
    flat = x * cols + y
    count = np.bincount(flat, minlength=rows * cols)
    total = np.bincount(flat, weights=points[:, 3], minlength=rows * cols)
    image[..., -1] = (total / np.maximum(count, 1)).reshape(rows, cols)
    return np.asarray(image.transpose(2, 0, 1))


def pairwise_of(poses: Sequence[Float64]) -> Float64:
    """`(N, N, 4, 4)`: `[i, j]` maps points from agent i to agent j, whose poses `(4, 4)` share one reference."""
    stack = np.stack(poses)
    moved = np.linalg.inv(stack)[None] @ stack[:, None]
    moved[np.arange(len(stack)), np.arange(len(stack))] = np.eye(4)
    return np.asarray(moved)


# --------------------------------------------------------------------------------------------------- to a batch
def assemble(
    cells: Sequence[Cells] | None,
    geometry: Geometry,
    device: torch.device,
    *,
    padded_to: int | None,
    bev: bool,
    modalities: Sequence[str] = (),
) -> Data:
    """The model's input for the agents of `geometry`.

    Args:
        cells: what the model reads, an agent each; None for a replay, in which nobody reads them.
        padded_to: the model's `max_cav` where it pads its agents, else None.
        bev: whether the model reads rasters.
        modalities: the kinds of agents that the model tells apart; in a replay all are of the first.
    """
    count = len(geometry.prior)
    length = padded_to or count
    pairwise = np.tile(np.eye(4), (length, length, 1, 1))
    prior = np.zeros((length, 3), np.float32)
    correction = np.tile(np.eye(4), (length, 1, 1))
    pairwise[:count, :count], prior[:count], correction[:count] = geometry.pairwise, geometry.prior, geometry.correction
    data: Data = {
        "record_len": torch.tensor([count], device=device),
        "pairwise_t_matrix": torch.from_numpy(pairwise)[None].to(device),
        "prior_encoding": torch.from_numpy(prior)[None].to(device),
        "spatial_correction_matrix": torch.from_numpy(correction)[None].to(device),
        # read by models of CoAlign's and used by none that has a spec: a use would show
        "lidar_pose": torch.full((count, 6), float("nan"), device=device),
    }
    if modalities:
        data["agent_modality_list"] = [modalities[0]] * count if cells is None else [c.modality for c in cells]
        for name in set(data["agent_modality_list"]):
            own = [c for c in cells or () if c.modality == name]
            if all(c.empty for c in own):  # nobody reads them, but their largest index is asked for
                own = [Voxels(np.zeros((1, 1, 4), np.float32), np.zeros((1, 3), np.int32), np.ones(1, np.int32))]
            data[f"inputs_{name}"] = {key: tensor.to(device) for key, tensor in _voxels(own).items()}
        return data
    lidar = _rasters(cells, count) if bev else _voxels(cells)
    data["processed_lidar"] = {name: tensor.to(device) for name, tensor in lidar.items()}
    data["teacher_processed_lidar"] = data["processed_lidar"]  # DiscoNet's: read, and used in training alone
    return data


def _rasters(cells: Sequence[Cells] | None, count: int) -> dict[str, Tensor]:
    if cells is None:
        return {"bev_input": torch.zeros(1).expand(count, 1, 1, 1)}
    return {"bev_input": torch.from_numpy(np.stack([c.image for c in cells if isinstance(c, Raster)]))}


def _voxels(cells: Sequence[Cells] | None) -> dict[str, Tensor]:
    sparse = [c for c in cells or () if isinstance(c, Voxels)]
    if not sparse:
        sparse = [Voxels(np.zeros((0, 1, 4), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.int32))]
    owner = np.repeat(np.arange(len(sparse), dtype=np.int32), [len(c.counts) for c in sparse])
    features = np.concatenate([c.features for c in sparse])
    coords = np.concatenate([owner[:, None], np.concatenate([c.coords for c in sparse])], axis=1).astype(np.int32)
    counts = np.concatenate([c.counts for c in sparse])
    if len(counts) == 1:  # upstream squeezes away the axis of a single pillar; the same pillar twice is the same canvas
        features, coords, counts = (np.repeat(a, 2, axis=0) for a in (features, coords, counts))
    return {
        "voxel_features": torch.from_numpy(features),
        "voxel_coords": torch.from_numpy(coords),
        "voxel_num_points": torch.from_numpy(counts),
    }
