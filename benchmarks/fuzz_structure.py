"""Edited content against the readers: `python -m benchmarks.fuzz --structure`; what `fuzz.py` does to bytes, done to values.

A small good file is taken apart and edited where a program or a person might: a key is missing, stands under another name
or twice, a list is ragged, a value has another type, lies out of range, or is legal and unexpected. An independent
reader here, slow and plain, says what the content means: the boxes, or that it is to be refused. A finding is an error
of another kind than `InputError`, content that is read and must not be, content that is refused and need not be, and
above all a change of meaning without a word: other boxes than the content says.
"""

from __future__ import annotations

import copy
import datetime
import io
import json
import math
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from scipy.spatial.transform import Rotation
from shapely import Polygon

from robosac import pcd
from robosac.data.dair import DairV2XC
from robosac.data.opv2v import OPV2V
from robosac.data.opv2v_files import said
from robosac.data.recording import Objects
from robosac.data.v2xsim_npy import V2XSimNpy
from robosac.data.v2xsim_pkl import V2XSimPkl
from robosac.types import InputError

Box = tuple[float, ...]  # x y z l w h
VALUES: Final = (
    *(None, True, False, "", "x", "12", "1e1", "nan", [], {}, [[1], [2, 3]], [1, 2, 3], {"a": 1}, 0, -1, 7, 10**20, 0.0),
    *(-1.5, 1e-9, 1e9, 1e300, math.nan, math.inf, "Car", "pedestrian", "BUS", "vehicle.bus.rigid", "Cyclist", "\u00e9\u6f22"),
)
NO_JSON: Final = (datetime.date(2020, 1, 2), b"\xff")
_KINDS: Final = {"car", "bus", "vehicle.bus.rigid"}  # of the classes that occur here, those that count


class Refused(Exception):
    """The content is to be refused."""


# -------------------------------------------------------------------------------------------------------------- edits
def edited(tree: Any, rng: np.random.Generator, values: tuple[Any, ...]) -> Any:
    """A copy of a tree of lists and dictionaries after one edit, sometimes two."""
    tree = copy.deepcopy(tree)
    for _ in range(1 + int(rng.random() < 0.3)):
        places = list(_places(tree))
        parent, key = places[int(rng.integers(len(places)))]
        value = parent[key]
        match int(rng.integers(8)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, list):
                parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(value))
            case 1:
                parent[_other_key(key, rng)] = copy.deepcopy(value)
            case 2 if isinstance(parent, dict):
                parent[_other_key(key, rng)] = parent.pop(key)
            case 3:
                parent[key] = [value] if rng.random() < 0.5 else {"a": value}
            case 4 if isinstance(value, (int, float)) and not isinstance(value, bool):
                parent[key] = [str(value), -value, value * 1e6, 0 * value, float(value), math.trunc(value)][
                    int(rng.integers(6))
                ]
            case 5 if isinstance(value, list) and value:
                parent[key] = value[:-1] if rng.random() < 0.5 else [*value, value[-1]]
            case _:
                parent[key] = copy.deepcopy(values[int(rng.integers(len(values)))])
        if not tree:
            break
    return tree


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _other_key(key: Any, rng: np.random.Generator) -> Any:
    return [str(key), f"{key}_", f"{key}".upper(), 10**20, -1, True, "k" * 120, "\u00e9"][int(rng.integers(8))]


# ------------------------------------------------------------------------------------------------ what content means
def numbers(value: Any, *shape: int) -> np.ndarray[Any, Any]:
    """Nested lists of numbers, or of texts of numbers, as an array of a shape."""
    if not shape:
        if type(value) not in (int, float, str):
            raise Refused
        try:
            return np.asarray(float(value))
        except (ValueError, OverflowError):
            raise Refused from None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or len(value) != shape[0]:
        raise Refused
    return np.array([numbers(v, *shape[1:]) for v in value]).reshape(shape)


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


