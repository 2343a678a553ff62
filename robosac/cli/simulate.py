"""`robosac simulate`: simulated scenes on disk, laid out as other frameworks read them.

    OUT/SPLIT/SCENARIO/AGENT/TIME.yaml, .pcd     scenarios, each of them whole
    OUT/SPLIT/SCENARIO/data_protocol.yaml        what made it
    OUT/.unfinished/SPLIT/SCENARIO/...           those that are being written, whole frames and what a kill left

A scenario is moved to its place in one step when its last frame is written, so whoever reads OUT/SPLIT meets whole
frames and no agent with fewer of them than others. Run again with the same settings, what is there stays, and
unfinished scenarios go on where they stopped; a folder with other settings is refused. A frame depends on the seed, the
split and its number alone: processes change no byte.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
import yaml

from robosac import __version__
from robosac.cli import completion
from robosac.cli.options import Address, ExecutorName, Json, Seed, command_of, named
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.data import carla
from robosac.data.recording import Objects
from robosac.data.truth import select
from robosac.data.write_opv2v import Member, is_written, write_frame
from robosac.errors import did_you_mean
from robosac.executors import OnRay, make_executor
from robosac.files import check_writable, write_whole
from robosac.pcd import POINTS_LIMIT
from robosac.simulation import SPLITS, Scenario, SimConfig, Snapshot, scenario
from robosac.types import Id, InputError

FORMATS: Final = ("opv2v",)
UNFINISHED: Final = ".unfinished"
PROTOCOL: Final = "data_protocol.yaml"
_FIRST_AGENT, _FIRST_OBJECT = 1000, 2000  # all of four digits: they sort as text as they do as numbers
_LONGEST_STEP: Final = 100
_TENTH_MS: Final = 100
_KMH: Final = 3.6


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """What is simulated, and where it goes."""

    out: Annotated[
        Path, typer.Option("--out", "-o", file_okay=False, help="Folder to write to: OUT/SPLIT/SCENARIO/AGENT/...")
    ]
    scenes: Annotated[
        int, typer.Option("--scenes", "-n", min=1, help="Scenarios; with more than are there, the others are added.")
    ]
    format: Annotated[str, typer.Option(help="How they are laid out: opv2v.")] = "opv2v"
    preset: Annotated[
        str,
        named(
            "--preset",
            complete=completion.presets,
            help="Which simulation, as in sim:PRESET: mixed, intersection, sumo, ...",
        ),
    ] = "mixed"
    seed: Seed = 0
    split: Annotated[str, typer.Option(help="train, val, calibration or test: no two share a scenario.")] = "test"
    frames: Annotated[int, typer.Option(min=1, help="Frames of a scenario.")] = 10
    frame_step: Annotated[
        int,
        typer.Option(
            min=1, max=_LONGEST_STEP, help="Tenths of a second from one frame to the next: 5 is two a second."
        ),
    ] = 1
    vehicles: Annotated[
        int | None, typer.Option(min=1, help="Connected vehicles, the ego included. Default: the preset's, mostly 5.")
    ] = None
    roadside: Annotated[bool, typer.Option(help="Whether a road-side unit takes part.")] = True
    beams: Annotated[int, typer.Option(min=1, help="Rays of a LiDAR above one another.")] = 32
    columns: Annotated[int, typer.Option(min=1, help="Rays of a LiDAR in a turn.")] = 1024
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one a core. Changes no byte.")
    ] = None
    executor: ExecutorName = "processes"
    address: Address = None
    json: Json = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(f"expected a format among {', '.join(FORMATS)}, got {self.format!r}")
        if self.split not in SPLITS:
            close = did_you_mean(self.split, SPLITS)
            raise InputError(f"expected a split among {', '.join(SPLITS)}, got {self.split!r}{close}")
        if self.scenes < 1 or self.seed < 0:
            raise InputError(f"expected scenes >= 1 and seed >= 0, got {self.scenes} and {self.seed}")
        if not 1 <= self.frame_step <= _LONGEST_STEP:
            raise InputError(f"expected frame_step in 1 to {_LONGEST_STEP}, got {self.frame_step}")
        preset = SimConfig.preset(self.preset)  # what it needs is asked for before the work
        if preset.variety is not None and (self.beams, self.columns) != (SimConfig.beams, SimConfig.columns):
            raise InputError(
                f"expected no --beams or --columns with {self.preset!r}, which draws its sensors; leave them out"
            )
        if self.beams * self.columns > POINTS_LIMIT:
            rays = f"{self.beams} x {self.columns}"
            raise InputError(f"expected beams x columns of at most {POINTS_LIMIT:,}, which readers take, got {rays}")

    @cached_property
    def config(self) -> SimConfig:
        """The settings of the simulation."""
        preset = SimConfig.preset(self.preset)
        return replace(
            preset,
            n_frames=self.frames,
            rate_hz=SimConfig.rate_hz / self.frame_step,
            n_vehicles=preset.n_vehicles if self.vehicles is None else self.vehicles,
            roadside=self.roadside and preset.roadside,
            beams=self.beams,
            columns=self.columns,
        )

    def stamp(self, frame: int) -> str:
        """A frame's name. The layout counts frames of one period, ten a second; where they are further apart it takes
        times of 13 digits, milliseconds, and every reader sorts them alike."""
        return f"{frame:06d}" if self.frame_step == 1 else f"{frame * self.frame_step * _TENTH_MS:013d}"

    def name(self, index: int) -> str:
        """As `Scenario.name`, without drawing it."""
        return f"{self.split}-s{self.seed}-{index:05d}"

    def place(self, index: int) -> Path:
        """Where a scenario is kept once it is whole."""
        return self.out / self.split / self.name(index)

    def workplace(self, index: int) -> Path:
        """Where it is written. Two folders deep, so that it is no data set to whoever looks into OUT."""
        return self.out / UNFINISHED / self.split / self.name(index)


@dataclass(frozen=True)
class Task:
    """One frame of one scenario."""

    settings: Simulate
    index: int
    frame: int


# ------------------------------------------------------------------------------------------------------ the work
def write(settings: Simulate, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
    """Write what is not there yet; says which scenarios there are now and how many frames were written.

    Raises:
        InputError: if there are scenarios of other settings, or the settings cannot be simulated.
        RobosacError: if a process was killed; run again to go on.
    """
    check_writable(settings.out)
    frames = settings.frames
    missing = [i for i in range(settings.scenes) if not _is_there(settings, i)]
    tasks = [Task(settings, i, k) for i in missing for k in range(frames)]
    total = settings.scenes * frames
    done, written, left = total - len(tasks), 0, Counter(dict.fromkeys(missing, frames))
    progress(done, total)
    executor = make_executor(settings.jobs, name=settings.executor, address=settings.address)
    todo: Callable[[Task], bool | dict[str, bytes]] = frame_files if isinstance(executor, OnRay) else write_task
    for position, found in executor.run(todo, tasks):
        task = tasks[position]
        done, written = done + 1, written + (found if isinstance(found, bool) else _received(task, found))
        left[task.index] -= 1
        if left[task.index] == 0:
            _finish(settings, task.index)
        progress(done, total)
    for folder in (settings.out / UNFINISHED / settings.split, settings.out / UNFINISHED):
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
    return {
        "out": str(settings.out),
        "format": settings.format,
        "split": settings.split,
        "scenarios": [settings.name(i) for i in range(settings.scenes)],
        "frames": total,
        "written": written,
    }


def write_task(task: Task) -> bool:
    """Write a frame, unless an earlier run did. True where it was written now."""
    made = _scenario(task.settings.split, task.index, task.settings.seed, task.settings.config)
    stamp = task.settings.stamp(task.frame)
    folder = task.settings.workplace(task.index)
    if is_written(folder, stamp, list(agent_names(made).values())):
        return False
    write_frame(folder, stamp, members(made.snapshot(task.frame)))
    return True


def frame_files(task: Task) -> dict[str, bytes]:
    """The files of a frame, for who has no disk in common with whoever asked: path within the scenario -> content."""
    settings = task.settings
    made = _scenario(settings.split, task.index, settings.seed, settings.config)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_frame(root, settings.stamp(task.frame), members(made.snapshot(task.frame)))
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _received(task: Task, files: dict[str, bytes]) -> bool:
    """Write the files of a frame, the ego's description, by which loaders count frames, last."""
    folder = task.settings.workplace(task.index)
    ego = f"{_FIRST_AGENT}/"
    for name in sorted(files, key=lambda n: (n.endswith(".yaml"), n.startswith(ego))):
        write_whole(folder / name, files[name])
    return True


