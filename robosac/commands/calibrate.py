"""`robosac calibrate`: agreement thresholds of a detector, and its error rates, from honest frames."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from robosac.agreement import Agreement, BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.calibration import (
    Agreements,
    Calibration,
    Lie,
    Measure,
    fit,
    foreign,
    frames_needed,
    honest_agreements,
    lying_agreements,
)
from robosac.commands.progress import progress_bar
from robosac.evaluation.play import attacked_air
from robosac.executors import make_executor
from robosac.files import check_writable_file
from robosac.registry.detectors import cached_detector, calibration_beside
from robosac.registry.frames import SIMULATED, cached_frames, choose
from robosac.types import Detector, Frame, Id, InputError, Message, Request, keyed_rng

MEASURES: tuple[Agreement, ...] = (BoxJaccard(), ScoreMapOverlap(), SeenScoreMap())
ALPHA = 0.02
CONFIDENCE = 0.95
FOREIGN = "foreign"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is calibrated on what; names as in `robosac.registry`."""

    detector: str = "mean"
    data: str = SIMULATED
    frames: int = 250
    alpha: float = ALPHA
    seed: int = 0
    device: str = "cpu"
    root: Path | None = None
    attack: str = FOREIGN
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.frames < self.needed:
            raise InputError(
                f"expected at least {self.needed} frames for alpha={self.alpha}, got {self.frames}; give more"
            )

    @property
    def needed(self) -> int:
        """The fewest frames that thresholds can be read from."""
        return frames_needed(self.alpha, self.confidence)

    @property
    def command(self) -> str:
        """The command line that makes these thresholds again."""
        parts = ["robosac", "calibrate", "--detector", self.detector]
        parts += [] if self.data == SIMULATED else ["--data", self.data]
        parts += ["--frames", str(self.frames), "--seed", str(self.seed), "--alpha", f"{self.alpha:g}"]
        parts += [] if self.confidence is None else ["--confidence", f"{self.confidence:g}"]
        parts += [] if self.device == "cpu" else ["--device", self.device]
        parts += [] if self.attack == FOREIGN else ["--attack", self.attack]
        return shlex.join(parts)


@dataclass(frozen=True)
class Job:
    """One honest frame, and one from elsewhere."""

    settings: Settings
    index: int
    elsewhere: int


def agreements_of(job: Job) -> tuple[Agreements, Agreements]:
    """Agreements of an honest frame, a random subset of each size; the same with one liar in each subset."""
    from robosac.detectors.device import device_of_process

    s = job.settings
    device = device_of_process(s.device)
    detector = cached_detector(s.detector, device, s.root)
    frames = cached_frames(s.data, s.detector, device, s.root, s.seed)
    frame = _frame(frames[job.index], s)
    rng = keyed_rng(s.seed, frame.scenario, *_where(frame, s), "calibrate")
    honest = honest_agreements(detector, [frame], MEASURES, rng)
    lie = foreign(detector, _frame(frames[job.elsewhere], s)) if s.attack == FOREIGN else by_attack(detector, s.attack)
    return honest, lying_agreements(detector, [frame], MEASURES, lie, rng)


def by_attack(detector: Detector, name: str) -> Lie:
    """The lie of an attack preset, computed for the full fusion with this one attacker."""
    from robosac import attacks

    attack = attacks.load(name)

    def lie(
        frame: Frame, request: Request, honest: Mapping[Id, Message], liar: Id, rng: np.random.Generator
    ) -> Sequence[Message]:
        air = attacked_air(frame, detector, request, honest, frozenset({liar}), attack.knowledge)
        return attack.start(frame.scenario, frozenset({liar}), rng).send(air)

    return lie


def _where(frame: Frame, settings: Settings) -> tuple[int, ...]:
    return () if settings.data == SIMULATED else (frame.index,)  # a simulated scene gives one frame


def _frame(found: object, settings: Settings) -> Frame:
    if not isinstance(found, Frame):
        raise InputError(f"expected {settings.data} to hold robosac.types.Frame, got {type(found).__name__}")
    return found