def boxes_of(records: list[tuple[str | None, np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> list[Box]:
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
            if iou > 0.7 and abs(other[2] - z) < (size[2] + other[5]) / 2 + 1 and not (named and other_named):
                kept[k] = (named or other_named, other, theirs)
                break
        else:
            kept.append((named, (float(x), float(y), float(z), *map(float, size)), outline))
    return [box for _, box, _ in kept]


# ------------------------------------------------------------------------------------------------------- each layout
def _vehicle(x: float, **more: Any) -> dict[str, Any]:
    size = {"extent": [2.2, 0.9, 0.8], "center": [0.0, 0.0, 0.8], "angle": [0.0, 30.0, 0.0]}
    return {"location": [x, 2.0, 0.0], **size, "speed": 3.5, **more}


_SIX: Final = {
    "lidar_pose": [5.0, 6.0, 1.9, 0.0, 90.0, 0.0],
    "vehicles": {7: _vehicle(10), 8: _vehicle(20, obj_type="Car"), 9: _vehicle(40, obj_type="Pedestrian", ass_id=3)},
    "plan_trajectory": [[1, 2, 3]],
    "RSU": False,
}
_MATRIX: Final = {**_SIX, "lidar_pose": np.eye(4).tolist()}


def opv2v(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    tree = edited(_SIX if rng.random() < 0.5 else _MATRIX, rng, (*VALUES, *NO_JSON))
    path = root / "000001.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return tree, lambda: _opv2v_means(tree), lambda: said(path, root, "1").objects


def _opv2v_means(tree: Any) -> list[Box]:
    if not isinstance(tree, dict) or not {"lidar_pose", "vehicles"} <= set(tree):
        raise Refused
    pose, listed = tree["lidar_pose"], tree["vehicles"]
    used = ("location", "center", "angle", "extent", "obj_type", "ass_id")
    if not isinstance(listed, dict) or not all(isinstance(v, dict) for v in listed.values()):
        raise Refused
    if not plain(pose) or not all(plain(k) and plain([v.get(u) for u in used]) for k, v in listed.items()):
        raise Refused
    matrix = isinstance(pose, list) and len(pose) == 4
    if matrix:
        world_T_sensor = numbers(pose, 4, 4)
        turn = world_T_sensor[:3, :3]
        if not (np.abs(world_T_sensor) <= 1e9).all() or np.abs(world_T_sensor[3] - [0, 0, 0, 1]).max() > 1e-6:
            raise Refused
        if np.abs(turn @ turn.T - np.eye(3)).max() > 0.02 or np.linalg.det(turn) < 0:
            raise Refused
    elif not (np.abs(numbers(pose, 6)) <= 1e9).all():
        raise Refused
    records = []
    for key, entry in listed.items():
        if not counts(entry.get("obj_type")):
            continue
        if _short(key) is None or not {"location", "center", "angle", "extent"} <= set(entry):
            raise Refused
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
        u, _, vt = np.linalg.svd(turn)
        return [(*(u @ vt @ box[:3] + world_T_sensor[:3, 3]).tolist(), *box[3:]) for box in found]
    return found


def _short(key: Any) -> str | None:
    if type(key) is int and abs(key) < 10**18:
        return str(key)
    return key if isinstance(key, str) and len(key) <= 100 else None


_CORNERS: Final = [[x, y, z] for z in (0.0, 1.5) for x, y in ((12.0, 1.0), (12.0, -1.0), (8.0, -1.0), (8.0, 1.0))]
_LABELS: Final = [
    {"type": "Car", "world_8_points": _CORNERS, "rotation": 0.0},
    {"type": "BUS", "world_8_points": [[x + 20, y, z] for x, y, z in _CORNERS]},
    {"type": "Cyclist", "world_8_points": [[x + 40, y, z] for x, y, z in _CORNERS]},
]


def dair(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    tree = edited(_LABELS, rng, VALUES)
    sides = {"vehicle": "000001", "infrastructure": "000009"}
    pair = {f"{s}_pointcloud_path": f"{s}-side/velodyne/{n}.pcd" for s, n in sides.items()}
    for name, content in (("data_info.json", [pair]), ("label_world/000001.json", tree)):
        (root / "cooperative" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cooperative" / name).write_text(json.dumps(content))
    return tree, lambda: _dair_means(tree), lambda: DairV2XC(root).labels("000001", "000001", [])


def _dair_means(tree: Any) -> list[Box]:
    if not isinstance(tree, list) or not all(isinstance(entry, dict) for entry in tree):
        raise Refused
    if "NaN" in json.dumps(tree) or "Infinity" in json.dumps(tree):
        raise Refused
    records = []
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


_INFO: Final = {
    "agent_num": 1,
    "scene_token": "a",
    "timestamp": 1_600_000_000_000_000,
    "lidar_path_1": "/x/0.pcd.bin",
    "lidar_pose_1": np.eye(4).tolist(),
    "labels_1": {
        "gt_boxes_global": [[10.0 * k, 1.0, 1.0, 4.0, 2.0, 1.5, 1.0, 0.0, 0.0, 0.0] for k in range(3)],
        "gt_object_ids": [3, "b", 5],
        "gt_names": ["vehicle.bus.rigid", "car", "pedestrian"],
    },
}


def infos(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    tree = edited(_INFO, rng, VALUES)
    made = copy.deepcopy(tree)
    labels = made.get("labels_1")
    if isinstance(labels, dict) and rng.random() < 0.5:  # as the authors write them
        for key in labels:
            try:
                labels[key] = np.array(labels[key])
            except ValueError:
                pass
        if any(a.dtype == object for a in labels.values() if isinstance(a, np.ndarray)):
            made = copy.deepcopy(tree)
        elif any(a.dtype.kind == "U" for k, a in labels.items() if isinstance(a, np.ndarray) and k != "gt_names"):
            made = copy.deepcopy(tree)  # numpy makes texts of mixed lists: that is another content
    (root / "v2xsim_infos_test.pkl").write_bytes(pickle.dumps([made], protocol=4))

    def read() -> Objects:
        recording = V2XSimPkl(root)
        [scenario] = recording.scenarios()
        [agent] = recording.present(scenario, "000000")
        recording.pose(scenario, "000000", agent)
        return recording.labels(scenario, "000000", [agent])

    return made, lambda: _infos_mean(made), read


def _infos_mean(tree: Any) -> list[Box]:
    pose, labels, scene = tree.get("lidar_pose_1"), tree.get("labels_1"), tree.get("scene_token", "0")
    if not plain_of_pickles(tree):
        raise Refused
    if type(tree.get("agent_num")) is not int or tree["agent_num"] != 1:
        raise Refused  # other numbers than 1 ask for agents that are not there
    if not (type(scene) is int and scene != -1 or isinstance(scene, str) and 0 < len(scene) <= 200):
        raise Refused
    matrix = numbers(pose, 4, 4)
    turn = matrix[:3, :3]
    if not (np.abs(matrix) <= 1e9).all() or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise Refused
    if np.abs(turn @ turn.T - np.eye(3)).max() > 0.02 or np.linalg.det(turn) < 0:
        raise Refused
    if not isinstance(labels, dict) or not {"gt_boxes_global", "gt_object_ids"} <= set(labels):
        raise Refused
    ids, names = _as_list(labels["gt_object_ids"]), _as_list(labels.get("gt_names", [None] * len(labels["gt_object_ids"])))
    if len(names) != len(ids):
        raise Refused
    if not ids:
        return []
    rows = numbers(labels["gt_boxes_global"], len(ids), 10)
    records = []
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
        named = type(name) is int and name != -1 or isinstance(name, str) and 0 < len(name) <= 200
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
        raise Refused
    return value


def parsed(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    """Anchors of 4 x 2 m whose codes are edited; code 0 is the anchor itself, which lies along +y."""
    places = [(130, 150, 0), (200, 60, 0)]
    tree: Any = [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0] for _ in places]
    rows: Any = [[*p, 1] for p in places]
    if rng.random() < 0.7:
        tree = edited(tree, rng, VALUES)
    else:
        rows = edited(rows, rng, VALUES)
    mask = np.zeros((256, 256, 6), bool)
    for place in places:
        mask[place] = True
    trans = np.tile(np.eye(4), (6, 1, 1))
    content = {"gt_max_iou": rows, "allocation_mask": mask, "reg_target_sparse": tree, "trans_matrices": trans}
    for key, value in (("gt_max_iou", rows), ("reg_target_sparse", [[code] for code in tree])):
        try:
            content[key] = np.array(value)
        except ValueError:
            content[key] = value
    stream = io.BytesIO()
    np.save(stream, np.array({**content, "filling": b"0" * 300}, dtype=object), allow_pickle=True)
    (root / "agent1/5_0").mkdir(parents=True, exist_ok=True)
    (root / "agent1/5_0/0.npy").write_bytes(stream.getvalue())
    shown = {k: v for k, v in content.items() if k in ("gt_max_iou", "reg_target_sparse")}
    return shown, lambda: _parsed_means(content, places), lambda: V2XSimNpy(root).labels("scene_5", "5_0", ["agent1"])


def _parsed_means(content: Any, places: list[tuple[int, int, int]]) -> list[Box]:
    listed = content["gt_max_iou"]
    if not plain_of_pickles([v.tolist() if isinstance(v, np.ndarray) and v.dtype == object else v for v in content.values()]):
        raise Refused
    if not isinstance(listed, np.ndarray):
        if listed == []:
            return []
        raise Refused
    if not listed.size:
        return []
    if listed.dtype.kind not in "iu" or listed.ndim != 2 or listed.shape[1] != 4:
        raise Refused
    codes = numbers(content["reg_target_sparse"], 2, 1, 6)[:, 0]
    records = []
    for row, column, anchor, kind in sorted(set(map(tuple, listed.tolist()))):
        if kind != 1:
            continue
        if (row, column, anchor) not in places:
            raise Refused
        dx, dy, dw, dl, sin, cos = codes[places.index((row, column, anchor))]
        if not (np.abs([dx, dy, sin, cos]) <= 1e9).all() or not (np.abs([dw, dl]) <= 5).all():
            continue
        width, length = 2 / math.exp(dw), 4 / math.exp(dl)
        pose, yaw = np.eye(4), math.pi / 2 - math.atan2(sin, cos)
        pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        pose[:3, 3] = column * 0.25 - 31.875 - width * dx, row * 0.25 - 31.875 - length * dy, 1.6 / 2 - 1.8
        records.append((None, pose, np.array([length, width, 1.6])))
    return boxes_of(records)


def clouds(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    """Two scans of one sensor, in any type and to any height: points as objects of no size, intensity as their length."""
    kind = ["u1", "u2", "i2", "i4", "u4", "f4", "f8"][int(rng.integers(7))]
    top = [1, 200, 255, 3000, 65535][int(rng.integers(5))]
    raw = [(rng.random(4) * t).astype("f8") for t in (top, top / 9)]
    raw = [np.minimum(r, np.iinfo(kind).max if kind[0] in "iu" else np.inf).astype(kind) for r in raw]
    if kind[0] == "f" and rng.random() < 0.3:
        raw[0][1] = [np.nan, np.inf, -np.inf][int(rng.integers(3))]
    x = [np.where(rng.random(4) < 0.2, [np.nan, np.inf, 1e300, 5.0], [1.0, 2.0, 3.0, 4.0]) for _ in raw]
    for k, (column, values) in enumerate(zip(x, raw, strict=True)):
        folder = root / "s" / str(k)
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"x": column, "y": np.ones(4), "z": np.ones(4, "i2"), "intensity": values}
        (folder / "000001.pcd").write_bytes(pcd.encode(columns))
        (folder / "000001.yaml").write_text("lidar_pose: [0, 0, 0, 0, 0, 0]\nvehicles: {}\n")

    def means() -> list[Box]:
        values = [float(v) for r in raw for v in r.tolist() if math.isfinite(v)]
        scale = {"u1": 255, "u2": 65535}.get(kind) or next(s for s in (1, 255, 65535) if max(values) <= s * 1.01)
        found = []
        for column, r in zip(x, raw, strict=True):
            for place, value in zip(column.tolist(), r.tolist(), strict=True):
                if abs(place) < 1e38:
                    found.append((place, 1.0, 1.0, value / scale if math.isfinite(value) else 0.0, 1.0, 1.0))
        return found

    def read() -> Objects:
        recording = OPV2V(root)
        order = ["0", "1"] if rng.random() < 0.5 else ["1", "0"]
        points = np.concatenate([recording.view("s", "000001", a).points for a in order])
        poses = np.tile(np.eye(4), (len(points), 1, 1))
        poses[:, :3, 3] = points[:, :3]
        size = np.stack([points[:, 3], np.ones(len(points)), np.ones(len(points))], axis=1)
        return Objects(tuple(map(str, range(len(points)))), poses, size.astype(np.float32))

    return {"type": kind, "raw": [r.tolist() for r in raw], "x": [c.tolist() for c in x]}, means, read


CASES: Final = {"opv2v": opv2v, "dair": dair, "pkl": infos, "cloud": clouds, "npy": parsed}
_SHARES: Final = (0.4, 0.2, 0.25, 0.1, 0.05)


# ----------------------------------------------------------------------------------------------------------- campaign
def judged(kind: str, rng: np.random.Generator, root: Path) -> tuple[str, str | None]:
    """One case: what came of it, and the finding, if it is one."""
    content, means, read = CASES[kind](rng, root)
    try:
        wanted: list[Box] | None = sorted(means())
    except Refused:
        wanted = None
    try:
        objects = read()
    except InputError as error:
        return "refused", None if wanted is None else f"{kind} refused what is legal: {error} <- {content!r}"
    except Exception as error:
        return "failed", f"{kind} {type(error).__name__}: {error} <- {content!r}"
    found = sorted(map(tuple, np.hstack([objects.world_T_box[:, :3, 3], objects.size]).tolist()))
    if wanted is None:
        return "read", f"{kind} read what is to be refused, as {found} <- {content!r}"
    same = len(found) == len(wanted) and np.allclose(np.array(found), np.array(wanted), rtol=1e-4, atol=1e-4)
    return "read", None if same else f"{kind} changed its meaning: {found}, not {wanted} <- {content!r}"


def campaign(cases: int, seed: int) -> dict[str, Any]:
    """Counts of what came back, and the findings."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for n in range(cases):
            kind = str(rng.choice(list(CASES), p=_SHARES))
            root = Path(name) / kind
            root.mkdir(exist_ok=True)
            outcome, finding = judged(kind, np.random.default_rng([seed, n]), root)
            outcomes[f"{kind}: {outcome}"] += 1
            findings += [finding] if finding else []
    return {"cases": cases, "outcomes": dict(sorted(outcomes.items())), "findings": findings}
