"""DAIR-V2X-C: a vehicle and a road-side unit, real sensors, paired in `cooperative/data_info.json`.

    ROOT/cooperative/data_info.json            the pairs: paths of both clouds and of the labels, system_error_offset
    ROOT/cooperative/label_world/ID.json       boxes in the world, one list a pair
    ROOT/vehicle-side/velodyne/ID.pcd          and calib/lidar_to_novatel, calib/novatel_to_world
    ROOT/infrastructure-side/velodyne/ID.pcd   and calib/virtuallidar_to_world
    ROOT/*/data_info.json                      times of the scans and batches, where they are

- A tick is a pair and named by the vehicle's id; it is there where at least one of its clouds is. A scenario is a batch
  of the vehicle's drive, cut where more than a second is missing, and named by its first pair.
- Agents are `vehicle` (the ego of the field) and `infrastructure`. `world_T_vehicle` is novatel_to_world times
  lidar_to_novatel; the road-side unit's pose is virtuallidar_to_world moved by the pair's `system_error_offset`.
- Times are those of the two scans. They differ by up to half a period: the road-side unit's may be 28 ms *later* than
  the vehicle's, more than the default gate lets a clock run ahead, so frames say that theirs run up to 50 ms ahead
  (`clocks_ahead_ms`). Without times an id is a tenth of a second.
- Objects are those of the pair's list, whoever asks. They have no names there, so each is an object of its own at every
  tick.
- Intensity is a byte on the vehicle and 0..1 on the infrastructure; both become 0..1. Points that are not finite are
  left out.
- A split is a list of the vehicle's ids, or the official file of several lists by name; then one of them is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from robosac.data import safe
from robosac.data.labels import LARGEST, VEHICLES, class_of, objects_of, sort_out
from robosac.data.points import Scales, intensities, points_of
from robosac.data.recording import UNIT_NS, AgentInfo, DataError, Objects
from robosac.data.rigid import array, numbers, pose_of
from robosac.types import Array, Float64, Id, InputError, View

PAIRS: Final = "cooperative/data_info.json"
VEHICLE: Final = "vehicle"
INFRASTRUCTURE: Final = "infrastructure"
AGENTS: Final = (AgentInfo(VEHICLE, "vehicle"), AgentInfo(INFRASTRUCTURE, "roadside"))
_GAP_NS: Final = 1_000_000_000
_PERIOD_NS: Final = 100_000_000
_AHEAD_MS: Final = 50.0


@dataclass(frozen=True)
class Pair:
    """One entry of the list of pairs: names of the two scans, paths below the root, the offset in metres."""

    vehicle: str
    infrastructure: str
    clouds: Mapping[Id, str]
    labels: str
    offset_m: tuple[float, float]


@dataclass(frozen=True, eq=False)
class DairV2XC:
    """A `Recording` of DAIR-V2X-C.

    Attributes:
        root: the folder that holds `cooperative`, `vehicle-side` and `infrastructure-side`.
        only: ids of the vehicle's scans, as the field's split files list them; all pairs, unless given.
        classes: of the objects that count, as `robosac.data.labels.spelled` spells them.
    """

    root: Path
    only: frozenset[str] | None = None
    classes: frozenset[str] = VEHICLES
    _calibrations: dict[str, Float64] = field(default_factory=dict, init=False, repr=False)

    @property
    def layout(self) -> str:
        return "dair-v2x-c"

    @property
    def clocks_ahead_ms(self) -> float:
        """How far the road-side unit's clock may run ahead of the vehicle's."""
        return _AHEAD_MS

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def pairs(self) -> Mapping[str, Pair]:
        """All pairs by the vehicle's id, clouds there or not.

        Raises:
            DataError: if the list is broken.
        """
        path = self.root / PAIRS
        listed = safe.read_json(path, self.root)
        if not isinstance(listed, list):
            raise DataError(path, f"expected a list of pairs, got {type(listed).__name__}")
        pairs = [_pair(entry, k, path) for k, entry in enumerate(listed)]
        return {
            p.vehicle: p for p in sorted(pairs, key=lambda p: p.vehicle) if self.only is None or p.vehicle in self.only
        }

    @cached_property
    def _scenarios(self) -> dict[str, list[str]]:
        """Ticks of each scenario, in the order of time."""
        found: dict[str, list[str]] = {}
        by_batch: dict[str, list[str]] = {}
        for tick, pair in self.pairs.items():
            if any(self._cloud(pair, a.id) for a in AGENTS):
                by_batch.setdefault(self._batches.get(pair.vehicle, ""), []).append(tick)
        for _, ticks in sorted(by_batch.items()):
            last = None
            for tick in sorted(ticks, key=lambda t: (self._t_ns(t, VEHICLE), t)):
                t_ns = self._t_ns(tick, VEHICLE)
                if last is None or t_ns - last > _GAP_NS:
                    current = found.setdefault(tick, [])
                current.append(tick)
                last = t_ns
        return found

    @cached_property
    def _infos(self) -> Mapping[Id, Mapping[str, Mapping[str, Any]]]:
        """Agent -> scan's id -> its entry in that side's list; empty where there is no list."""
        return {a.id: dict(self._side_info(_folder(a.id))) for a in AGENTS}

    def _side_info(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        path = self.root / folder / "data_info.json"
        if not safe.is_file(path):
            return
        listed = safe.read_json(path, self.root)
        if not isinstance(listed, list):
            raise DataError(path, f"expected a list of scans, got {type(listed).__name__}")
        for entry in listed:
            if isinstance(entry, dict) and isinstance(entry.get("pointcloud_path"), str):
                yield PurePosixPath(entry["pointcloud_path"]).stem, entry

    @cached_property
    def _batches(self) -> Mapping[str, str]:
        return {name: str(entry.get("batch_id", "")) for name, entry in self._infos[VEHICLE].items()}

    def _t_ns(self, tick: str, agent: Id) -> int:
        pair = self.pairs[tick]
        name = pair.vehicle if agent == VEHICLE else pair.infrastructure
        stamp = str(self._infos[agent].get(name, {}).get("pointcloud_timestamp", ""))
        if stamp.isascii() and stamp.isdigit() and (len(stamp) <= 16 or len(stamp) in UNIT_NS):
            return min(int(stamp) * UNIT_NS.get(len(stamp), UNIT_NS[16]), 2**63 - 1)
        # without times both sides of a pair were taken at one moment, by the vehicle's count
        return int(pair.vehicle) * _PERIOD_NS if pair.vehicle.isdigit() and len(pair.vehicle) < 10 else 0

    def _cloud(self, pair: Pair, agent: Id) -> Path | None:
        """Where a cloud is; None where it is missing."""
        path = safe.inside(self.root, pair.clouds[agent])
        return path if safe.is_file(path) else None

    def scenarios(self) -> Sequence[str]:
        return list(self._scenarios)

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        there = {a for tick in self.ticks(scenario) for a in self.present(scenario, tick)}
        return [a for a in AGENTS if a.id in there]

    def ticks(self, scenario: str) -> Sequence[str]:
        if scenario not in self._scenarios:
            raise InputError(f"expected a scenario of {self.root}, got {scenario!r}")
        return self._scenarios[scenario]

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        return [a.id for a in AGENTS if self._cloud(self.pairs[tick], a.id)]

    def problems(self) -> Iterator[DataError]:
        """What is missing on disk of what the list of pairs names; opens no file but the lists."""
        for tick, pair in self.pairs.items():
            for a in AGENTS:
                if not self._cloud(pair, a.id):
                    yield DataError(
                        self.root / pair.clouds[a.id], f"expected the {a.id}'s scan of pair {tick}, got none"
                    )
            for relative in (pair.labels, *_calibrations(pair)):
                if not safe.is_file(safe.inside(self.root, relative)):
                    yield DataError(self.root / relative, f"expected a file of pair {tick}, got none")

    # ------------------------------------------------------------------------------------------------- contents
    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        pair = self.pairs[tick]
        to_novatel, to_world, unit_to_world = _calibrations(pair)
        if agent == VEHICLE:
            return np.asarray(self._calibration(to_world) @ self._calibration(to_novatel))
        pose: Float64 = self._calibration(unit_to_world).copy()
        pose[:2, 3] += pair.offset_m
        return pose

    def _calibration(self, relative: str) -> Float64:
        if relative not in self._calibrations:
            path = safe.inside(self.root, relative)
            content = safe.read_json(path, self.root)
            if isinstance(content, dict) and "transform" in content:
                content = content["transform"]
            if not isinstance(content, dict) or not {"rotation", "translation"} <= set(content):
                raise DataError(path, "expected rotation and translation, got neither; is this a calibration?")
            rotation = array(content["rotation"], (3, 3), path, "rotation")
            translation = array(content["translation"], (3, 1), path, "translation")
            self._calibrations[relative] = pose_of(rotation, translation[:, 0], path, "rotation")
        return self._calibrations[relative]

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        pair = self.pairs[tick]
        path = safe.inside(self.root, pair.clouds[agent])
        kind = "vehicle" if agent == VEHICLE else "roadside"
        points = points_of(safe.read_pcd(path, self.root).columns, path, self.intensities, kind)
        return View(agent, kind, self._t_ns(tick, agent), points, self.pose(scenario, tick, agent))

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        path = safe.inside(self.root, self.pairs[tick].labels)
        listed = safe.read_json(path, self.root)
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise DataError(path, "expected a list of objects, got something else")
        kept, told = sort_out([class_of(entry.get("type")) or None for entry in listed], self.classes)
        chosen = [(k, entry) for k, (entry, keep) in enumerate(zip(listed, kept.tolist(), strict=True)) if keep]
        values = [entry.get("world_8_points") for _, entry in chosen]
        corners = numbers(values, (len(values), 8, 3), path, "world_8_points") if values else np.zeros((0, 8, 3))
        poses, size = boxes_of_corners(corners)
        return objects_of([None] * len(chosen), [f"{tick}-{k}" for k, _ in chosen], poses, size, path, told)

    @cached_property
    def intensities(self) -> Scales:
        """How the intensities of the recording are scaled."""
        return Scales(self._raw_intensities)

    def _raw_intensities(self, kind: str) -> Iterable[Array]:
        agent = VEHICLE if kind == "vehicle" else INFRASTRUCTURE
        paths = [path for pair in self.pairs.values() if (path := self._cloud(pair, agent)) is not None]
        return intensities(paths, lambda path: safe.read_pcd(path, self.root).columns)


def boxes_of_corners(corners: Float64) -> tuple[Float64, Float64]:
    """Poses `(G, 4, 4)` and sizes `(G, 3)` of boxes given by corners `(G, 8, 3)`.

    Order of the corners: front left, front right, back right, back left at the bottom, then the same at the top.
    """
    corners = np.where(np.abs(corners) <= LARGEST, corners, np.nan)  # a box with such a corner is nowhere
    forward = corners[:, [0, 1, 4, 5]].mean(axis=1) - corners[:, [2, 3, 6, 7]].mean(axis=1)
    left = corners[:, [0, 3, 4, 7]].mean(axis=1) - corners[:, [1, 2, 5, 6]].mean(axis=1)
    up = corners[:, 4:].mean(axis=1) - corners[:, :4].mean(axis=1)
    size = np.linalg.norm(np.stack([forward, left, up], axis=1), axis=2)
    x = forward / np.maximum(size[:, :1], 1e-12)
    z = up - (up * x).sum(axis=1, keepdims=True) * x
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    poses = np.tile(np.eye(4), (len(corners), 1, 1))
    poses[:, :3, 0], poses[:, :3, 1], poses[:, :3, 2] = x, np.cross(z, x), z
    poses[:, :3, 3] = corners.mean(axis=1)
    return poses, size


def split_of(content: Any, name: str, path: Path) -> frozenset[str]:
    """Ids of the vehicle's scans of a split file's content: a list, or one of several lists by name, where an object
    `cooperative_split` may hold them, as in the official file.

    Raises:
        DataError: if there are none, or several and none is named.
    """
    if isinstance(content, dict) and isinstance(content.get("cooperative_split"), dict):
        content = content["cooperative_split"]
    if isinstance(content, dict) and content:
        lists = {k: ids for k, ids in content.items() if isinstance(ids, list)}
        if name not in lists and (name or len(lists) != 1):
            held = ", ".join(lists) or "no lists"
            raise DataError(path, f"expected one split to be named as {path.name}:NAME, got {name!r}; it holds {held}")
        content = lists[name] if name else next(iter(lists.values()))
    elif name:
        raise DataError(path, f"expected splits by name, got a file without, and {name!r}")
    if not isinstance(content, list) or not content or not all(isinstance(i, str) for i in content):
        raise DataError(path, "expected a list of ids of the vehicle's scans, got something else")
    return frozenset(content)


def _pair(entry: Any, position: int, path: Path) -> Pair:
    if not isinstance(entry, dict):
        raise DataError(path, f"expected pair {position} to be an object, got {type(entry).__name__}")
    clouds: dict[Id, str] = {}
    for agent in (VEHICLE, INFRASTRUCTURE):
        name = f"{agent}_pointcloud_path"
        if not isinstance(entry.get(name), str):
            raise DataError(path, f"expected pair {position} to name its {name}, got {entry.get(name)!r:.80}")
        clouds[agent] = entry[name]
    names = {agent: PurePosixPath(cloud).stem for agent, cloud in clouds.items()}
    labels = entry.get("cooperative_label_path", f"cooperative/label_world/{names[VEHICLE]}.json")
    offset = entry.get("system_error_offset") or {}
    if not isinstance(labels, str) or not isinstance(offset, dict):
        raise DataError(path, f"expected pair {position} to hold a label's path and an offset, got other things")
    moved = array([offset.get("delta_x", 0), offset.get("delta_y", 0)], (2,), path, f"the offset of pair {position}")
    return Pair(names[VEHICLE], names[INFRASTRUCTURE], clouds, labels, (float(moved[0]), float(moved[1])))


def _calibrations(pair: Pair) -> tuple[str, str, str]:
    """Lidar to novatel, novatel to world, virtual lidar to world; below the root."""
    return (
        f"vehicle-side/calib/lidar_to_novatel/{pair.vehicle}.json",
        f"vehicle-side/calib/novatel_to_world/{pair.vehicle}.json",
        f"infrastructure-side/calib/virtuallidar_to_world/{pair.infrastructure}.json",
    )


def _folder(agent: Id) -> str:
    return f"{agent}-side"
