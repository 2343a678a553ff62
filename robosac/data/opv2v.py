"""OPV2V, V2XSet, and data sets laid out like them: V2V4Real, V2X-Real, V2X-R.

    ROOT/SCENARIO/AGENT/TIME.yaml     pose of the LiDAR, the vehicles it sees
    ROOT/SCENARIO/AGENT/TIME.pcd      its scan: x y z, and intensity or rgb; or TIME.bin: float32, x y z intensity

- ROOT is a split, a scenario, an agent's folder alone, or the folder above the splits; scenarios are then named
  `SPLIT/SCENARIO`.
- An agent is a folder with such files. It is a road-side unit where its name is a negative number or its files say
  `RSU: true`; other numbers are the names under which vehicles list one another; names that are no numbers (`car1`) are
  taken as they are, and an agent's own body is then found by where it stands. Agents are in the order of their names as
  text, as the field sorts them, road-side units last; the first is the field's ego.
- TIME is a number of up to 19 digits: of 13, 16 or 19 digits it is a time in milli-, micro- or nanoseconds. Others
  count simulation steps at 10 Hz, so the smallest step between a scenario's times is a tenth of a second. An agent may
  lack times that others have: it is not there then. Clouds of other names (`TIME_radar.pcd`) are left alone and told.

What the files hold: `robosac.data.opv2v_files`.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

from robosac.data import safe
from robosac.data.labels import VEHICLES, union
from robosac.data.opv2v_files import Said, is_roadside_unit, said
from robosac.data.points import Scales, floats, intensities, points_of
from robosac.data.recording import UNIT_NS, AgentInfo, DataError, Objects
from robosac.types import Array, Float64, Id, InputError, View

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_STAMP: Final = re.compile(r"([0-9]{1,19})\.(yaml|pcd|bin)")
_ALONE: Final = re.compile(r"[0-9]{1,19}(\D.*\.(?:pcd|bin))")
_PERIOD_NS: Final = 100_000_000
_KEPT: Final = 64  # what so many files said; a frame asks for the same ones several times


@dataclass(frozen=True, eq=False)
class _Folder:
    """Files of an agent."""

    path: Path
    whole: Mapping[str, str]  # time -> how its cloud's name ends, of the times that have both files
    halves: tuple[str, ...]  # names of the files that are there alone
    alone: Counter[str]  # how the names of other clouds end -> how many


@dataclass(frozen=True, eq=False)
class OPV2V:
    """A `Recording` of OPV2V's layout.

    Attributes:
        root: a split, a scenario, or the folder above the splits.
        scenario_names: of folders in a split, those that are meant; all of them, unless given.
        classes: of the objects that count, as `robosac.data.labels.spelled` spells them.
    """

    root: Path
    scenario_names: tuple[str, ...] | None = None
    classes: frozenset[str] = VEHICLES
    _read: OrderedDict[tuple[str, str, Id], Said] = field(default_factory=OrderedDict, init=False, repr=False)
    _unread: set[Path] = field(default_factory=set, init=False, repr=False)  # folders that cannot be listed
    _kinds: dict[Path, str] = field(default_factory=dict, init=False, repr=False)
    _listed: dict[str, dict[Id, _Folder]] = field(default_factory=dict, init=False, repr=False)
    _ticks: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)
    _clocks: dict[str, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    @property
    def layout(self) -> str:
        return "opv2v"

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def _places(self) -> Mapping[str, Path]:
        """Scenarios by name, where they are."""
        if self.scenario_names is not None:
            return {name: safe.inside(self.root, name) for name in self.scenario_names}
        if agent_files(self.root) or any(agent_files(folder) for folder in safe.folders(self.root)):
            return {self.root.name or "scenario": self.root}
        found: dict[str, Path] = {}
        for folder in self._below(self.root):
            if any(agent_files(agent) for agent in self._below(folder)):
                found[folder.name] = folder
            else:
                inner = [s for s in safe.folders(folder) if any(agent_files(a) for a in self._below(s))]
                found |= {f"{folder.name}/{s.name}": s for s in inner}
        return found

    def _below(self, folder: Path) -> list[Path]:
        if safe.names(folder) is None:
            self._unread.add(folder)
        return safe.folders(folder)

    def scenarios(self) -> Sequence[str]:
        return list(self._places)

    def _agents(self, scenario: str) -> dict[Id, _Folder]:
        """Agents of a scenario with their files, in the field's order."""
        if scenario not in self._listed:
            if scenario not in self._places:
                raise InputError(f"expected a scenario of {self.root}, got {scenario!r}")
            place = self._places[scenario]
            folders = [place] if agent_files(place) else self._below(place)
            listed = {p: found for p in folders if (found := self._files(p)) is not None}
            self._kinds.update({p: self._kind(p, found) for p, found in listed.items()})
            order = sorted(listed, key=lambda p: (self._kinds[p] == "roadside", p.name))
            self._listed[scenario] = {p.name: listed[p] for p in order}
        return self._listed[scenario]

    def _files(self, agent: Path) -> _Folder | None:
        """Opens no file."""
        stamps: dict[str, dict[str, None]] = {"yaml": {}, "pcd": {}, "bin": {}}
        if (names := safe.names(agent)) is None:
            self._unread.add(agent)
        alone: Counter[str] = Counter()
        for name in names or ():
            if (match := _STAMP.fullmatch(name)) is not None:
                stamps[match[2]][match[1]] = None
            elif (other := _ALONE.fullmatch(name)) is not None:
                alone[other[1]] += 1
        clouds = {**dict.fromkeys(stamps["bin"], "bin"), **dict.fromkeys(stamps["pcd"], "pcd")}
        whole = {stamp: clouds[stamp] for stamp in stamps["yaml"] if stamp in clouds}
        halves = [f"{s}.yaml" for s in stamps["yaml"] if s not in whole]
        halves += [f"{s}.{end}" for s, end in clouds.items() if s not in whole]
        return _Folder(agent, whole, tuple(sorted(halves)), alone) if whole or halves else None

    def _kind(self, agent: Path, files: _Folder) -> str:
        if _NUMBER.fullmatch(agent.name) and agent.name.startswith("-"):
            return "roadside"
        first = min(files.whole, key=int, default=None)
        return "roadside" if first and is_roadside_unit(agent / f"{first}.yaml", self.root) else "vehicle"

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        return [
            AgentInfo(a, kind := self._kinds[files.path], _body(a) if kind == "vehicle" else None)
            for a, files in self._agents(scenario).items()
            if files.whole
        ]

    def ticks(self, scenario: str) -> Sequence[str]:
        if scenario not in self._ticks:
            whole = {stamp for files in self._agents(scenario).values() for stamp in files.whole}
            self._ticks[scenario] = sorted(whole, key=lambda stamp: (int(stamp), stamp))
        return self._ticks[scenario]

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        return [a for a, files in self._agents(scenario).items() if tick in files.whole]

    def problems(self) -> Iterator[DataError]:
        """Files that are missing beside others, and folders that cannot be listed; opens no scan."""
        for scenario in self._places:
            for files in self._agents(scenario).values():
                for name in files.halves:
                    other = Path(name).with_suffix(".yaml" if not name.endswith(".yaml") else ".pcd").name
                    yield DataError(files.path / other, f"expected it beside {name}, got none")
                halves = {Path(name).stem for name in files.halves}
                for tick in self.ticks(scenario):
                    if tick not in files.whole and tick not in halves:
                        yield DataError(files.path / f"{tick}.yaml", "expected a frame that other agents have")
        for folder in sorted(self._unread):
            yield DataError(folder, "cannot be listed")

    def left_alone(self) -> Mapping[str, int]:
        """How the names of clouds end that are no scans of this layout -> how many there are."""
        total = sum((f.alone for s in self._places for f in self._agents(s).values()), start=Counter[str]())
        return dict(sorted(total.items()))

    @cached_property
    def intensities(self) -> Scales:
        """How the intensities of the recording are scaled."""
        return Scales(self._raw_intensities)

    def _raw_intensities(self, kind: str) -> Iterable[Array]:
        scans = [
            f.path / f"{stamp}.{f.whole[stamp]}"
            for s in self._places
            for f in self._agents(s).values()
            if self._kinds[f.path] == kind
            for stamp in sorted(f.whole)
        ]
        return intensities(scans, self._columns)

    def _columns(self, path: Path) -> Mapping[str, Array]:
        if path.suffix == ".bin":
            return floats(safe.read_bytes(path, self.root), 4, path)
        return safe.read_pcd(path, self.root).columns

    # ------------------------------------------------------------------------------------------------- contents
    def _folder(self, scenario: str, tick: str, agent: Id) -> _Folder:
        found = self._agents(scenario).get(agent)
        if found is None or not tick.isdecimal():
            raise InputError(f"expected an agent and a time of {scenario}, got {agent!r} and {tick!r}")
        return found

    def _said(self, scenario: str, tick: str, agent: Id) -> Said:
        key = (scenario, tick, agent)
        found = self._read.get(key)
        if found is None:
            path = self._folder(scenario, tick, agent).path / f"{tick}.yaml"
            found = self._read[key] = said(path, self.root, agent, self.classes)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return found

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        return self._said(scenario, tick, agent).world_T_sensor

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        folder = self._folder(scenario, tick, agent)
        path, kind = folder.path / f"{tick}.{folder.whole.get(tick, 'pcd')}", self._kinds[folder.path]
        points = points_of(self._columns(path), path, self.intensities, kind)
        return View(agent, kind, self._t_ns(scenario, tick), points, self.pose(scenario, tick, agent))

    def _t_ns(self, scenario: str, tick: str) -> int:
        """Since 1970 where times are that long, else since the first time of the scenario."""
        if len(tick) in UNIT_NS:
            return min(int(tick) * UNIT_NS[len(tick)], 2**63 - 1)
        if scenario not in self._clocks:
            times = [int(t) for t in self.ticks(scenario)]
            self._clocks[scenario] = times[0], min((b - a for a, b in pairwise(times) if b > a), default=1)
        start, step = self._clocks[scenario]
        return (int(tick) - start) * _PERIOD_NS // step

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        """The union by name. Where two agents list one object, the boxes agree, and the first agent's is taken."""
        return union([self._said(scenario, tick, agent).objects for agent in agents])


# ---------------------------------------------------------------------------------------------------------- names
def _body(vehicle: Id) -> str | None:
    """The object that a vehicle is to others: they list it by its number, as YAML reads it."""
    return str(int(vehicle)) if _NUMBER.fullmatch(vehicle) else None


def agent_files(folder: Path) -> bool:
    """Whether a folder holds descriptions of an agent; by their names alone."""
    return any(name.endswith(".yaml") and _STAMP.fullmatch(name) for name in safe.names(folder) or ())
