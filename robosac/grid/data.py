"""The scenes of a grid's data sets: simulated ones by number, recorded ones by name; frames with truth from each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from robosac.gate import Gate
from robosac.grid.settings import Grid
from robosac.types import Frame, InputError, Truth

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
    if kind == SIMULATED:
        from robosac.simulation import SimConfig

        SimConfig.preset(rest)
        names = [str(k) for k in range(grid.scenes)]
    else:
        names = list(dict.fromkeys(e.scenario for e in recorded(dataset, grid).entries))[: grid.scenes]
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
    return DataSet(recording, stride=grid.frame_step, **more)


def frames(ref: SceneRef, grid: Grid) -> Iterator[tuple[Frame, Truth]]:
    """The frames of a scene with their truth, in order, read or simulated as they are asked for."""
    kind, rest = split(ref.dataset)
    if kind != SIMULATED:
        data = recorded(ref.dataset, grid)
        entries = [e for e in data.entries if e.scenario == ref.scene][: grid.frames]
        yield from map(data.read, entries)
        return
    from robosac.simulation import SimConfig, scenario

    config = SimConfig.preset(rest)
    changes: dict[str, Any] = {} if grid.vehicles is None else {"n_vehicles": grid.vehicles}
    changes |= {} if grid.comm_range_m is None else {"comm_range_m": grid.comm_range_m}
    last = (grid.frames - 1) * grid.frame_step + 1
    if last > config.n_frames:
        changes["n_frames"] = last
    scene = scenario("test", int(ref.scene), seed=ref.seed, config=dataclasses.replace(config, **changes))
    for k in range(grid.frames):
        yield scene.snapshot(k * grid.frame_step).frame()
