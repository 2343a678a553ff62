"""Training and validation data: simulated scenes, rasterised once and kept in a compact cache.

A cached frame holds what every agent's scan became and which objects there were, so that any vehicle can be the ego
and any others its teammates. Scenes come from the simulator's "train" and "val" splits and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

import robosac.simulation
from robosac.boxes import invert_pose, transform_boxes
from robosac.detectors.bev import raster
from robosac.detectors.bev.config import DataConfig
from robosac.detectors.bev.raster import RASTER, rasterise
from robosac.executors import make_executor
from robosac.fingerprint import fingerprint
from robosac.simulation.config import SimConfig
from robosac.simulation.scenario import Snapshot, scenario
from robosac.types import Array, BevGrid, Float32, keyed_rng

CACHE: Final = Path("runs/cache")
_VEHICLES: Final = (4, 5, 6)  # where the preset is of one world and one sensor
Split = Literal["train", "val"]
Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CachedFrame:
    """One moment of a scene, seen by K agents; G objects.

    Attributes:
        bits: `(K, R, C)` uint8 rasters.
        planes: `(K, 3)` float64 ground planes.
        poses: `(K, 4, 4)` float64 true `world_T_sensor`.
        body: `(K,)` int64 index of the agent's own body among the objects, -1 where it is not among them.
        boxes: `(G, 7)` float32 in the world frame.
        hits: `(K, G)` int64 points of each agent on each object.
        ego: `(K,)` bool, who can be an ego.
    """

    bits: Array
    planes: Array
    poses: Array
    body: Array
    boxes: Float32
    hits: Array
    ego: Array

    @property
    def egos(self) -> list[int]:
        """Agents that can be an ego."""
        return [int(k) for k in np.flatnonzero(self.ego)]

    def seen_from(self, ego: int) -> tuple[Float32, Array]:
        """Boxes `(G', 7)` in the frame of agent `ego` and hits `(K, G')`, its own body left out."""
        others = np.arange(len(self.boxes)) != self.body[ego]
        boxes = transform_boxes(invert_pose(self.poses[ego]), self.boxes[others])
        return boxes, np.asarray(self.hits[:, others])

    def teammates(self, ego: int, comm_range_m: float) -> list[int]:
        """The other agents within communication range of agent `ego`."""
        distance = np.linalg.norm(self.poses[:, :2, 3] - self.poses[ego, :2, 3], axis=1)
        return [int(k) for k in np.flatnonzero(distance <= comm_range_m) if k != ego]


def save_scene(path: Path, frames: Sequence[CachedFrame]) -> None:
    """Write the frames of one scene to a compressed .npz without pickles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{i}.{f.name}": getattr(frame, f.name) for i, frame in enumerate(frames) for f in fields(frame)}
    partial = path.with_suffix(".partial.npz")  # a killed run must not leave half a scene behind
    np.savez_compressed(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def load_scene(path: Path) -> list[CachedFrame]:
    """Read what `save_scene` wrote."""
    with np.load(path, allow_pickle=False) as data:
        count = 1 + max((int(name.split(".")[0]) for name in data.files), default=-1)
        return [CachedFrame(**{f.name: data[f"{i}.{f.name}"] for f in fields(CachedFrame)}) for i in range(count)]


def load_split(
    split: Split,
    data: DataConfig,
    grid: BevGrid = RASTER,
    *,
    jobs: int | None = None,
    cache: Path = CACHE,
    log: Log = print,
) -> list[list[CachedFrame]]:
    """The frames of every scene of a split, simulated in `jobs` processes where they are not in the cache.

    The cache is keyed by the settings and by the source of the simulator and of the raster, so that it cannot be
    stale; a folder of `cache` may be deleted at any time.

    Raises:
        InputError: there is no such preset.
    """
    count = data.train_scenes if split == "train" else data.val_scenes
    how = Making(simulation(data.preset), grid, data.frames, data.late, data.roadside_egos)
    folder = cache / f"scenes-{how.fingerprint()}"
    paths = [folder / f"{split}-{index:05d}.npz" for index in range(count)]
    work = [(split, index, how, path) for index, path in enumerate(paths) if not path.exists()]
    if work:
        log(f"simulating {len(work)} scenes of {split} into {folder}")
    for done, _ in enumerate(make_executor(jobs or data.workers).run(_simulate, work), start=1):
        if done % 100 == 0:
            log(f"simulated {done} of {len(work)}")
    return [load_scene(path) for path in paths]


def simulation(preset: str) -> SimConfig:
    """The settings of a preset, with four to six vehicles where the preset is of one world and one sensor. Noise on
    poses is drawn anew in every batch."""
    config = SimConfig.preset(preset)
    return config if config.variety is not None else replace(config, n_vehicles=_VEHICLES)


@dataclass(frozen=True)
class Making:
    """How scenes become cached frames: the simulation, the raster, frames a scene, who is late, who can be an ego."""

    simulation: SimConfig
    grid: BevGrid
    frames: int
    late: float
    roadside_egos: bool

    def fingerprint(self) -> str:
        """Identifies what a cached scene depends on."""
        folder = Path(robosac.simulation.__file__).parent
        simulator = [*sorted(folder.glob("*.py")), *sorted(folder.glob("networks/*.net.xml"))]
        plain = (self.simulation, self.grid, self.frames, self.late, self.roadside_egos)
        return fingerprint(*plain, self.simulation.made_with, *simulator, Path(raster.__file__), Path(__file__))


def _simulate(job: tuple[Split, int, Making, Path]) -> None:
    split, index, how, path = job
    scene = scenario(split, index, config=how.simulation)
    first = 1 if how.late > 0 else 0  # a scan of the frame before must be there
    chosen = np.unique(np.linspace(first, scene.n_frames - 1, how.frames).round().astype(int))
    rng = keyed_rng(scene.seed, split, index, "late")
    made = []
    for k in chosen:
        late = rng.random(len(scene.agents)) < how.late
        late[0] = False  # somebody is an ego
        made.append(cache_frame(scene.snapshot(int(k)), how.grid, late=late, roadside_egos=how.roadside_egos))
    save_scene(path, made)


def cache_frame(
    world: Snapshot, grid: BevGrid = RASTER, *, late: Array | None = None, roadside_egos: bool = False
) -> CachedFrame:
    """All agents' scans of a moment, rasterised, with the world's objects. Who is `late` `(K,)` shows its scan of the
    frame before, from where it was then."""
    agents = world.scenario.agents
    late = np.zeros(len(agents), np.bool_) if late is None else late
    before = world.scenario.snapshot(world.index - 1) if late.any() else world
    seen_in = [before if old else world for old in late]
    rasters = [rasterise(w.view(a.id).points, grid) for w, a in zip(seen_in, agents, strict=True)]
    body = np.array([a.vehicle for a in agents], dtype=np.int64)
    return CachedFrame(
        bits=np.stack([r.bits for r in rasters]),
        planes=np.stack([r.plane for r in rasters]),
        poses=np.stack([w.world_T_sensor[a.id] for w, a in zip(seen_in, agents, strict=True)]),
        body=body,
        boxes=world.boxes.astype(np.float32),
        hits=np.stack([w.hits(a.id) for w, a in zip(seen_in, agents, strict=True)]),
        ego=((body >= 0) | roadside_egos) & ~late,
    )
