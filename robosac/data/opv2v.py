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

What the files hold: `robosac.data.opv2v_files`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from robosac.data import safe
from robosac.data.opv2v_files import Said, said
from robosac.data.points import points_of
from robosac.data.recording import AgentInfo, DataError, Objects
from robosac.types import Float64, Id, InputError, View

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
_STAMP: Final = re.compile(r"([0-9]{1,10})\.(yaml|pcd)")
_PERIOD_NS: Final = 100_000_000
_KEPT: Final = 64  # what so many files said; a frame asks for the same ones several times


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
        """Scenarios by name, where they are."""
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
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = said(self._path(scenario, tick, agent, "yaml"), self.root, agent)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return found

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        return self._said(scenario, tick, agent).world_T_sensor

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        path = self._path(scenario, tick, agent, "pcd")
        points = points_of(safe.read_pcd(path, self.root), path)
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
