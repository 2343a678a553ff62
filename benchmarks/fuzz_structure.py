"""Edited content against the readers: `python -m benchmarks.fuzz --structure`. `fuzz.py` edits bytes, this values.

A small good file is taken apart and edited where a program or a person might: a key is missing, stands under another
name or twice, a list is ragged, a value has another type, lies out of range, or is legal and unexpected. An independent
reader (`benchmarks.fuzz_meaning`) says what the content means. A finding is an error of another kind than `InputError`,
content that is read and must not be, content that is refused and need not be, and above all a change of meaning without
a word: other boxes than the content says.
"""

from __future__ import annotations

import copy
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

from benchmarks.fuzz_edits import NO_JSON, VALUES, dumped, edited
from benchmarks.fuzz_meaning import Box, RefusedError, dair_means, infos_mean, opv2v_means, parsed_means
from benchmarks.fuzz_settings import checkpoint, config
from robosac import pcd
from robosac.data.dair import DairV2XC
from robosac.data.opv2v import OPV2V
from robosac.data.opv2v_files import said
from robosac.data.recording import Objects
from robosac.data.v2xsim_npy import V2XSimNpy
from robosac.data.v2xsim_pkl import V2XSimPkl
from robosac.types import InputError


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
    path.write_bytes(dumped(tree))
    return tree, lambda: opv2v_means(tree), lambda: said(path, root, "1").objects


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
    return tree, lambda: dair_means(tree), lambda: DairV2XC(root).labels("000001", "000001", [])


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
            labels[key] = _array(labels[key])
        if any(a.dtype == object for a in labels.values() if isinstance(a, np.ndarray)):
            made = copy.deepcopy(tree)
        elif any(a.dtype.kind == "U" for k, a in labels.items() if isinstance(a, np.ndarray) and k != "gt_names"):
            made = copy.deepcopy(tree)  # numpy makes texts of mixed lists: that is another content
    (root / "v2xsim_infos_test.pkl").write_bytes(pickle.dumps([made], protocol=4))

    def read() -> Objects:
        recording = V2XSimPkl(root)
        [scenario] = recording.scenarios()
        agents = recording.present(scenario, "000000")
        for agent in agents:
            recording.pose(scenario, "000000", agent)
        return recording.labels(scenario, "000000", agents)

    return made, lambda: infos_mean(made), read


def _array(value: Any) -> Any:
    """An array of what may be one, else the same."""
    try:
        return np.array(value)
    except ValueError:
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
        content[key] = _array(value)
    stream = io.BytesIO()
    np.save(stream, np.array({**content, "filling": b"0" * 300}, dtype=object), allow_pickle=True)
    (root / "agent1/5_0").mkdir(parents=True, exist_ok=True)
    (root / "agent1/5_0/0.npy").write_bytes(stream.getvalue())
    shown = {k: v for k, v in content.items() if k in ("gt_max_iou", "reg_target_sparse")}
    return shown, lambda: parsed_means(content, places), lambda: V2XSimNpy(root).labels("scene_5", "5_0", ["agent1"])


def clouds(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    """Two scans of one sensor, in any type and to any height; a point is shown as a box, its intensity as a length."""
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
        found: list[Box] = []
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


CASES: Final = {
    "opv2v": opv2v, "dair": dair, "pkl": infos, "cloud": clouds, "npy": parsed, "config": config,
    "checkpoint": checkpoint,
}  # fmt: skip
_SHARES: Final = (0.38, 0.19, 0.23, 0.1, 0.05, 0.045, 0.005)


# ----------------------------------------------------------------------------------------------------------- campaign
def judged(kind: str, rng: np.random.Generator, root: Path) -> tuple[str, str | None]:
    """One case: what came of it, and the finding, if it is one."""
    content, means, read = CASES[kind](rng, root)
    try:
        wanted: list[Box] | None = sorted(means())
    except RefusedError:
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
