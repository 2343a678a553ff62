"""`robosac check-detector`: is a detector wrapped rightly? Prints what `verify_adapter` found."""

from __future__ import annotations

from dataclasses import asdict, replace
from json import dumps
from typing import Annotated, Any

import typer

from robosac import progress
from robosac.cli import completion
from robosac.cli.options import (
    DATA_HELP,
    DETECTOR_HELP,
    Checkpoint,
    Device,
    Ego,
    Json,
    Root,
    Seed,
    named,
    with_checkpoint,
)
from robosac.cli.output import console, show_table
from robosac.cli.progress import progress_bar
from robosac.evaluation.conformance import AdapterReport, verify_adapter
from robosac.feature_scale import UNIT, FeatureScale
from robosac.registry.detectors import open_detector
from robosac.registry.frames import frame_at, open_frames
from robosac.types import RobosacError, keyed_rng

SAID = {True: ("yes", ""), False: ("NO", "bold red"), None: ("n/a", "dim")}


class CheckFailedError(RobosacError):
    """A detector did not pass; the table above says where."""


def check_detector(
    detector: Annotated[str, typer.Argument(help=DETECTOR_HELP, autocompletion=completion.detectors)],
    data: Annotated[
        str,
        named(
            "--data",
            "-d",
            complete=completion.data,
            help=f"Where the frame comes from: {DATA_HELP.rstrip('.')}, or MODULE:NAME.",
        ),
    ] = "simulated",
    frame: Annotated[int, typer.Option(min=0, help="Which of the frames.")] = 0,
    teammates: Annotated[int | None, typer.Option(min=1, help="At most so many of its teammates.")] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest difference that is called equal.")] = 1e-6,
    ego: Ego = "first",
    seed: Seed = 0,
    device: Device = "cpu",
    root: Root = None,
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Check on one frame that a detector is wrapped rightly.

    A subset from cached features must equal a full forward with only these agents; a message that was tampered with
    must change the subsets that hold it and no other; gradients must reach the messages. Exit code 1 where one fails.
    """
    opened = open_detector(with_checkpoint(detector, checkpoint), device=device, root=root)
    chosen = frame_at(open_frames(data, opened, seed=seed, ego=ego), frame, data)
    most = opened.codec.max_messages if teammates is None else teammates
    kept = dict(sorted(chosen.others.items())[:most])
    rng = keyed_rng(seed, "check-detector")
    with progress_bar("check", quiet=json) as tell, progress.alone():
        tell(0, 1)
        report = verify_adapter(opened, replace(chosen, others=kept), rng=rng, tolerance=tolerance)
        tell(1, 1)
    if json:
        measured = {"trial_ms": report.trial_ms, "full_ms": report.full_ms, "speed": report.speed}
        unmeasured = {} if report.ok else dict.fromkeys(measured)
        print(dumps({"ok": report.ok, **asdict(report), **measured, **unmeasured}))
    else:
        _print(report)
    if not report.ok:
        failed = ", ".join(c.name for c in report.checks if c.passed is False)
        raise CheckFailedError(f"{report.detector} does not pass: {failed}")


def _print(report: AdapterReport) -> None:
    from rich.table import Table

    to = console(markup=False)
    sent = report.bytes_sent
    to.print(f"{report.detector} on {report.frame}, {len(sent)} teammates, compared with a {report.compared}")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for c in report.checks:
        said, style = SAID[c.passed]
        table.add_row(said, c.name, c.found, style=style)
    show_table(table, to)
    for line in _scale_lines(report.scale):
        to.print(line)
    if report.ok:
        _print_costs(to, report)


def _scale_lines(scale: FeatureScale | None) -> list[str]:
    """What budgets of attacks on features are to be compared with."""
    if scale is None:
        return []
    whole = f"Features as sent: {scale}. Budgets may be multiples of their standard deviation: pgd:epsilon=2{UNIT}."
    return [whole, *(f"  {name}: {part}" for name, part in scale.arrays.items())]


def _print_costs(to: Any, report: AdapterReport) -> None:
    sent = report.bytes_sent
    to.print(
        f"A trial takes {report.trial_ms:.1f} ms, without the cache {report.full_ms:.1f} ms: "
        f"{report.speed:.1f} times cheaper."
    )
    sizes = sorted(set(sent.values()))
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    to.print(f"Each teammate sends {each} bytes a frame.")
