"""`robosac calibrate`: agreement thresholds of a detector, and its error rates, from honest frames."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from robosac import progress
from robosac.calibration import (
    Calibration,
    Malicious,
    Scores,
    attacked_scores,
    fit,
    foreign,
    honest_scores,
    merged,
)
from robosac.cli import completion
from robosac.cli.calibrate_tables import guarantee, thresholds_table
from robosac.cli.options import (
    ATTACK_HELP,
    DATA_HELP,
    DEFENSE_HELP,
    Address,
    Checkpoint,
    Classes,
    Delay,
    DetectorName,
    Device,
    Ego,
    ExecutorName,
    Jobs,
    Json,
    PoseNoise,
    Root,
    Seed,
    command_of,
    listed,
    named,
    with_checkpoint,
)
from robosac.cli.output import console, show_table
from robosac.cli.progress import progress_bar
from robosac.conformal import frames_needed
from robosac.evaluation.play import attacked_air
from robosac.executors import make_executor
from robosac.experiments.scenes import SCALE_FRAMES
from robosac.files import check_writable_file
from robosac.registry.attacks import fitted, open_attack
from robosac.registry.defenses import statistics_of
from robosac.registry.detectors import CONTENT, cached_detector, calibration_beside, content_of, own_calibration
from robosac.registry.frames import (
    SIMULATED,
    cached_frames,
    choose,
    disturbance,
    frame_at,
    is_simulated,
    may_be_disturbed,
)
from robosac.types import Detector, Frame, Id, InputError, Message, Request, keyed_rng

USUAL_NOISE: Final = "0.2,0.2"  # metres and degrees, of the frames that are disturbed where nothing else is asked for
FOREIGN: Final = "foreign"


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """What is calibrated on what; names as in `robosac.registry`."""

    detector: DetectorName = "mean"
    data: Annotated[
        str,
        named(
            "--data",
            "-d",
            complete=completion.data,
            help=f"Honest frames: {DATA_HELP.rstrip('.')}, framework:FOLDER (read by the detector's own framework), or "
            "MODULE:NAME of your own.",
        ),
    ] = SIMULATED
    frames: Annotated[int, typer.Option(min=1, help="Honest frames to read thresholds from.")] = 250
    alpha: Annotated[float, typer.Option(help="Share of honest subsets that may be refused.")] = 0.02
    confidence: Annotated[
        float | None, typer.Option(help="Keep that share with this confidence, like 0.95; default: on average.")
    ] = None
    seed: Seed = 0
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            dir_okay=False,
            help="File to write. Default: beside your weights; of a shipped detector a file in your cache. Both are "
            "found by every command and by robosac.wrap.",
        ),
    ] = None
    jobs: Jobs = None
    attack: Annotated[
        str,
        named(
            "--attack", "-a", complete=completion.attacks, help=f"Whose acceptance is measured: foreign. {ATTACK_HELP}"
        ),
    ] = FOREIGN
    defense: Annotated[
        str,
        named(
            "--defense",
            "-D",
            complete=completion.defenses,
            help=f"What these, a comma list, ask of honest frames. {DEFENSE_HELP} Default: all that are shipped.",
        ),
    ] = ""
    add: Annotated[
        bool, typer.Option("--add", help="Keep what the file holds; only statistics that it lacks are added.")
    ] = False
    pose_noise: PoseNoise = None
    delay: Delay = 0
    ego: Ego = "first"
    classes: Classes = None
    device: Device = "cpu"
    executor: ExecutorName = "processes"
    address: Address = None
    root: Root = None
    checkpoint: Checkpoint = None
    json: Json = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "detector", with_checkpoint(self.detector, self.checkpoint))
        object.__setattr__(self, "checkpoint", None)  # the name says it now, to every process
        object.__setattr__(self, "classes", listed(self.classes))  # a list has no hash, and settings are keys
        if self.frames < self.needed:
            raise InputError(
                f"expected at least {self.needed} frames for alpha={self.alpha}, got {self.frames}; give more"
            )

    @property
    def defenses(self) -> list[str]:
        """Names of the presets."""
        return [name.strip() for name in self.defense.split(",") if name.strip()]

    def available(self, device: str) -> Sequence[Frame]:
        """All the frames there are."""
        disturbed = disturbance(self.pose_noise, self.delay, self.seed)
        return cached_frames(
            self.data, self.detector, device, self.root, self.seed, disturbed, listed(self.classes), self.ego
        )

    def disturbed(self, device: str) -> Sequence[Frame] | None:
        """The same frames with noisy poses and, where a scene's earlier frames are at hand, late teammates; None where
        all frames are disturbed as it is, or these cannot be."""
        if self.pose_noise is not None or self.delay or not may_be_disturbed(self.data):
            return None
        how = disturbance(USUAL_NOISE, int(is_simulated(self.data)), self.seed)
        return cached_frames(
            self.data, self.detector, device, self.root, self.seed, how, listed(self.classes), self.ego
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
        parts += ["--defense", ",".join(self.defenses)] if self.defenses else []
        parts += ["--add"] if self.add else []
        parts += [] if self.pose_noise is None else ["--pose-noise", self.pose_noise]
        parts += ["--delay", str(self.delay)] if self.delay else []
        parts += [] if self.ego == "first" else ["--ego", self.ego]
        parts += ["--classes", ",".join(listed(self.classes) or ())] if self.classes else []
        parts += [] if self.device == "cpu" else ["--device", self.device]
        parts += [] if self.attack == FOREIGN else ["--attack", self.attack]
        return shlex.join(parts)


def scores_of(s: Calibrate, job: tuple[int, int]) -> tuple[Scores, Scores]:
    """Scores of an honest frame, a random subset of each size; the same with one attacker in each subset.

    `job` is the number of the frame and of one from elsewhere.
    """
    from robosac.detectors.device import device_of_process

    index, elsewhere = job
    device = device_of_process(s.device)
    detector = cached_detector(s.detector, device, s.root)
    frames = s.available(device)
    frame = frame_at(frames, index, s.data)
    where = () if s.data == SIMULATED else (frame.index,)  # a simulated scene gives one frame
    rng = keyed_rng(s.seed, frame.scenario, *where, "calibrate")
    statistics = statistics_of(s.defenses)
    # half of the frames are disturbed for those who ask it: honest noise is not to look like a lie
    disturbed = s.disturbed(device) if index % 2 else None
    apart = [x for x in statistics if disturbed is not None and getattr(x, "disturbed", False)]
    statistics = [x for x in statistics if x not in apart]
    if s.attack == FOREIGN:
        malicious = foreign(detector, frame_at(frames, elsewhere, s.data))
    else:
        malicious = by_attack(detector, _attack_of(s, device))
    # twice: everybody encodes, a subset of each size and the ego alone; and somebody from elsewhere encodes
    with progress.part(0, 1, f"{frame.scenario}, frame {frame.index}", calls=4 * len(frame.others) + 5):
        honest = honest_scores(detector, [frame], statistics, rng)
        attacked = attacked_scores(detector, [frame], statistics, malicious, rng)
        if apart and disturbed is not None:
            again = honest_scores(detector, [frame_at(disturbed, index, s.data)], apart, rng)
            honest = {**honest, **again}
        return honest, attacked


@lru_cache(maxsize=2)
def _attack_of(s: Calibrate, device: str) -> Any:
    """The attack, once a process; multiples of the features' standard deviation are measured on the first frames."""
    detector, frames = cached_detector(s.detector, device, s.root), s.available(device)
    first = range(min(len(frames), SCALE_FRAMES))
    return fitted(open_attack(s.attack), detector, lambda: (frames[k] for k in first))


