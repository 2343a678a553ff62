"""`robosac inspect`, and `robosac data inspect`: what a data set's folder holds, and what is wrong or missing there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, runtime_checkable

import numpy as np
import typer

from robosac.cli import completion
from robosac.cli.options import Classes, Json, listed
from robosac.cli.output import console, show_table
from robosac.data.layout import Reports, open_recording
from robosac.data.points import Scales, spread
from robosac.data.recording import DataError, Objects, Recording, Told, printable
from robosac.data.truth import points_in_boxes
from robosac.evaluation.ap import MIN_POINTS
from robosac.files import check_writable_file
from robosac.registry.data import LAYOUTS, is_simulated, split_name
from robosac.types import Id, InputError, RobosacError, View

SHOWN: Final = 12  # scenarios and problems printed; --json has them all


class BrokenDataError(RobosacError):
    """A data set holds files that cannot be read, or no frames at all; why stands above."""


data = typer.Typer(help="Driving data sets on disk.", no_args_is_help=True, rich_markup_mode=None)


@runtime_checkable
class SaysMore(Protocol):
    """A recording that knows how its intensities are scaled."""

    @property
    def intensities(self) -> Scales: ...


@runtime_checkable
class LeavesAlone(Protocol):
    """A recording beside whose scans other clouds may lie."""

    def left_alone(self) -> Mapping[str, int]: ...


@dataclass(eq=False)
class Findings:
    """What was found: plain data, and problems by file, each once."""

    scenarios: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, list[int]] = field(default_factory=dict)  # kind of agent -> points of each scan read
    objects: list[tuple[int, int, int]] = field(default_factory=list)  # a frame: listed, seen by any agent, by all
    intensity: dict[str, list[float]] = field(default_factory=dict)  # kind of agent -> lowest, highest
    told: Told = field(default_factory=Told)
    left_out: list[dict[str, str]] = field(default_factory=list)
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
    chosen = ticks if frames == 0 else spread(ticks, frames)
    for name, tick in chosen:
        _read(recording, name, tick, found)
    if isinstance(recording, Reports):
        listed = {str(e.path): e.problem for e in recording.problems()}
        found.missing = {path: problem for path, problem in listed.items() if path not in found.broken}
    scales = recording.intensities.said() if isinstance(recording, SaysMore) else {}
    return {
        "root": str(recording.root),
        "layout": recording.layout,
        "scenarios": found.scenarios,
        "frames": len(ticks),
        "frames_read": found.read,
        "frames_tried": len(chosen),
        "points": {kind: _range(counts) for kind, counts in sorted(found.points.items())},
        "objects": {
            "listed": _range([listed for listed, _, _ in found.objects]),
            f"with {MIN_POINTS} points or more": _range([seen for _, _, seen in found.objects]),
            "with any point": _range([touched for _, touched, _ in found.objects]),
        },
        "classes": dict(sorted(found.told.classes.items())),
        "classes_left_out": dict(sorted(found.told.others.items())),
        "intensity": {
            kind: {"min": low, "max": high, "scale": scales.get(kind, "none, or a colour's red, of which 255 is 1")}
            for kind, (low, high) in sorted(found.intensity.items())
        },
        "left_alone": recording.left_alone() if isinstance(recording, LeavesAlone) else {},
        "left_out": found.left_out,
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
            _note_points(views[agent], found)
    with found.noting():
        lists.append(recording.labels(name, tick, agents))
    for objects in lists:
        found.told += objects.told
        found.left_out += [{"frame": f"{name} {tick}", "problem": problem} for problem in objects.told.broken]
        hits = [points_in_boxes(v.points, v.world_T_sensor, objects) for v in views.values()]
        total = np.sum(hits, axis=0) if hits else np.zeros(len(objects), np.int64)
        found.objects.append((len(objects), int((total > 0).sum()), int((total >= MIN_POINTS).sum())))
    found.read += len(views) == len(agents) and bool(lists)


def _note_points(view: View, found: Findings) -> None:
    found.points.setdefault(view.kind, []).append(len(view.points))
    if len(view.points):
        low, high = found.intensity.setdefault(view.kind, [np.inf, -np.inf])
        values = view.points[:, 3]
        found.intensity[view.kind] = [min(low, float(values.min())), max(high, float(values.max()))]


def _range(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"min": int(min(values)), "mean": round(float(np.mean(values)), 1), "max": int(max(values))}


# ------------------------------------------------------------------------------------------------------- printing
@data.command("inspect")
def data_inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="PATH, or opv2v:PATH, v2xsim:PATH, dair:PATH, data:PATH: OPV2V, V2XSet, V2X-Sim (npy or pkl), "
            "DAIR-V2X-C.",
            autocompletion=completion.data,
        ),
    ],
    layout: Annotated[str | None, typer.Option(help="Its layout; default: recognised from the files.")] = None,
    frames: Annotated[int, typer.Option(min=0, help="Frames read whole, spread over all; 0: every one.")] = 20,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Picture of a frame from above (.png).")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Which frame to draw.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Broken files are listed and are no failure.")] = False,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Say what a data set holds: scenarios, frames, agents, points, objects, what is broken or missing.

    Exit code 1 where files are broken, unless --skip-bad, and where there is no frame.
    """
    if plot is not None:
        check_writable_file(plot)
    recording = _named(path, layout, listed(classes))
    found = inspect(recording, frames=frames)
    if not json:
        _print(found)
    if plot is not None and found["frames"]:
        from robosac.cli.data_plot import plot_frame

        found["plot"] = str(plot_frame(recording, frame, plot, skip_bad=skip_bad))
    if json:
        print(dumps(found, allow_nan=False))
    elif "plot" in found:
        print(f"\nPicture: {found['plot']}")
    if why := nothing_in(found):
        raise BrokenDataError(f"expected frames in {printable(str(recording.root))}, got none: {why}")
    if found["broken"] and not skip_bad:
        one = len(found["broken"]) == 1
        raise BrokenDataError(
            f"{len(found['broken'])} {'file is' if one else 'files are'} broken in {printable(found['root'])}; "
            "--skip-bad goes on without the frames that need them"
        )


