"""`robosac ap`: the AP of saved boxes under every convention, and what makes the figures differ."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robosac.cli.options import Json, listed
from robosac.cli.output import console, show_table
from robosac.types import InputError

if TYPE_CHECKING:
    from robosac.data.saved import Saved
    from robosac.evaluation.rescore import APs, Boxes


def ap(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="A folder of OpenCOOD's dumps (--save_npy), a JSON file of ours, or one of nuScenes' form.",
        ),
    ],
    truth: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The objects, for nuScenes' JSON.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="Of nuScenes' boxes: car,truck. Default: all of them, as one class.")
    ] = None,
    iou: Annotated[str, typer.Option(help="IoU thresholds, seen from above.")] = "0.3,0.5,0.7",
    json: Json = False,
) -> None:
    """Score saved boxes again under every convention of AP, and say what makes the figures differ.

    Boxes are compared seen from above. Several files are scored one after another.
    """
    from robosac.data.saved import read_boxes

    thresholds = _thresholds(iou)
    sets = read_boxes(files, truth=truth, classes=listed(classes))
    found = [{"file": s.source, "kind": s.kind, **scored(s, thresholds)} for s in sets]
    if json:
        print(dumps({"files": found}))
        return
    for s, one in zip(sets, found, strict=True):
        _print(s, one, thresholds)


def scored(saved: Saved, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """What is to be said of one file, as plain data; thresholds are written like `"0.5"`."""
    from robosac.evaluation.rescore import differences, figures

    frames = _boxes(saved)
    aps = figures(frames, thresholds, scored=saved.scored, local=saved.local)
    apart = differences(frames, thresholds, scored=saved.scored)
    return {
        "frames": len(frames),
        "detections": sum(len(f.detections) for f in frames),
        "objects": sum(len(f.objects) for f in frames),
        "ap": {name: found if isinstance(found, str) else _keyed(found) for name, found in aps.items()},
        "differences": [{**asdict(d), "change": _keyed(d.change)} for d in apart],
    }


def _boxes(saved: Saved) -> list[Boxes]:
    from robosac.evaluation.rescore import Boxes

    return [Boxes(f.detections, f.objects, f.ignored) for f in saved.frames]


def _keyed(found: APs) -> dict[str, float | None]:
    return {f"{t:g}": value for t, value in found.items()}


def _thresholds(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise InputError(f"expected --iou to be numbers like 0.5,0.7; got {text!r}") from None


def _print(saved: Saved, found: dict[str, Any], thresholds: tuple[float, ...]) -> None:
    from rich.table import Table

    from robosac.evaluation.rescore import CONVENTIONS

    to = console(markup=False)
    counts = f"{found['frames']} frames, {found['detections']} detections, {found['objects']} objects"
    to.print(f"{saved.source} ({saved.kind}): {counts}")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("counted as by", no_wrap=True)
    for t in thresholds:
        table.add_column(f"AP@{t:g}", justify="right", no_wrap=True)
    table.add_column("counted how")
    for c in CONVENTIONS:
        aps = found["ap"][c.name]
        if isinstance(aps, str):
            table.add_row(c.name, *("–" for _ in thresholds), aps)
        else:
            table.add_row(c.name, *(_shown(aps[f"{t:g}"]) for t in thresholds), c.about)
    show_table(table, to)
    if not found["differences"]:
        to.print("Nothing in these boxes makes the conventions differ.")
    for d in found["differences"]:
        moved = ", ".join(f"{_shown(c, '+.3f')} at {t}" for t, c in d["change"].items() if c is not None)
        line = f"- {d['name']} ({d['concerns']}): {d['count']} {d['of']}" + (f"; AP {moved}" if moved else "")
        to.print(line)
    to.print()


def _shown(value: float | None, spec: str = ".3f") -> str:
    return "–" if value is None else format(value, spec)
