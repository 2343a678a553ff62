"""`robosac evaluate`: an experiment of attacks and defences, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robosac.cli.options import (
    DETECTOR_HELP,
    Address,
    Checkpoint,
    Classes,
    ExecutorName,
    Jobs,
    Json,
    Out,
    PoseNoise,
    Root,
    Threads,
    with_checkpoint,
)
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.executors import default_jobs, make_executor
from robosac.experiments.settings import Grid, make_grid
from robosac.files import write_whole
from robosac.types import InputError, RobosacError

if TYPE_CHECKING:
    from robosac.experiments.entries import Entry


class NothingPlayedError(RobosacError):
    """Every cell of a grid was skipped; why stands above."""


def evaluate(
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="sim:PRESET (mixed, intersection, ...), opv2v:PATH, v2xsim:PATH, dair:PATH, or data:PATH."),
    ] = None,
    detector: Annotated[list[str] | None, typer.Option(help=DETECTOR_HELP)] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Presets (robosac attacks lists them), like pgd or pgd:steps=5,epsilon=0.1."),
    ] = None,
    attackers: Annotated[list[str] | None, typer.Option(help="How many of a scene's teammates attack.")] = None,
    defense: Annotated[
        list[str] | None, typer.Option(help="Presets (robosac, paper, ...), none, ego-only, oracle, all-honest.")
    ] = None,
    epsilon: Annotated[list[str] | None, typer.Option(help="Budgets in place of the presets': an axis.")] = None,
    trials: Annotated[list[str] | None, typer.Option(help="Trials a frame, at most: an axis.")] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A YAML file of these; what is named here wins.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Of a data set, at most.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a scene, at most.")] = None,
    frame_step: Annotated[int | None, typer.Option(min=1, help="Every how many-th frame.")] = None,
    vehicles: Annotated[int | None, typer.Option(min=1, help="Connected vehicles of a simulated scene.")] = None,
    comm_range_m: Annotated[float | None, typer.Option(help="Who is further from the ego is no teammate.")] = None,
    ego: Annotated[str | None, typer.Option(help="Of a recording: first, each (or all), or an agent's name.")] = None,
    classes: Classes = None,
    pose_noise: PoseNoise = None,
    delay: Annotated[int | None, typer.Option(min=0, help="Frames by which teammates are late.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; with cuda, jobs take the GPUs in turn.")
    ] = None,
    root: Root = None,
    checkpoint: Checkpoint = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Thresholds of the one detector, as robosac calibrate --out wrote them; default: those beside it.",
        ),
    ] = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    executor: ExecutorName = "processes",
    address: Address = None,
    out: Out = Path("runs/evaluate"),
    json: Json = False,
) -> None:
    """Play every attack against every defence: the whole grid of what is named.

    Lists are repeated options or comma lists. A run that is stopped goes on where it was when the same command is given
    again; a grid that grows uses what is there.
    """
    named = {option: value for option, value in locals().items() if option in Grid.model_fields}
    named["pose_noise"] = None if pose_noise is None else [pose_noise]
    from robosac.experiments import tables
    from robosac.experiments.figures import figures
    from robosac.experiments.notes import notes
    from robosac.experiments.provenance import command_line, versions
    from robosac.experiments.report import page
    from robosac.experiments.runner import open_experiment, run_experiment, write_entries
    from robosac.viz.report import write_report

    used = default_jobs() if jobs is None else jobs
    chosen = make_executor(jobs, threads=threads, name=executor, address=address, device=device or "cpu")
    grid = of_checkpoint(make_grid(config, named), checkpoint)
    experiment = open_experiment(grid, out, root=root, calibration=calibration)
    with kept_on_stop(out), progress_bar("attacks on scenes", quiet=json) as tell:
        entries = run_experiment(experiment, chosen, tell=tell)
    files = write_entries(experiment, entries, jobs=used, threads=threads)
    pngs = figures(entries)
    for name, png in pngs.items():
        write_whole(out / f"{name}.png", png)
    write_whole(out / "table.md", tables.to_markdown(entries).encode())
    write_whole(out / "table.csv", tables.to_csv(entries).encode())
    command = command_line("robosac evaluate", config=out / "grid.yaml", out=out, root=root, calibration=calibration)
    report = write_report(out / "report.html", page(experiment.grid, entries, pngs, command, versions()))
    if json:
        rows = [{**e.cell.labels(), **tables.row(e)} for e in entries]
        print(dumps({"out": str(out), "entries": [str(f) for f in files], "rows": rows, "notes": notes(entries)}))
    else:
        _print(entries, out, report)
    reasons = {e.skipped: None for e in entries}
    if None not in reasons:
        raise NothingPlayedError(f"expected a cell that can be played, got none: {'; '.join(map(str, reasons))}")


def _print(entries: Sequence[Entry], out: Path, report: Path) -> None:
    from rich.console import Console

    from robosac.experiments import tables
    from robosac.experiments.notes import notes

    console = Console()
    for table in tables.rich_tables(entries):
        console.print(table)
        console.print()
    for line in (*tables.skipped_lines(entries), *notes(entries, warned=False)):
        console.print(line, style="yellow", markup=False)
    console.print(f"{tables.legend(entries)} out % a/h: attackers / honest left out.", style="dim")
    console.print(f"Entries in {out / 'entries'}, tables table.md and table.csv, report {report}", markup=False)


def of_checkpoint(grid: Grid, checkpoint: Path | None) -> Grid:
    """The grid with `--checkpoint` in the name of its one detector.

    Raises:
        InputError: if the grid has several, or its detector takes no checkpoint.
    """
    if checkpoint is None:
        return grid
    if len(grid.detector) > 1:
        raise InputError(
            f"expected one --detector beside --checkpoint, got {', '.join(grid.detector)}; "
            "name the weights of several as opencood:FOLDER@FILE or coperception:FUSION:FILE"
        )
    return grid.model_copy(update={"detector": (with_checkpoint(grid.detector[0], checkpoint),)})
