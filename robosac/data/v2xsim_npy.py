"""V2X-Sim as parsed for detection (coperception, the paper's data): occupied voxels and anchors, no scans.

    ROOT/agent{0..5}/{SCENE}_{FRAME}/0.npy     agent 0 is the road-side unit; ROOT is the folder of a split

- **Points are the centres of occupied voxels** of 0.25 x 0.25 x 0.4 m within 32 m of the sensor, one each however many
  returns fell in; the scans themselves are not in this layout. Intensity is 0.
- **Boxes are flat**: the layout holds outlines only. Each is given `HEIGHT_M` and stood on the road of a sensor
  `MOUNT_M` above it (5 m more on the road-side unit, whose voxels are 5 m lower too). IoU from above does not mind;
  points in a box are those of its voxels from above the road up to that height.
- Objects have no names: outlines that overlap are one object, named by its first lister, and every tick's are its own.
  The list is that of evaluation (`gt_max_iou`), within an agent's voxels; its category 1 is a car, others are classes
  `category 2` and so on.
- Poses are known relative to one another at a tick. Where the road-side unit is there, its frame is the world, which
  then stands still; else the first agent's is, which drives on, and delay cannot be had.
- A file that holds 0 means that the agent is absent. Frames are 200 ms apart (V2X-Sim records at 5 Hz).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.boxes import transform_boxes, upright_poses
from robosac.data import safe
from robosac.data.labels import LARGEST, VEHICLES, objects_of, sort_out, union
from robosac.data.recording import AgentInfo, DataError, Objects, Told
from robosac.data.rigid import numbers, pose_matrix
from robosac.types import Array, Float32, Float64, Id, InputError, View

ROADSIDE: Final = "agent0"
VOXEL_M: Final = (0.25, 0.25, 0.4)
VOXELS: Final = (256, 256, 13)
MOUNT_M: Final = 1.8
HEIGHT_M: Final = 1.6
_LOWEST: Final = {"vehicle": (-128, -128, -8), "roadside": (-128, -128, -20)}  # first voxel; floor(-3 / 0.4), of -8
_RAISED_M: Final = 5.0
_PERIOD_NS: Final = 200_000_000
# width, length, clockwise from +y: the two sizes of anchors at each cell
_ANCHORS: Final = np.array([(w, n, a) for w, n in ((2, 4), (3, 12)) for a in (0, np.pi / 2, -np.pi / 4)])
_KEPT: Final = 16
_LARGEST_LOG: Final = 5.0  # of a size over its anchor's
_ABSENT_BYTES: Final = 256  # a saved 0 takes 136
AGENT: Final = re.compile(r"agent[0-9]{1,3}")
_TICK: Final = re.compile(r"[0-9]{1,9}_[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class V2XSimNpy:
    """A `Recording` of parsed V2X-Sim.

    Attributes:
        root: the folder that holds `agent0`, `agent1`, ...
        classes: of the objects that count, as `robosac.data.labels.spelled` spells them.
    """

    root: Path
    classes: frozenset[str] = VEHICLES
    _read: OrderedDict[tuple[str, Id], Mapping[str, Any]] = field(default_factory=OrderedDict, init=False, repr=False)

    @property
    def layout(self) -> str:
        return "v2xsim-npy"

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def _agents(self) -> tuple[Id, ...]:
        """Vehicles first, since the field's ego is agent 1; the road-side unit last."""
        found = [p.name for p in safe.folders(self.root) if AGENT.fullmatch(p.name)]
        return tuple(sorted(found, key=lambda n: (n == ROADSIDE, int(n.removeprefix("agent")))))

    @cached_property
    def _folders(self) -> Mapping[Id, frozenset[str]]:
        """Agent -> ticks at which it has a scan. No file is opened: one that says "absent" is too short for a scan."""
        return {
            a: frozenset(n for n in safe.names(self.root / a) or () if _TICK.fullmatch(n) and _scan(self.root / a / n))
            for a in self._agents
        }

    @cached_property
    def _scenarios(self) -> dict[str, list[str]]:
        names = sorted({n for names in self._folders.values() for n in names}, key=_order)
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(f"scene_{_order(name)[0]}", []).append(name)
        return found

    def scenarios(self) -> Sequence[str]:
        return list(self._scenarios)

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        ticks = self.ticks(scenario)
        return [AgentInfo(a, _kind(a)) for a in self._agents if not self._folders[a].isdisjoint(ticks)]

    def ticks(self, scenario: str) -> Sequence[str]:
        if scenario not in self._scenarios:
            raise InputError(f"expected a scenario of {self.root}, got {scenario!r}")
        return self._scenarios[scenario]

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        return [a for a in self._agents if tick in self._folders[a]]

    def world(self, scenario: str, tick: str) -> str:
        """Whose frame the world is at a tick; a vehicle's is another one at the next."""
        reference = self._reference(tick)
        return reference if reference == ROADSIDE else f"{reference} at {tick}"

    def _reference(self, tick: str) -> Id:
        there = self.present("", tick)
        return ROADSIDE if ROADSIDE in there else there[0]

    # ------------------------------------------------------------------------------------------------- contents
    def _path(self, tick: str, agent: Id) -> Path:
        return self.root / agent / tick / "0.npy"

    def _content(self, tick: str, agent: Id) -> Mapping[str, Any]:
        """What a file holds. A few are kept: a frame asks for the same ones again."""
        key = (tick, agent)
        if key not in self._read:
            path = self._path(tick, agent)
            content = safe.read_npy(path, self.root)
            if not isinstance(content, dict):
                raise DataError(path, f"expected a dictionary, got {type(content).__name__}")
            self._read[key] = content
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return self._read[key]

    def _field(self, tick: str, agent: Id, name: str) -> Any:
        content = self._content(tick, agent)
        if name not in content:
            held = ", ".join(map(str, content))[:200]
            raise DataError(self._path(tick, agent), f"expected {name}, got only {held}")
        return content[name]

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        """`world_T_sensor`, of the road-side unit's world where it is there, else of the first agent's."""
        reference = self._reference(tick)
        if agent == reference:
            return np.eye(4)
        path, value = self._path(tick, reference), self._field(tick, reference, "trans_matrices")
        index = int(agent.removeprefix("agent"))
        if not isinstance(value, np.ndarray) or value.ndim != 3 or index >= len(value):
            raise DataError(path, f"expected trans_matrices of {index + 1} agents or more, got {_shape(value)}")
        if not np.any(value[index]):
            raise DataError(path, f"expected the pose of {agent} in trans_matrices, got zeros")
        return pose_matrix(value[index], path, f"trans_matrices[{index}]")

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        path, found = self._path(tick, agent), self._field(tick, agent, "voxel_indices_0")
        indices = _integers(found, 3, path, "voxel_indices_0")
        if len(indices) and (indices.min() < 0 or (indices >= VOXELS).any()):
            raise DataError(
                path, f"expected voxels within {VOXELS}, got {indices.min(axis=0)} to {indices.max(axis=0)}"
            )
        _, once = np.unique(np.ravel_multi_index(tuple(indices.T), VOXELS), return_index=True)
        indices = indices[np.sort(once)]  # a voxel that stands twice is one point
        points = np.zeros((len(indices), 4), np.float32)
        points[:, :3] = (indices + _LOWEST[_kind(agent)] + 0.5) * VOXEL_M
        t_ns = _order(tick)[1] * _PERIOD_NS
        return View(agent, _kind(agent), t_ns, points, self.pose(scenario, tick, agent))

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        """The union by place, vehicles' lists first."""
        lists = []
        for agent in sorted(agents, key=lambda a: a == ROADSIDE):
            boxes, told = self._boxes(tick, agent)
            boxes = transform_boxes(self.pose(scenario, tick, agent), boxes)
            poses = upright_poses(boxes.astype(np.float64))
            otherwise = [f"{tick}-{agent}-{k}" for k in range(len(boxes))]
            path = self._path(tick, agent)
            lists.append(objects_of([None] * len(boxes), otherwise, poses, boxes[:, 3:6], path, told))
        return union(lists)

    def _boxes(self, tick: str, agent: Id) -> tuple[Float32, Told]:
        """Boxes `(G, 7)` that an agent lists, in its own frame, and what there is to say of them."""
        path, listed = self._path(tick, agent), self._field(tick, agent, "gt_max_iou")
        if listed.size == 0 if isinstance(listed, np.ndarray) else listed in ([], ()):
            return np.zeros((0, 7), np.float32), Told()
        listed = _integers(listed, 4, path, "gt_max_iou")
        mask = self._field(tick, agent, "allocation_mask")
        shape = (*VOXELS[:2], len(_ANCHORS))
        if not isinstance(mask, np.ndarray) or mask.shape != shape or mask.dtype.kind not in "bui":
            raise DataError(path, f"expected allocation_mask to be flags of shape {shape}, got {_shape(mask)}")
        mask = mask.astype(np.bool_)
        count = int(mask.sum())
        codes = numbers(self._field(tick, agent, "reg_target_sparse"), (count, 1, 6), path, "reg_target_sparse")[:, 0]
        rows = np.unique(listed, axis=0)  # two of one anchor share its only code
        kept, told = sort_out(["car" if c == 1 else f"category {c}" for c in rows[:, 3].tolist()], self.classes)
        rows = rows[kept, :3]
        if len(rows) and (rows.min() < 0 or (rows >= shape).any() or not mask[tuple(rows.T)].all()):
            raise DataError(path, "expected gt_max_iou to name anchors of allocation_mask, got one that is not there")
        order = np.cumsum(mask.ravel()) - 1
        boxes = decode(rows, codes[order[np.ravel_multi_index(tuple(rows.T), shape)]], roadside=agent == ROADSIDE)
        return boxes, told


