"""How coperception sees the world: voxels, their turn by 90 degrees, anchors, and the slots of its agents.

An agent's scan becomes 256 x 256 x 13 voxels of occupancy, turned so that rows run along +y and columns along **-x** of
its sensor; boxes come out in the same mirrored plane (`x_theirs = -x`, `y_theirs = y`). Here is the only place that
knows this. Facts from its data preparation and `V2XSimDet`; sizes in metres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robosac.boxes import invert_pose
from robosac.types import Array, BevGrid, Float32, Float64, Frame, InputError, View

ROADSIDE: Final = "roadside"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The raster and the anchors of a coperception config.

    Attributes:
        extent_m: the raster covers x and y in `(-extent_m, extent_m)`.
        z_range_m: heights of a vehicle's raster, in its sensor's frame.
        roadside_z_range_m: those of a road-side unit's, which hangs higher.
        close_m: points with |x| and |y| below this are the agent's own body.
        anchors: (width, length, angle in radians), length across x at angle 0.
    """

    extent_m: float = 32.0
    voxel_m: tuple[float, float, float] = (0.25, 0.25, 0.4)
    z_range_m: tuple[float, float] = (-3.0, 2.0)
    roadside_z_range_m: tuple[float, float] = (-8.0, -3.0)
    close_m: float = 1.0
    anchors: tuple[tuple[float, float, float], ...] = tuple(
        (*size, angle) for size in ((2.0, 4.0), (3.0, 12.0)) for angle in (0.0, np.pi / 2, -np.pi / 4)
    )

    @staticmethod
    def of(config: Any) -> Layout:
        """The layout of a `coperception.configs.Config`."""
        extents = np.asarray(config.area_extents, np.float64)
        if not np.array_equal(extents[:2], [[-extents[0, 1], extents[0, 1]]] * 2):
            raise InputError(f"expected a square raster about the sensor, got extents {extents[:2].tolist()}")
        z = (float(extents[2, 0]), float(extents[2, 1]))
        anchors = tuple((float(a[0]), float(a[1]), float(a[2])) for a in np.asarray(config.anchor_size))
        vx, vy, vz = map(float, config.voxel_size)
        return Layout(extent_m=float(extents[0, 1]), voxel_m=(vx, vy, vz), z_range_m=z, anchors=anchors)

    @property
    def cells(self) -> int:
        """Cells along x and along y."""
        return round(2 * self.extent_m / self.voxel_m[0])

    @property
    def heights(self) -> int:
        """Cells along z; a cell that the range covers in part counts."""
        low, high = self.z_range_m
        return int(np.ceil(high / self.voxel_m[2]) - np.floor(low / self.voxel_m[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.cells, self.cells, self.heights

    @property
    def grid(self) -> BevGrid:
        """The grid of score maps in our convention: rows along +y, columns along +x."""
        return BevGrid(-self.extent_m, -self.extent_m, self.voxel_m[0], self.cells, self.cells)

    def z_range_of(self, kind: str) -> tuple[float, float]:
        return self.roadside_z_range_m if kind == ROADSIDE else self.z_range_m

    def voxelise(self, points: Array, kind: str = "vehicle") -> Float32:
        """Occupancy `(256, 256, 13)` of points `(N, 3+)` in the sensor's frame, turned as the models want it."""
        low = np.array([-self.extent_m, -self.extent_m, self.z_range_of(kind)[0]])
        high = np.array([self.extent_m, self.extent_m, self.z_range_of(kind)[1]])
        xyz = points[:, :3].astype(np.float64)
        keep = ((xyz > low) & (xyz < high)).all(axis=1) & (np.abs(xyz[:, :2]) >= self.close_m).any(axis=1)
        size = np.array(self.voxel_m)
        x, y, z = (np.floor(xyz[keep] / size) - np.floor(low / size)).astype(np.intp).T
        occupied = np.zeros(self.shape, np.float32)
        occupied[y, self.cells - 1 - x, z] = 1.0
        return occupied

    def centres(self, bev: Array, kind: str = "vehicle") -> Float32:
        """Centres `(N, 4)` of the occupied voxels of `bev (256, 256, 13)`, sensor frame, intensity 1.

        Of a voxel that is in the range in part, the centre of that part. `voxelise` gives the voxels back.
        """
        row, col, z = np.nonzero(bev)
        low = np.array([-self.extent_m, -self.extent_m, self.z_range_of(kind)[0]])
        high = np.array([self.extent_m, self.extent_m, self.z_range_of(kind)[1]])
        index = np.stack([self.cells - 1 - col, row, z], axis=1) + np.floor(low / self.voxel_m)
        xyz = (np.maximum(index * self.voxel_m, low) + np.minimum((index + 1) * self.voxel_m, high)) / 2
        return np.concatenate([xyz, np.ones((len(xyz), 1))], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class VoxelView(View):
    """A view made from the user's own BEV tensor: `points` are the centres of its occupied voxels.

    Whoever replaces the points means them: `bev` counts only while they are the ones that came with it.
    """

    bev: Float32  # (256, 256, 13), as the models want it
    made: Float32  # the points that `bev` stands for

    @property
    def untouched(self) -> bool:
        return self.points is self.made


def bev_of(view: View, layout: Layout) -> Float32:
    """The model's input `(256, 256, 13)` for one agent."""
    if isinstance(view, VoxelView) and view.untouched:
        return view.bev
    return layout.voxelise(view.points, view.kind)


def relative(world_T_dst: Float64, world_T_src: Float64) -> Float64:
    """`dst_T_src (4, 4)` of two poses in the world."""
    return invert_pose(world_T_dst) @ world_T_src


# ------------------------------------------------------------------------------------------- the user's own tensors
def frame_of(
    layout: Layout,
    bev: Any,
    trans_matrices: Any,
    num_agent: Any,
    *,
    ego: int | str,
    roadside: bool,
    scenario: str = "batch",
    index: int = 0,
    t_ns: int = 0,
) -> Frame:
    """A frame from what coperception's own loop feeds its model (batch size 1); see `CoperceptionDetector.frame`."""
    bevs = _array(bev)
    count = int(_array(num_agent).reshape(-1)[0])
    if bevs.ndim != 5 or bevs.shape[1] != 1 or bevs.shape[2:] != layout.shape or not 1 <= count <= len(bevs):
        raise InputError(
            f"expected bev (agents, 1, {', '.join(map(str, layout.shape))}) with at least num_agent = {count} >= 1 "
            f"agents, got shape {bevs.shape}"
        )
    trans = _array(trans_matrices).astype(np.float64)
    trans = trans[0] if trans.ndim == 5 and len(trans) == 1 else trans
    if trans.ndim != 4 or min(trans.shape[:2]) < count or trans.shape[2:] != (4, 4):
        raise InputError(f"expected trans_matrices (1, agents, agents, 4, 4) of {count} agents, got {trans.shape}")
    names = [f"agent{i}" for i in range(count)]
    at = names.index(ego) if ego in names else ego
    if not isinstance(at, int) or not 0 <= at < count:
        raise InputError(f"expected the ego to be one of {', '.join(names)} or its number, got {ego!r}")
    views = {}
    for i, name in enumerate(names):
        kind = ROADSIDE if roadside and i == 0 else "vehicle"
        slice_ = np.ascontiguousarray(bevs[i, 0], np.float32)
        points = layout.centres(slice_, kind)
        # The ego's frame serves as the world. What the models warp by is ego -> other, hence that matrix.
        world_T_agent = np.eye(4) if i == at else invert_pose(_rigid(trans[i, at], f"trans_matrices[{i}, {at}]"))
        views[name] = VoxelView(name, kind, t_ns, points, world_T_agent, slice_, points)
    return Frame(scenario, index, views.pop(names[at]), views)


def _array(value: Any) -> Array:
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    return np.asarray(detached)


def _rigid(matrix: Float64, what: str) -> Float64:
    rotation = matrix[:3, :3]
    if not (np.isfinite(matrix).all() and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)):
        raise InputError(f"expected {what} to be a rigid (4, 4) matrix, got {matrix.tolist()}")
    return matrix


# -------------------------------------------------------------------------------------------------------- the slots
def slots(ids: Sequence[str], agents: int) -> Mapping[str, int]:
    """Which agent is in which of the model's `agents` slots: those that take part, by name, absent ones behind them.

    So does its data set: agents that are there first, then empty slots.

    Raises:
        InputError: if there are more agents than slots.
    """
    if len(ids) > agents:
        raise InputError(
            f"expected at most {agents} agents (the ego and {agents - 1} teammates), got {len(ids)}; "
            "build the model with a larger num_agent"
        )
    return {name: i for i, name in enumerate(sorted(ids))}
