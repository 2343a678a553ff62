"""Data sets by name: simulated scenes by number, recorded ones by name; their frames, and all that decides these."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from robosac.data.dataset import EACH, FIRST, DataSet, FrameRef
from robosac.data.labels import spelled
from robosac.data.layout import Reports
from robosac.data.noise import Disturbance, Gaussian
from robosac.data.recording import Recording
from robosac.evaluation.play import Moment
from robosac.experiments.settings import Grid
from robosac.fingerprint import file_fingerprint
from robosac.registry.data import is_simulated, open_recording, split_name
from robosac.registry.settings import plain
from robosac.types import Frame, Id, InputError, RobosacError, Truth

if TYPE_CHECKING:
    from robosac.simulation import SimConfig

Maker = Callable[[], tuple[Frame, Truth] | Moment]
SCALE_FRAMES: Final = 10  # of a data set, by which the scale of a detector's features is measured


@dataclass(frozen=True, eq=False)
class Scene:
    """What it shows ("intersection", "urban", "highway", or "recorded"), what makes its frames, in order, and the
    teammates that appear in any of them; None where the first frame shows them all.

    `labels_left_out` says which records of the labels of frames that were made cannot be, by frame.
    """

    kind: str
    makers: Sequence[Maker]
    appearing: Callable[[], Sequence[Id]] | None = None
    labels_left_out: Callable[[], Mapping[str, Sequence[str]]] = dict


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
    most, _, _ = extent(grid, dataset)
    if is_simulated(dataset):
        for what, given in (("--classes", grid.classes), ("--ego", None if grid.ego == FIRST else grid.ego)):
            if given is not None:
                raise InputError(f"expected {what} of a recording, got {given} and {dataset}, which has its own")
        simulation(dataset, grid)
        names = [str(k) for k in range(most or 0)]
    else:
        names = list(dict.fromkeys(_scene_of(e, grid) for e in recorded(dataset, grid, grid.seed).entries))[:most]
        if not names:
            path = split_name(dataset)[1]
            raise InputError(f"expected frames in {path}, got none; look at it with robosac inspect {path}")
        _say_what_is_missing(dataset, recorded(dataset, grid, grid.seed).recording)
    return [SceneRef(dataset, seed, name) for seed in grid.every_seed for name in names]


def _say_what_is_missing(dataset: str, recording: Recording) -> None:
    """An agent whose scan is missing is absent from that frame, which reads like a weaker detector."""
    found = list(recording.problems()) if isinstance(recording, Reports) else []
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        warnings.warn(
            f"{found[0]}{more}; whose that is is absent there (robosac inspect {split_name(dataset)[1]} lists all)",
            stacklevel=2,
        )


def extent(grid: Grid, dataset: str) -> tuple[int | None, int | None, int]:
    """At most so many scenes and frames of each (None: all), and every how many-th frame."""
    scenes, frames, step = (20, 2, 5) if is_simulated(dataset) else (None, None, 1)
    return grid.scenes or scenes, grid.frames or frames, grid.frame_step or step


def disturbance(grid: Grid, seed: int) -> Disturbance:
    """What is wrong with the poses and how late teammates are."""
    noise = Gaussian(**dict(zip(("sigma_m", "sigma_deg"), grid.pose_noise, strict=False))) if grid.pose_noise else None
    return Disturbance(pose_noise=noise, delay_frames=grid.delay, seed=seed)


@lru_cache(maxsize=8)
def recorded(dataset: str, grid: Grid, seed: int) -> DataSet:
    """The `DataSet` of a recorded data set; `seed` is that of the errors of poses."""
    wrong = disturbance(grid, seed)
    more: dict[str, Any] = {"ego": grid.ego, "seed": seed}
    more |= {"pose_noise": wrong.pose_noise, "delay_frames": wrong.delay_frames}
    more |= {} if grid.comm_range_m is None else {"comm_range_m": grid.comm_range_m}
    return DataSet(open_recording(dataset, grid.classes), stride=extent(grid, dataset)[2], **more)


def clocks_ahead_ms(dataset: str, grid: Grid) -> float | None:
    """How far the clocks of a data set run ahead (`Frame.clocks_ahead_ms`)."""
    return None if is_simulated(dataset) else recorded(dataset, grid, grid.seed).clocks_ahead_ms


def forget() -> None:
    """Look at recordings anew: their files may have changed since they were listed."""
    recorded.cache_clear()
    _files.cache_clear()


def simulation(dataset: str, grid: Grid) -> SimConfig:
    """The settings of a simulated data set."""
    from robosac.simulation import SimConfig

    config = SimConfig.preset(split_name(dataset)[1])
    changes: dict[str, Any] = {} if grid.vehicles is None else {"n_vehicles": grid.vehicles}
    changes |= {} if grid.comm_range_m is None else {"comm_range_m": grid.comm_range_m}
    _, frames, step = extent(grid, dataset)
    assert frames is not None  # a simulation has no end of its own
    length = max(config.n_frames, grid.delay + (frames - 1) * step + 1)
    return dataclasses.replace(config, n_frames=length, **changes)


def scene(ref: SceneRef, grid: Grid) -> Scene:
    """A scene; its frames are read or simulated when they are called."""
    _, most, step = extent(grid, ref.dataset)
    if not is_simulated(ref.dataset):
        data = recorded(ref.dataset, grid, ref.seed)
        entries = _entries(ref, grid)
        makers = [partial(data.read, e) for e in entries]
        return Scene("recorded", makers, partial(data.teammates_in, entries), partial(data.left_out_of, entries))
    from robosac.simulation import scenario

    assert most is not None
    made = scenario(grid.split, int(ref.scene), seed=ref.seed, config=simulation(ref.dataset, grid))
    wrong = disturbance(grid, ref.seed)
    return Scene(made.kind, [partial(_simulated, made, grid.delay + k * step, wrong) for k in range(most)])


@dataclass(frozen=True, eq=False)
class Packed:
    """A recorded scene, read, so that it can go to a machine without the files. What could not be read is the error."""

    frames: tuple[Moment | RobosacError, ...]
    teammates: tuple[Id, ...]
    labels_left_out: dict[str, tuple[str, ...]]

    def scene(self) -> Scene:
        """The scene, as from its files."""
        makers = [partial(_unpacked, f) for f in self.frames]
        return Scene("recorded", makers, lambda: self.teammates, lambda: self.labels_left_out)


def packed(ref: SceneRef, grid: Grid) -> Packed:
    """A recorded scene, read from its files."""
    found = scene(ref, grid)
    frames = [_or_error(make) for make in found.makers]
    assert found.appearing is not None
    labels = {name: tuple(said) for name, said in found.labels_left_out().items()}
    return Packed(tuple(frames), tuple(found.appearing()), labels)


def _or_error(make: Maker) -> Moment | RobosacError:
    try:
        return Moment(*make())
    except RobosacError as error:
        return error


def _unpacked(frame: Moment | RobosacError) -> Moment:
    if isinstance(frame, RobosacError):
        raise frame
    return frame


def scale_frames(grid: Grid, dataset: str) -> Iterator[Frame]:
    """Frames by which the scale of features is measured: one of each of the first scenes, the first; of fewer scenes
    several, evenly spread. They do not depend on how many scenes and frames the grid plays. What cannot be read is
    left out: playing it says so.
    """
    few = SCALE_FRAMES if is_simulated(dataset) else None
    wide = grid.model_copy(update={"scenes": few, "frames": None, "frame_step": None, "seeds": 1})
    refs = scenes(wide, dataset)[:SCALE_FRAMES]
    for position, ref in enumerate(refs):
        makers = scene(ref, wide).makers
        count = min(len(makers), SCALE_FRAMES // len(refs) + (position < SCALE_FRAMES % len(refs)))
        for k in range(count):
            with suppress(RobosacError):
                yield Moment(*makers[k * len(makers) // count]()).frame


def _simulated(made: Any, k: int, wrong: Disturbance) -> Moment:
    """A frame with the place as it was when the teammates measured: attackers cast their rays there."""
    snapshots = {i: made.snapshot(i) for i in {k, k - wrong.delay_frames}}
    return Moment(*wrong.scene(lambda i: snapshots[i].frame(), k), snapshots[k - wrong.delay_frames].world)


def _entries(ref: SceneRef, grid: Grid) -> list[FrameRef]:
    found = [e for e in recorded(ref.dataset, grid, ref.seed).entries if _scene_of(e, grid) == ref.scene]
    return found[: extent(grid, ref.dataset)[1]]


def _scene_of(entry: FrameRef, grid: Grid) -> str:
    """What a defence remembers belongs to one ego, so each has a scene of its own."""
    return f"{entry.scenario}/{entry.ego}" if grid.ego == EACH else entry.scenario


def identity(ref: SceneRef, grid: Grid) -> dict[str, Any]:
    """All that decides the frames of a scene, as plain data. Of a recording: its files' names, sizes and times."""
    wrong = plain(disturbance(grid, ref.seed))
    if is_simulated(ref.dataset):
        _, most, step = extent(grid, ref.dataset)
        config = simulation(ref.dataset, grid)
        made = {"split": grid.split, "scene": ref.scene, "seed": ref.seed, "frames": most, "step": step}
        return {**made, "config": plain(config), **config.made_with, "disturbance": wrong}
    data = recorded(ref.dataset, grid, ref.seed)
    entries = _entries(ref, grid)
    root = Path(data.recording.root)
    of_scene = root / entries[0].scenario
    return {
        "files": _files(of_scene if of_scene.is_dir() else root),
        "scene": ref.scene,
        "ego": entries[0].ego,
        "ticks": [e.tick for e in entries],
        "comm_range_m": data.comm_range_m,
        "classes": _classes(grid),
        "disturbance": wrong,
    }


def _classes(grid: Grid) -> list[str] | None:
    return None if grid.classes is None else sorted(map(spelled, grid.classes))


def described(dataset: str, grid: Grid) -> dict[str, Any]:
    """A data set's settings, spelled out beside a result."""
    scenes, frames, step = extent(grid, dataset)
    asked: dict[str, Any] = {"name": dataset, "scenes": scenes, "frames": frames, "frame_step": step}
    asked |= {"ego": grid.ego, "pose_noise": plain(disturbance(grid, grid.seed).pose_noise), "delay_frames": grid.delay}
    if is_simulated(dataset):
        return {**asked, "split": grid.split, "simulation": plain(simulation(dataset, grid))}
    data = recorded(dataset, grid, grid.seed)
    asked |= {"layout": data.recording.layout, "comm_range_m": data.comm_range_m}
    return asked if grid.classes is None else {**asked, "classes": _classes(grid)}


@lru_cache(maxsize=4096)
def _files(path: Path) -> str:
    return file_fingerprint(path)
