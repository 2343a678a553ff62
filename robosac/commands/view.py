"""`robosac view`: a frame or a scenario in 3D, in a window or as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robosac.files import check_writable_file
from robosac.registry.frames import SIMULATED
from robosac.types import Frame, InputError, Truth, Verdict

if TYPE_CHECKING:
    from robosac.viz.scene3d import Scene3D


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which frames of what, defended by whom.

    Attributes:
        data: `simulated`, or the folder of a data set.
        frame: number of a frame in the data; of the simulation, of a scenario.
        scenario: all of that frame's scenario, from its first frame on.
        detector: name of a detector whose defended result is drawn, None for none.
        out: a PNG to write (for a scenario one a frame, numbered); None opens a window.
    """

    data: str = SIMULATED
    frame: int = 0
    scenario: bool = False
    seed: int = 0
    detector: str | None = None
    out: Path | None = None


def load(settings: Settings) -> Iterator[tuple[Frame, Truth]]:
    """The frames and their truth, each read when it is asked for.

    Raises:
        InputError: if there is no such frame.
    """
    if settings.data == SIMULATED:
        from robosac.simulation import scenario

        scene = scenario("test", settings.frame, seed=settings.seed)
        for k in range(scene.n_frames if settings.scenario else 1):
            yield scene.snapshot(k).frame()
        return
    if not Path(settings.data).is_dir():
        raise InputError(f"expected {SIMULATED!r} or the folder of a data set, got {settings.data!r}")
    from robosac.data.dataset import DataSet
    from robosac.data.layout import open_recording

    data = DataSet(open_recording(Path(settings.data)))
    if settings.frame >= len(data):
        raise InputError(f"expected --frame below {len(data)}, which {settings.data} holds, got {settings.frame}")
    if not settings.scenario:
        yield data[settings.frame]
        return
    wanted = data.entries[settings.frame].scenario
    yield from (data.read(entry) for entry in data.entries if entry.scenario == wanted)


def run(settings: Settings) -> None:
    """Show or draw the frames.

    Raises:
        InputError: if Open3D, the frame or the detector is not there, or the file cannot be written.
    """
    from robosac.viz.viewer import open3d, render, show

    open3d()  # what is missing is told before any work
    out = settings.out
    if out is None:
        show(scenes(settings))
        return
    if out.suffix.lower() != ".png":
        raise InputError(f"expected --out to end in .png, got {out}")
    check_writable_file(out)
    for k, (scene, about) in enumerate(scenes(settings)):
        path = out.with_name(f"{out.stem}_{k:04d}.png") if settings.scenario else out
        print(f"{about}\nWritten to {render(scene, path)}")


def scenes(settings: Settings) -> Iterator[tuple[Scene3D, str]]:
    """What is to be seen of each frame, and a line about it."""
    from robosac.viz.scene3d import scene_of

    defended: Callable[[Frame], Verdict] | None = None
    if settings.detector is not None:
        from robosac.facade import wrap

        defended = wrap(settings.detector)
    for frame, truth in load(settings):
        verdict = None if defended is None else defended(frame)
        scene = scene_of(
            frame,
            truth_boxes=truth.boxes,
            result=None if verdict is None else verdict.result,
            used=None if verdict is None else verdict.used,
            attackers=truth.attackers,
        )
        about = f"{frame.scenario}, frame {frame.index}: {1 + len(frame.others)} agents, {len(truth.boxes)} objects"
        yield scene, about + ("" if verdict is None else f"; {len(verdict.result)} detections, {verdict.reason}")
