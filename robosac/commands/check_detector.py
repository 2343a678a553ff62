"""`robosac check-detector`: is a detector wrapped rightly? Prints what `verify_adapter` found."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from robosac.evaluation.conformance import AdapterReport, Check, verify_adapter
from robosac.registry.detectors import open_detector
from robosac.registry.frames import open_frames
from robosac.types import Frame, InputError, RobosacError, keyed_rng

SAID = {True: "yes", False: "NO", None: "n/a"}


class CheckFailedError(RobosacError):
    """A detector did not pass; the table above says where."""


def check(
    detector: str,
    *,
    data: str,
    frame: int,
    teammates: int | None,
    tolerance: float,
    seed: int,
    device: str,
    root: Path | None,
) -> AdapterReport:
    """`verify_adapter` on a detector and a frame by name.

    Raises:
        InputError: if one of them cannot be opened.
    """
    opened = open_detector(detector, device=device, root=root)
    frames = open_frames(data, opened, seed=seed)
    if frame >= len(frames):
        raise InputError(f"expected --frame below {len(frames)}, which {data} holds, got {frame}")
    chosen = frames[frame]
    if not isinstance(chosen, Frame):
        raise InputError(f"expected {data} to hold robosac.types.Frame, got {type(chosen).__name__}")
    most = opened.codec.max_messages if teammates is None else teammates
    kept = dict(sorted(chosen.others.items())[:most])
    return verify_adapter(
        opened, replace(chosen, others=kept), rng=keyed_rng(seed, "check-detector"), tolerance=tolerance
    )


def show(
    detector: str,
    *,
    data: str,
    frame: int,
    teammates: int | None,
    tolerance: float,
    seed: int,
    device: str,
    root: Path | None,
    as_json: bool,
) -> None:
    """Check and print; CheckFailedError (exit code 1) where a check fails."""
    report = check(
        detector,
        data=data,
        frame=frame,
        teammates=teammates,
        tolerance=tolerance,
        seed=seed,
        device=device,
        root=root,
    )
    if as_json:
        measured = {"trial_ms": report.trial_ms, "full_ms": report.full_ms, "speed": report.speed}
        unmeasured = {} if report.ok else dict.fromkeys(measured)
        print(json.dumps({"ok": report.ok, **asdict(report), **measured, **unmeasured}))
    else:
        _print(report)
    if not report.ok:
        failed = ", ".join(c.name for c in report.checks if c.passed is False)
        raise CheckFailedError(f"{report.detector} does not pass: {failed}")


def _print(report: AdapterReport) -> None:
    from rich.table import Table

    console = Console()
    sent = report.bytes_sent
    console.print(
        f"{report.detector} on {report.frame}, {len(sent)} teammates, compared with a {report.compared}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for c in report.checks:
        table.add_row(SAID[c.passed], c.name, c.found, style=_style(c))
    console.print(table)
    if report.ok:
        _print_costs(console, report)


def _print_costs(console: Console, report: AdapterReport) -> None:
    sent = report.bytes_sent
    console.print(
        f"A trial takes {report.trial_ms:.1f} ms, without the cache {report.full_ms:.1f} ms: "
        f"{report.speed:.1f} times cheaper.",
        highlight=False,
        soft_wrap=True,
    )
    sizes = sorted(set(sent.values()))
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    console.print(f"Each teammate sends {each} bytes a frame.", highlight=False, soft_wrap=True)


def _style(c: Check) -> str:
    return {True: "", False: "bold red", None: "dim"}[c.passed]
