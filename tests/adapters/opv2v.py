"""Simulated frames on disk as OPV2V lays them out, for OpenCOOD's own loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robosac.boxes import transform_boxes
from robosac.types import Array, Float64, Frame, Id, Truth, View


def agent_folders(frame: Frame, *, negative_roadside: bool = True) -> dict[Id, str]:
    """Folder names in the frame's order: the ego's is the smallest number, a road-side unit's is negative.

    OpenCOOD of mid-2022 (opencoodx) takes the folder that sorts first for the ego, a negative one too: give road-side
    units positive names there.
    """
    names = {frame.ego.id: "100"}
    for i, (name, view) in enumerate(frame.others.items()):
        names[name] = f"-{i + 1}" if negative_roadside and view.kind == "roadside" else str(101 + i)
    return names


def carla_pose(world_T_sensor: Float64) -> list[float]:
    """[x y z roll yaw pitch] in metres and degrees whose matrix OpenCOOD builds back.

    With its matrix M: M[2, 0] = sin(pitch), M[1, 0] / M[0, 0] = tan(yaw), M[2, 1] / M[2, 2] = -tan(roll).
    """
    m = world_T_sensor
    roll = np.degrees(np.arctan2(-m[2, 1], m[2, 2]))
    yaw = np.degrees(np.arctan2(m[1, 0], m[0, 0]))
    pitch = np.degrees(np.arcsin(m[2, 0]))
    return [*map(float, m[:3, 3]), float(roll), float(yaw), float(pitch)]


def vehicle(box: Array) -> dict[str, Any]:
    """OPV2V's entry for a world box `(7,)`: it stands at `location`, its centre is half its height above."""
    x, y, z, length, width, height, yaw = map(float, box)
    return {
        "angle": [0.0, float(np.degrees(yaw)), 0.0],
        "center": [0.0, 0.0, height / 2],
        "extent": [length / 2, width / 2, height / 2],
        "location": [x, y, z - height / 2],
        "speed": 0.0,
    }


def write_pcd(path: Path, points: Array, *, binary: bool = True, kind: str = "U") -> None:
    """Points `(N, 4)` with the intensity, [0, 1], in the red byte of `rgb`, declared `TYPE U` or `F`."""
    packed = np.round(np.clip(points[:, 3], 0, 1) * 255).astype(np.uint32) << 16
    header = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F {kind}\nCOUNT 1 1 1 1\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\n"
        f"DATA {'binary' if binary else 'ascii'}\n"
    )
    if binary:
        table = np.zeros(len(points), np.dtype([("xyz", "<f4", 3), ("rgb", "<u4")]))
        table["xyz"], table["rgb"] = points[:, :3], packed
        body = table.tobytes()
    else:
        colour = packed if kind == "U" else packed.view(np.float32)
        lines = (
            f"{x!r} {y!r} {z!r} {c!r}" for (x, y, z), c in zip(points[:, :3].tolist(), colour.tolist(), strict=True)
        )
        body = ("\n".join(lines) + "\n").encode()
    path.write_bytes(header.encode() + body)


def write_agent(folder: Path, stamp: str, view: View, boxes: Mapping[int, Array]) -> None:
    """One agent at one moment; `boxes`: track id -> world box `(7,)` of the objects that it sees."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "lidar_pose": carla_pose(view.world_T_sensor),
        "ego_speed": 30.0,
        "vehicles": {int(i): vehicle(b) for i, b in boxes.items()},
    }
    (folder / f"{stamp}.yaml").write_text(yaml.safe_dump(content))
    write_pcd(folder / f"{stamp}.pcd", view.points)


def write_split(split: Path, frames: Sequence[tuple[Frame, Truth]], *, negative_roadside: bool = True) -> Path:
    """Frames of one scenario, in order, as `split/<scenario>/<agent>/<time>.{yaml,pcd}`."""
    for k, (frame, truth) in enumerate(frames):
        world = transform_boxes(truth.world_T_sensor[frame.ego.id], truth.boxes)
        for name, folder in agent_folders(frame, negative_roadside=negative_roadside).items():
            view = frame.ego if name == frame.ego.id else frame.others[name]
            seen = {int(truth.track_ids[i]): world[i] for i in np.flatnonzero(truth.hits[name] > 0)}
            write_agent(split / frame.scenario / folder, f"{k:06d}", view, seen)
    return split