def decode(anchors: Array, codes: Float64, *, roadside: bool = False) -> Float32:
    """Boxes `(G, 7)` in the agent's frame from anchors `(G, 3)` `[row, column, kind]` and codes `(G, 6)`.

    A code is [dx dy dw dl sin cos]: offsets in units of the box's own width and length, logarithms of the anchor's size
    over the box's, and the angle against the anchor's. Angles run clockwise from +y. NaN where a code makes no box.
    """
    width, length, angle = _ANCHORS[anchors[:, 2]].T
    sane = np.abs(codes) <= [LARGEST, LARGEST, _LARGEST_LOG, _LARGEST_LOG, LARGEST, LARGEST]
    codes = np.where(sane.all(axis=1, keepdims=True), codes, np.nan)
    w, n = width / np.exp(codes[:, 2]), length / np.exp(codes[:, 3])
    x = (anchors[:, 1] + 0.5) * VOXEL_M[0] - 32.0 - w * codes[:, 0]
    y = (anchors[:, 0] + 0.5) * VOXEL_M[1] - 32.0 - n * codes[:, 1]
    yaw = np.pi / 2 - (angle + np.arctan2(codes[:, 4], codes[:, 5]))
    z = np.full(len(x), HEIGHT_M / 2 - MOUNT_M - (_RAISED_M if roadside else 0.0))
    tall = np.full(len(x), HEIGHT_M)
    return np.stack([x, y, z, n, w, tall, (yaw + np.pi) % (2 * np.pi) - np.pi], axis=1).astype(np.float32)


def _kind(agent: Id) -> str:
    return "roadside" if agent == ROADSIDE else "vehicle"


def _scan(tick: Path) -> bool:
    """Whether there is a file that may hold a scan: one that says "absent" is too short."""
    return safe.is_file(tick / "0.npy") and (tick / "0.npy").stat().st_size > _ABSENT_BYTES


def _order(name: str) -> tuple[int, int]:
    scene, _, frame = name.partition("_")
    return int(scene), int(frame)


def _integers(value: Any, columns: int, path: Path, what: str) -> Array:
    with safe.naming(path, f".npy file: {what} is no table"):
        found = np.asarray(value)
    if found.ndim != 2 or found.shape[1] != columns or found.dtype.kind not in "iu":
        raise DataError(path, f"expected {what} to be whole numbers of shape (N, {columns}), got {_shape(found)}")
    return found.astype(np.int64)


def _shape(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
