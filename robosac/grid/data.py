"""The scenes of a grid's data sets: simulated ones by number, recorded ones by name; frames with truth from each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from robosac.gate import Gate
from robosac.grid.settings import Grid
from robosac.registry.settings import plain
from robosac.types import Frame, InputError, Truth

if TYPE_CHECKING:
    from robosac.simulation import SimConfig

SIMULATED: Final = "sim"
KINDS: Final = ("sim:PRESET", "opv2v:PATH", "v2xsim:PATH", "dair:PATH", "data:PATH")
# DAIR's road-side scans are taken up to 28 ms after the vehicle's, more than the gate allows a clock to run ahead
DAIR_GATE: Final = Gate(max_ahead_ms=50.0)


@dataclass(frozen=True)
class SceneRef:
    """One scene of one data set under one seed, by name: what goes to another process."""

    dataset: str
    seed: int
    scene: str


def scenes(grid: Grid, dataset: str) -> list[SceneRef]:
    """The scenes of a data set, for each seed of the grid.

    Raises:
        InputError: the data set's name means nothing, or it is of another kind or holds nothing; says what to do.
    """
    kind, rest = split(dataset)
    most, _, _ = extent(grid, dataset)
    if kind == SIMULATED:
        from robosac.simulation import SimConfig

        SimConfig.preset(rest)
        names = [str(k) for k in range(most or 0)]
    else:
        names = list(dict.fromkeys(e.scenario for e in recorded(dataset, grid).entries))[:most]
        if not names:
            raise InputError(f"expected frames in {rest}, got none; look at it with robosac data inspect {rest}")
    return [SceneRef(dataset, seed, name) for seed in range(grid.seeds) for name in names]


def split(dataset: str) -> tuple[str, str]:
    """Kind and preset or path of a data set's name."""
    kind, colon, rest = dataset.partition(":")
    if not colon or not rest or kind not in {k.partition(":")[0] for k in KINDS}:
        raise InputError(f"expected a data set like {', '.join(KINDS)}; got {dataset!r}")
    return kind, rest


def gate_of(dataset: str) -> Gate | None:
    """The gate that a data set's clocks ask for, in place of the defences' own; None for theirs."""
    kind, rest = split(dataset)
    if kind == SIMULATED:
        return None
    from robosac.data.dair import DairV2XC
    from robosac.data.layout import recognise

    return DAIR_GATE if kind == "dair" or isinstance(recognise(Path(rest)), DairV2XC) else None


def extent(grid: Grid, dataset: str) -> tuple[int | None, int | None, int]:
    """At most so many scenes and frames of each (None: all), and every how many-th frame."""
    simulated = split(dataset)[0] == SIMULATED
    scenes, frames, step = (20, 2, 5) if simulated else (None, None, 1)
    return grid.scenes or scenes, grid.frames or frames, grid.frame_step or step


@lru_cache(maxsize=8)
def recorded(dataset: str, grid: Grid) -> Any:
    """The `DataSet` of a recorded data set."""
    from robosac.data.dair import DairV2XC
    from robosac.data.dataset import DataSet
    from robosac.data.layout import recognise
    from robosac.data.opv2v import OPV2V
    from robosac.data.v2xsim_npy import V2XSimNpy
    from robosac.data.v2xsim_pkl import V2XSimPkl

    kind, path = split(dataset)
    recording = recognise(Path(path))
    wanted: tuple[type, ...] = {"opv2v": (OPV2V,), "v2xsim": (V2XSimNpy, V2XSimPkl), "dair": (DairV2XC,)}.get(kind, ())
    if wanted and not isinstance(recording, wanted):
        raise InputError(
            f"expected {path} to hold a data set of kind {kind}, it holds one read by {type(recording).__name__}; "
            f"name it data:{path}"
        )
    more: dict[str, Any] = {} if grid.comm_range_m is None else {"comm_range_m": grid.comm_range_m}
    return DataSet(recording, stride=extent(grid, dataset)[2], **more)


def simulation(dataset: str, grid: Grid) -> SimConfig:
    """The settings of a simulated data set."""
    from robosac.simulation import SimConfig

    config = SimConfig.preset(split(dataset)[1])
    changes: dict[str, Any] = {} if grid.vehicles is None else {"n_vehicles": grid.vehicles}
    changes |= {} if grid.comm_range_m is None else {"comm_range_m": grid.comm_range_m}
    _, frames, step = extent(grid, dataset)
    assert frames is not None  # a simulation has no end of its own
    length = max(config.n_frames, (frames - 1) * step + 1)
    return dataclasses.replace(config, n_frames=length, **changes)


def frames(ref: SceneRef, grid: Grid) -> list[Callable[[], tuple[Frame, Truth]]]:
    """The frames of a scene with their truth, in order, each read or simulated when it is called."""
    kind, _ = split(ref.dataset)
    _, most, step = extent(grid, ref.dataset)
    if kind != SIMULATED:
        data = recorded(ref.dataset, grid)
        return [partial(data.read, e) for e in _entries(ref, grid)]
    from robosac.simulation import scenario

    assert most is not None
    scene = scenario("test", int(ref.scene), seed=ref.seed, config=simulation(ref.dataset, grid))
    return [partial(_snapshot, scene, k * step) for k in range(most)]


def _snapshot(scene: Any, k: int) -> tuple[Frame, Truth]:
    made: tuple[Frame, Truth] = scene.snapshot(k).frame()
    return made


def _entries(ref: SceneRef, grid: Grid) -> list[Any]:
    found = [e for e in recorded(ref.dataset, grid).entries if e.scenario == ref.scene]
    return found[: extent(grid, ref.dataset)[1]]


def identity(ref: SceneRef, grid: Grid) -> dict[str, Any]:
    """All that decides the frames of a scene, as plain data. Of a recording: where it lies, and which ticks."""
    kind, rest = split(ref.dataset)
    if kind == SIMULATED:
        _, most, step = extent(grid, ref.dataset)
        config = plain(simulation(ref.dataset, grid))
        return {"split": "test", "scene": ref.scene, "seed": ref.seed, "frames": most, "step": step, "config": config}
    data = recorded(ref.dataset, grid)
    ticks = [e.tick for e in _entries(ref, grid)]
    where = str(Path(rest).resolve())
    return {"path": where, "scene": ref.scene, "ticks": ticks, "comm_range_m": data.comm_range_m}


def described(dataset: str, grid: Grid) -> dict[str, Any]:
    """A data set's settings, spelled out beside a result."""
    scenes, frames, step = extent(grid, dataset)
    asked: dict[str, Any] = {"name": dataset, "scenes": scenes, "frames": frames, "frame_step": step}
    if split(dataset)[0] == SIMULATED:
        return {**asked, "split": "test", "simulation": plain(simulation(dataset, grid))}
    data = recorded(dataset, grid)
    return {**asked, "layout": data.recording.layout, "comm_range_m": data.comm_range_m}
