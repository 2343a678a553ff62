"""`robosac view`: a frame or a scenario in 3D, in a window or as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from robosac.capabilities import Reporting
from robosac.cli import completion
from robosac.cli.options import (
    ATTACK_HELP,
    DATA_HELP,
    DEFENSE_HELP,
    DETECTOR_HELP,
    CalibrationFile,
    Checkpoint,
    Classes,
    Device,
    Ego,
    Root,
    Seed,
    listed,
    named,
    with_checkpoint,
)
from robosac.cli.view_drive import MOVING, Drive, write_drive
from robosac.data.dataset import DataSet
from robosac.facade import Defended, wrap
from robosac.files import check_writable_file
from robosac.registry.data import is_simulated, open_recording, split_name
from robosac.registry.detectors import open_detector
from robosac.registry.frames import whose
from robosac.simulation import SimConfig
from robosac.simulation import scenario as simulated
from robosac.types import Detections, Frame, InputError, Truth

if TYPE_CHECKING:
    from robosac.viz.scene3d import Scene3D


def view(
    data: Annotated[str, typer.Argument(help=DATA_HELP, autocompletion=completion.data)] = "simulated",
    frame: Annotated[int, typer.Option(min=0, help="Which of its frames (of the simulation: of its scenarios).")] = 0,
    scenario: Annotated[bool, typer.Option("--scenario", help="All frames of that frame's scenario.")] = False,
    detector: Annotated[
        str | None,
        named(
            "--detector",
            "-m",
            complete=completion.detectors,
            help=f"Draw what this detector, defended, makes of it too. {DETECTOR_HELP}",
        ),
    ] = None,
    calibration: CalibrationFile = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Draw its boxes of at least this score. Default: what the detector reports."),
    ] = None,
    classes: Classes = None,
    ego: Ego = "first",
    attack: Annotated[
        str | None,
        named("--attack", "-a", complete=completion.attacks, help=f"In a .gif or .mp4: what is sent. {ATTACK_HELP}"),
    ] = None,
    attackers: Annotated[
        int | None, typer.Option(min=0, help="How many attack. Default: 1 with --attack, else none.")
    ] = None,
    defense: Annotated[
        list[str] | None,
        named(
            "--defense",
            "-D",
            complete=completion.defenses,
            help=f"In a .gif or .mp4: one beside another. {DEFENSE_HELP} Default: none,robosac with --attack.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Of a .gif or .mp4, at most.")] = 20,
    fps: Annotated[float, typer.Option(min=0.1, max=50, help="Frames a second of a .gif or .mp4.")] = 4,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            dir_okay=False,
            help="A picture (.png; of a scenario one a frame) instead of a window, or the scenario from above, one "
            "policy beside another (.gif, .mp4).",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    root: Root = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Show a frame or a scenario in 3D: points by agent, objects, poses, and the verdict. Needs the extra open3d.

    A drive from above needs nothing more: robosac view sim:mixed --attack pgd --attackers 2 --out drive.gif.
    """
    split_name(data)  # what is wrong or missing is reported before any work
    if out is not None and out.suffix.lower() in MOVING:
        write_drive(
            Drive(
                data=data,
                at=frame,
                detector=with_checkpoint(detector or "mean", checkpoint),
                out=out,
                defenses=listed(defense) or (("robosac",) if attack is None else ("none", "robosac")),
                attack=attack,
                attackers=0 if attack is None else 1 if attackers is None else attackers,
                frames=frames,
                fps=fps,
                seed=seed,
                ego=ego,
                classes=listed(classes),
                calibration=calibration,
                device=device,
                root=root,
            )
        )
        return
    if attack is not None or attackers is not None or defense is not None:
        raise InputError("expected --out FILE.gif or FILE.mp4 with --attack, --attackers and --defense")
    from robosac.viz.viewer import open3d, render, show

    open3d()
    if detector is None and min_score is not None:
        raise InputError(f"expected --detector with --min-score {min_score:g}: without it there are no boxes to draw")
    defended = None
    if detector is not None:
        defended = wrap(
            open_detector(with_checkpoint(detector, checkpoint), device=device, root=root), calibration=calibration
        )
    elif checkpoint is not None or root is not None or calibration is not None:
        raise InputError(
            "expected --detector beside --checkpoint, --root and --calibration: without one nothing is detected"
        )
    found = frames_of(data, frame, seed=seed, whole=scenario, classes=listed(classes), ego=ego)
    seen = scenes(found, defended, min_score)
    if out is None:
        show(seen)
        return
    if out.suffix.lower() != ".png":
        raise InputError(f"expected --out to end in .png, .gif or .mp4, got {out}")
    check_writable_file(out)
    for k, (scene, about) in enumerate(seen):
        path = out.with_name(f"{out.stem}_{k:04d}.png") if scenario else out
        print(f"{about}\nWritten to {render(scene, path)}")


def frames_of(
    data: str, index: int, *, seed: int, whole: bool, classes: Sequence[str] | None = None, ego: str = "first"
) -> Iterator[tuple[Frame, Truth]]:
    """A frame (of the simulation: of scenario `index`) or its whole scenario, with truth, each read when asked for.

    `classes` of a recording's objects that are truth; vehicles, unless given.

    Raises:
        InputError: if there is no such frame.
    """
    if is_simulated(data):
        preset = split_name(data)[1]
        if ego != "first":
            raise InputError(f"expected a data set's folder with --ego {ego}, got the simulation, which has one ego")
        if classes is not None:
            raise InputError("expected a data set's folder with --classes, got the simulation, which holds vehicles")
        scene = simulated("test", index, seed=seed, config=SimConfig.preset(preset))
        for k in range(scene.n_frames if whole else 1):
            yield scene.snapshot(k).frame()
        return
    read = DataSet(open_recording(data, classes), ego=whose(ego))
    if index >= len(read):
        raise InputError(f"expected --frame below {len(read)}, which {data} holds, got {index}")
    if not whole:
        yield read[index]
        return
    wanted = read.entries[index].scenario
    yield from (read.read(entry) for entry in read.entries if entry.scenario == wanted)


def scenes(
    frames: Iterable[tuple[Frame, Truth]], defended: Defended | None, min_score: float | None = None
) -> Iterator[tuple[Scene3D, str]]:
    """What is to be seen of each frame, the detector's defended result included, and a line about it.

    Boxes of a score of at least `min_score` are drawn; None: all that the detector reports.
    """
    from robosac.viz.scene3d import scene_of

    if min_score is None and defended is not None and isinstance(defended.detector, Reporting):
        min_score = defended.detector.reporting_threshold
    for frame, truth in frames:
        verdict = None if defended is None else defended(frame)
        drawn = None if verdict is None else _at_least(verdict.result, min_score)
        scene = scene_of(
            frame,
            truth_boxes=truth.boxes,
            result=drawn,
            used=None if verdict is None else verdict.used,
            attackers=truth.attackers,
        )
        about = f"{frame.scenario}, frame {frame.index}: {1 + len(frame.others)} agents, {len(truth.boxes)} objects"
        if verdict is not None and drawn is not None:
            score = "of any score" if min_score is None else f"of a score of at least {min_score:g}"
            about += f"; {len(drawn)} detections {score}, {verdict.reason}"
        yield scene, about


def _at_least(result: Detections, min_score: float | None) -> Detections:
    kept = np.isfinite(result.boxes).all(axis=1) & (result.scores >= (0 if min_score is None else min_score))
    return Detections(result.boxes[kept], result.scores[kept], result.score_map)
