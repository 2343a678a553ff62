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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from robosac.data import safe
from robosac.data.points import unit_intensity
from robosac.data.recording import AgentInfo, DataError, Objects
from robosac.data.rigid import array, objects_of, pose_matrix, rotations
from robosac.types import Float64, Id, InputError, View

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
    """A `Recording` of V2X-Sim by pickled infos. `files`: which ones; all of `root`, unless given."""

    root: Path
    files: tuple[Path, ...] = ()

    @property
    def layout(self) -> str:
        return "v2xsim-pkl"

    # -------------------------------------------------------------------------------------------------- listing
    @cached_property
    def _scenarios(self) -> dict[str, dict[str, _Moment]]:
        found: dict[str, dict[str, _Moment]] = {}
        for file in self.files or sorted(self.root.glob(INFOS)):
            infos = safe.read_pickle(file, self.root)
            if not isinstance(infos, (list, tuple)):
                raise DataError(file, f"expected a list of frames, got {type(infos).__name__}")
            split = file.stem.rpartition("_")[2]
            for k, info in enumerate(infos):
                if not isinstance(info, dict):
                    raise DataError(file, f"expected frame {k} to be a dictionary, got {type(info).__name__}")
                _agent_count(info, k, file)
                scene = next((info[key] for key in ("scene_id", "scene_token") if key in info), "0")
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
            if not tail.is_absolute() and (self.root / tail).is_file():
                return safe.inside(self.root, str(tail))
        return DataError(self.root / parts[-1], f"expected the scan {written!r:.200} of {what}, got no such file")

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        what = f"lidar_pose_{agent}"
        moment = self._moment(scenario, tick)
        return pose_matrix(self._field(scenario, tick, what), moment.file, f"{what} of frame {moment.position}")

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        path = self._scan(scenario, tick, agent)
        raw = safe.read_bytes(path, self.root)
        row = _COLUMNS * 4
        if len(raw) % row:
            raise DataError(path, f"expected points of {row} bytes, float32 x y z intensity ring, got {len(raw)} bytes")
        table = np.frombuffer(raw, dtype="<f4").reshape(-1, _COLUMNS)
        points = np.array(table[np.isfinite(table[:, :3]).all(axis=1), :4], dtype=np.float32)
        points[:, 3] = unit_intensity(points[:, 3])
        return View(agent, "vehicle", self._t_ns(scenario, tick), points, self.pose(scenario, tick, agent))

    def _t_ns(self, scenario: str, tick: str) -> int:
        micros = self._moment(scenario, tick).info.get("timestamp")
        if isinstance(micros, (int, np.integer)) and 0 < micros < 10**16:
            return int(micros) * 1000
        return int(tick) * _PERIOD_NS

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        moment = self._moment(scenario, tick)
        names: list[str] = []
        boxes = np.zeros((0, 10))
        for agent in agents:
            what = f"labels_{agent}"
            listed = self._field(scenario, tick, what)
            if not isinstance(listed, dict) or not {"gt_boxes_global", "gt_object_ids"} <= set(listed):
                raise DataError(moment.file, f"expected gt_boxes_global and gt_object_ids in {what}, got neither")
            own = [str(name) for name in np.asarray(listed["gt_object_ids"]).ravel().tolist()]
            if not own:
                continue
            what = f"gt_boxes_global of {what}, frame {moment.position}"
            boxes = np.concatenate([boxes, array(listed["gt_boxes_global"], (len(own), 10), moment.file, what)])
            names += own
        poses = np.tile(np.eye(4), (len(boxes), 1, 1))
        poses[:, :3, :3] = rotations(boxes[:, 6:], moment.file, f"boxes of frame {moment.position}")
        poses[:, :3, 3] = boxes[:, :3]
        return objects_of(names, poses, boxes[:, 3:6], moment.file)


def _agent_count(info: Mapping[str, Any], position: int, file: Path) -> int:
    count = info.get("agent_num")
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or not 0 <= count <= MOST_AGENTS:
        raise DataError(file, f"expected agent_num of frame {position} to be 0 to {MOST_AGENTS}, got {count!r:.40}")
    return int(count)
