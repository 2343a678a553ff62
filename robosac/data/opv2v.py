"""OPV2V, V2XSet, and data sets laid out like them.

    ROOT/SCENARIO/AGENT/TIME.yaml     pose of the LiDAR, the vehicles it sees
    ROOT/SCENARIO/AGENT/TIME.pcd      its scan: x y z, and intensity or rgb

- ROOT is a split, a scenario alone, or the folder above the splits; scenarios are then named `SPLIT/SCENARIO`.
- An agent is a folder with such files. A negative number is a road-side unit; other numbers are the names under which
  vehicles list one another; names that are no numbers (`car1`) are taken as they are, and an agent's own body is then
  found by where it stands. Agents are in the order of their names as text, as the field sorts them, road-side units
  last; the first is the field's ego.
- TIME is a number of up to 10 digits. The data sets record at 10 Hz and count simulation steps, so the smallest step
  between a scenario's times is a tenth of a second. An agent may lack times that others have: it is not there then.
- Where `lidar_pose` is `[x y z roll yaw pitch]`, the boxes are in the world (`robosac.data.carla`), their centres at
  `location + center`, half their sizes in `extent`. Where it is a matrix `(4, 4)`, as in V2V4Real, boxes are in the
  agent's own frame, named across agents by `ass_id`, and an agent's name is no object's; pedestrians are left out.
- Intensity is the field `intensity`, else the red byte of `rgb`, else 0. Points that are not finite are left out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.data import carla, pcd, safe
from robosac.data.recording import AgentInfo, DataError, Objects
from robosac.data.rigid import MOST_OBJECTS, array, objects_of, pose_matrix, unit_intensity
from robosac.types import Array, Float32, Float64, Id, InputError, View

_NUMBER: Final = re.compile(r"-?\d{1,18}")
_STAMP: Final = re.compile(r"(\d{1,10})\.(yaml|pcd)")
_PERIOD_NS: Final = 100_000_000
_LONGEST_NAME: Final = 100
_KEPT: Final = 64  # what so many files said; a frame asks for the same ones several times


@dataclass(frozen=True, eq=False)
class Said:
    """What an agent's YAML file says of a moment."""

    world_T_sensor: Float64
    objects: Objects


@dataclass(frozen=True, eq=False)
class _Folder:
    """Files of an agent: the times that have both of them, and those that lack one."""

    whole: frozenset[str]
    halves: tuple[str, ...]  # names of the files that are there alone


