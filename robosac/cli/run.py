"""`robosac run`: every frame of a data set defended, one JSON a frame, as it goes.

    OUT/frames.jsonl      a line a frame, in order
    OUT/run.json          what made them
    OUT/nuscenes.json     with --format nuscenes: a detection submission
    OUT/npy/NNNN_pred.npy with --format opencood: corners (N, 8, 3) in the ego's frame, numbered as the lines

A run that was stopped goes on with the scene that it was in, from its first frame, since a defence remembers; whole
scenes stay.
"""

from __future__ import annotations

import json as json_lines
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from robosac.cli import completion
from robosac.cli.options import (
    ATTACK_HELP,
    DATA_HELP,
    DEFENSE_HELP,
    CalibrationFile,
    Checkpoint,
    Classes,
    Delay,
    DetectorName,
    Device,
    Ego,
    Json,
    PoseNoise,
    Root,
    Seed,
    command_of,
    listed,
    named,
    with_checkpoint,
)
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.cli.run_formats import FORMATS, as_json, as_nuscenes, corners, npy_bytes, token
from robosac.errors import InputError, did_you_mean
from robosac.files import check_writable, write_whole

FRAMES: Final = "frames.jsonl"
SETTINGS: Final = "run.json"
Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is run on what."""

    data: Annotated[
        str,
        named(
            "--data", "-d", complete=completion.data, help=f"{DATA_HELP.rstrip('.')}, or MODULE:NAME, bag:FILE.yaml."
        ),
    ]
    detector: DetectorName = "mean"
    defense: Annotated[str, named("--defense", "-D", complete=completion.defenses, help=DEFENSE_HELP)] = "robosac"
    attack: Annotated[
        str | None,
        named("--attack", "-a", complete=completion.attacks, help=f"Let teammates attack, to see it. {ATTACK_HELP}"),
    ] = None
    attackers: Annotated[
        int | None, typer.Option(min=0, help="How many attack. Default: 1 with --attack, else none.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", file_okay=False, help="Folder to write to. Default: lines on standard output."),
    ] = None
    format: Annotated[list[str] | None, typer.Option(help="Beside frames.jsonl: nuscenes, opencood; needs --out.")] = (
        None
    )
    scenes: Annotated[
        int | None, typer.Option("--scenes", "-n", min=1, help="At most. Default: 20 of a simulation, else all.")
    ] = None
    frames: Annotated[
        int | None, typer.Option(min=1, help="Of a scene, at most. Default: 2 of a simulated one, else all.")
    ] = None
    frame_step: Annotated[
        int | None, typer.Option(min=1, help="Every how many-th frame. Default: 5 of a simulation, else 1.")
    ] = None
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Boxes of at least this score.")] = 0.0
    ego: Ego = "first"
    classes: Classes = None
    pose_noise: PoseNoise = None
    delay: Delay = 0
    calibration: CalibrationFile = None
    seed: Seed = 0
    device: Device = "cpu"
    root: Root = None
    checkpoint: Checkpoint = None
    json: Json = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "detector", with_checkpoint(self.detector, self.checkpoint))
        formats = listed(self.format) or ()
        if unknown := [f for f in formats if f not in FORMATS]:
            raise InputError(f"expected formats among {', '.join(FORMATS)}, got {unknown[0]!r}"
                             f"{did_you_mean(unknown[0], FORMATS)}")  # fmt: skip
        object.__setattr__(self, "format", [f for f in formats if f != "json"])
        if self.out is None and (self.format or self.json):
            raise InputError(
                "expected --out FOLDER with --format and --json: without it lines are printed, one a frame"
            )
        if self.attackers and self.attack is None:
            raise InputError(f"expected --attack with --attackers {self.attackers}; name what they send")

    @property
    def n_attackers(self) -> int:
        """How many attack."""
        if self.attack is None:
            return 0
        return 1 if self.attackers is None else self.attackers

    def settings(self) -> Line:
        """All that decides the lines, as plain data."""
        shown = ("data", "detector", "defense", "attack", "scenes", "frames", "frame_step", "min_score", "ego", "seed")
        held: Line = {name: getattr(self, name) for name in shown}
        held |= {"attackers": self.n_attackers, "pose_noise": self.pose_noise, "delay": self.delay}
        held |= {"classes": list(listed(self.classes) or ()), "device": self.device}
        held["calibration"] = None if self.calibration is None else str(self.calibration.resolve())
        return held


@dataclass(frozen=True)
class SceneToRun:
    """A scene: its key among the lines, how many frames it has, and what makes its lines."""

    key: str
    frames: int
    lines: Callable[[], Iterator[Line]]


def show(asked: Run) -> None:
    """Defend every frame of a data set: boxes, support, who is accused and why, one JSON a frame.

    Lines are printed or written as frames are done. The same command goes on where it was stopped.
    """
    if asked.out is not None:
        check_writable(asked.out)
    scenes = open_scenes(asked)  # what is wrong is reported before a bar appears
    total = sum(s.frames for s in scenes)
    if not total:
        raise InputError(f"expected frames in {asked.data}, got none; look at it with robosac inspect")
    if asked.out is None:
        with progress_bar("frames", quiet=True) as tell:
            for line in _all(scenes, 0, total, tell):
                print(json_lines.dumps(line), flush=True)
        return
    _write(asked, asked.out, scenes, total)


def _all(scenes: Sequence[SceneToRun], done: int, total: int, tell: Callable[[int, int], None]) -> Iterator[Line]:
    tell(done, total)
    for scene in scenes:
        for line in scene.lines():
            done += 1
            yield {"scene": scene.key, **line}
            tell(done, total)


def _write(asked: Run, out: Path, scenes: Sequence[SceneToRun], total: int) -> None:
    from robosac.lock import alone_in

    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out), kept_on_stop(out), progress_bar("frames", quiet=asked.json) as tell:
        kept = _kept(asked, out, {s.key: s.frames for s in scenes})
        missing = [s for s in scenes if s.key not in kept]
        with (out / FRAMES).open("a", encoding="utf-8") as file:
            for line in _all(missing, total - sum(s.frames for s in missing), total, tell):
                _put(file, line)
        lines = [json_lines.loads(text) for text in (out / FRAMES).read_text(encoding="utf-8").splitlines()]
    files = [out / FRAMES, *_formats(asked, out, lines)]
    n_boxes, n_accused = sum(len(x["boxes"]) for x in lines), sum(bool(x["accused"]) for x in lines)
    fell_back = sum(x["fell_back"] for x in lines)
    if asked.json:
        found = {"out": str(out), "files": [str(f) for f in files], "frames": len(lines), "boxes": n_boxes}
        print(json_lines.dumps({**found, "frames_with_accused": n_accused, "frames_alone": fell_back}))
        return
    print(f"{len(lines)} frames of {len(scenes)} scenes, {n_boxes} boxes; somebody is accused in {n_accused} frames, "
          f"the ego stands alone in {fell_back}")  # fmt: skip
    print(f"Written to {', '.join(map(str, files))}")


def _put(file: IO[str], line: Line) -> None:
    file.write(json_lines.dumps(line) + "\n")
    file.flush()


def _kept(asked: Run, out: Path, frames: dict[str, int]) -> set[str]:
    """Scenes that are whole among the lines of an earlier run; lines of others are taken out.

    Raises:
        InputError: an earlier run had other settings.
    """
    settings = (json_lines.dumps(asked.settings(), indent=1) + "\n").encode()
    path, lines = out / SETTINGS, out / FRAMES
    if path.is_file() and path.read_bytes() != settings and lines.is_file():
        raise InputError(
            f"expected {out} to be of a run with these settings, got others (see its {SETTINGS}); name another folder"
        )
    write_whole(path, settings)
    if not lines.is_file():
        return set()
    found: dict[str, list[str]] = {}
    for text in lines.read_text(encoding="utf-8").splitlines():
        if text.endswith("}"):  # or it was cut off by a kill
            found.setdefault(str(json_lines.loads(text).get("scene")), []).append(text)
    whole = {key: texts for key, texts in found.items() if len(texts) == frames.get(key)}
    write_whole(lines, "".join(f"{text}\n" for texts in whole.values() for text in texts).encode())
    return set(whole)


def _formats(asked: Run, out: Path, lines: Sequence[Line]) -> list[Path]:
    """Other layouts of the same boxes."""
    files = []
    if "nuscenes" in (asked.format or ()):
        meta = {f"use_{sensor}": sensor == "lidar" for sensor in ("camera", "lidar", "radar", "map", "external")}
        results = {token(line): as_nuscenes(line) for line in lines}
        path = out / "nuscenes.json"
        write_whole(path, json_lines.dumps({"meta": meta, "results": results}).encode())
        files.append(path)
    if "opencood" in (asked.format or ()):
        for k, line in enumerate(lines):
            write_whole(out / "npy" / f"{k:04d}_pred.npy", npy_bytes(corners(line["boxes"])))
        files.append(out / "npy")
    return files


# ------------------------------------------------------------------------------------------------------- the frames
def open_scenes(asked: Run) -> list[SceneToRun]:
    """The scenes of what was asked for, in order; nothing of them is read yet.

    Raises:
        InputError: a name means nothing, or an attack is asked for where there is nobody to play it.
    """
    from robosac.facade import load_detector, wrap
    from robosac.registry.attacks import open_attack
    from robosac.registry.data import kind_and_rest
    from robosac.registry.defenses import policy
    from robosac.registry.frames import open_frames

    detector = load_detector(asked.detector, device=asked.device, root=asked.root)
    if asked.attack is not None:
        open_attack(asked.attack)
        policy(asked.defense)
    else:
        wrap(detector, asked.defense, calibration=asked.calibration, seed=asked.seed)
    if kind_and_rest(asked.data) is None:
        if asked.attack is not None:
            raise InputError(f"expected {DATA_HELP.rstrip('.')} with --attack, got {asked.data!r}")
        own = open_frames(asked.data, detector, seed=asked.seed, ego=asked.ego)
        return [SceneToRun(asked.data, len(own), lambda: _defended(asked, detector, iter(own)))]
    from robosac.experiments import scenes
    from robosac.experiments.settings import make_grid

    noise = None if asked.pose_noise is None else [asked.pose_noise]
    more: Line = {"scenes": asked.scenes, "frames": asked.frames, "frame_step": asked.frame_step, "pose_noise": noise}
    more |= {"classes": asked.classes, "ego": asked.ego, "seed": asked.seed, "delay": asked.delay}
    grid = make_grid(None, {"dataset": [asked.data], **more})
    found = []
    for ref in scenes.scenes(grid, asked.data):
        made = scenes.scene(ref, grid)
        found.append(SceneToRun(ref.scene, len(made.makers), lambda made=made: _of_scene(asked, detector, made)))  # type: ignore[misc]
    return found


def _defended(asked: Run, detector: Any, frames: Iterator[Any]) -> Iterator[Line]:
    from robosac.facade import wrap

    defended = wrap(detector, asked.defense, calibration=asked.calibration, seed=asked.seed)
    for frame in frames:
        yield as_json(frame, _at_least(defended(frame), asked.min_score))


def _of_scene(asked: Run, detector: Any, scene: Any) -> Iterator[Line]:
    frames = (made() for made in scene.makers)
    if asked.attack is None:
        yield from _defended(asked, detector, (made[0] for made in frames))
        return
    from robosac.evaluation.play import Moment, play
    from robosac.registry.attacks import fitted, open_attack
    from robosac.registry.defenses import policy
    from robosac.registry.detectors import loaded_calibration, saved_calibration

    path = asked.calibration
    calibration = saved_calibration(detector) if path is None else loaded_calibration(path, detector)
    played = play(
        frames,
        detector,
        fitted(open_attack(asked.attack), detector, lambda: [Moment(*scene.makers[0]()).frame]),
        (asked.n_attackers,),
        [policy(asked.defense)],
        seed=asked.seed,
        calibration=calibration,
        teammates=None if scene.appearing is None else scene.appearing(),
    )
    for one in played:
        yield as_json(one.frame, _at_least(one.verdict, asked.min_score), attackers=one.truth.attackers)


def _at_least(verdict: Any, score: float) -> Any:
    """A verdict with the boxes of at least this score."""
    if not score:
        return verdict
    from dataclasses import replace

    from robosac.types import Detections

    kept = [k for k, s in enumerate(verdict.result.scores) if s >= score]
    result = Detections(verdict.result.boxes[kept], verdict.result.scores[kept])
    told = verdict.certificates
    return replace(
        verdict,
        result=result,
        sources=tuple(verdict.sources[k] for k in kept),
        support=tuple(verdict.support[k] for k in kept) if verdict.support else (),
        certificates=None if told is None else tuple(told[k] for k in kept),
    )


run = command_of(Run, show)
