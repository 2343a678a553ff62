"""Frames on disk as OPV2V lays them out, for OpenCOOD's own loader; and the two older ways to write a colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robosac.data.write_opv2v import scan, write_frame
from robosac.types import Array, Frame, Id, Truth
from tests.data.members import members_of


def agent_folders(frame: Frame, *, negative_roadside: bool = True) -> dict[Id, str]:
    """Folder names in the frame's order: the ego's is the smallest number, a road-side unit's is negative.

    OpenCOOD of mid-2022 (opencoodx) takes the folder that sorts first for the ego, a negative one too: give road-side
    units positive names there.
    """
    names = {frame.ego.id: "100"}
    for i, (name, view) in enumerate(frame.others.items()):
        names[name] = f"-{i + 1}" if negative_roadside and view.kind == "roadside" else str(101 + i)
    return names


def write_split(split: Path, frames: Sequence[tuple[Frame, Truth]], *, negative_roadside: bool = True) -> Path:
    """Frames of one scenario, in order, as `split/<scenario>/<agent>/<time>.{yaml,pcd}`."""
    for k, (frame, truth) in enumerate(frames):
        names = agent_folders(frame, negative_roadside=negative_roadside)
        write_frame(split / frame.scenario, f"{k:06d}", members_of(frame, truth, names))
    return split


def write_pcd(path: Path, points: Array, *, binary: bool = True, kind: str = "U") -> None:
    """Points `(N, 4)` with the intensity, [0, 1], in the red byte of `rgb`, declared `TYPE U` or `F`."""
    head, _, body = scan(points).partition(b"DATA binary\n")
    if kind == "F":
        head = head.replace(b"TYPE F F F U", b"TYPE F F F F")
    if not binary:
        table = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "<u4" if kind == "U" else "<f4")]))
        rows = zip(table["xyz"].tolist(), table["rgb"].tolist(), strict=True)
        body = "".join(f"{x!r} {y!r} {z!r} {c!r}\n" for (x, y, z), c in rows).encode()
    path.write_bytes(head + (b"DATA binary\n" if binary else b"DATA ascii\n") + body)
