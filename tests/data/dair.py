"""Simulated frames on disk in the layout of DAIR-V2X-C: one vehicle, one road-side unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robosac.boxes import corners_bev, invert_pose, pose_xyz_rpy
from robosac.simulation.scenario import Snapshot

OFFSET_M = (0.66, -0.5)
FIRST = 15372


def write_pcd(path: Path, points: np.ndarray, *, bytes_: bool) -> None:
    """Binary PCD `x y z intensity`; the intensity, [0, 1], as a byte or as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size, kind = (1, "U") if bytes_ else (4, "F")
    table = np.zeros(len(points), np.dtype([("xyz", "<f4", 3), ("i", "u1" if bytes_ else "<f4")]))
    table["xyz"], table["i"] = points[:, :3], np.round(points[:, 3] * 255) if bytes_ else points[:, 3]
    header = (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 {size}\n"
        f"TYPE F F F {kind}\nCOUNT 1 1 1 1\nWIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(points)}\nDATA binary\n"
    )
    path.write_bytes(header.encode() + table.tobytes())


def _put(root: Path, relative: str, content: Any) -> None:
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _rigid(pose: np.ndarray) -> dict[str, Any]:
    return {"rotation": pose[:3, :3].tolist(), "translation": pose[:3, 3:].tolist()}


def corners(box: np.ndarray) -> list[list[float]]:
    """Eight corners in the data set's order: front left, front right, back right, back left; bottom, then top."""
    fl, bl, br, fr = corners_bev(box[None])[0]
    low, high = box[2] - box[5] / 2, box[2] + box[5] / 2
    return [[*map(float, xy), float(z)] for z in (low, high) for xy in (fl, fr, br, bl)]


def write_dair(root: Path, snapshots: Sequence[Snapshot], *, gap_after: int | None = None, times: bool = True) -> Path:
    """The layout below `root`, an entry a snapshot; after `gap_after` two seconds are missing.

    The road-side unit's calibration is off by `OFFSET_M`, which the list of pairs corrects.
    """
    pairs, vehicle_infos, unit_infos = [], [], []
    mount = pose_xyz_rpy(0.1, -0.2, 0.3, 0.01, -0.02, np.pi / 2)  # novatel_T_lidar
    for k, snapshot in enumerate(snapshots):
        late = 20 if gap_after is not None and k > gap_after else 0
        vid, iid = f"{FIRST + k + late:06d}", f"{16 + k + late:06d}"
        ego = snapshot.agents[0]
        write_pcd(root / f"vehicle-side/velodyne/{vid}.pcd", snapshot.view(ego).points, bytes_=True)
        write_pcd(root / f"infrastructure-side/velodyne/{iid}.pcd", snapshot.view("rsu-1").points, bytes_=False)
        world_T_novatel = snapshot.world_T_sensor[ego] @ invert_pose(mount)
        _put(root, f"vehicle-side/calib/lidar_to_novatel/{vid}.json", {"transform": _rigid(mount)})
        _put(root, f"vehicle-side/calib/novatel_to_world/{vid}.json", _rigid(world_T_novatel))
        unit = snapshot.world_T_sensor["rsu-1"].copy()
        unit[:2, 3] -= OFFSET_M
        _put(root, f"infrastructure-side/calib/virtuallidar_to_world/{iid}.json", _rigid(unit))
        kinds = ["car", "Van", "truck", "BUS"]
        objects = [{"type": kinds[i % 4], "world_8_points": corners(b)} for i, b in enumerate(snapshot.boxes)]
        objects.append({"type": "Pedestrian", "world_8_points": corners(np.array([0, 0, 0, 1, 1, 2, 0.0]))})
        _put(root, f"cooperative/label_world/{vid}.json", objects)
        pairs.append(
            {
                "vehicle_pointcloud_path": f"vehicle-side/velodyne/{vid}.pcd",
                "infrastructure_pointcloud_path": f"infrastructure-side/velodyne/{iid}.pcd",
                "cooperative_label_path": f"cooperative/label_world/{vid}.json",
                "system_error_offset": {"delta_x": OFFSET_M[0], "delta_y": OFFSET_M[1]},
            }
        )
        micros = 1_626_240_241_000_000 + (k + late) * 100_000
        vehicle_infos.append(
            {"pointcloud_path": f"velodyne/{vid}.pcd", "pointcloud_timestamp": str(micros), "batch_id": "3"}
        )
        unit_infos.append({"pointcloud_path": f"velodyne/{iid}.pcd", "pointcloud_timestamp": str(micros + 28_000)})
    _put(root, "cooperative/data_info.json", pairs[::-1])  # in no order, as theirs is
    if times:
        _put(root, "vehicle-side/data_info.json", vehicle_infos)
        _put(root, "infrastructure-side/data_info.json", unit_infos)
    return root
