"""Simulated frames on disk in the layouts of V2X-Sim: parsed (coperception), and by pickled infos (CoAlign)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robosac.boxes import invert_pose, iou_bev, transform_boxes
from robosac.simulation.scenario import Snapshot

VOXEL = np.array([0.25, 0.25, 0.4])
LOW = {"vehicle": np.array([-32.0, -32.0, -3.0]), "roadside": np.array([-32.0, -32.0, -8.0])}
ANCHORS = [(w, n, a) for w, n in ((2.0, 4.0), (3.0, 12.0)) for a in (0.0, np.pi / 2, -np.pi / 4)]


def agent_numbers(snapshot: Snapshot) -> dict[str, int]:
    """Simulated agent -> number in V2X-Sim: the road-side unit is 0, vehicles count from 1."""
    vehicles = [a for a in snapshot.scenario.agents if a.kind == "vehicle"]
    roadside = [a for a in snapshot.scenario.agents if a.kind == "roadside"]
    return {a.id: 0 for a in roadside} | {a.id: k + 1 for k, a in enumerate(vehicles)}


def own_boxes(snapshot: Snapshot, agent: str, *, within_m: float = 31.0) -> np.ndarray:
    """World boxes of the objects within an agent's map, its own body left out, in its own frame."""
    carrier = next(a.vehicle for a in snapshot.scenario.agents if a.id == agent)
    boxes = transform_boxes(invert_pose(snapshot.world_T_sensor[agent]), snapshot.boxes)
    near = (np.abs(boxes[:, :2]) < within_m).all(axis=1) & (np.arange(len(boxes)) != carrier)
    return boxes[near]


def encode(boxes: np.ndarray) -> dict[str, Any]:
    """The anchors and codes of boxes `(G, 7)`, as coperception's parser makes them; each takes its best free anchor."""
    mask = np.zeros((256, 256, len(ANCHORS)), bool)
    target = np.zeros((256, 256, len(ANCHORS), 1, 6))
    named = []
    for x, y, _, length, width, _, yaw in boxes.astype(np.float64):
        i, j = int((y + 32) / 0.25), int((x + 32) / 0.25)
        cx, cy = (j + 0.5) * 0.25 - 32, (i + 0.5) * 0.25 - 32
        anchors = np.array([[cx, cy, 0, n, w, 1, np.pi / 2 - a] for w, n, a in ANCHORS])
        k = int(iou_bev(anchors, np.array([[x, y, 0, length, width, 1, yaw]])).argmax())
        w, n, a = ANCHORS[k]
        turn = (np.pi / 2 - yaw) - a
        code = [(cx - x) / width, (cy - y) / length, np.log(w / width), np.log(n / length), np.sin(turn), np.cos(turn)]
        mask[i, j, k], target[i, j, k, 0] = True, code
        named.append((i, j, k, 1))
    return {
        "allocation_mask": mask,
        "label_sparse": np.ones(mask.sum(), np.int8),
        "reg_target_sparse": target[mask],
        "reg_loss_mask": mask[..., None],
        "gt_max_iou": np.array(named, np.int64).reshape(-1, 4),
    }


def voxels(points: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Occupied voxels `(n, 3)` int32 of points, counted from the lowest."""
    index = np.floor(points[:, :3].astype(np.float64) / VOXEL) - np.floor(low / VOXEL)
    return np.unique(index[((index >= 0) & (index < [256, 256, 13])).all(axis=1)].astype(np.int32), axis=0)


def parsed(snapshot: Snapshot, agent: str, agents: int = 6) -> dict[str, Any]:
    """What `0.npy` holds for an agent."""
    numbers = agent_numbers(snapshot)
    view = snapshot.view(agent)
    here = invert_pose(snapshot.world_T_sensor[agent])
    trans = np.zeros((agents, 4, 4))
    for other, number in numbers.items():
        trans[number] = here @ snapshot.world_T_sensor[other]
    occupied = voxels(view.points, LOW[view.kind])
    return {
        "voxel_indices_0": occupied,
        "voxel_indices_teacher": occupied,
        "voxel_indices_teacher_no_cross_road": occupied,
        **encode(own_boxes(snapshot, agent)),
        "vis_occupy_indices": np.zeros((4, 0), np.uint8),
        "vis_free_indices": np.zeros((4, 0), np.uint8),
        "target_agent_id": numbers[agent],
        "num_sensor": len(numbers),
        "trans_matrices": trans,
        "trans_matrices_no_cross_road": trans[1:],
    }


def write_npy(root: Path, snapshots: Mapping[tuple[int, int], Snapshot], *, agents: int = 6, **changes: Any) -> Path:
    """The layout below `root`; keys are (scene, frame). Agents that the simulation lacks are absent: a saved 0."""
    for (scene, index), snapshot in snapshots.items():
        by_number = {n: a for a, n in agent_numbers(snapshot).items()}
        for number in range(agents):
            folder = root / f"agent{number}" / f"{scene}_{index}"
            folder.mkdir(parents=True)
            content = {**parsed(snapshot, by_number[number], agents), **changes} if number in by_number else 0
            np.save(folder / "0.npy", content, allow_pickle=True)
    return root


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """[w x y z] of a rotation by less than a half turn about any axis."""
    w = np.sqrt(max(1 + np.trace(rotation), 1e-12)) / 2
    if w < 1e-3:
        return np.array([0.0, 0.0, 0.0, 1.0])  # half a turn about z
    skew = rotation - rotation.T
    return np.array([w, skew[2, 1] / (4 * w), skew[0, 2] / (4 * w), skew[1, 0] / (4 * w)])


def info(snapshot: Snapshot, scene: int, folder: str) -> dict[str, Any]:
    """One frame of the pickled infos; every vehicle lists all objects, its own body among them."""
    vehicles = {n: a for a, n in agent_numbers(snapshot).items() if n}
    poses = snapshot.world_T_object
    centre, size = snapshot.boxes[:, :3], snapshot.boxes[:, 3:6]
    turned = np.stack([quaternion(p[:3, :3]) for p in poses])
    found: dict[str, Any] = {
        "agent_num": len(vehicles), "token": "t", "timestamp": 1_600_000_000_000_000 + snapshot.t_ns // 1000,
        "scene_id": scene, "frame_id": snapshot.index,
    }  # fmt: skip
    for number, agent in vehicles.items():
        found[f"lidar_path_{number}"] = f"{folder}/LIDAR_TOP_id_{number}/scene_{scene}_{snapshot.index:06d}.pcd.bin"
        found[f"lidar_pose_{number}"] = snapshot.world_T_sensor[agent]
        found[f"labels_{number}"] = {
            "gt_boxes_global": np.concatenate([centre, size, turned], axis=1),
            "gt_object_ids": np.arange(len(poses)),
            "gt_names": np.array(["vehicle.car"] * len(poses)),
        }
    return found


def write_pkl(root: Path, snapshots: Mapping[tuple[int, int], Snapshot], *, split: str = "test") -> Path:
    """The layout below `root`; paths are written as on another machine, as the authors' are."""
    infos = []
    for (scene, _), snapshot in snapshots.items():
        infos.append(info(snapshot, scene, "/somewhere/else/v2xsim2-complete/sweeps"))
        for agent, number in agent_numbers(snapshot).items():
            if number:
                points = snapshot.view(agent).points
                path = root / f"sweeps/LIDAR_TOP_id_{number}/scene_{scene}_{snapshot.index:06d}.pcd.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(np.column_stack([points, np.zeros(len(points))]).astype("<f4").tobytes())
    (root / f"v2xsim_infos_{split}.pkl").write_bytes(pickle.dumps(infos))
    return root
