"""`robosac data inspect`: what a data set's folder holds, and what is wrong or missing there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from robosac.cli.options import Json
from robosac.data.layout import Reports, open_recording
from robosac.data.recording import DataError, Objects, Recording
from robosac.data.truth import points_in_boxes
from robosac.evaluation.ap import MIN_POINTS
from robosac.files import check_writable_file
from robosac.types import Id, RobosacError, View

SHOWN: Final = 12  # scenarios and problems printed; --json has them all


class BrokenDataError(RobosacError):
    """A data set holds files that cannot be read; they are listed above."""


data = typer.Typer(help="Driving data sets on disk.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(eq=False)
class Findings:
    """What was found: plain data, and problems by file, each once."""

    scenarios: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, list[int]] = field(default_factory=dict)  # kind of agent -> points of each scan read
    objects: list[tuple[int, int, int]] = field(default_factory=list)  # a frame: listed, seen by any agent, by all
    read: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Broken files are noted and the work goes on."""
        try:
            yield
        except DataError as error:
            self.broken.setdefault(str(error.path), error.problem)


def inspect(recording: Recording, *, frames: int = 20) -> dict[str, Any]:
    """Everything `robosac data inspect` says, as plain data without NaN.

    Raises:
        DataError: if what the layout itself is listed in cannot be read.
    """
    found = Findings()
    ticks: list[tuple[str, str]] = []
    for name in recording.scenarios():
        with found.noting():
            found.scenarios.append(_scenario(recording, name, found))
            ticks += [(name, tick) for tick in recording.ticks(name)]
    chosen = ticks if frames == 0 else [ticks[i] for i in _spread(len(ticks), frames)]
    for name, tick in chosen:
        _read(recording, name, tick, found)
    if isinstance(recording, Reports):
        listed = {str(e.path): e.problem for e in recording.problems()}
        found.missing = {path: problem for path, problem in listed.items() if path not in found.broken}
    return {
        "root": str(recording.root),
        "layout": recording.layout,
        "scenarios": found.scenarios,
        "frames": len(ticks),
        "frames_read": found.read,
        "points": {kind: _range(counts) for kind, counts in sorted(found.points.items())},
        "objects": {
            "listed": _range([listed for listed, _, _ in found.objects]),
            f"with {MIN_POINTS} points or more": _range([seen for _, _, seen in found.objects]),
            "with any point": _range([touched for _, touched, _ in found.objects]),
        },
        "broken": [{"file": path, "problem": problem} for path, problem in found.broken.items()],
        "missing": [{"file": path, "problem": problem} for path, problem in found.missing.items()],
    }


def _scenario(recording: Recording, name: str, found: Findings) -> dict[str, Any]:
    ticks = recording.ticks(name)
    agents = recording.agents(name)
    there = {a.id: 0 for a in agents}
    for tick in ticks:
        for agent in recording.present(name, tick):
            there[agent] = there.get(agent, 0) + 1
    rate = None
    if len(ticks) > 1:
        with found.noting():
            rate = _rate_hz(recording, name, ticks[:2])
    kinds = {a.id: a.kind for a in agents}
    return {
        "name": name,
        "frames": len(ticks),
        "rate_hz": rate,
        "agents": [{"id": a, "kind": kinds.get(a, "vehicle"), "frames": n} for a, n in there.items()],
    }


def _rate_hz(recording: Recording, name: str, ticks: Sequence[str]) -> float | None:
    """From the first two scans of an agent that has both."""
    both = [a for a in recording.present(name, ticks[0]) if a in recording.present(name, ticks[1])]
    if not both:
        return None
    first, second = (recording.view(name, tick, both[0]).t_ns for tick in ticks)
    return round(1e9 / (second - first), 2) if second > first else None


