"""How long does it take to read an OPV2V frame? `python -m benchmarks.read_opv2v`

A frame of 5 agents of 60,000 points each, written as OPV2V has it (descriptions of 25 vehicles, four cameras and a
plan, about 10 kB), is read by robosac: scans checked and brought to `(N, 4)` with intensity in 0..1, poses, labels.
Beside it, the floor: the same bytes read and parsed by the fastest means found, checked for nothing and turned into
nothing: `np.frombuffer` on the points (what pypcd4 does for a binary file; where it is installed, it is timed, too),
and libyaml's loader on the descriptions. They take turns in one run; the bar is 1.5 times the floor, medians compared.

Of a description robosac parses what it needs, cut out of it before (`robosac.data.excerpt`); the floor parses all.
Files are in the page cache: a disk makes both slower by the same. The data set is listed before; nothing else is kept.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from benchmarks.machine import Option, Spread, describe, machine, ms, options, verdict
from robosac.boxes import pose_xyz_rpy
from robosac.data.dataset import DataSet
from robosac.data.opv2v import OPV2V
from robosac.data.recording import Objects
from robosac.data.write_opv2v import Member, description, scan
from robosac.types import View

BAR: Final = 1.5
AGENTS: Final = 5
VEHICLES: Final = 25
_XYZ_RGB: Final = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])


def write(root: Path, points: int) -> list[Path]:
    """One frame under `root/scenario`; the agents' folders."""
    rng = np.random.default_rng(0)
    cameras = {
        f"camera{k}": {
            "cords": rng.normal(0, 100, 6).tolist(),
            "extrinsic": rng.normal(0, 1, (4, 4)).tolist(),
            "intrinsic": rng.normal(0, 300, (3, 3)).tolist(),
        }
        for k in range(4)
    }
    plan = {"plan_trajectory": rng.normal(0, 100, (10, 3)).tolist()}
    places = rng.uniform(-60, 60, (VEHICLES, 2))
    poses = np.array([pose_xyz_rpy(x, y, 0.8, yaw_rad=x) for x, y in places])
    objects = Objects(tuple(str(2000 + k) for k in range(VEHICLES)), poses, np.tile([4.5, 1.9, 1.6], (VEHICLES, 1)))
    folders = []
    for k in range(AGENTS):
        folder = root / "scenario" / str(1000 + k)
        folder.mkdir(parents=True)
        cloud = np.concatenate([rng.normal(0, 30, (points, 3)), rng.random((points, 1))], axis=1).astype(np.float32)
        view = View(str(k), "vehicle", 0, cloud, pose_xyz_rpy(10.0 * k, 0, 1.9))
        member = Member(folder.name, view, objects)
        said = yaml.safe_load(description(member)) | cameras | plan
        (folder / "000000.yaml").write_text(yaml.safe_dump(said))
        (folder / "000000.pcd").write_bytes(scan(cloud))
        folders.append(folder)
    return folders


def floor(folders: Sequence[Path]) -> list[Any]:
    """All bytes read and parsed, nothing more."""
    found: list[Any] = []
    for folder in folders:
        data = (folder / "000000.pcd").read_bytes()
        start = data.index(b"DATA binary\n") + len(b"DATA binary\n")
        found.append(np.frombuffer(data, _XYZ_RGB, offset=start))
        found.append(yaml.load((folder / "000000.yaml").read_bytes(), Loader=yaml.CSafeLoader))
    return found


def descriptions(folders: Sequence[Path]) -> list[Any]:
    """The part of the floor that is YAML."""
    return [yaml.load((f / "000000.yaml").read_bytes(), Loader=yaml.CSafeLoader) for f in folders]


def by_pypcd4(folders: Sequence[Path]) -> list[Any]:
    """The floor with a library for the points."""
    clouds = importlib.import_module("pypcd4").PointCloud
    return [clouds.from_path(f / "000000.pcd").pc_data for f in folders] + descriptions(folders)


def measure(root: Path, points: int, rounds: int) -> dict[str, Spread]:
    """Milliseconds of each way to read the frame, in turn."""
    folders = write(root, points)

    def reader() -> OPV2V:
        made = OPV2V(root)
        assert len(made.agents("scenario")) == AGENTS and made.ticks("scenario")  # listed
        return made

    def frame_and_labels(made: OPV2V) -> list[Any]:
        names = made.present("scenario", "000000")
        return [*(made.view("scenario", "000000", a) for a in names), made.labels("scenario", "000000", names)]

    ways: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "floor": (lambda: folders, floor),
        "of which YAML": (lambda: folders, descriptions),
        **({"pypcd4 and YAML": (lambda: folders, by_pypcd4)} if importlib.util.find_spec("pypcd4") else {}),
        "scans, poses, labels": (reader, frame_and_labels),
        "frame and truth, points in boxes counted": (
            lambda: DataSet(reader(), comm_range_m=1000.0),
            lambda data: data.read(data.entries[0]),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (prepare, work) in ways.items():
            given = prepare()
            if isinstance(given, DataSet):
                given.entries  # noqa: B018 (listed, as above)
            took = ms(partial(work, given))
            if turn:  # the first fills caches
                times[name].append(took)
    return {name: Spread.of(values) for name, values in times.items()}


def main(args: Sequence[str] | None = None) -> int:
    given = options(
        __doc__,
        args,
        points=Option(60_000, "points of each agent"),
        rounds=Option(30, "how often each way is timed"),
        json=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.points, given.rounds)
    ratio = found["scans, poses, labels"].median / found["floor"].median
    if given.json:
        rows = {name: {"ms": s.median, "low_ms": s.low, "high_ms": s.high} for name, s in found.items()}
        print(json.dumps({"ways": rows, "ratio": ratio, "bar": BAR, "machine": machine()}))
    else:
        print(
            f"{describe(machine())}\n{AGENTS} agents of {given.points} points, median of {given.rounds} (quartiles)\n"
        )
        for name, s in found.items():
            print(f"{name:<42} {s.median:7.1f} ms ({s.low:.1f} to {s.high:.1f})")
        print(f"\nscans, poses, labels over the floor: {ratio:.2f} (bar {BAR}): {verdict(ratio <= BAR)}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