@lru_cache(maxsize=2)
def _scenario(split: str, index: int, seed: int, config: SimConfig) -> Scenario:
    return scenario(split, index, seed=seed, config=config)


def agent_names(made: Scenario) -> dict[Id, str]:
    """Folders of a scenario's agents: vehicles from 1000 on, the ego first; road-side units are negative."""
    vehicles = [a.id for a in made.agents if a.kind != "roadside"]
    roadside = [a.id for a in made.agents if a.kind == "roadside"]
    return {a: str(_FIRST_AGENT + k) for k, a in enumerate(vehicles)} | {a: str(-1 - k) for k, a in enumerate(roadside)}


def object_names(made: Scenario) -> tuple[str, ...]:
    """Names `(V,)` of all vehicles: a connected one is named as its agent, the others from 2000 on."""
    agents = agent_names(made)
    carried = {a.vehicle: agents[a.id] for a in made.agents}
    return tuple(carried.get(v, str(_FIRST_OBJECT + v)) for v in range(len(made.traffic)))


def members(snapshot: Snapshot) -> list[Member]:
    """Everybody's scan, true pose, and the vehicles that its LiDAR hit; boxes upright, as in the simulator's truth."""
    made = snapshot.scenario
    boxes, speeds = snapshot.boxes, made.traffic.speeds(snapshot.index / made.config.rate_hz) * _KMH
    angles = np.zeros((len(boxes), 3))
    angles[:, 1] = np.degrees(boxes[:, 6])
    objects = Objects(object_names(made), carla.matrices(boxes[:, :3], angles), boxes[:, 3:6].astype(np.float32))
    found = []
    for agent in made.agents:
        seen = snapshot.hits(agent.id) > 0
        view = replace(snapshot.view(agent.id), world_T_sensor=snapshot.world_T_sensor[agent.id])
        speed = 0.0 if agent.vehicle < 0 else float(speeds[agent.vehicle])
        found.append(Member(agent_names(made)[agent.id], view, select(objects, seen), speed, speeds[seen]))
    return found