def _read(recording: Recording, name: str, tick: str, found: Findings) -> None:
    """Read one frame file by file, so that each broken one is named."""
    views: dict[Id, View] = {}
    lists: list[Objects] = []
    agents = recording.present(name, tick)
    for agent in agents:
        with found.noting():
            views[agent] = recording.view(name, tick, agent)
            found.points.setdefault(views[agent].kind, []).append(len(views[agent].points))
    with found.noting():
        lists.append(recording.labels(name, tick, agents))
    for objects in lists:
        hits = [points_in_boxes(v.points, v.world_T_sensor, objects) for v in views.values()]
        total = np.sum(hits, axis=0) if hits else np.zeros(len(objects), np.int64)
        found.objects.append((len(objects), int((total > 0).sum()), int((total >= MIN_POINTS).sum())))
    found.read += len(views) == len(agents) and bool(lists)


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(wanted, count)).tolist()})


def _range(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"min": int(min(values)), "mean": round(float(np.mean(values)), 1), "max": int(max(values))}


# ------------------------------------------------------------------------------------------------------- printing
@data.command("inspect")
def data_inspect(
    path: Annotated[Path, typer.Argument(help="OPV2V, V2XSet, V2X-Sim (npy or pkl) or DAIR-V2X-C: the folder.")],
    layout: Annotated[str | None, typer.Option(help="Its layout; default: recognised from the files.")] = None,
    frames: Annotated[int, typer.Option(min=0, help="Frames read whole, spread over all; 0: every one.")] = 20,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Picture of a frame from above (.png).")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Which frame to draw.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Broken files are listed and are no failure.")] = False,
    json: Json = False,
) -> None:
    """Say what a data set holds: scenarios, frames, agents, rates, points, objects, and what is broken or missing.

    Exit code 1 where files are broken, unless --skip-bad.
    """
    if plot is not None:
        check_writable_file(plot)
    recording = open_recording(path, layout)
    found = inspect(recording, frames=frames)
    if not json:
        _print(found)
    if plot is not None:
        from robosac.cli.data_plot import plot_frame

        found["plot"] = str(plot_frame(recording, frame, plot, skip_bad=skip_bad))
    if json:
        print(dumps(found, allow_nan=False))
    elif plot is not None:
        print(f"\nPicture: {found['plot']}")
    if found["broken"] and not skip_bad:
        one = len(found["broken"]) == 1
        raise BrokenDataError(
            f"{len(found['broken'])} {'file is' if one else 'files are'} broken in {recording.root}; "
            "--skip-bad goes on without the frames that need them"
        )


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found['root']}: {found['layout']}, {found['frames']} frames", markup=False)
    table = Table("scenario", "frames", "Hz", "agents (frames)", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for s in found["scenarios"][:SHOWN]:
        agents = ", ".join(
            f"{a['id']}{' roadside' if a['kind'] == 'roadside' else ''} ({a['frames']})" for a in s["agents"]
        )
        table.add_row(s["name"], str(s["frames"]), "-" if s["rate_hz"] is None else f"{s['rate_hz']:g}", agents)
    console.print(table)
    _more(console, len(found["scenarios"]), "scenarios")
    console.print(f"\nIn {found['frames_read']} frames that were read whole:")
    for kind, counts in found["points"].items():
        console.print(f"  points a scan, {kind}: {_said(counts)}")
    for what, counts in found["objects"].items():
        console.print(f"  objects a frame, {what}: {_said(counts)}")
    for what in ("broken", "missing"):
        if found[what]:
            console.print(f"\n{len(found[what])} {what}:")
            for problem in found[what][:SHOWN]:
                console.print(f"  {_below(problem['file'], found['root'])}: {problem['problem']}", markup=False)
            _more(console, len(found[what]), "files")


def _below(file: str, root: str) -> str:
    """A file's path below the root, which stands in the first line."""
    return str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else file


def _said(counts: dict[str, float] | None) -> str:
    return "none" if counts is None else f"{counts['min']} to {counts['max']}, {counts['mean']:g} on average"


def _more(console: Any, count: int, what: str) -> None:
    if count > SHOWN:
        console.print(f"  ... and {count - SHOWN} {what} more; --json lists them all")
