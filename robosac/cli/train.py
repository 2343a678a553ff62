"""`robosac train`: a detector of one's own, on simulated scenes."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from robosac.cli.options import Json


def train(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A YAML file of configs/detectors.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for NAME.safetensors and its record NAME.json (NAME: the config's), or a path ending in"
            " .safetensors. Default: the shipped weights are replaced."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the seed in the config.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that simulate; default: the config's. Changes no figure.")
    ] = None,
    json: Json = False,
) -> None:
    """Train a detector on simulated scenes."""
    from robosac.detectors.bev.training.train import train_from_config

    weights = train_from_config(config, out=out, seed=seed, jobs=jobs, progress=not json)
    typer.echo(dumps({"out": str(weights)}) if json else f"Written to {weights}")
