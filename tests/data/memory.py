"""Recordings without a disk, for the tests of what all layouts share: a few made-up scans, and the simulator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robosac.boxes import pose_xyz_rpy
from robosac.data.recording import AgentInfo, DataError, Objects
from robosac.simulation import SimConfig, scenario
from robosac.types import View


@dataclass
class Memory:
    """Scenarios by hand. `poses[scenario][tick][agent]`; each scan holds one point, its own tick, in the intensity."""

    infos: tuple[AgentInfo, ...]
    poses: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    lists: Mapping[str, Objects] = field(default_factory=dict)  # agent -> what it lists, at any tick
    scans: Mapping[str, np.ndarray] = field(default_factory=dict)  # agent -> points (N, 4), at any tick
    broken: set[tuple[str, str, str]] = field(default_factory=set)  # scenario, tick, agent
    opened: list[tuple[str, str, str]] = field(default_factory=list)
    layout: str = "memory"
    root: Path = Path("memory")

    def scenarios(self) -> Sequence[str]:
        return sorted(self.poses)

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        there = {a for tick in self.poses[scenario].values() for a in tick}
        return [a for a in self.infos if a.id in there]

    def ticks(self, scenario: str) -> Sequence[str]:
        return sorted(self.poses[scenario])

    def present(self, scenario: str, tick: str) -> Sequence[str]:
        return list(self.poses[scenario][tick])

    def pose(self, scenario: str, tick: str, agent: str) -> np.ndarray:
        return self.poses[scenario][tick][agent]

    def view(self, scenario: str, tick: str, agent: str) -> View:
        self.opened.append((scenario, tick, agent))
        if (scenario, tick, agent) in self.broken:
            raise DataError(Path(scenario) / agent / f"{tick}.pcd", "expected points, got none")
        kind = {a.id: a.kind for a in self.infos}[agent]
        points = self.scans.get(agent, np.array([[0, 0, 0, int(tick) / 100]], np.float32))
        return View(agent, kind, int(tick) * 100_000_000, points, self.pose(scenario, tick, agent))

    def labels(self, scenario: str, tick: str, agents: Sequence[str]) -> Objects:
        ids: dict[str, int] = {}
        parts = [self.lists[a] for a in agents if a in self.lists]
        names = [name for part in parts for name in part.ids]
        for k, name in enumerate(names):
            ids.setdefault(name, k)
        if not names:
            return Objects.none()
        pick = list(ids.values())
        return Objects(
            tuple(ids),
            np.concatenate([p.world_T_box for p in parts])[pick],
            np.concatenate([p.size for p in parts])[pick],
        )


def at(x: float, y: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    """A pose on the ground, sensors 2 m above it."""
    return pose_xyz_rpy(x, y, 2.0, yaw_rad=np.radians(yaw_deg))


def cars(**where: tuple[float, float]) -> Objects:
    """4 x 2 x 1.5 m cars heading along +x, standing on the ground, by name."""
    poses = [pose_xyz_rpy(x, y, 0.75) for x, y in where.values()]
    size = np.tile(np.array([4.0, 2.0, 1.5], np.float32), (len(poses), 1))
    return Objects(tuple(n.removeprefix("n") for n in where), np.stack(poses), size)


class Simulated:
    """The simulator's scenarios as a recording: every agent lists all objects, under their index."""

    layout, root = "simulated", Path("simulated")

    def __init__(self, count: int = 1, config: SimConfig | None = None) -> None:
        self._scenarios = {s.name: s for s in (scenario("val", i, config=config) for i in range(count))}
        self._snapshots = {n: [s.snapshot(k) for k in range(s.n_frames)] for n, s in self._scenarios.items()}

    def snapshot(self, name: str, tick: str):
        return self._snapshots[name][int(tick)]

    def scenarios(self) -> Sequence[str]:
        return list(self._scenarios)

    def agents(self, name: str) -> Sequence[AgentInfo]:
        agents = self._scenarios[name].agents
        return [AgentInfo(a.id, a.kind, str(a.vehicle) if a.vehicle >= 0 else None) for a in agents]

    def ticks(self, name: str) -> Sequence[str]:
        return [f"{k:06d}" for k in range(self._scenarios[name].n_frames)]

    def present(self, name: str, tick: str) -> Sequence[str]:
        return self.snapshot(name, tick).agents

    def pose(self, name: str, tick: str, agent: str) -> np.ndarray:
        return self.snapshot(name, tick).world_T_sensor[agent]

    def view(self, name: str, tick: str, agent: str) -> View:
        return self.snapshot(name, tick).view(agent)

    def labels(self, name: str, tick: str, agents: Sequence[str]) -> Objects:
        snapshot = self.snapshot(name, tick)
        size = self._scenarios[name].traffic.size.astype(np.float32)
        poses = snapshot.world_T_object.copy()
        poses[:, :3, 3] += poses[:, :3, 2] * size[:, 2:] / 2
        return Objects(tuple(map(str, range(len(size)))), poses, size)
