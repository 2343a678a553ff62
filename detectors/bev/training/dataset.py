"""Training and validation data: simulated scenes, rasterised once and kept in a compact cache.

A cached frame holds what every agent's scan became and which objects there were, so that any vehicle can be the ego
and any others its teammates. Scenes come from the simulator's "train" and "val" splits and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

import numpy as np

import robosac.simulation
from robosac.boxes import invert_pose, transform_boxes
from robosac.detectors.bev import raster
from robosac.detectors.bev.config import DataConfig
from robosac.detectors.bev.raster import rasterise
from robosac.executors import make_executor
from robosac.fingerprint import fingerprint
from robosac.simulation.config import SimConfig
from robosac.simulation.scenario import Snapshot, scenario
from robosac.types import Array, Float32

CACHE: Final = Path("runs/cache")
Split = Literal["train", "val"]
Log = Callable[[str], None]

# The defaults of the simulator, but for the number of teammates. Noise on poses is drawn anew in every batch.
SIMULATION: Final = SimConfig(n_vehicles=(4, 5, 6))


@dataclass(frozen=True, eq=False)
class CachedFrame:
    """One moment of a scene, seen by K agents; G objects.

    Attributes:
        bits: `(K, 256, 256)` uint8 rasters.
        planes: `(K, 3)` float64 ground planes.
        poses: `(K, 4, 4)` float64 true `world_T_sensor`.
        body: `(K,)` int64 index of the agent's own body among the objects, -1 for a road-side unit.
        boxes: `(G, 7)` float32 in the world frame.
        hits: `(K, G)` int64 points of each agent on each object.
    """

    bits: Array
    planes: Array
    poses: Array
    body: Array
    boxes: Float32
    hits: Array

    @property
    def egos(self) -> list[int]:
        """Agents that can be an ego: the vehicles."""
        return [int(k) for k in np.flatnonzero(self.body >= 0)]

    def seen_from(self, ego: int) -> tuple[Float32, Array]:
        """Boxes `(G', 7)` in the frame of agent `ego` and hits `(K, G')`, its own body left out."""
        others = np.arange(len(self.boxes)) != self.body[ego]
        boxes = transform_boxes(invert_pose(self.poses[ego]), self.boxes[others])
        return boxes, np.asarray(self.hits[:, others])

    def teammates(self, ego: int, comm_range_m: float = SIMULATION.comm_range_m) -> list[int]:
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
        count = 1 + max(int(name.split(".")[0]) for name in data.files)
        return [CachedFrame(**{f.name: data[f"{i}.{f.name}"] for f in fields(CachedFrame)}) for i in range(count)]


def load_split(
    split: Split, data: DataConfig, *, jobs: int | None = None, cache: Path = CACHE, log: Log = print
) -> list[list[CachedFrame]]:
    """The frames of every scene of a split, simulated in `jobs` processes where they are not in the cache.

    The cache is keyed by the settings and by the source of the simulator and of the raster, so that it cannot be
    stale; a folder of `cache` may be deleted at any time.
    """
    count = data.train_scenes if split == "train" else data.val_scenes
    folder = cache / f"scenes-{_fingerprint(data.frames)}"
    paths = [folder / f"{split}-{index:05d}.npz" for index in range(count)]
    work = [(split, index, data.frames, path) for index, path in enumerate(paths) if not path.exists()]
    if work:
        log(f"simulating {len(work)} scenes of {split} into {folder}")
    for done, _ in enumerate(make_executor(jobs or data.workers).run(_simulate, work), start=1):
        if done % 100 == 0:
            log(f"simulated {done} of {len(work)}")
    return [load_scene(path) for path in paths]


def _simulate(job: tuple[Split, int, int, Path]) -> None:
    split, index, frames, path = job
    scene = scenario(split, index, config=SIMULATION)
    chosen = np.unique(np.linspace(0, scene.n_frames - 1, frames).round().astype(int))
    save_scene(path, [cache_frame(scene.snapshot(int(k))) for k in chosen])


def cache_frame(world: Snapshot) -> CachedFrame:
    """All agents' scans of a moment, rasterised, with the world's objects."""
    agents = world.scenario.agents
    rasters = [rasterise(world.view(a.id).points) for a in agents]
    return CachedFrame(
        bits=np.stack([r.bits for r in rasters]),
        planes=np.stack([r.plane for r in rasters]),
        poses=np.stack([world.world_T_sensor[a.id] for a in agents]),
        body=np.array([a.vehicle for a in agents], dtype=np.int64),
        boxes=world.boxes.astype(np.float32),
        hits=np.stack([world.hits(a.id) for a in agents]),
    )


def _fingerprint(frames: int) -> str:
    """Identifies what a cached scene depends on."""
    simulator = sorted(Path(robosac.simulation.__file__).parent.glob("*.py"))
    return fingerprint(SIMULATION, frames, *simulator, Path(raster.__file__), Path(__file__))
