"""Training, as `robosac train` runs it: the same for simulated and recorded scenes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from robosac.detectors import WEIGHTS
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.training.checkpoint import Checkpoint, Log
from robosac.detectors.bev.training.dataset import CachedFrame, load_split
from robosac.detectors.bev.training.loop import Run
from robosac.detectors.bev.training.validation import validate
from robosac.detectors.bev.weights import Header, save
from robosac.files import check_writable_file
from robosac.lock import alone_towards

Scenes = Sequence[Sequence[CachedFrame]]


def train_from_config(
    config: Path,
    *,
    out: Path | None = None,
    seed: int | None = None,
    jobs: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Train as a YAML file says on simulated scenes, validate, and write weights and record.

    Args:
        config: YAML file of a `TrainConfig`.
        out: folder for `<name>.safetensors` and its record `<name>.json`, or a path ending in .safetensors with the
            record beside it; default `detectors/weights`, where `load` looks.
        seed: in place of the file's.
        jobs: processes that simulate, in place of the file's; changes no figure.
        device: "cpu" or "cuda".
        progress: print the losses as they fall.

    Returns:
        Path of the weights; the record is the .json beside it.

    Raises:
        InputError: if the file or the weights to start from are missing or wrong, `out` cannot be written to, or
            another training writes there; the latter two before anything is simulated or trained.
    """
    settings = TrainConfig.read(config)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    command = f"robosac train --config {shlex.quote(config.as_posix())}" + ("" if seed is None else f" --seed {seed}")
    log: Log = (lambda line: print(line, flush=True)) if progress else (lambda line: None)
    path = weights_path(settings.name, out)
    with alone_at(path):
        return train_simulated(settings, path, command=command, jobs=jobs, device=device, log=log)


@contextmanager
def alone_at(path: Path) -> Iterator[None]:
    """Nobody else trains towards the weights at `path` meanwhile. Where nothing was written, no folder is left.

    Raises:
        InputError: another training does, or nothing can be written there.
    """
    check_destination(path)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with alone_towards(path):
            yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def train_simulated(
    settings: TrainConfig,
    path: Path,
    *,
    command: str,
    jobs: int | None = None,
    device: str = "cpu",
    log: Log = print,
) -> Path:
    """As `train_on`, on the scenes of the simulator that the settings name."""
    check_destination(path)
    grid = settings.model.raster
    scenes = load_split("train", settings.data, grid, jobs=jobs, log=log)
    validation = load_split("val", settings.data, grid, jobs=jobs, log=log)
    return train_on(settings, scenes, validation, path, command=command, device=device, log=log)


def train_on(
    settings: TrainConfig,
    scenes: Scenes,
    validation: Scenes,
    path: Path,
    *,
    command: str,
    test: Scenes = (),
    device: str = "cpu",
    data: str = "",
    log: Log = print,
) -> Path:
    """Train on the frames of any scenes, validate on others, and write weights and record. Returns `path`.

    Who calls this holds `alone_at(path)`, so that no other training writes the same files. A run that was killed goes
    on: beside the weights it keeps a checkpoint, which is gone when it is over.

    Args:
        settings: of the model and its training.
        scenes, validation: frames by scene; the weights kept are chosen on the latter where the settings ask for it.
        path: of the weights.
        command: that is trained by, for the record.
        test: frames that nothing is chosen on; figures before and after training are recorded.
        device: "cpu" or "cuda".
        data: names what is trained on, for the record and so that a checkpoint is not gone on from with other data.
        log: takes lines of progress.
    """
    check_destination(path)
    torch.set_num_threads(settings.optim.threads)
    frames = [frame for scene in scenes for frame in scene]
    run = Run(settings, frames, validation, device=device, log=log)
    header = Header(name=settings.name, model=settings.model, decode=settings.decode)
    before = validate(BevDetector(run.weights(), header, device=device), test, data=settings.data) if test else None
    progress = run.train(Checkpoint(checkpoint_path(path), run.key(data), **run.parts))
    net = run.weights()
    detector = BevDetector(net, header, device=device)
    figures = validate(detector, validation, data=settings.data)
    log(f"validation: {figures}")
    record = {
        "config": settings.model_dump(),
        "command": command,
        "torch": torch.__version__,
        "train_minutes": round(progress.seconds / 60, 2),
        "validation": figures,
        "curve": progress.curve,
    }
    if data:
        record["data"] = data
    if progress.validations:
        record["validations"] = progress.validations
    if before is not None:
        after = validate(detector, test, data=settings.data)
        record["test"] = {"before": before, "after": after}
        log(f"test before: {before}")
        log(f"test after: {after}")
    saved = save(path, net, header, record)
    checkpoint_path(path).unlink(missing_ok=True)
    return saved


def weights_path(name: str, out: Path | None = None) -> Path:
    """The weights file that `out` means: a path ending in .safetensors itself, else a file in that folder."""
    if out is not None and out.suffix == ".safetensors" and not out.is_dir():
        return out
    return (WEIGHTS if out is None else out) / f"{name}.safetensors"


def checkpoint_path(path: Path) -> Path:
    """Where a run towards the weights at `path` is kept until it is over."""
    return path.with_suffix(".checkpoint.pt")


def check_destination(path: Path) -> None:
    """Raises `InputError` where weights, record or checkpoint could not be written."""
    for written in (path, path.with_suffix(".json"), checkpoint_path(path)):
        check_writable_file(written)
