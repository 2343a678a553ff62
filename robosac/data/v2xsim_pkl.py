"""V2X-Sim 2.0 by CoAlign's pickled infos: full scans, poses and labels of every vehicle.

    ROOT/v2xsim_infos_{train,val,test}.pkl     a list of dictionaries, one a frame
    ROOT/.../*.pcd.bin                         scans: float32, five a point: x y z intensity ring

- `lidar_path_A` is written as it was on its author's machine; its longest tail that is a file below ROOT is taken. One
  that leads out of ROOT is an error. A .pkl itself may be named instead of ROOT: then only its frames are read.
- A scenario is a scene of a split, `test/scene_5`; a tick is the frame's position in its scene. Agents are `1`, `2` and
  on, all vehicles: the road-side unit is not in these files. The field's ego is 1.
- Labels are in the world, right-handed, by the object's own name, so tracks are known. Times are `timestamp`
  (microseconds) where there is one, else frames are 200 ms apart (V2X-Sim records at 5 Hz).
- The pickle is read as data: arrays, numbers, strings and containers; anything else in it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from robosac.data import safe
from robosac.data.labels import VEHICLES, class_of, objects_of, sort_out, union
from robosac.data.points import Scales, floats, intensities, points_of
from robosac.data.recording import AgentInfo, DataError, Objects
from robosac.data.rigid import numbers, pose_matrix, rotations
from robosac.types import Array, Float64, Id, InputError, View

INFOS: Final = "v2xsim_infos_*.pkl"
MOST_AGENTS: Final = 64
_PERIOD_NS: Final = 200_000_000
_COLUMNS: Final = 5


@dataclass(frozen=True)
class _Moment:
    """A frame: which file says so, its position there, and what it says."""

    file: Path
    position: int
    info: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class V2XSimPkl:
    """A `Recording` of V2X-Sim by pickled infos.

    Attributes:
        root: the folder that holds the pickles and the scans.
        files: which pickles; all of `root`, unless given.
        classes: of the objects that count, as `robosac.data.labels.spelled` spells them.
    """

    root: Path
    files: tuple[Path, ...] = ()
    classes: frozenset[str] = VEHICLES

    @property
    def layout(self) -> str:
        return "v2xsim-pkl"

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def _scenarios(self) -> dict[str, dict[str, _Moment]]:
        found: dict[str, dict[str, _Moment]] = {}
        for file in self.files or infos_in(self.root):
            infos = safe.read_pickle(file, self.root)
            if not isinstance(infos, (list, tuple)):
                raise DataError(file, f"expected a list of frames, got {type(infos).__name__}")
            split = file.stem.rpartition("_")[2]
            for k, info in enumerate(infos):
                if not isinstance(info, dict):
                    raise DataError(file, f"expected frame {k} to be a dictionary, got {type(info).__name__}")
                _agent_count(info, k, file)
                scene = _name(next((info[key] for key in ("scene_id", "scene_token") if key in info), "0"))
                if scene is None:
                    raise DataError(file, f"expected the scene of frame {k} to be a number or a name, got neither")
                ticks = found.setdefault(f"{split}/scene_{scene}", {})
                ticks[f"{len(ticks):06d}"] = _Moment(file, k, info)
        return found

    def scenarios(self) -> Sequence[str]:
        return list(self._scenarios)

    def _moment(self, scenario: str, tick: str) -> _Moment:
        return self._scenarios[scenario][tick]

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        there = {a for tick in self.ticks(scenario) for a in self.present(scenario, tick)}
        return [AgentInfo(a, "vehicle") for a in sorted(there, key=int)]

    def ticks(self, scenario: str) -> Sequence[str]:
        if scenario not in self._scenarios:
            raise InputError(f"expected a scenario of {self.root}, got {scenario!r}")
        return list(self._scenarios[scenario])

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        """The vehicles that a frame names, scans there or not."""
        moment = self._moment(scenario, tick)
        return [str(a) for a in range(1, _agent_count(moment.info, moment.position, moment.file) + 1)]

    def problems(self) -> Iterator[DataError]:
        """Scans that frames name and that are not there; opens no file but the infos."""
        for scenario, moments in self._scenarios.items():
            for tick in moments:
                for agent in self.present(scenario, tick):
                    if isinstance(found := self._found(scenario, tick, agent), DataError):
                        yield found

    # ------------------------------------------------------------------------------------------------- contents
    def _field(self, scenario: str, tick: str, name: str) -> Any:
        moment = self._moment(scenario, tick)
        if name not in moment.info:
            raise DataError(moment.file, f"expected {name} in frame {moment.position}, got none")
        return moment.info[name]

    def _scan(self, scenario: str, tick: str, agent: Id) -> Path:
        """Where a scan is; DataError if nowhere."""
        found = self._found(scenario, tick, agent)
        if isinstance(found, DataError):
            raise found
        return found

    def _found(self, scenario: str, tick: str, agent: Id) -> Path | DataError:
        moment, written = self._moment(scenario, tick), self._field(scenario, tick, f"lidar_path_{agent}")
        what = f"frame {moment.position}, agent {agent}"
        if not isinstance(written, str) or not 0 < len(written) < 4096 or "\0" in written:
            return DataError(moment.file, f"expected lidar_path_{agent} of {what} to be a path, got {written!r:.80}")
        parts = PurePosixPath(written.replace("\\", "/")).parts
        if ".." in parts:
            return DataError(
                moment.file, f"expected lidar_path_{agent} of {what} below the data set, got {written!r:.80}"
            )
        for k in range(len(parts)):
            tail = PurePosixPath(*parts[k:])
            if not tail.is_absolute() and safe.is_file(self.root / tail):
                return safe.inside(self.root, str(tail))
        return DataError(self.root / parts[-1], f"expected the scan {written!r:.200} of {what}, got no such file")

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        what = f"lidar_pose_{agent}"
        moment = self._moment(scenario, tick)
        return pose_matrix(self._field(scenario, tick, what), moment.file, f"{what} of frame {moment.position}")

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        path = self._scan(scenario, tick, agent)
        points = points_of(self._columns(path), path, self.intensities, "vehicle")
        return View(agent, "vehicle", self._t_ns(scenario, tick), points, self.pose(scenario, tick, agent))

    def _columns(self, path: Path) -> Mapping[str, Array]:
        return floats(safe.read_bytes(path, self.root), _COLUMNS, path)

    @cached_property
    def intensities(self) -> Scales:
        """How the intensities of the recording are scaled."""
        return Scales(self._raw_intensities)

    def _raw_intensities(self, kind: str) -> Iterable[Array]:
        scans = [(s, tick, a) for s, ticks in self._scenarios.items() for tick in ticks for a in self.present(s, tick)]
        return intensities(scans, lambda scan: self._columns(self._scan(*scan)))

    def _t_ns(self, scenario: str, tick: str) -> int:
        micros = self._moment(scenario, tick).info.get("timestamp")
        if isinstance(micros, (int, float, np.integer, np.floating)) and 0 < micros < 10**16:
            return int(micros) * 1000
        return int(tick) * _PERIOD_NS

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        return union([self._listed(scenario, tick, agent) for agent in agents])

    def _listed(self, scenario: str, tick: str, agent: Id) -> Objects:
        """What is listed for one agent."""
        moment, what = self._moment(scenario, tick), f"labels_{agent}"
        listed = self._field(scenario, tick, what)
        if not isinstance(listed, dict) or not {"gt_boxes_global", "gt_object_ids"} <= set(listed):
            raise DataError(moment.file, f"expected gt_boxes_global and gt_object_ids in {what}, got neither")
        what = f"{what}, frame {moment.position}"
        ids = _flat(listed["gt_object_ids"], moment.file, f"gt_object_ids of {what}")
        raw = listed["gt_boxes_global"]
        boxes = np.zeros((0, 10))
        none = raw.size == 0 if isinstance(raw, np.ndarray) else raw in ([], (), None)  # of any shape
        if ids or not none:
            boxes = numbers(raw, (len(ids), 10), moment.file, f"gt_boxes_global of {what}")
        kinds = (
            _flat(listed["gt_names"], moment.file, f"gt_names of {what}") if "gt_names" in listed else [""] * len(ids)
        )
        if len(kinds) != len(ids):
            raise DataError(moment.file, f"expected gt_names of {what} to be {len(ids)}, got {len(kinds)}")
        kept, told = sort_out([class_of(kind) for kind in kinds], self.classes)
        rows = np.flatnonzero(kept).tolist()
        poses = np.tile(np.eye(4), (len(rows), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = rotations(boxes[rows, 6:]), boxes[rows, :3]
        otherwise = [f"{scenario}-{tick}-{agent}-{k}" for k in rows]
        return objects_of([_name(ids[k]) for k in rows], otherwise, poses, boxes[rows, 3:6], moment.file, told)


def infos_in(folder: Path) -> list[Path]:
    """The pickles of infos that lie in a folder."""
    return [folder / name for name in safe.names(folder) or () if fnmatchcase(name, INFOS)]


def _flat(value: Any, file: Path, what: str) -> list[Any]:
    """A list, or an array of one dimension, as a list."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return list(value.tolist())
    if isinstance(value, (list, tuple)):
        return [v.item() if isinstance(v, np.generic) else v for v in value]
    raise DataError(file, f"expected {what} to be a list, got {type(value).__name__}")


def _name(value: Any) -> str | None:
    """An object's or a scene's name; None for what is none: nothing, -1, no number and no short text."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is int:
        return None if value == -1 else str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 200 else None


def _agent_count(info: Mapping[str, Any], position: int, file: Path) -> int:
    count = info.get("agent_num")
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or not 0 <= count <= MOST_AGENTS:
        raise DataError(file, f"expected agent_num of frame {position} to be 0 to {MOST_AGENTS}, got {count!r:.40}")
    return int(count)
