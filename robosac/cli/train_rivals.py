"""`robosac train-rivals`: what rivals learn of a detector, from simulated scenes."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from robosac.cli.options import DetectorName, Jobs, Seed, command_of
from robosac.cli.progress import progress_bar
from robosac.defenses.rivals.learned import own_folder, path_of
from robosac.experiments.rival_training import RivalTraining, trained
from robosac.files import check_writable_file, write_whole
from robosac.fingerprint import file_fingerprint
from robosac.registry.detectors import cached_detector


@dataclass(frozen=True, kw_only=True)
class TrainRivals:
    """What is trained."""

    detector: DetectorName = "mean"
    scenes: Annotated[int, typer.Option(min=1, help="Training scenes, one frame each.")] = 24
    calibration: Annotated[int, typer.Option(min=1, help="Calibration scenes, two frames each.")] = 40
    seed: Seed = 0
    jobs: Jobs = None
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="File to write. Default: in your cache, where the rivals look for it."),
    ] = None

    @property
    def command(self) -> str:
        """The command line that trains the same again."""
        parts = ["robosac", "train-rivals", "--detector", self.detector, "--scenes", str(self.scenes)]
        return shlex.join([*parts, "--calibration", str(self.calibration), "--seed", str(self.seed)])


def show(settings: TrainRivals) -> None:
    """Train MADE's autoencoder and the classifier of residuals, and keep honest scores of both and of GCP's flow."""
    from safetensors.numpy import save

    path = settings.out or path_of(cached_detector(settings.detector, "cpu", None).name, own_folder())
    check_writable_file(path)
    asked = RivalTraining(
        detector=settings.detector, scenes=settings.scenes, calibration=settings.calibration, seed=settings.seed
    )
    with progress_bar("scenes", quiet=False) as tell:
        arrays, said = trained(asked, settings.jobs, tell)
    write_whole(path, save(arrays))
    said |= {"command": settings.command, "content": file_fingerprint(path)}
    write_whole(path.with_suffix(".json"), f"{json.dumps(said, indent=1)}\n".encode())
    print(json.dumps(said))
    print(f"Written to {path}")


train_rivals = command_of(TrainRivals, show)
