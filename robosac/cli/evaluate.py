"""`robosac evaluate`: an experiment of attacks and defences, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from robosac.cli import completion
from robosac.cli.options import (
    ATTACK_HELP,
    DATA_HELP,
    DEFENSE_HELP,
    DETECTOR_HELP,
    Address,
    CalibrationFile,
    Checkpoint,
    Classes,
    ExecutorName,
    Jobs,
    Json,
    Out,
    PoseNoise,
    Root,
    Threads,
    named,
    with_checkpoint,
)
from robosac.cli.output import console, show_table
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.executors import default_jobs, make_executor
from robosac.experiments.settings import Grid, make_grid
from robosac.files import write_whole
from robosac.types import InputError, RobosacError

if TYPE_CHECKING:
    from robosac.experiments.entries import Entry


EXAMPLE: Final = (
    "name --data, --detector, --attack or --defense, or a file by --config; a first one: "
    "robosac evaluate --data sim:mixed --attack noise --attackers 1 --scenes 2"
)


class NothingPlayedError(RobosacError):
    """Every cell of a grid was skipped; why stands above."""


def evaluate(
    dataset: Annotated[
        list[str] | None,
        named("--data", "--dataset", "-d", complete=completion.data, help=f"{DATA_HELP} Default: sim:mixed."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        named("--detector", "-m", complete=completion.detectors, help=f"{DETECTOR_HELP} Default: mean."),
    ] = None,
    attack: Annotated[
        list[str] | None,
        named("--attack", "-a", complete=completion.attacks, help=f"{ATTACK_HELP} Default: pgd."),
    ] = None,
    attackers: Annotated[
        list[str] | None, typer.Option(help="How many of a scene's teammates attack. Default: 0,1,2.")
    ] = None,
    defense: Annotated[
        list[str] | None,
        named(
            "--defense",
            "-D",
            complete=completion.defenses,
            help=f"{DEFENSE_HELP}; and oracle, all-honest. Default: none,robosac,oracle.",
        ),
    ] = None,
    epsilon: Annotated[list[str] | None, typer.Option(help="Budgets in place of the presets': an axis.")] = None,
    trials: Annotated[list[str] | None, typer.Option(help="Trials a frame, at most: an axis.")] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A YAML file of these; what is named here wins.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", "-s", min=0, help="The first seed: same seed, same result. Default: 0.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds, from the first on. Default: 1.")] = None,
    scenes: Annotated[
        int | None,
        typer.Option("--scenes", "-n", min=1, help="Of a data set, at most. Default: 20 of a simulation, else all."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Of a scene, at most. Default: 2 of a simulated one, else all.")
    ] = None,
    frame_step: Annotated[
        int | None, typer.Option(min=1, help="Every how many-th frame. Default: 5 of a simulation, else 1.")
    ] = None,
    vehicles: Annotated[
        int | None,
        typer.Option(min=1, help="Connected vehicles of a simulated scene. Default: the preset's, mostly 5."),
    ] = None,
    comm_range_m: Annotated[
        float | None, typer.Option(help="Who is further from the ego is no teammate. Default: the data set's, 70.")
    ] = None,
    ego: Annotated[
        str | None,
        typer.Option(
            help="Whose view of a recording: first, each (or all) in turn, or an agent's name. Default: first."
        ),
    ] = None,
    classes: Classes = None,
    pose_noise: PoseNoise = None,
    delay: Annotated[int | None, typer.Option(min=0, help="Frames by which teammates are late. Default: 0.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1; with cuda, processes take the GPUs in turn. Default: cpu.")
    ] = None,
    root: Root = None,
    checkpoint: Checkpoint = None,
    calibration: CalibrationFile = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    executor: ExecutorName = "processes",
    address: Address = None,
    save_boxes: Annotated[
        bool | None, typer.Option("--save-boxes", help="Keep every box and object in OUT/boxes, for robosac ap.")
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="Frames in the report, the worst first, a typical one last; scenes play again.")
    ] = 3,
    out: Out = Path("runs/evaluate"),
    json: Json = False,
) -> None:
    """Play every attack against every defence: the whole grid of what is named.

    Something must be named; what is not has the defaults below. Ten seconds on two cores: robosac evaluate --data
    sim:mixed --attack noise --attackers 1 --scenes 2.

    Lists are repeated options or comma lists. A run that is stopped goes on where it was when the same command is given
    again; a grid that grows uses what is there.
    """
    asked = {option: value for option, value in locals().items() if option in Grid.model_fields}
    asked["pose_noise"] = None if pose_noise is None else [pose_noise]
    if config is None and all(value is None for value in asked.values()):
        raise InputError(f"expected what to evaluate, got nothing; {EXAMPLE}")
    from robosac.experiments import tables
    from robosac.experiments.figures import figures
    from robosac.experiments.notes import notes
    from robosac.experiments.provenance import command_line, versions
    from robosac.experiments.report import page
    from robosac.experiments.runner import open_experiment, run_experiment, write_entries, write_saved
    from robosac.experiments.worst import draw
    from robosac.viz.report import write_report

    used = default_jobs() if jobs is None else jobs
    chosen = make_executor(jobs, threads=threads, name=executor, address=address, device=device or "cpu")
    grid = of_checkpoint(make_grid(config, asked), checkpoint)
    experiment = open_experiment(grid, out, root=root, calibration=calibration)
    with kept_on_stop(out), progress_bar("attacks on scenes", quiet=json) as tell:
        entries = run_experiment(experiment, chosen, tell=tell)
    files = write_entries(experiment, entries, jobs=used, threads=threads)
    write_saved(experiment, entries)
    pngs = figures(entries)
    for name, png in pngs.items():
        write_whole(out / f"{name}.png", png)
    write_whole(out / "table.md", tables.to_markdown(entries).encode())
    write_whole(out / "table.csv", tables.to_csv(entries).encode())
    command = command_line("robosac evaluate", config=out / "grid.yaml", out=out, root=root, calibration=calibration)
    with kept_on_stop(out):
        shots = draw(experiment, chosen, pictures)
    made = page(experiment.grid, entries, pngs, command, versions(), shots)
    report = write_report(out / "report.html", made)
    if json:
        rows = [{**e.cell.labels(), **tables.row(e)} for e in entries]
        print(dumps({"out": str(out), "entries": [str(f) for f in files], "rows": rows, "notes": notes(entries)}))
    else:
        _print(entries, out, report)
    reasons = {e.skipped: None for e in entries}
    if None not in reasons:
        raise NothingPlayedError(f"expected a cell that can be played, got none: {'; '.join(map(str, reasons))}")


def _print(entries: Sequence[Entry], out: Path, report: Path) -> None:
    from robosac.experiments import tables
    from robosac.experiments.notes import notes

    to = console()
    for table in tables.rich_tables(entries):
        show_table(table, to)
        to.print()
    for line in (*tables.skipped_lines(entries), *notes(entries, warned=False)):
        to.print(line, style="yellow", markup=False)
    to.print(f"{tables.legend(entries)} out % a/h: attackers / honest left out.", style="dim")
    to.print(f"Entries in {out / 'entries'}, tables table.md and table.csv, report {report}", markup=False)


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
