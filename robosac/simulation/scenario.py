"""A scenario: a second of traffic at a place, seen by connected sensors; the simulator's front door."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from robosac.boxes import invert_pose, nudge_pose, transform_boxes
from robosac.simulation.agents import Agent, choose_agents
from robosac.simulation.config import KINDS, SPLITS, SimConfig
from robosac.simulation.crossing import draw_crossing
from robosac.simulation.layout import Layout
from robosac.simulation.lidar import Surfaces, scan
from robosac.simulation.meshes import resting_poses
from robosac.simulation.outfit import outfitted, restyled
from robosac.simulation.places import draw_layout
from robosac.simulation.recast import recast
from robosac.simulation.roadside import dressed, with_people
from robosac.simulation.sensors import Sensor
from robosac.simulation.surfaces import Solids, solids_of, surfaces_of
from robosac.simulation.terrain import Terrain
from robosac.simulation.tracks import Vehicles
from robosac.simulation.traffic import draw_traffic, ever_at
from robosac.simulation.variety import Weather, draw_weather
from robosac.types import Array, Float32, Float64, Frame, Id, InputError, Int64, Truth, View, keyed_rng

_ATTEMPTS: Final = 25


def scenario(split: str, index: int, *, seed: int = 0, config: SimConfig | None = None) -> Scenario:
    """Scenario `index` of a split. The same arguments give bit-identical points, in any order and process.

    The default ego has all other agents within communication range in every frame. Where a drawn place and traffic
    do not allow that, the next draw of the same key sequence is taken.

    Raises:
        InputError: an unknown split, a negative index or seed, or a config that no draw can satisfy.
    """
    config = SimConfig() if config is None else config
    if split not in SPLITS:
        raise InputError(f"expected split to be one of {', '.join(SPLITS)}, got {split!r}")
    if index < 0 or seed < 0:
        raise InputError(f"expected index and seed to be >= 0, got index {index}, seed {seed}")
    kind = str(keyed_rng(seed, split, index, "kind").choice(KINDS, p=np.asarray(config.shares) / sum(config.shares)))
    times = np.arange(config.n_frames) / config.rate_hz
    for attempt in range(_ATTEMPTS):
        rngs = [keyed_rng(seed, split, index, role, attempt) for role in ("layout", "terrain", "traffic", "agents")]
        made = _draw(kind, times, config, rngs, keyed_rng(seed, split, index, "variety", attempt))
        if made is not None:
            return Scenario(split, index, seed, config, *made)
    raise InputError(
        f"expected {config.n_vehicles} connected vehicles within {config.comm_range_m} m of one another for "
        f"{config.n_frames} frames, got none in {_ATTEMPTS} draws of a place of kind {kind!r}; "
        "lower n_vehicles or n_frames, or raise comm_range_m"
    )


Drawn = tuple[Layout, Terrain, Vehicles, tuple[Agent, ...], Weather]


def _draw(
    kind: str, times_s: Array, config: SimConfig, rngs: list[np.random.Generator], varied: np.random.Generator
) -> Drawn | None:
    """Place, ground, traffic, agents and weather, or None where they do not allow as many teammates as are wanted."""
    variety = config.variety
    if variety is None:
        terrain, weather = Terrain.draw(rngs[1], config.max_grade), Weather()
        layout, traffic = _place_and_traffic(kind, times_s, config, rngs[0], rngs[2])
        agents = choose_agents(layout, terrain, traffic, times_s, config, rngs[3])
        return None if agents is None else (layout, terrain, traffic, agents, weather)
    layout, weather = draw_layout(kind, rngs[0]), draw_weather(variety, varied)
    terrain = Terrain.draw(rngs[1], float(varied.uniform(0, variety.max_grade)))
    gaps = float(varied.choice([0.7, 1.0, 1.6, 3.0]))
    clutter = float(varied.uniform(0, variety.clutter))
    layout = dressed(layout, varied, clutter=clutter, yards=variety.yards, gaps=gaps)
    driven = restyled(draw_traffic(layout, times_s, rngs[2]), variety, varied)
    unit = config.roadside and varied.random() < variety.roadside
    agents = choose_agents(layout, terrain, driven, times_s, replace(config, roadside=unit), rngs[3])
    if agents is None:
        return None
    layout = with_people(layout, ever_at(driven, times_s), varied, mean=variety.people)
    return layout, terrain, driven, outfitted(agents, driven, layout.focus_xy, variety, weather, varied), weather


def _place_and_traffic(
    kind: str, times_s: Array, config: SimConfig, places: np.random.Generator, driving: np.random.Generator
) -> tuple[Layout, Vehicles]:
    if config.traffic == "sumo":
        return draw_crossing(times_s, places, driving)
    layout = draw_layout(kind, places)
    return layout, draw_traffic(layout, times_s, driving)


@dataclass(frozen=True, eq=False)
class Scenario:
    """Place, ground, traffic, agents and weather of one scenario; `snapshot(k)` is the world at frame k."""

    split: str
    index: int
    seed: int
    config: SimConfig
    layout: Layout
    terrain: Terrain
    traffic: Vehicles
    agents: tuple[Agent, ...]
    weather: Weather

    @property
    def name(self) -> str:
        return f"{self.split}-s{self.seed}-{self.index:05d}"

    @property
    def kind(self) -> str:
        """ "intersection", "urban" or "highway"."""
        return self.layout.kind

    @property
    def n_frames(self) -> int:
        return self.config.n_frames

    @property
    def ego(self) -> Id:
        """The default ego."""
        return self.agents[0].id

    def snapshot(self, k: int) -> Snapshot:
        """The world at frame k, independent of other frames; nothing is cast until it is asked for."""
        if not 0 <= k < self.n_frames:
            raise InputError(f"expected a frame in [0, {self.n_frames}), got {k}")
        return Snapshot(self, k)

    @cached_property
    def _solids(self) -> Solids:
        return solids_of(self.layout, self.terrain, self.weather.leaves_m)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The world at one frame. V objects (all of them vehicles), A agents; scans are cast once, when first needed."""

    scenario: Scenario
    index: int

    @property
    def t_ns(self) -> int:
        return round(self.index * 1e9 / self.scenario.config.rate_hz)

    @property
    def agents(self) -> tuple[Id, ...]:
        """All agents' ids: vehicles "car-1"..., then the road-side unit "rsu-1"."""
        return tuple(a.id for a in self.scenario.agents)

    @cached_property
    def world_T_object(self) -> Float64:
        """Poses `(V, 4, 4)` of the objects, origin on the ground below their centres."""
        s = self.scenario
        pose = s.traffic.poses(self.index / s.config.rate_hz)
        xy = pose[:, :2]
        return resting_poses(xy, pose[:, 2], s.terrain.height(xy), s.terrain.slope(xy))

    @cached_property
    def boxes(self) -> Float64:
        """World boxes `(V, 7)` of all objects."""
        poses, size = self.world_T_object, self.scenario.traffic.size
        centre = poses[:, :3, 3] + poses[:, :3, 2] * size[:, 2:] / 2
        yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
        return np.concatenate([centre, size, yaw[:, None]], axis=1)

    @cached_property
    def world_T_sensor(self) -> Mapping[Id, Float64]:
        """True sensor poses `(4, 4)`."""
        carriers = self.world_T_object
        return {a.id: a.mount if a.vehicle < 0 else carriers[a.vehicle] @ a.mount for a in self.scenario.agents}

    @cached_property
    def surfaces(self) -> Surfaces:
        """Everything that can be hit; `owner` is the object's index, -1 for what stands still."""
        s = self.scenario
        ground = s.terrain.mesh(self.world_T_sensor[s.ego][:2, 3])
        return surfaces_of(s._solids, ground, s.traffic, self.world_T_object, s.weather.glass)

    @cached_property
    def _scans(self) -> dict[Id, tuple[View, Int64]]:
        return {}

    def _scan(self, agent: Id) -> tuple[View, Int64]:
        if agent not in self._scans:
            s = self.scenario
            a = self.agent(agent)
            key = (s.seed, s.split, s.index, "lidar", self.index, agent)
            points, owner = scan(
                self.surfaces, self.world_T_sensor[agent], a.vehicle, keyed_rng(*key), self.sensor(agent)
            )
            self._scans[agent] = (View(agent, a.kind, self.t_ns, points, self._measured(agent)), owner)
        return self._scans[agent]

    def sensor(self, agent: Id) -> Sensor:
        """The LiDAR of an agent."""
        return self.agent(agent).sensor or self.scenario.config.sensor

    def agent(self, agent: Id) -> Agent:
        """Who carries a sensor; InputError where nobody of that name does."""
        for a in self.scenario.agents:
            if a.id == agent:
                return a
        raise InputError(f"expected an agent among {', '.join(self.agents)}, got {agent!r}")

    def _measured(self, agent: Id) -> Float64:
        s = self.scenario
        rng = keyed_rng(s.seed, s.split, s.index, "pose", self.index, agent)
        dx, dy = rng.normal(0, 1, 2) * s.config.pose_noise_xy_m
        turn = rng.normal() * np.radians(s.config.pose_noise_yaw_deg)
        return nudge_pose(self.world_T_sensor[agent], dx, dy, turn)

    def view(self, agent: Id) -> View:
        """What an agent's sensor sees, with its measured pose."""
        return self._scan(agent)[0]

    def owners(self, agent: Id) -> Int64:
        """The object that each point of an agent's view is on `(N,)`, -1 for what stands still; exact."""
        return self._scan(agent)[1]

    def hits(self, agent: Id) -> Int64:
        """Points of an agent's view on each object `(V,)`, exact."""
        owner = self.owners(agent)
        return np.bincount(owner[owner >= 0], minlength=len(self.scenario.traffic)).astype(np.int64)

    @property
    def world(self) -> RecastWorld:
        """Where rays can be cast again with other traffic (`robosac.air.World`); light to keep and to send."""
        return RecastWorld(self)

    def frame(self, ego: Id | None = None) -> tuple[Frame, Truth]:
        """The ego, the others within communication range of it, and the truth in the ego's true sensor frame.

        The truth holds every object within `truth_range_m` of the ego, other connected vehicles included and the
        ego's own body left out; track ids are the objects' indices in the scenario.
        """
        s = self.scenario
        me = self.agent(s.ego if ego is None else ego)
        poses: dict[Id, Any] = dict(self.world_T_sensor)
        here = poses[me.id][:2, 3]
        near = [a for a in self.agents if np.hypot(*(poses[a][:2, 3] - here)) <= s.config.comm_range_m]
        others = {a: self.view(a) for a in near if a != me.id}
        within = np.hypot(*(self.boxes[:, :2] - here).T) <= s.config.truth_range_m
        within[me.vehicle] &= me.vehicle < 0
        ids = np.flatnonzero(within)
        truth = Truth(
            boxes=transform_boxes(invert_pose(poses[me.id]), self.boxes[ids]),
            track_ids=ids.astype(np.int64),
            hits={a: self.hits(a)[ids] for a in near},
            world_T_sensor={a: poses[a] for a in near},
        )
        return Frame(s.name, self.index, self.view(me.id), others), truth