def _named(name: str, layout: str | None, classes: Sequence[str] | None) -> Recording:
    """The recording of a data set's name, or of a path, in a layout where one is named."""
    from robosac.registry import data as names

    kind = name.partition(":")[0]
    if not Path(name).expanduser().exists() and kind not in LAYOUTS:
        if kind == names.SIMULATED or name == names.USUAL:
            is_simulated(name)
            raise InputError(f"expected a recording, got {name!r}, which is simulated; robosac simulate writes some")
        return open_recording(Path(name).expanduser(), layout, classes)  # says what is not there
    if layout is None:
        return names.open_recording(name, classes)
    return open_recording(Path(split_name(name)[1]), layout, classes)


def nothing_in(found: dict[str, Any]) -> str | None:
    """Why a data set holds no frame at all, or none that could be read; None where it does."""
    missing = [problem["file"] for problem in found["missing"]]
    clouds = sum(file.endswith((".pcd", ".bin")) for file in missing)
    if not found["frames"]:
        if clouds:
            return f"there are labels without clouds, {clouds} of them; were only the labels downloaded?"
        if missing:
            return f"{len(missing)} files are missing, the first is {printable(missing[0])}"
        return "what lies there is laid out as such a data set, but lists no moment with a scan"
    if not found["frames_read"] and found["broken"]:  # one file may be broken for all
        first = found["broken"][0]
        return f"none of {found['frames_tried']} that were tried can be read; {first['file']}: {first['problem']}"
    return None


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    to = console(markup=False)  # names of files may be anything
    to.print(f"{printable(found['root'])}: {found['layout']}, {found['frames']} frames")
    table = Table("scenario", "frames", "Hz", "agents (frames)", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for s in found["scenarios"][:SHOWN]:
        agents = ", ".join(
            f"{a['id']}{' roadside' if a['kind'] == 'roadside' else ''} ({a['frames']})" for a in s["agents"]
        )
        rate = "-" if s["rate_hz"] is None else f"{s['rate_hz']:g}"
        table.add_row(printable(s["name"]), str(s["frames"]), rate, printable(agents))
    show_table(table, to)
    _more(to, len(found["scenarios"]), "scenarios")
    to.print(f"\nIn {found['frames_read']} frames that were read whole:")
    for kind, counts in found["points"].items():
        to.print(f"  points a scan, {kind}: {_said(counts)}")
    for kind, about in found["intensity"].items():
        to.print(f"  intensity, {kind}: {about['min']:.3g} to {about['max']:.3g}; scale: {about['scale']}")
    for what, counts in found["objects"].items():
        to.print(f"  objects a frame, {what}: {_said(counts)}")
    for what, key in (("classes", "classes"), ("classes left out", "classes_left_out")):
        if found[key]:
            names = ", ".join(f"{printable(c) or 'no class'} ({n})" for c, n in found[key].items())
            to.print(f"  {what}: {names}")
    if found["left_alone"]:
        to.print("\nLeft alone: " + ", ".join(f"{n} TIME{printable(end)}" for end, n in found["left_alone"].items()))
    for what, key in (("records of labels left out", "left_out"), ("broken", "broken"), ("missing", "missing")):
        if found[key]:
            to.print(f"\n{len(found[key])} {what}:")
            for problem in found[key][:SHOWN]:
                where = problem["frame"] if "frame" in problem else _below(problem["file"], found["root"])
                to.print(printable(f"  {where}: {problem['problem']}"))
            _more(to, len(found[key]), "files")


def _below(file: str, root: str) -> str:
    """A file's path below the root, which stands in the first line."""
    return str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else file


def _said(counts: dict[str, float] | None) -> str:
    return "none" if counts is None else f"{counts['min']} to {counts['max']}, {counts['mean']:g} on average"


def _more(to: Any, count: int, what: str) -> None:
    if count > SHOWN:
        to.print(f"  ... and {count - SHOWN} {what} more; --json lists them all")
