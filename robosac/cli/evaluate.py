"""`robosac evaluate`: a grid of attacks and defences, resumable."""

from __future__ import annotations

import shlex
import sys
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from robosac.cli.options import DETECTOR_HELP, Jobs, Json, Out, Root, Threads
from robosac.cli.progress import progress_bar
from robosac.executors import default_jobs
from robosac.files import write_whole
from robosac.grid.settings import Grid, make_grid


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
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    root: Root = None,
    jobs: Jobs = None,
    threads: Threads = 1,
    out: Out = Path("runs/evaluate"),
    json: Json = False,
) -> None:
    """Play every attack against every defence: the whole grid of what is named.

    Lists are repeated options or comma lists. A run that is stopped goes on where it was when the same command is given
    again; a grid that grows uses what is there.
    """
    named = {option: value for option, value in locals().items() if option in Grid.model_fields}
    from robosac.demo.run import environment
    from robosac.grid.page import figures, page
    from robosac.grid.run import make_plan, run_plan
    from robosac.grid.table import LEGEND, rich_tables, row, skipped_lines, to_csv, to_markdown
    from robosac.viz.report import write_report

    plan = make_plan(make_grid(config, named), out, root=root)
    used = default_jobs() if jobs is None else jobs
    try:
        with progress_bar("attacks on scenes", quiet=json) as tell:
            result = run_plan(plan, jobs=used, threads=threads, tell=tell)
    except KeyboardInterrupt:
        print(f"robosac: what is done is kept in {out}; the same command goes on from there", file=sys.stderr)
        raise
    pngs = figures(result.entries)
    for name, png in pngs.items():
        write_whole(out / f"{name}.png", png)
    write_whole(out / "table.md", to_markdown(result.entries).encode())
    write_whole(out / "table.csv", to_csv(result.entries).encode())
    versions = environment(used, threads)["versions"]
    command = f"robosac evaluate --config {shlex.quote(str(out / 'grid.yaml'))} --out {shlex.quote(str(out))}"
    command += "" if root is None else f" --root {shlex.quote(str(root))}"
    report = write_report(out / "report.html", page(result, pngs, command, versions))
    if json:
        rows = [{**e.cell.labels(), **row(e)} for e in result.entries]
        print(dumps({"out": str(out), "entries": [str(f) for f in result.files], "rows": rows}))
        return
    from rich.console import Console

    console = Console()
    for table in rich_tables(result.entries):
        console.print(table)
        console.print()
    for line in skipped_lines(result.entries):
        console.print(line, style="yellow", markup=False)
    console.print(f"{LEGEND} out % a/h: attackers / honest left out.", style="dim")
    console.print(f"Entries in {out / 'entries'}, tables table.md and table.csv, report {report}", markup=False)
