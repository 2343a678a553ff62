"""`robosac evaluate`: a grid of attacks and defences, resumable."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robosac.commands.progress import progress_bar
from robosac.executors import default_jobs
from robosac.files import write_whole
from robosac.grid.settings import make_grid


def run(
    named: Mapping[str, Any],
    *,
    config: Path | None,
    out: Path,
    jobs: int | None,
    threads: int,
    root: Path | None,
    as_json: bool,
) -> None:
    """Run the grid, write everything, print the table (or one JSON object)."""
    from robosac.demo.run import environment
    from robosac.grid.page import figures, page
    from robosac.grid.run import make_plan, run_plan
    from robosac.grid.table import LEGEND, rich_tables, row, skipped_lines, to_csv, to_markdown
    from robosac.viz.report import write_report

    plan = make_plan(make_grid(config, named), out, root=root)
    used = default_jobs() if jobs is None else jobs
    try:
        with progress_bar("attacks on scenes", quiet=as_json) as tell:
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
    if as_json:
        rows = [{**e.cell.labels(), **row(e)} for e in result.entries]
        print(json.dumps({"out": str(out), "entries": [str(f) for f in result.files], "rows": rows}))
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
