"""`robosac detectors`: what is shipped, what it is, whether it is calibrated, and how others are named."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Annotated, Any

import typer

from robosac.cli import completion
from robosac.cli.options import DETECTOR_HELP, Json
from robosac.cli.output import console, show_table
from robosac.errors import InputError, did_you_mean


def detectors(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Shipped ones. Default: all.", autocompletion=completion.detectors),
    ] = None,
    json: Json = False,
) -> None:
    """The detectors there are, what each is, and whether it is calibrated; others are named as below.

    Loads no torch. A command takes any of them by --detector.
    """
    from robosac.detectors import SHIPPED

    if unknown := [n for n in names or [] if n not in SHIPPED]:
        raise InputError(
            f"expected detectors among {', '.join(SHIPPED)}; got {', '.join(map(repr, unknown))}"
            f"{did_you_mean(unknown[0], SHIPPED)}"
        )
    rows = [described(name) for name in dict.fromkeys(names or SHIPPED)]
    if json:
        print(dumps(rows))
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("name", "calibrated", "AP@0.5", "what it is"):
        table.add_column(heading, justify="right" if "AP" in heading else "left", no_wrap="what" not in heading)
    for row in rows:
        table.add_row(row["name"], row["calibrated"], f"{row['validation_ap50']:.3f}", row["about"])
    to = console(markup=False)
    show_table(table, to)
    to.print("\ncalibrated: yes, for every defence; in part, for those that go by agreement alone.")
    to.print("AP@0.5: everybody honest, on the validation scenes of its own training.")
    to.print(f"Every command takes --detector NAME. {DETECTOR_HELP}")


def described(name: str) -> dict[str, Any]:
    """All there is to say of a shipped detector without opening it, as plain data."""
    from robosac.detectors import SHIPPED, WEIGHTS

    record = loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return {
        "name": name,
        "about": SHIPPED[name],
        "calibrated": _calibrated(WEIGHTS / f"bev-{name}.calibration.json"),
        "validation_ap50": record["validation"]["all_ap50"],
        "weights": str(WEIGHTS / f"{name}.safetensors"),
    }


def _calibrated(file: Path) -> str:
    """Whether the shipped thresholds hold all that the default defence asks for."""
    from robosac.registry.defenses import statistics_of

    if not file.is_file():
        return "no"
    held = loads(file.read_text(encoding="utf-8"))["measures"]
    return "yes" if all(s.name in held for s in statistics_of(["robosac"])) else "in part"