def plan(settings: Settings, out: Path | None) -> tuple[list[Job], Path]:
    """The work and the file that the thresholds go to, once what can be wrong beforehand has been looked at.

    Raises:
        InputError: if the detector, the data or the file cannot be used, or there are too few frames.
    """
    detector = cached_detector(settings.detector, settings.device, settings.root)
    path = calibration_beside(detector) if out is None else out
    if path is None:
        raise InputError(
            f"expected --out FILE: {detector.name!r} came from no file that its thresholds could lie beside"
        )
    check_writable_file(path)
    if settings.attack != FOREIGN:
        by_attack(detector, settings.attack)  # an unknown name is told now
    frames = cached_frames(settings.data, settings.detector, settings.device, settings.root, settings.seed)
    order = choose(settings.frames, frames, settings.seed)
    if len(order) < settings.needed:
        raise InputError(
            f"expected at least {settings.needed} frames for alpha={settings.alpha}, {settings.data} has {len(order)}"
        )
    half = len(order) // 2  # frames follow each other at random, so that one half away is another scene, mostly
    return [Job(settings, i, order[(n + half) % len(order)]) for n, i in enumerate(order)], path


def run(
    settings: Settings,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Calibration, Path]:
    """Calibrate and save; `out` defaults to the file beside the detector's weights, which is replaced.

    Raises:
        InputError: as `Settings` and `plan`, before any frame is read.
    """
    work, path = plan(settings, out)
    found: dict[int, tuple[Agreements, Agreements]] = {}
    for position, one in make_executor(jobs, threads=1).run(agreements_of, work):
        found[position] = one
        progress(len(found), len(work))
    honest, lies = (_merged([found[n][side] for n in range(len(work))]) for side in (0, 1))
    if settings.data == SIMULATED:
        data = f"simulated, split calibration, {len(work)} scenes, one honest frame each"
    else:
        data = f"{settings.data}, {len(work)} honest frames drawn at random"
    name = cached_detector(settings.detector, settings.device, settings.root).name
    source = {"data": data, "command": settings.command}
    made = fit(
        name,
        honest,
        alpha=settings.alpha,
        source=source,
        lies=lies,
        lie=settings.attack,
        confidence=settings.confidence,
    )
    made.save(path)
    return made, path


def _merged(parts: list[Agreements]) -> Agreements:
    merged: Agreements = {}
    for part in parts:
        for measure, by_size in part.items():
            for size, values in by_size.items():
                merged.setdefault(measure, {}).setdefault(size, []).extend(values)
    return merged


def show(settings: Settings, *, out: Path | None, jobs: int | None, as_json: bool) -> None:
    """Calibrate with a progress bar; print the thresholds, what they promise and what they let pass."""
    plan(settings, out)  # what is wrong is told before a bar appears
    with progress_bar("honest frames", quiet=as_json) as tell:
        made, path = run(settings, out=out, jobs=jobs, progress=tell)
    if as_json:
        print(json.dumps({"out": str(path), **asdict(made)}))
        return
    from rich.console import Console
    from rich.table import Table

    sizes = sorted({size for m in made.measures.values() for size in m.thresholds})
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("subset size", no_wrap=True)
    for size in sizes:
        table.add_column(str(size), justify="right", no_wrap=True)

    def row(title: str, values: Mapping[int, float], digits: int) -> None:
        table.add_row(title, *(f"{values[s]:.{digits}f}" if s in values else "–" for s in sizes))

    for name, measure in made.measures.items():
        table.add_row(name, style="bold")
        row("  agreement asked for", measure.thresholds, 3)
        row(f"  accepted with a liar ({measure.lie})", measure.lies_accepted, 3)
    console = Console()
    console.print(f"{made.detector}: {made.source['data']}", highlight=False, soft_wrap=True)
    console.print(table)
    console.print(guarantee(next(iter(made.measures.values()))), highlight=False, soft_wrap=True)
    console.print(f"Written to {path}", highlight=False, soft_wrap=True)


def guarantee(measure: Measure) -> str:
    """What the thresholds promise, and under which condition, in plain words."""
    by_frames: dict[int, list[int]] = {}
    for size, n in measure.frames.items():
        by_frames.setdefault(n, []).append(size)
    bounds = "; ".join(
        f"size {', '.join(map(str, sizes))} ({n} frames): {measure.refusals(sizes[0], confidence=CONFIDENCE):.3f}"
        for n, sizes in by_frames.items()
    )
    held = "on average over calibrations" if measure.confidence is None else f"with {measure.confidence:.0%} confidence"
    return (
        f"A random honest subset of a further frame like these is refused with probability at most {measure.alpha:g} "
        f"({held}; conformal, each size by itself).\nWhat this one calibration may turn out to refuse, at most, with "
        f"{CONFIDENCE:.0%} confidence: {bounds}.\nNothing is promised for other traffic, sensors or weights. "
        "What lies are let through is measured for this lie and promised for none."
    )