def by_attack(detector: Detector, attack: Any) -> Malicious:
    """What an attack sends, computed for the full fusion with this one attacker."""

    def sent(
        frame: Frame, request: Request, honest: Mapping[Id, Message], attacker: Id, rng: np.random.Generator
    ) -> Sequence[Message]:
        air = attacked_air(frame, detector, request, honest, frozenset({attacker}), attack.knowledge)
        messages: Sequence[Message] = attack.start(frame.scenario, frozenset({attacker}), rng).send(air)
        return messages

    return sent


def plan(settings: Calibrate) -> tuple[list[tuple[int, int]], Path]:
    """The work, pairs of frames, and where the thresholds go, once what can be wrong beforehand was looked at.

    Raises:
        InputError: if the detector, the data or the file cannot be used, or there are too few frames.
    """
    cached_frames.cache_clear()  # the folder may hold others since it was last looked into
    detector = cached_detector(settings.detector, settings.device, settings.root)
    path = own_calibration(detector) if settings.out is None else settings.out
    if path is None:
        raise InputError(f"expected --out FILE: {detector.name!r} came from no file and has no fingerprint()")
    check_writable_file(path)
    if settings.attack != FOREIGN:
        open_attack(settings.attack)  # an unknown name is reported now
    if not statistics_of(settings.defenses):
        raise InputError(f"expected a defence that asks for thresholds, got {settings.defense}, which asks for none")
    order = choose(settings.frames, settings.available(settings.device), settings.seed)
    if len(order) < settings.needed:
        raise InputError(
            f"expected at least {settings.needed} frames for alpha={settings.alpha}, {settings.data} has {len(order)}"
        )
    half = len(order) // 2  # frames follow each other at random, so that one half away is another scene, mostly
    return [(i, order[(n + half) % len(order)]) for n, i in enumerate(order)], path


