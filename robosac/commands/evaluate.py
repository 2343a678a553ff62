"""`robosac evaluate`: an experiment of attacks and defences, resumable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robosac.commands.progress import kept_on_stop, progress_bar
from robosac.executors import default_jobs, make_executor
from robosac.experiments.settings import make_grid
from robosac.files import write_whole


def run(
    named: Mapping[str, Any],
    *,
    config: Path | None,
    out: Path,
    jobs: int | None,
    threads: int,
    executor: str,
    root: Path | None,
    as_json: bool,
) -> None:
    """Run the experiment, write everything, print the table (or one JSON object)."""
    from robosac.experiments import tables
    from robosac.experiments.figures import figures
    from robosac.experiments.provenance import command_line, versions
    from robosac.experiments.report import page
    from robosac.experiments.runner import make_plan, run_plan, write_entries
    from robosac.viz.report import write_report

    used = default_jobs() if jobs is None else jobs
    chosen = make_executor(used, threads=threads, name=executor)
    plan = make_plan(make_grid(config, named), out, root=root)
    with kept_on_stop(out), progress_bar("attacks on scenes", quiet=as_json) as tell:
        entries = run_plan(plan, chosen, tell=tell)
    files = write_entries(plan, entries, jobs=used, threads=threads)
    pngs = figures(entries)
    for name, png in pngs.items():
        write_whole(out / f"{name}.png", png)
    write_whole(out / "table.md", tables.to_markdown(entries).encode())
    write_whole(out / "table.csv", tables.to_csv(entries).encode())
    command = command_line("robosac evaluate", config=out / "grid.yaml", out=out, root=root)
    report = write_report(out / "report.html", page(plan.grid, entries, pngs, command, versions()))
    if as_json:
        rows = [{**e.cell.labels(), **tables.row(e)} for e in entries]
        print(json.dumps({"out": str(out), "entries": [str(f) for f in files], "rows": rows}))
        return
    from rich.console import Console

    console = Console()
    for table in tables.rich_tables(entries):
        console.print(table)
        console.print()
    for line in tables.skipped_lines(entries):
        console.print(line, style="yellow", markup=False)
    console.print(f"{tables.LEGEND} out % a/h: attackers / honest left out.", style="dim")
    console.print(f"Entries in {out / 'entries'}, tables table.md and table.csv, report {report}", markup=False)
