"""Frames written as OPV2V lays them out, such that OpenCOOD's own loader takes them.

    SCENARIO/AGENT/TIME.yaml     lidar_pose, ego_speed, RSU, vehicles: what the agent's LiDAR hit
    SCENARIO/AGENT/TIME.pcd      binary, x y z rgb: intensity as a byte, in the red of the colour

What that loader asks for, and `write_frame` sees to: all agents of a scenario have the same times; vehicles are named
by numbers; an agent's name is that of its own body in the others' lists; the folder that sorts first as text is the
ego, where one road-side unit, a negative number, is passed over (of several the second would become the ego).
Boxes stand at `location`, half their height below their centres. Of what is in a frame, time and the fraction of a byte
of intensity are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from robosac import pcd
from robosac.data import carla
from robosac.data.recording import Objects
from robosac.files import write_whole
from robosac.types import Float32, Float64, InputError, View

_Dumper: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, eq=False)
class Member:
    """What is written of an agent at one moment.

    Attributes:
        name: of its folder: a number, negative for a road-side unit.
        view: its scan, and the pose that is written as its true one.
        seen: the objects that are listed for it, named by numbers.
        speed_kmh: its own; `speeds_kmh` those of the objects `(G,)`, 0 unless given.
    """

    name: str
    view: View
    seen: Objects
    speed_kmh: float = 0.0
    speeds_kmh: Float64 | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.seen.ids):
            if not name.removeprefix("-").isascii() or not name.removeprefix("-").isdecimal():
                raise InputError(f"expected agents and objects named by whole numbers, as OPV2V has them, got {name!r}")


def write_frame(scenario: Path, stamp: str, members: Sequence[Member]) -> None:
    """Write one moment of a scenario, the ego first among its members.

    Each file is written whole; the ego's YAML file, by which loaders count frames, is the last.

    Raises:
        InputError: if loaders would take another agent for the ego, or the time is not a number.
    """
    names = [m.name for m in members]
    if not stamp.isascii() or not stamp.isdecimal():
        raise InputError(f"expected a time in digits, like 000042, got {stamp!r}")
    if not names or len(set(names)) != len(names) or in_order(names)[0] != names[0]:
        raise InputError(
            f"expected the ego first, and its name before all others as text, got {', '.join(names) or 'no agents'}; "
            "of several road-side units, the field's loader takes one for the ego"
        )
    for member in members:
        write_whole(scenario / member.name / f"{stamp}.pcd", scan(member.view.points))
    for member in reversed(members):
        write_whole(scenario / member.name / f"{stamp}.yaml", description(member))


def is_written(scenario: Path, stamp: str, names: Sequence[str]) -> bool:
    """Whether `write_frame` has written all of a moment."""
    return all((scenario / name / f"{stamp}.{suffix}").is_file() for name in names for suffix in ("yaml", "pcd"))


def in_order(names: Sequence[str]) -> list[str]:
    """Agents' folders in the order that OpenCOOD's loader gives them; its ego is the first."""
    ordered = sorted(names)
    return ordered[1:] + ordered[:1] if ordered and ordered[0].startswith("-") else ordered


def description(member: Member) -> bytes:
    """An agent's YAML file."""
    poses, size = member.seen.world_T_box, member.seen.size.astype(np.float64)
    speeds = np.zeros(len(size)) if member.speeds_kmh is None else member.speeds_kmh
    rise = size * [0, 0, 0.5]
    columns = {
        "angle": carla.roll_yaw_pitch_deg(poses),
        "center": rise,
        "extent": size / 2,
        "location": poses[:, :3, 3] - rise,
        "speed": speeds,
    }
    rows = {name: column.tolist() for name, column in columns.items()}
    sensor = member.view.world_T_sensor[None]
    content = {
        "RSU": member.name.startswith("-"),
        "ego_speed": float(member.speed_kmh),
        "lidar_pose": [*sensor[0, :3, 3].tolist(), *carla.roll_yaw_pitch_deg(sensor)[0].tolist()],
        "vehicles": {int(o): {name: rows[name][k] for name in rows} for k, o in enumerate(member.seen.ids)},
    }
    text: str = yaml.dump(content, Dumper=_Dumper, default_flow_style=False)
    return text.encode()


def scan(points: Float32) -> bytes:
    """The PCD file of points `(N, 4)`, intensity in [0, 1] to a byte."""
    red = np.round(np.clip(points[:, 3], 0, 1) * 255).astype(np.uint32)
    return pcd.encode({"x": points[:, 0], "y": points[:, 1], "z": points[:, 2], "rgb": red << 16})