def measured(settings: Calibrate, work: Sequence[tuple[int, int]], tell: Callable[[int, int], None]) -> Calibration:
    """Thresholds of all the work."""
    found: dict[int, tuple[Scores, Scores]] = {}
    executor = make_executor(
        settings.jobs, threads=1, name=settings.executor, address=settings.address, device=settings.device
    )
    tell(0, len(work))
    for position, one in executor.run(partial(scores_of, settings), work):
        found[position] = one
        tell(len(found), len(work))
    honest, attacked = (merged([found[n][side] for n in range(len(work))]) for side in (0, 1))
    if settings.data == SIMULATED or settings.data.startswith("sim:"):
        data = f"{settings.data}, split calibration, {len(work)} scenes, one honest frame each"
    else:
        data = f"{settings.data}, {len(work)} honest frames drawn at random"
    detector = cached_detector(settings.detector, settings.device, settings.root)
    content = content_of(detector)
    return fit(
        detector.name,
        honest,
        alpha=settings.alpha,
        source={"data": data, "command": settings.command, **({} if content is None else {CONTENT: content})},
        attacked=attacked,
        attack=settings.attack,
        confidence=settings.confidence,
    )


def show(settings: Calibrate) -> None:
    """Read agreement thresholds and error rates off honest frames.

    Every command and robosac.wrap find them where they are written: beside your weights, or, of a shipped detector, in
    your cache; what is shipped stays as it is. A file of --out is given them as --calibration.
    """
    work, path = plan(settings)  # what is wrong is reported before a bar appears
    with progress_bar("honest frames", quiet=settings.json) as tell:
        made = measured(settings, work, tell)
    if settings.add:
        made = added(made, path, calibration_beside(cached_detector(settings.detector, settings.device, settings.root)))
    made.save(path)
    if settings.json:
        measures = {name: {k: v for k, v in asdict(m).items() if k != "scores"} for name, m in made.measures.items()}
        print(dumps({"out": str(path), **asdict(made), "measures": measures}))
        return
    to = console(markup=False)
    to.print(f"{made.detector}: {made.source['data']}")
    show_table(thresholds_table(made), to)
    to.print(guarantee(next(iter(made.measures.values()))))
    to.print(f"Written to {path}")
    if settings.out is None:
        to.print(f"Every command and robosac.wrap now take it for {made.detector}; remove the file to undo that.")
    else:
        to.print(
            f"Use it: --calibration {shlex.quote(str(path))}, or robosac.wrap(detector, calibration={str(path)!r})"
        )


def added(made: Calibration, path: Path, beside: Path | None) -> Calibration:
    """What the file at `path`, else that beside the weights, holds, with what is new; which command made what is kept.

    Raises:
        InputError: that file is of another detector, or of other weights.
    """
    held_in = next((p for p in (path, beside) if p is not None and p.exists()), None)
    if held_in is None:
        return made
    held = Calibration.load(held_in)
    if held.detector != made.detector or held.source.get(CONTENT) != made.source.get(CONTENT):
        raise InputError(f"expected {held_in} to be a calibration of {made.detector!r} as it is now; make it again")
    new = {name: m for name, m in made.measures.items() if name not in held.measures}
    said = f"added: {', '.join(sorted(new)) or 'nothing'}"
    return Calibration(held.detector, {**held.measures, **new}, {**held.source, said: made.source["command"]})


calibrate = command_of(Calibrate, show)
