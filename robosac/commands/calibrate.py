"""`robosac calibrate`: agreement thresholds of a detector from honest simulated scenes of their own split."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from robosac.agreement import Agreement, BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.calibration import Calibration, fit, honest_agreements
from robosac.commands.progress import progress_bar
from robosac.evaluation.executors import default_jobs, run_all
from robosac.facade import load_detector
from robosac.files import check_writable_file
from robosac.types import Detector, InputError, keyed_rng

MEASURES: tuple[Agreement, ...] = (BoxJaccard(), ScoreMapOverlap(), SeenScoreMap())
ALPHA = 0.02
Found = dict[str, dict[int, list[float]]]


@dataclass(frozen=True)
class Job:
    """One honest scene."""

    detector: str
    seed: int
    index: int


@lru_cache(maxsize=1)
def _detector(name: str) -> Detector:
    return load_detector(name)


def agreements_of(job: Job) -> Found:
    """Agreements of one frame of an honest scene, a random subset of each size."""
    from robosac.simulation import scenario

    scene = scenario("calibration", job.index, seed=job.seed)
    frame, _ = scene.snapshot(0).frame()
    rng = keyed_rng(job.seed, scene.name, "calibrate")
    return honest_agreements(_detector(job.detector), [frame], MEASURES, rng)


def destination(detector: str, *, frames: int, alpha: float, out: Path | None) -> Path:
    """The file that the thresholds go to, once everything that can be wrong beforehand has been looked at.

    Raises:
        InputError: if alpha, the number of frames, the detector or the file cannot be used.
    """
    if not 0 < alpha < 1:
        raise InputError(f"expected alpha inside (0, 1), got {alpha}; give a share like {ALPHA}")
    if frames < 1 / alpha - 1:
        raise InputError(f"expected at least {1 / alpha:.0f} frames for alpha={alpha}, got {frames}; give more")
    name = _detector(detector).name
    path = _beside_weights(name) if out is None else out
    check_writable_file(path)
    return path


def run(
    detector: str,
    *,
    frames: int = 250,
    seed: int = 0,
    alpha: float = ALPHA,
    out: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Calibration, Path]:
    """Calibrate and save; `out` defaults to the file beside the shipped weights, which is replaced. One frame a scene.

    Raises:
        InputError: as `destination`, before anything is simulated.
    """
    path = destination(detector, frames=frames, alpha=alpha, out=out)
    work = [Job(detector, seed, i) for i in range(frames)]
    found: dict[int, Found] = {}
    for position, one in run_all(agreements_of, work, jobs=default_jobs() if jobs is None else jobs):
        found[position] = one
        progress(len(found), frames)
    merged: Found = {}
    for position in range(frames):
        for measure, by_size in found[position].items():
            for size, values in by_size.items():
                merged.setdefault(measure, {}).setdefault(size, []).extend(values)
    named = shlex.quote(detector)
    command = f"robosac calibrate --detector {named} --frames {frames} --seed {seed} --alpha {alpha:g}"
    source = {"data": f"simulated, split calibration, {frames} scenes, one honest frame each", "command": command}
    made = fit(_detector(detector).name, merged, alpha=alpha, source=source)
    made.save(path)
    return made, path


def show(
    detector: str,
    *,
    frames: int,
    seed: int,
    alpha: float,
    out: Path | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Calibrate with a progress bar and print the thresholds."""
    destination(detector, frames=frames, alpha=alpha, out=out)  # what is wrong is told before a bar appears
    with progress_bar("honest frames", quiet=as_json) as tell:
        made, path = run(detector, frames=frames, seed=seed, alpha=alpha, out=out, jobs=jobs, progress=tell)
    if as_json:
        print(json.dumps({"out": str(path), **asdict(made)}))
        return
    from rich.console import Console
    from rich.table import Table

    sizes = sorted({size for m in made.measures.values() for size in m.thresholds})
    title = f"Agreement asked for, by subset size (alpha {alpha:g}, {frames} honest frames)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("measure", no_wrap=True)
    for size in sizes:
        table.add_column(str(size), justify="right", no_wrap=True)
    for name, measure in made.measures.items():
        table.add_row(name, *(f"{measure.thresholds[s]:.3f}" if s in measure.thresholds else "–" for s in sizes))
    console = Console()
    console.print(table)
    console.print(f"Written to {path}", highlight=False, soft_wrap=True)


def _beside_weights(name: str) -> Path:
    import detectors

    return Path(detectors.__file__).parent / "weights" / f"{name}.calibration.json"
