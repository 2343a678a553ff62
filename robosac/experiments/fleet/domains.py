"""Where the vehicles of a fleet drive and what they see with: simulated, rasterised once and kept in a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

import robosac.simulation
from robosac.boxes import pose_xyz_rpy
from robosac.executors import make_executor
from robosac.fingerprint import fingerprint
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError

if TYPE_CHECKING:
    from robosac.detectors.bev.training.dataset import CachedFrame
    from robosac.simulation import Scenario
    from robosac.types import BevGrid

CACHE: Final = Path("runs/cache")
_MATES: Final = 2  # teammates of a vehicle in each frame


@dataclass(frozen=True)
class Domain:
    """One vehicle's world.

    Attributes:
        name: of the domain.
        world: places, weather and sensors.
        raised_m: how much higher than on a car its sensors are mounted.
        odd: whether it is unlike all others, so that an honest update from it may look wrong.
    """

    name: str
    world: SimConfig = field(default_factory=SimConfig)
    raised_m: float = 0.0
    odd: bool = False

    def scene(self, split: str, index: int, seed: int) -> Scenario:
        """A drive of the vehicle with its teammates."""
        made = scenario(split, index, seed=seed, config=self.world)
        if not self.raised_m:
            return made
        up = pose_xyz_rpy(0.0, 0.0, self.raised_m)
        return replace(made, agents=tuple(replace(a, mount=up @ a.mount) for a in made.agents))


def _world(**changes: object) -> SimConfig:
    return replace(SimConfig(), n_vehicles=1 + _MATES, roadside=False, **changes)  # type: ignore[arg-type]


_ROAD: Final = replace(SimConfig.preset("road-rain"), n_vehicles=1 + _MATES, roadside=False)
DOMAINS: Final = MappingProxyType(
    {
        d.name: d
        for d in (
            Domain("city", _world(shares=(0.4, 0.6, 0.0))),
            Domain("highway", _world(shares=(0.0, 0.0, 1.0))),
            Domain("fog", _world(drop_rate=0.35, faint_power=0.03, max_range_m=45.0, range_sigma_m=0.05)),
            Domain("sparse", _world(beams=12, columns=512)),
            Domain("bus", _world(elevation_min_deg=-40.0, sensor_tilt_deg=4.0, max_grade=0.06), raised_m=1.4),
            Domain("rain", _ROAD, odd=True),
        )
    }
)
"""Roads and sensors of six vehicles: `robosac.simulation` says what the settings are."""


@dataclass(frozen=True)
class Drives:
    """Frames of one vehicle: to learn from, to hold out for a verifier, and to report on, never the same scenes."""

    train: list[CachedFrame]
    verify: list[CachedFrame]
    test: list[CachedFrame]


def drives(
    domain: Domain,
    grid: BevGrid,
    counts: tuple[int, int, int],
    *,
    seed: int = 0,
    cache: Path = CACHE,
    jobs: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Drives:
    """So many scenes of each kind, a frame each; simulated where they are not in the cache. `tell(done, total)`."""
    from robosac.detectors.bev import raster
    from robosac.detectors.bev.training.dataset import load_scene

    home = Path(robosac.simulation.__file__).parent
    sources = (*sorted(home.glob("*.py")), Path(raster.__file__), Path(__file__))
    folder = cache / "fleet" / f"{domain.name}-{fingerprint(domain.world, domain.raised_m, grid, *sources)}"
    splits = ("train", "val", "test")
    paths = [
        (split, index, folder / f"{split}-s{seed}-{index:04d}.npz")
        for split, count in zip(splits, counts, strict=True)
        for index in range(count)
    ]
    work = [(domain, grid, split, index, seed, path) for split, index, path in paths if not path.exists()]
    for done, _ in enumerate(make_executor(jobs).run(_simulate, work), start=1):
        tell(done, len(work))
    found: dict[str, list[CachedFrame]] = {split: [] for split in splits}
    for split, _, path in paths:
        found[split] += load_scene(path)
    return Drives(*(found[split] for split in splits))


def _simulate(job: tuple[Domain, BevGrid, str, int, int, Path]) -> None:
    from robosac.detectors.bev.training.dataset import cache_frame, save_scene

    domain, grid, split, index, seed, path = job
    scene = domain.scene(split, index, seed)
    frame = cache_frame(scene.snapshot(scene.n_frames // 2), grid)
    save_scene(path, [replace(frame, ego=np.arange(len(frame.ego)) == 0)])


def named(names: Sequence[str]) -> list[Domain]:
    """Domains by name.

    Raises:
        InputError: there is none of a name.
    """
    for name in names:
        if name not in DOMAINS:
            raise InputError(f"expected domains among {', '.join(DOMAINS)}, got {name!r}")
    return [DOMAINS[name] for name in names]
