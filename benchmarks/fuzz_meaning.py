"""What the content of data sets means, said by a reader of its own: slow, plain, and without a line of `robosac.data`.

`benchmarks.fuzz_structure` compares. Each function takes the content of one frame and gives the boxes of the objects
that count, `(x, y, z, l, w, h)` in the world, or raises `RefusedError` where nothing may be made of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from shapely import Polygon

Array: TypeAlias = NDArray[Any]
Box: TypeAlias = tuple[float, ...]  # x y z l w h
_KINDS: Final = {"car", "bus", "vehicle.bus.rigid"}  # of the classes that occur, those that count


class RefusedError(Exception):
    """The content is to be refused."""


# ------------------------------------------------------------------------------------------------ what content means
def numbers(value: Any, *shape: int) -> Array:
    """Nested lists of numbers, or of texts of numbers, as an array of a shape."""
    if not shape:
        if type(value) not in (int, float, str):
            raise RefusedError
        try:
            return np.asarray(float(value))
        except (ValueError, OverflowError):
            raise RefusedError from None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or len(value) != shape[0]:
        raise RefusedError
    return np.array([numbers(v, *shape[1:]) for v in value]).reshape(shape)


def rigid(value: Any) -> Array:
    """A pose `(4, 4)` that turns and moves, and does nothing else."""
    matrix = numbers(value, 4, 4)
    turn = matrix[:3, :3]
    if not (np.abs(matrix) <= 1e9).all() or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise RefusedError
    if np.abs(turn @ turn.T - np.eye(3)).max() > 0.02 or np.linalg.det(turn) < 0:
        raise RefusedError
    return matrix


def counts(kind: Any, *, needed: bool = False) -> bool:
    """Whether a class counts; one that is none does where it is not `needed`."""
    if kind is None or kind == "":
        return not needed
    return isinstance(kind, str) and len(kind) <= 100 and kind.lower() in _KINDS


def plain(value: Any) -> bool:
    """Whether whole numbers have at most 64 bits, all the way down."""
    if isinstance(value, dict):
        return all(plain(k) and plain(v) for k, v in value.items())
    return all(map(plain, value)) if isinstance(value, list) else not isinstance(value, int) or value.bit_length() <= 64


def boxes_of(records: Sequence[tuple[str | None, Array, Array]]) -> list[Box]:
    """Records of a name, a pose and a size: those that can be, each object once."""
    kept: list[tuple[bool, Box, Polygon]] = []
    names = set()
    for name, pose, size in records:
        if not (np.isfinite(size).all() and (size > 0).all() and (size <= 100).all() and (np.abs(pose) <= 1e9).all()):
            continue
        named = name is not None and name not in names
        names.add(name)
        x, y, z = pose[:3, 3]
        yaw = math.atan2(pose[1, 0], pose[0, 0])
        ahead, left = np.array([math.cos(yaw), math.sin(yaw)]), np.array([-math.sin(yaw), math.cos(yaw)])
        signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
        outline = Polygon([a * ahead * size[0] / 2 + b * left * size[1] / 2 + (x, y) for a, b in signs])
        for k, (other_named, other, theirs) in enumerate(kept):
            shared = outline.intersection(theirs).area
            iou = shared / (outline.area + theirs.area - shared)
            if iou > 0.7 and abs(other[2] - z) < (size[2] + other[5]) / 2 + 1:
                kept[k] = (named or other_named, other, theirs)
                break
        else:
            kept.append((named, (float(x), float(y), float(z), *map(float, size)), outline))
    return [box for _, box, _ in kept]


def opv2v_means(tree: Any) -> list[Box]:
    if not isinstance(tree, dict) or not {"lidar_pose", "vehicles"} <= set(tree):
        raise RefusedError
    pose, listed = tree["lidar_pose"], tree["vehicles"]
    used = ("location", "center", "angle", "extent", "obj_type", "ass_id")
    if not isinstance(listed, dict) or not all(isinstance(v, dict) for v in listed.values()):
        raise RefusedError
    if not plain(pose) or not all(plain(k) and plain([v.get(u) for u in used]) for k, v in listed.items()):
        raise RefusedError
    matrix = isinstance(pose, list) and len(pose) == 4
    if matrix:
        world_T_sensor = rigid(pose)
    elif not (np.abs(numbers(pose, 6)) <= 1e9).all():
        raise RefusedError
    records: list[tuple[str | None, Array, Array]] = []
    for key, entry in listed.items():
        if not counts(entry.get("obj_type")):
            continue
        if _short(key) is None or not {"location", "center", "angle", "extent"} <= set(entry):
            raise RefusedError
        at, middle, angle, half = (numbers(entry[u], 3) for u in used[:4])
        made = np.full((4, 4), np.nan)
        if np.isfinite(angle).all():
            made = np.eye(4)
            # by hand, as CARLA has it: yaw about z, then minus pitch about y and minus roll about x
            roll, yaw, pitch = angle
            turns = [("z", yaw), ("y", -pitch), ("x", -roll)]
            made[:3, :3] = np.linalg.multi_dot([Rotation.from_euler(a, v, degrees=True).as_matrix() for a, v in turns])
        made[:3, 3] = at + middle
        name = _short(key)
        if matrix:
            given = entry.get("ass_id")
            name = None if given == -1 or _short(given) is None else f"a{given}"
        records.append((name, made, 2 * half))
    found = boxes_of(records)
    if matrix:  # in the sensor's frame
        u, _, vt = np.linalg.svd(world_T_sensor[:3, :3])
        return [(*(u @ vt @ box[:3] + world_T_sensor[:3, 3]).tolist(), *box[3:]) for box in found]
    return found


def _short(key: Any) -> str | None:
    if type(key) is int and abs(key) < 10**18:
        return str(key)
    return key if isinstance(key, str) and len(key) <= 100 else None


def dair_means(tree: Any) -> list[Box]:
    if not isinstance(tree, list) or not all(isinstance(entry, dict) for entry in tree):
        raise RefusedError
    if "NaN" in json.dumps(tree) or "Infinity" in json.dumps(tree):
        raise RefusedError
    records: list[tuple[str | None, Array, Array]] = []
    for entry in tree:
        if not counts(entry.get("type"), needed=True):
            continue
        points = numbers(entry.get("world_8_points"), 8, 3)
        if not (np.abs(points) <= 1e9).all():
            continue
        front, back = points[[0, 1, 4, 5]].mean(axis=0), points[[2, 3, 6, 7]].mean(axis=0)
        left, right = points[[0, 3, 4, 7]].mean(axis=0), points[[1, 2, 5, 6]].mean(axis=0)
        size = [np.linalg.norm(d) for d in (front - back, left - right, points[4:].mean(0) - points[:4].mean(0))]
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 3] = (front - back) / max(float(size[0]), 1e-12), points.mean(axis=0)
        records.append((None, pose, np.array(size)))
    return boxes_of(records)


def infos_mean(tree: Any) -> list[Box]:
    pose, labels, scene = tree.get("lidar_pose_1"), tree.get("labels_1"), tree.get("scene_token", "0")
    if not plain_of_pickles(tree):
        raise RefusedError
    if type(tree.get("agent_num")) is not int or not 0 <= tree["agent_num"] <= 1:
        raise RefusedError  # more than 1 ask for agents that are not there
    if not ((type(scene) is int and scene != -1) or (isinstance(scene, str) and 0 < len(scene) <= 200)):
        raise RefusedError
    if not tree["agent_num"]:
        return []
    rigid(pose)
    if not isinstance(labels, dict) or not {"gt_boxes_global", "gt_object_ids"} <= set(labels):
        raise RefusedError
    ids = _as_list(labels["gt_object_ids"])
    names = _as_list(labels.get("gt_names", [None] * len(ids)))
    if len(names) != len(ids):
        raise RefusedError
    if not ids:
        return []
    rows = numbers(labels["gt_boxes_global"], len(ids), 10)
    records: list[tuple[str | None, Array, Array]] = []
    for name, kind, row in zip(ids, names, rows, strict=True):
        if not counts(kind):
            continue
        made = np.full((4, 4), np.nan)
        with np.errstate(all="ignore"):
            unit = abs(np.linalg.norm(row[6:]) - 1) <= 0.02
        if unit:
            made = np.eye(4)
            made[:3, :3] = Rotation.from_quat(row[[7, 8, 9, 6]]).as_matrix()
        made[:3, 3] = row[:3]
        named = (type(name) is int and name != -1) or (isinstance(name, str) and 0 < len(name) <= 200)
        records.append((str(name) if named else None, made, row[3:6]))
    return boxes_of(records)


def plain_of_pickles(value: Any) -> bool:
    """Whether whole numbers have at most 64 bits, where a pickle holds them."""
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, dict):
        return all(plain_of_pickles(k) and plain_of_pickles(v) for k, v in value.items())
    return all(map(plain_of_pickles, value)) if isinstance(value, list) else plain(value)


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return list(value.tolist())
    if not isinstance(value, list):
        raise RefusedError
    return value


def parsed_means(content: Any, places: list[tuple[int, int, int]]) -> list[Box]:
    listed = content["gt_max_iou"]
    if not plain_of_pickles(
        [v.tolist() if isinstance(v, np.ndarray) and v.dtype == object else v for v in content.values()]
    ):
        raise RefusedError
    if not isinstance(listed, np.ndarray):
        if listed == []:
            return []
        raise RefusedError
    if not listed.size:
        return []
    if listed.dtype.kind not in "iu" or listed.ndim != 2 or listed.shape[1] != 4:
        raise RefusedError
    codes = numbers(content["reg_target_sparse"], 2, 1, 6)[:, 0]
    records: list[tuple[str | None, Array, Array]] = []
    for row, column, anchor, kind in sorted(set(map(tuple, listed.tolist()))):
        if kind != 1:
            continue
        if (row, column, anchor) not in places:
            raise RefusedError
        dx, dy, dw, dl, sin, cos = codes[places.index((row, column, anchor))]
        if not (np.abs([dx, dy, sin, cos]) <= 1e9).all() or not (np.abs([dw, dl]) <= 5).all():
            continue
        width, length = 2 / math.exp(dw), 4 / math.exp(dl)
        pose, yaw = np.eye(4), math.pi / 2 - math.atan2(sin, cos)
        pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        pose[:3, 3] = column * 0.25 - 31.875 - width * dx, row * 0.25 - 31.875 - length * dy, 1.6 / 2 - 1.8
        records.append((None, pose, np.array([length, width, 1.6])))
    return boxes_of(records)
