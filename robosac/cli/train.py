"""`robosac train`: a detector of one's own, on simulated scenes or on recordings."""

from __future__ import annotations

import json as json_lines
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from robosac.cli import completion
from robosac.cli.options import DATA_HELP, Device, Json, command_of, listed, named
from robosac.cli.progress import kept_on_stop
from robosac.errors import InputError

if TYPE_CHECKING:
    from robosac.detectors.bev.config import TrainConfig

Log = Callable[[str], None]
# What weights that are there already are fine-tuned by: small steps, looked at often, stopped where nothing improves.
FINE: Final[dict[str, Any]] = {
    "steps": 400,
    "lr": 5e-4,
    "warmup_steps": 20,
    "decay_steps": 150,
    "ema": 0.98,
    "ego_only": 0.35,
    "validate_every": 25,
    "patience": 6,
    "thin": 0.5,  # few frames are soon known by heart
}
RECORDED: Final[dict[str, Any]] = {"comm_range_m": 70.0}  # as `robosac.data` reads them


@dataclass(frozen=True, kw_only=True)
class Train:
    """What is trained on what."""

    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A YAML file of configs/detectors.")
    ] = None
    data: Annotated[
        str | None,
        named("--data", "-d", complete=completion.data, help=f"{DATA_HELP} In place of the config's."),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Weights to start from: a shipped name or FILE.safetensors; without --config its"
            " network too, trained in small steps.",
        ),
    ] = None
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for NAME.safetensors and its record NAME.json (NAME: the config's), or a path ending in"
            " .safetensors.",
        ),
    ] = Path("runs/train")
    val: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Scenarios of a recording to choose weights on, with commas between, or another recording like"
            " opv2v:PATH. Default: one in five.",
        ),
    ] = ""
    test: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Scenarios to leave out, or another recording like opv2v:PATH, to report AP on before and after.",
        ),
    ] = ""
    seed: Annotated[int | None, typer.Option("--seed", "-s", min=0, help="Instead of the seed in the config.")] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the config's number of steps.")] = None
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Processes that simulate or read; default: the config's. Changes no figure."
        ),
    ] = None
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that train, instead of the config's.")] = None
    device: Device = "cpu"
    json: Json = False


def run(asked: Train) -> None:
    """Train a detector on simulated scenes or recordings, or fine-tune one; run again, it goes on where it stopped."""
    from robosac.detectors.bev.training.train import alone_at, train_on, train_simulated
    from robosac.detectors.device import usable_device

    log: Log = (lambda line: None) if asked.json else (lambda line: print(line, flush=True))
    settings, path = settings_of(asked)
    usable_device(asked.device)  # before the work
    made: dict[str, Any] = {"command": command_line(asked), "device": asked.device, "log": log}
    with kept_on_stop(path.parent), alone_at(path):
        if asked.data is None or asked.data.startswith("sim:"):
            train_simulated(settings, path, jobs=asked.jobs, **made)
        else:
            from robosac.registry.training import recorded_set

            data = recorded_set(
                asked.data,
                settings.model.raster,
                comm_range_m=settings.data.comm_range_m,
                val=listed([asked.val]) or (),
                test=listed([asked.test]) or (),
                seed=settings.seed,
                jobs=asked.jobs or settings.data.workers,
                log=log,
            )
            train_on(settings, data.train, data.validation, path, test=data.test, data=data.content, **made)
    record = json_lines.loads(path.with_suffix(".json").read_text())
    written = [path, path.with_suffix(".json")]
    written.append(_picture(path, record))
    if asked.json:
        typer.echo(
            json_lines.dumps({"out": str(path), **{k: record[k] for k in ("validation", "test") if k in record}})
        )
    else:
        typer.echo(f"Written to {', '.join(map(str, written))}")


def settings_of(asked: Train) -> tuple[TrainConfig, Path]:
    """What is trained, and where its weights go.

    Raises:
        InputError: neither a config nor data is named, or they do not go together.
    """
    from robosac.detectors.bev.config import OptimConfig, TrainConfig
    from robosac.detectors.bev.training.train import weights_path

    if asked.config is None and asked.data is None:
        raise InputError("expected --config FILE or --data NAME, got neither --config nor --data")
    if (asked.val or asked.test) and (asked.data is None or asked.data.startswith("sim:")):
        raise InputError("expected --val and --test with a recording under --data; simulated splits are the config's")
    if asked.config is not None:
        settings = TrainConfig.read(asked.config)
    else:
        settings = _tuning(asked) if asked.source else TrainConfig(name="own")
        if not asked.source:  # on the way, as the weights are chosen on what is validated
            settings = settings.model_copy(update={"optim": OptimConfig(validate_every=100, patience=8)})
    changes: dict[str, Any] = {}
    if asked.source is not None:
        changes["init_from"] = asked.source
    if asked.seed is not None:
        changes["seed"] = asked.seed
    if asked.data is not None:
        changes["data"] = settings.data.model_copy(update=_data_of(asked.data))
    optim: dict[str, int | None] = {
        k: v for k, v in (("steps", asked.steps), ("threads", asked.threads)) if v is not None
    }
    if optim:
        if settings.optim.decay_steps > (asked.steps or settings.optim.steps):
            optim["decay_steps"] = asked.steps  # fewer steps than those over which the rate falls
        changes["optim"] = settings.optim.model_copy(update=optim)
    if asked.config is None and asked.out.suffix == ".safetensors":
        changes["name"] = asked.out.stem
    settings = TrainConfig.model_validate(settings.model_copy(update=changes).model_dump())
    return settings, weights_path(settings.name, asked.out)


def _tuning(asked: Train) -> TrainConfig:
    """Settings that go on from weights: their network, small steps."""
    from robosac.detectors import load
    from robosac.detectors.bev.config import OptimConfig, TrainConfig

    assert asked.source is not None
    header = load(asked.source).header
    name = f"{header.name}-tuned"
    return TrainConfig(name=name, model=header.model, decode=header.decode, optim=OptimConfig(**FINE))


def _data_of(name: str) -> dict[str, Any]:
    from robosac.registry.data import is_simulated, split_name

    if not is_simulated(name):
        return dict(RECORDED)
    from robosac.simulation import SimConfig

    preset = split_name(name)[1]
    config = SimConfig.preset(preset)
    return {"preset": preset, "comm_range_m": config.comm_range_m, "roadside_egos": config.variety is not None}


def command_line(asked: Train) -> str:
    """The command, without where it writes and how it is shown."""
    given = {
        "--config": None if asked.config is None else asked.config.as_posix(),
        "--data": asked.data,
        "--from": asked.source,
        "--val": asked.val or None,
        "--test": asked.test or None,
        "--seed": asked.seed,
        "--steps": asked.steps,
        "--threads": asked.threads,
    }
    parts = [f"{option} {shlex.quote(str(value))}" for option, value in given.items() if value is not None]
    return " ".join(["robosac train", *parts])


def _picture(path: Path, record: dict[str, Any]) -> Path:
    from robosac.viz.canvas import save_png
    from robosac.viz.training import training_figure

    figure = training_figure(record["curve"], record.get("validations", []), title=record["header"]["name"])
    return save_png(figure, path.with_suffix(".png"))


train = command_of(Train, run)
