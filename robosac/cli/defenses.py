"""`robosac defenses`: what there is, what each does, and where its settings come from; one NAME: with its settings."""

from __future__ import annotations

from json import dumps
from typing import Annotated, Any

import typer

from robosac.cli import completion
from robosac.cli.options import Json
from robosac.cli.output import console, show_table


def defenses(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Presets. Default: all.", autocompletion=completion.defenses),
    ] = None,
    json: Json = False,
) -> None:
    """The defences there are, what each does, and where its settings come from; one NAME: with its settings."""
    from robosac.registry.defenses import defense_names, described

    rows = [described(name) for name in dict.fromkeys(names or defense_names())]
    if json:
        print(dumps(rows))
    elif len(rows) == 1:
        _show_one(rows[0])
    else:
        _show_table(rows)


def _show_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("is told", min_width=8)
    table.add_column("what it does", min_width=24)
    table.add_column("source", min_width=16)
    for row in rows:
        table.add_row(row["name"], row["told"], row["about"], row["source"])
    to = console(markup=False)
    show_table(table, to)
    to.print(
        "\nEvery command takes --defense NAME, robosac.wrap(detector, NAME) too. oracle and all-honest exist in "
        "evaluation alone. One with its settings: robosac defenses NAME"
    )


def _show_one(row: dict[str, Any]) -> None:
    import yaml

    to = console(markup=False)
    to.print(f"{row['name']}: {row['about']}\n")
    for label in ("told", "kind", "source"):
        to.print(f"{'is told' if label == 'told' else label:14} {row[label]}")
    to.print("\nsettings")
    for line in yaml.safe_dump(row["settings"], sort_keys=False).splitlines():
        to.print(f"  {line}")