# --------------------------------------------------------------------------------------------- what is there already
def _is_there(settings: Simulate, index: int) -> bool:
    """Whether a scenario is whole. If not, its workplace is made ready: what these settings left there stays."""
    place, workplace, wanted = settings.place(index), settings.workplace(index), _protocol(settings, index)
    if place.exists():
        if _content(place / PROTOCOL) != wanted:
            raise InputError(
                f"expected {place} to be made by this version with these settings, got others (see its {PROTOCOL}); "
                "name another folder, or remove it"
            )
        return True
    if workplace.exists() and _content(workplace / PROTOCOL) != wanted:
        shutil.rmtree(workplace)
    write_whole(workplace / PROTOCOL, wanted)
    return False


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _protocol(settings: Simulate, index: int) -> bytes:
    """All that a scenario's bytes depend on."""
    made_by = {"robosac": __version__, "split": settings.split, "index": index, "seed": settings.seed}
    made_by |= settings.config.made_with
    config = json.loads(json.dumps(asdict(settings.config)))  # tuples as lists
    text: str = yaml.safe_dump({**made_by, "format": settings.format, "simulation": config})
    return text.encode()


def _finish(settings: Simulate, index: int) -> None:
    """Move a scenario to its place, without what a killed process left half-written."""
    workplace, place = settings.workplace(index), settings.place(index)
    for temporary in workplace.rglob(".*"):
        temporary.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    workplace.rename(place)


# --------------------------------------------------------------------------------------------------------- printing
def show(settings: Simulate) -> None:
    """Write simulated scenes as other frameworks read them.

    Stopped, it leaves whole scenarios only; run again with the same arguments, it goes on.
    """
    with kept_on_stop(settings.out), progress_bar("frames", quiet=settings.json) as tell:
        found = write(settings, tell)
    if settings.json:
        print(json.dumps(found))
    else:
        kept = found["frames"] - found["written"]
        where = settings.out / settings.split
        print(f"{settings.scenes} scenarios of {settings.frames} frames in {where}", end="")
        print(f" ({found['written']} frames written, {kept} were there)")


simulate = command_of(Simulate, show)
