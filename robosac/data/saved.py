"""Boxes that somebody saved: detections and objects, frame by frame, from files of three kinds.

`robosac-boxes` JSON, ours (`robosac evaluate --save-boxes` and `write_boxes` make it):

    {"format": "robosac-boxes", "frames": [
        {"name": "scene-0/12", "boxes": [[x, y, z, l, w, h, yaw], ...], "scores": [...],
         "objects": [[x, y, z, l, w, h, yaw], ...], "ignored": [...]}]}

OpenCOOD's dumps: a folder of `0000_pred.npy` and `0000_gt.npy` (`0000_gt.npy_test.npy` in some versions), corners
`(N, 8, 3)`. They hold no scores unless a fork wrote `0000_pred_score.npy` beside them.

nuScenes' JSON: `{"results": {frame: [{"translation", "size" (w, l, h), "rotation" (w, x, y, z), "detection_name",
"detection_score"}]}}`; the objects are a second file of the same form.

Files are untrusted and read by `robosac.data.safe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.data.recording import DataError
from robosac.data.safe import MIB, is_dir, is_file, naming, read_json, read_npy
from robosac.files import write_whole
from robosac.types import Array, Detections, InputError

FORMAT: Final = "robosac-boxes"
JSON_LIMIT: Final = 512 * MIB  # results of nuScenes' validation split are some hundreds
_PREDICTED: Final = re.compile(r"(.+)_pred\.npy")
_WITHOUT_SCORES: Final = 0.5


@dataclass(frozen=True, eq=False)
class SavedFrame:
    """One frame; all boxes `(N, 7)` in one frame of reference, whichever.

    Attributes:
        name: as the file calls it.
        detections: in the order of the file.
        objects: those that count.
        ignored: real objects that do not.
    """

    name: str
    detections: Detections
    objects: Array
    ignored: Array

    def to_dict(self) -> dict[str, Any]:
        """As in our JSON; float32 values come back bit by bit."""
        d = self.detections
        held = {"boxes": d.boxes, "scores": d.scores, "objects": self.objects, "ignored": self.ignored}
        return {"name": self.name, **{k: np.asarray(v, np.float64).tolist() for k, v in held.items()}}


@dataclass(frozen=True, eq=False)
class Saved:
    """What one file or folder holds, frames in its order. `scored`: whether scores were saved, too.

    Attributes:
        source: the file or folder.
        kind: how it was read.
        local: whether boxes are in the ego's frame, so that distances from it mean something.
    """

    source: str
    kind: str
    frames: tuple[SavedFrame, ...]
    scored: bool = True
    local: bool = True


def write_boxes(path: Path, frames: Iterable[Mapping[str, Any]]) -> None:
    """Write frames (`SavedFrame.to_dict`) as our JSON."""
    held = {"format": FORMAT, "frames": list(frames)}
    write_whole(path, (json.dumps(held, allow_nan=False) + "\n").encode())


def read_boxes(
    files: Sequence[Path], *, truth: Path | None = None, classes: Sequence[str] | None = None
) -> list[Saved]:
    """What files hold: one `Saved` for each JSON file and for each folder of dumps; dumps named one by one are those of
    their folder.

    Args:
        files: JSON files, folders of dumps, or `*_pred.npy` files.
        truth: the objects, for nuScenes' JSON, which keeps them in a file of their own.
        classes: of nuScenes' boxes, as the file spells them; left out, all.

    Raises:
        InputError: a file is of no known kind, or what it needs beside it is missing; says what to do.
        DataError: a file is broken; names it.
    """
    found: list[Saved] = []
    dumps: dict[Path, list[Path] | None] = {}  # a folder -> the dumps that were named of it; None: all
    for path in files:
        if is_dir(path):
            dumps[path] = None
        elif _PREDICTED.fullmatch(path.name):
            named = dumps.setdefault(path.parent, [])
            if named is not None:
                named.append(path)
        elif path.suffix == ".npy" and is_file(path):
            continue  # `npy/*`: truth, points and scores are found beside the predictions
        elif is_file(path):
            found.append(_json(path, truth, classes))
        else:
            raise InputError(f"expected a JSON file or a folder of OpenCOOD's dumps, got {path}, which is not there")
    found += [_dumps(folder, named) for folder, named in dumps.items()]
    if not found:
        raise InputError("expected files that end in _pred.npy, got none; name the folder that holds them")
    return found


# ------------------------------------------------------------------------------------------------------ OpenCOOD's
def _dumps(folder: Path, named: Sequence[Path] | None) -> Saved:
    predicted = sorted(p for p in (folder.iterdir() if named is None else named) if _PREDICTED.fullmatch(p.name))
    if not predicted:
        raise InputError(
            f"expected files like 0000_pred.npy in {folder}, got none; OpenCOOD writes them with --save_npy into the "
            "folder npy beside the weights"
        )
    frames, scored = [], set[bool]()
    for path in predicted:
        stem = path.name.removesuffix("_pred.npy")
        beside = (folder / f"{stem}_gt.npy", folder / f"{stem}_gt.npy_test.npy")
        objects = next((p for p in beside if is_file(p)), None)
        if objects is None:
            raise InputError(f"expected the objects of {path} in {beside[0].name} beside it, found none")
        scores = folder / f"{stem}_pred_score.npy"
        boxes = of_corners(read_npy(path, folder), path)
        scored.add(is_file(scores))
        held = read_npy(scores, folder) if is_file(scores) else np.full(len(boxes), _WITHOUT_SCORES)
        frames.append(
            SavedFrame(
                stem,
                _detections(path, boxes, held),
                of_corners(read_npy(objects, folder), objects),
                np.zeros((0, 7), np.float32),
            )
        )
    if len(scored) > 1:
        raise InputError(f"expected _pred_score.npy beside every _pred.npy of {folder} or beside none, got some")
    return Saved(str(folder), "OpenCOOD's dumps", tuple(frames), scored=scored == {True})


def of_corners(corners: Any, path: Path) -> Array:
    """Boxes `(N, 7)` of OpenCOOD's corners `(N, 8, 3)`: front right, front left, rear left, rear right, below and
    above. A box that leans keeps its centre, its heading seen from above, and its sides.
    """
    values = np.asarray(corners, np.float64) if isinstance(corners, np.ndarray) else np.zeros(0)
    if isinstance(corners, np.ndarray) and corners.size == 0:
        return np.zeros((0, 7), np.float32)
    if values.ndim != 3 or values.shape[1:] != (8, 3):
        raise DataError(path, f"holds {values.shape}, expected corners (N, 8, 3)")
    front, rear = values[:, [0, 1, 4, 5]].mean(axis=1), values[:, [3, 2, 7, 6]].mean(axis=1)
    right, left = values[:, [0, 3, 4, 7]].mean(axis=1), values[:, [1, 2, 5, 6]].mean(axis=1)
    ahead = front - rear
    height = np.abs(values[:, 4:, 2].mean(axis=1) - values[:, :4, 2].mean(axis=1))
    sides = np.stack([np.linalg.norm(ahead[:, :2], axis=1), np.linalg.norm((left - right)[:, :2], axis=1), height])
    yaw = np.arctan2(ahead[:, 1], ahead[:, 0])
    return np.concatenate([values.mean(axis=1), sides.T, yaw[:, None]], axis=1).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------- JSON
def _json(path: Path, truth: Path | None, classes: Sequence[str] | None) -> Saved:
    held = _read(path)
    if held.get("format") == FORMAT:
        return Saved(str(path), FORMAT, tuple(_ours(path, held)))
    if "results" in held:
        if truth is None:
            raise InputError(f"expected --truth FILE beside {path}: nuScenes' JSON keeps the objects in another file")
        return _nuscenes(path, held, truth, classes)
    if "per_frame" in held:
        raise InputError(
            f"expected boxes, got {path}, an entry of robosac evaluate, which holds what was matched and no boxes; "
            "robosac evaluate --save-boxes keeps them in OUT/boxes"
        )
    keys = ", ".join(map(str, held))[:80]
    raise InputError(f'expected {path} to have "format": "{FORMAT}" or nuScenes\' "results", got keys {keys}')


def _read(path: Path) -> Mapping[str, Any]:
    held = read_json(path, path.parent, limit=JSON_LIMIT)
    if not isinstance(held, dict):
        raise DataError(path, f"holds a {type(held).__name__}, expected an object")
    return held


def _ours(path: Path, held: Mapping[str, Any]) -> Iterator[SavedFrame]:
    with naming(path, f"{FORMAT} file"):
        for k, frame in enumerate(held["frames"]):
            found = _detections(path, _boxes(frame["boxes"]), np.asarray(frame["scores"], np.float64))
            yield SavedFrame(
                str(frame.get("name", k)), found, _boxes(frame["objects"]), _boxes(frame.get("ignored", []))
            )


def _boxes(values: Any) -> Array:
    return np.asarray(values, np.float32).reshape(len(values), 7)


def _detections(path: Path, boxes: Array, scores: Any) -> Detections:
    if np.shape(scores) != (len(boxes),):
        raise DataError(path, f"has scores of shape {np.shape(scores)}, expected one for each of {len(boxes)} boxes")
    return Detections(np.asarray(boxes, np.float32), np.asarray(scores, np.float32))


def _nuscenes(path: Path, held: Mapping[str, Any], truth: Path, classes: Sequence[str] | None) -> Saved:
    objects = _read(truth).get("results")
    with naming(truth, "nuScenes' JSON"):
        there = {str(k): _of_nuscenes(v, classes) for k, v in dict(objects or {}).items()}
    with naming(path, "nuScenes' JSON"):
        found = {str(k): _of_nuscenes(v, classes) for k, v in held["results"].items()}
    if strangers := sorted(set(found) - set(there)):
        raise InputError(
            f"expected the frames of {path} among those of {truth}, got {len(strangers)} others, {strangers[0]} first"
        )
    frames = []
    for name, (boxes, _) in there.items():
        seen, scores = found.get(name, (np.zeros((0, 7)), np.zeros(0)))
        # places of the world are large numbers, which float32 would round: boxes are told from where the first one is
        first = np.zeros(7)
        first[:3] = next(iter([*boxes[:1, :3], *seen[:1, :3]]), np.zeros(3))
        frames.append(
            SavedFrame(
                name,
                _detections(path, seen - first, scores),
                np.asarray(boxes - first, np.float32),
                np.zeros((0, 7), np.float32),
            )
        )
    return Saved(str(path), "nuScenes' JSON", tuple(frames), local=False)


def _of_nuscenes(rows: Sequence[Mapping[str, Any]], classes: Sequence[str] | None) -> tuple[Array, Array]:
    """Boxes and scores of one frame; of objects scores are not looked at."""
    kept = [r for r in rows if classes is None or r["detection_name"] in classes]
    boxes = np.zeros((len(kept), 7), np.float64)
    for box, r in zip(boxes, kept, strict=True):
        (width, length, height), (w, x, y, z) = r["size"], r["rotation"]
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        box[:] = (*r["translation"], length, width, height, yaw)
    return boxes, np.array([float(r.get("detection_score", -1.0)) for r in kept], np.float64)
