"""`robosac view`: a frame in 3D, in a window or as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robosac.files import check_writable_file
from robosac.sources import SIMULATED
from robosac.types import Frame, InputError, Truth, Verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which frame of what, defended by whom.

    Attributes:
        data: `simulated`, or the folder of a data set.
        frame: its number in the data.
        detector: name of a detector whose defended result is drawn, None for none.
        out: a PNG to write; None opens a window.
    """

    data: str = SIMULATED
    frame: int = 0
    seed: int = 0
    detector: str | None = None
    out: Path | None = None


def load(settings: Settings) -> tuple[Frame, Truth]:
    """The frame and its truth.

    Raises:
        InputError: if there is no such frame.
    """
    if settings.data == SIMULATED:
        from robosac.simulation import scenario

        return scenario("test", settings.frame, seed=settings.seed).snapshot(0).frame()
    if not Path(settings.data).is_dir():
        raise InputError(f"expected {SIMULATED!r} or the folder of a data set, got {settings.data!r}")
    from robosac.data.dataset import DataSet
    from robosac.data.layout import open_recording

    data = DataSet(open_recording(Path(settings.data)))
    if settings.frame >= len(data):
        raise InputError(f"expected --frame below {len(data)}, which {settings.data} holds, got {settings.frame}")
    found: tuple[Frame, Truth] = data[settings.frame]
    return found


def run(settings: Settings) -> None:
    """Show or draw the frame.

    Raises:
        InputError: if Open3D, the frame or the detector is not there, or the file cannot be written.
    """
    from robosac.viz.scene3d import scene_of
    from robosac.viz.viewer import open3d, render, show

    open3d()  # what is missing is told before any work
    if settings.out is not None:
        if settings.out.suffix.lower() != ".png":
            raise InputError(f"expected --out to end in .png, got {settings.out}")
        check_writable_file(settings.out)
    frame, truth = load(settings)
    verdict: Verdict | None = None
    if settings.detector is not None:
        from robosac.facade import wrap

        verdict = wrap(settings.detector)(frame)
    scene = scene_of(
        frame,
        truth_boxes=truth.boxes,
        result=None if verdict is None else verdict.result,
        used=None if verdict is None else verdict.used,
        attackers=truth.attackers,
    )
    about = f"{frame.scenario}, frame {frame.index}: {1 + len(frame.others)} agents, {len(truth.boxes)} objects"
    print(about + ("" if verdict is None else f"; {len(verdict.result)} detections, {verdict.reason}"))
    if settings.out is None:
        show(scene, title=about)
    else:
        print(f"Written to {render(scene, settings.out)}")
