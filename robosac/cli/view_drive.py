"""`robosac view --out drive.gif`: a drive seen from above, under one policy beside another. Needs no Open3D."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from robosac.cli.progress import progress_bar
from robosac.errors import InputError
from robosac.files import check_writable_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robosac.experiments.scenes import SceneRef
    from robosac.experiments.settings import Grid

MOVING: Final = (".gif", ".mp4")


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What is played and drawn; `at` is the scenario of a simulation, the frame of a recording whose scenario it is."""

    data: str
    at: int
    detector: str
    out: Path
    defenses: tuple[str, ...]
    attack: str | None
    attackers: int
    frames: int
    fps: float
    seed: int
    ego: str
    classes: tuple[str, ...] | None
    calibration: Path | None
    device: str
    root: Path | None


def write_drive(asked: Drive) -> None:
    """Play a scenario and write it.

    Raises:
        InputError: a name means nothing, there is no such frame, or this kind of file cannot be written here.
    """
    from robosac.registry.attacks import open_attack
    from robosac.registry.defenses import policy
    from robosac.registry.detectors import open_detector
    from robosac.viz.animation import check_animation, write_animation

    check_animation(asked.out)
    check_writable_file(asked.out)
    policies = [policy(name) for name in asked.defenses]
    attack = None if asked.attack is None else open_attack(asked.attack)
    detector = open_detector(asked.detector, device=asked.device, root=asked.root)
    ref, grid = _chosen(asked)
    with progress_bar("frames") as tell:
        figures = _figures(asked, ref, grid, detector, attack, policies, tell)
        count = write_animation(asked.out, figures, fps=asked.fps)
    print(f"{count} frames of scenario {ref.scene}: {', '.join(asked.defenses)}\nWritten to {asked.out}")


def _chosen(asked: Drive) -> tuple[SceneRef, Grid]:
    from robosac.experiments import scenes
    from robosac.experiments.settings import make_grid
    from robosac.registry.data import is_simulated

    simulated = is_simulated(asked.data)
    more: dict[str, Any] = {"classes": asked.classes, "ego": asked.ego, "seed": asked.seed, "frame_step": 1}
    grid = make_grid(None, {"dataset": [asked.data], "scenes": asked.at + 1 if simulated else None, **more})
    grid = grid.model_copy(update={"frames": asked.frames})
    refs = scenes.scenes(grid, asked.data)
    if simulated:
        return refs[asked.at], grid
    before = 0
    whole = grid.model_copy(update={"frames": None})
    for ref in refs:
        before += len(scenes.scene(ref, whole).makers)
        if asked.at < before:
            return ref, grid
    raise InputError(f"expected --frame below {before}, which {asked.data} holds, got {asked.at}")


def _figures(
    asked: Drive, ref: SceneRef, grid: Grid, detector: Any, attack: Any, policies: Any, tell: Any
) -> Iterator[Figure]:
    from robosac.evaluation.play import Moment, play
    from robosac.experiments import scenes
    from robosac.experiments.pictures import frame_figure
    from robosac.registry.attacks import fitted
    from robosac.registry.detectors import loaded_calibration, saved_calibration

    made = scenes.scene(ref, grid)
    path = asked.calibration
    frames = (Moment(*make()) for make in made.makers)
    playing = play(
        frames,
        detector,
        None if attack is None else fitted(attack, detector, lambda: [Moment(*made.makers[0]()).frame]),
        (asked.attackers,),
        policies,
        seed=asked.seed,
        calibration=saved_calibration(detector) if path is None else loaded_calibration(path, detector),
        teammates=None if made.appearing is None else made.appearing(),
    )
    tell(0, len(made.makers))
    for done in range(1, 1 + len(made.makers)):
        yield frame_figure(list(islice(playing, len(policies))), detector.grid)
        tell(done, len(made.makers))