class RecastWorld:
    """The place at one frame, where rays can be cast again: `robosac.air.World`.

    It holds the scenario and the frame's number and nothing that is heavy: where the snapshot is gone, surfaces are
    built again when the first ray is cast. Across processes it travels as what `scenario` was called with.
    """

    def __init__(self, now: Snapshot) -> None:
        self._scenario, self._index, self._now = now.scenario, now.index, weakref.ref(now)

    def __reduce__(self) -> tuple[Callable[..., RecastWorld], tuple[Any, ...]]:
        s = self._scenario
        return _world, (s.split, s.index, s.seed, s.config, self._index)

    def __deepcopy__(self, memo: dict[int, Any]) -> RecastWorld:
        return self  # it cannot change

    @cached_property
    def _rebuilt(self) -> Snapshot:
        return self._scenario.snapshot(self._index)

    def seen(self, view: View, *, added: Float32, removed: Float32) -> Float32:
        """Points `(N', 4)` of `view`, sensor frame, with vehicles in boxes `added` `(M, 7)` and without those in
        `removed` `(K, 7)`, see `robosac.simulation.recast`.

        Raises:
            InputError: the view belongs to no agent of this world.
        """
        now, s = self._now() or self._rebuilt, self._scenario
        pose = now.world_T_sensor[now.agent(view.id).id]
        rng = keyed_rng(s.seed, s.split, s.index, "recast", self._index, view.id)
        where: dict[str, Any] = {"surfaces": now.surfaces, "boxes": now.boxes, "world_T_sensor": pose}
        where["sensor"] = now.sensor(view.id)
        return recast(view, added=added, removed=removed, rng=rng, **where)


def _world(split: str, index: int, seed: int, config: SimConfig, frame: int) -> RecastWorld:
    return scenario(split, index, seed=seed, config=config).snapshot(frame).world