@dataclass(frozen=True, eq=False)
class OPV2V:
    """A `Recording` of OPV2V's layout.

    Attributes:
        root: a split, a scenario, or the folder above the splits.
        scenario_names: of folders in a split, those that are meant; all of them, unless given.
    """

    root: Path
    scenario_names: tuple[str, ...] | None = None
    _read: OrderedDict[tuple[str, str, Id], Said] = field(default_factory=OrderedDict, init=False, repr=False)
    _listed: dict[str, dict[Id, _Folder]] = field(default_factory=dict, init=False, repr=False)
    _ticks: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)
    _clocks: dict[str, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    @property
    def layout(self) -> str:
        return "opv2v"

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def _places(self) -> Mapping[str, Path]:
        """Scenarios by name, where they lie."""
        if self.scenario_names is not None:
            return {name: safe.inside(self.root, name) for name in self.scenario_names}
        if _has_agents(self.root):
            return {self.root.name or "scenario": self.root}
        found: dict[str, Path] = {}
        for folder in _folders(self.root):
            if _has_agents(folder):
                found[folder.name] = folder
            else:
                found |= {f"{folder.name}/{s.name}": s for s in _folders(folder) if _has_agents(s)}
        return found

    def scenarios(self) -> Sequence[str]:
        return list(self._places)

    def _agents(self, scenario: str) -> dict[Id, _Folder]:
        """Agents of a scenario with their files, in the field's order."""
        if scenario not in self._listed:
            if scenario not in self._places:
                raise InputError(f"expected a scenario of {self.root}, got {scenario!r}")
            folders = sorted(_folders(self._places[scenario]), key=lambda p: (_kind(p.name) == "roadside", p.name))
            listed = {p.name: _files(p) for p in folders}
            self._listed[scenario] = {a: f for a, f in listed.items() if f.whole or f.halves}
        return self._listed[scenario]

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        return [AgentInfo(a, _kind(a), _body(a)) for a, files in self._agents(scenario).items() if files.whole]

    def ticks(self, scenario: str) -> Sequence[str]:
        if scenario not in self._ticks:
            whole = {stamp for files in self._agents(scenario).values() for stamp in files.whole}
            self._ticks[scenario] = sorted(whole, key=lambda stamp: (int(stamp), stamp))
        return self._ticks[scenario]

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        return [a for a, files in self._agents(scenario).items() if tick in files.whole]

    def problems(self) -> Iterator[DataError]:
        """Files that are missing beside others; opens none."""
        for scenario, place in self._places.items():
            for agent, files in self._agents(scenario).items():
                for name in files.halves:
                    other = Path(name).with_suffix(".pcd" if name.endswith(".yaml") else ".yaml").name
                    yield DataError(place / agent / other, f"expected it beside {name}, got none")
                halves = {Path(name).stem for name in files.halves}
                for tick in self.ticks(scenario):
                    if tick not in files.whole and tick not in halves:
                        yield DataError(place / agent / f"{tick}.yaml", "expected a frame that other agents have")

    # ------------------------------------------------------------------------------------------------- contents
    def _path(self, scenario: str, tick: str, agent: Id, suffix: str) -> Path:
        if agent not in self._agents(scenario) or not tick.isdecimal():
            raise InputError(f"expected an agent and a time of {scenario}, got {agent!r} and {tick!r}")
        return self._places[scenario] / agent / f"{tick}.{suffix}"

    def _said(self, scenario: str, tick: str, agent: Id) -> Said:
        key = (scenario, tick, agent)
        said = self._read.get(key)
        if said is None:
            path = self._path(scenario, tick, agent, "yaml")
            said = self._read[key] = said_in(safe.read_yaml(path, self.root), agent, path)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return said

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        return self._said(scenario, tick, agent).world_T_sensor

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        path = self._path(scenario, tick, agent, "pcd")
        points = points_of(pcd.read(path, self.root), path)
        return View(agent, _kind(agent), self._t_ns(scenario, tick), points, self.pose(scenario, tick, agent))

    def _t_ns(self, scenario: str, tick: str) -> int:
        """Since the first time of the scenario."""
        if scenario not in self._clocks:
            times = [int(t) for t in self.ticks(scenario)]
            self._clocks[scenario] = times[0], min((b - a for a, b in pairwise(times) if b > a), default=1)
        start, step = self._clocks[scenario]
        return (int(tick) - start) * _PERIOD_NS // step

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        """The union by name. Where two agents list one object, the boxes agree, and the first agent's is taken."""
        lists = [self._said(scenario, tick, agent).objects for agent in agents]
        first: dict[str, int] = {}
        for k, name in enumerate(name for objects in lists for name in objects.ids):
            first.setdefault(name, k)
        if not first:
            return Objects.none()
        kept = list(first.values())
        poses = np.concatenate([objects.world_T_box for objects in lists])[kept]
        return Objects(tuple(first), poses, np.concatenate([objects.size for objects in lists])[kept])


# ------------------------------------------------------------------------------------------------- what files hold
def said_in(content: Any, agent: Id, path: Path) -> Said:
    """Pose and objects of a YAML file's content.

    Raises:
        DataError: if one of them is missing or broken.
    """
    if not isinstance(content, dict):
        raise DataError(path, f"expected lidar_pose and vehicles, got {type(content).__name__}")
    if missing := [key for key in ("lidar_pose", "vehicles") if key not in content]:
        raise DataError(path, f"expected lidar_pose and vehicles, got no {missing[0]}; is the file whole?")
    pose, listed = content["lidar_pose"], content["vehicles"]
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        raise DataError(path, "expected vehicles to be entries by their ids, got something else")
    if len(listed) > MOST_OBJECTS:
        raise DataError(path, f"expected at most {MOST_OBJECTS} vehicles, got {len(listed)}")
    if isinstance(pose, list) and len(pose) == 4:
        world_T_sensor = pose_matrix(pose, path, "lidar_pose")
        vehicles = {_associated(k, e, agent): e for k, e in listed.items() if e.get("obj_type") != "Pedestrian"}
        own = _objects(vehicles, path)
        return Said(world_T_sensor, Objects(own.ids, world_T_sensor @ own.world_T_box, own.size))
    six = array(pose, (6,), path, "lidar_pose")
    return Said(carla.matrices(six[None, :3], six[None, 3:])[0], _objects(listed, path))


def _associated(key: Any, entry: Mapping[str, Any], agent: Id) -> str:
    """An object's name across agents, which is no agent's, or one that no other agent's object has."""
    name = entry.get("ass_id", -1)
    return f"{agent}-{_name(key)}" if name == -1 or _name(name) is None else f"ass-{name}"


def _name(key: Any) -> str | None:
    """An object's name as text; None where it is neither a number nor a short string."""
    if isinstance(key, int) and abs(key) < 10**18:
        return str(key)
    return key if isinstance(key, str) and len(key) <= _LONGEST_NAME else None


def _objects(listed: Mapping[Any, Mapping[str, Any]], path: Path) -> Objects:
    if not listed:
        return Objects.none()
    names = [_name(key) for key in listed]
    if None in names:
        raise DataError(path, "expected vehicles by a number or a short name, got something else")
    columns: dict[str, Float64] = {}
    for name in ("location", "center", "angle", "extent"):
        for key, entry in listed.items():
            if name not in entry:
                raise DataError(path, f"expected vehicle {_name(key)} to have {name}, got none; is the file whole?")
        values = [entry[name] for entry in listed.values()]
        columns[name] = array(values, (len(values), 3), path, f"{name} of the vehicles")
    poses = carla.matrices(columns["location"] + columns["center"], columns["angle"])
    return objects_of([str(name) for name in names], poses, 2 * columns["extent"], path)


def points_of(cloud: pcd.PointCloud, path: Path) -> Float32:
    """Points `(N, 4)` of a scan, intensity in [0, 1]; those that are not finite are left out.

    Raises:
        DataError: if there is no x, y or z.
    """
    columns = {name: column for name, column in cloud.columns.items() if column.ndim == 1}
    if missing := [c for c in ("x", "y", "z") if c not in columns]:
        raise DataError(path, f"expected fields x y z, got {' '.join(cloud.columns)}: no {missing[0]}")
    points = np.empty((len(cloud), 4), np.float32)
    with np.errstate(over="ignore"):  # a double that no float32 holds becomes inf, and goes
        for k, name in enumerate(("x", "y", "z")):
            points[:, k] = columns[name]
    points[:, 3] = _intensity(columns)
    finite = np.isfinite(points[:, :3]).all(axis=1)
    return points if finite.all() else points[finite]


def _intensity(columns: Mapping[str, Array]) -> Array | float:
    if "intensity" in columns:
        return unit_intensity(columns["intensity"])
    for name in ("rgb", "rgba"):
        if name in columns:
            red: Float32 = pcd.red(columns[name]).astype(np.float32) / np.float32(255)
            return red
    return 0.0


# ---------------------------------------------------------------------------------------------------------- names
def _kind(agent: Id) -> str:
    return "roadside" if agent.startswith("-") and _NUMBER.fullmatch(agent) else "vehicle"


def _body(agent: Id) -> str | None:
    """The object that an agent is to others: they list it by its number, as YAML reads it."""
    return str(int(agent)) if _kind(agent) == "vehicle" and _NUMBER.fullmatch(agent) else None


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, by name as text; hidden ones are none of the data set's."""
    try:
        return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    except OSError as error:
        raise DataError(folder, f"cannot be listed ({error.strerror or type(error).__name__})") from None


def _files(agent: Path) -> _Folder:
    """Opens no file."""
    found: dict[str, set[str]] = {"yaml": set(), "pcd": set()}
    try:
        names = [p.name for p in agent.iterdir()]
    except OSError as error:
        raise DataError(agent, f"cannot be listed ({error.strerror or type(error).__name__})") from None
    for name in names:
        if (match := _STAMP.fullmatch(name)) is not None:
            found[match[2]].add(match[1])
    alone = [f"{s}.yaml" for s in found["yaml"] - found["pcd"]] + [f"{s}.pcd" for s in found["pcd"] - found["yaml"]]
    return _Folder(frozenset(found["yaml"] & found["pcd"]), tuple(sorted(alone)))


def _has_agents(scenario: Path) -> bool:
    return any(files.whole or files.halves for files in map(_files, _folders(scenario)))
