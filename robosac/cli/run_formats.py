"""A defended frame as others read it: our JSON, nuScenes' submission, OpenCOOD's saved arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from robosac.boxes import corners_bev
from robosac.types import Array, Float32, Frame, Verdict

FORMATS: Final = ("json", "nuscenes", "opencood")


def as_json(frame: Frame, verdict: Verdict, *, attackers: frozenset[str] | None = None) -> dict[str, Any]:
    """Everything that a verdict holds but the score map, as plain data; boxes in the ego's frame.

    `attackers` is the truth, where an attack was asked for.
    """
    certificates = None if verdict.certificates is None else list(verdict.certificates)
    return {
        "scenario": frame.scenario,
        "index": frame.index,
        "ego": frame.ego.id,
        "t_ns": frame.ego.t_ns,
        "world_T_ego": frame.ego.world_T_sensor.tolist(),
        "teammates": sorted(frame.others),
        "boxes": [[round(float(v), 5) for v in box] for box in verdict.result.boxes],
        "scores": [round(float(v), 6) for v in verdict.result.scores],
        "sources": [sorted(s) for s in verdict.sources],
        "support": [[sorted(s) for s in shown] for shown in verdict.support],
        "corroborated": [bool(c) for c in verdict.corroborated],
        "certificates": certificates,
        "used": sorted(verdict.used),
        "accused": sorted(verdict.accused),
        "rejected": dict(sorted(verdict.rejected.items())),
        "suspicion": {k: round(float(v), 6) for k, v in sorted(verdict.suspicion.items())},
        "fell_back": verdict.fell_back,
        "reason": verdict.reason,
        "trials": len(verdict.trials),
        "decodes": verdict.decodes,
        "ms": {k: round(float(v), 3) for k, v in verdict.ms.items()},
        **({} if attackers is None else {"attackers": sorted(attackers)}),
    }


def token(held: Mapping[str, Any]) -> str:
    """What nuScenes would call the sample: scenario, ego and index."""
    return f"{held['scenario']}/{held['ego']}/{held['index']:06d}"


def as_nuscenes(held: Mapping[str, Any], name: str = "car") -> list[dict[str, Any]]:
    """The boxes of a frame (`as_json`) as nuScenes' detection results have them: in the world, width before length,
    quaternions `[w x y z]`. Velocities are not estimated: zero.
    """
    world_T_ego = np.array(held["world_T_ego"])
    found = []
    for box, score in zip(held["boxes"], held["scores"], strict=True):
        centre = world_T_ego @ [*box[:3], 1.0]
        c, s = np.cos(box[6]), np.sin(box[6])
        turned = world_T_ego[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        found.append(
            {
                "sample_token": token(held),
                "translation": [round(float(v), 5) for v in centre[:3]],
                "size": [box[4], box[3], box[5]],
                "rotation": [round(float(v), 8) for v in quaternion(turned)],
                "velocity": [0.0, 0.0],
                "detection_name": name,
                "detection_score": score,
                "attribute_name": "",
            }
        )
    return found


def quaternion(rotation: Array) -> Array:
    """`(4,)` `[w x y z]` of a rotation `(3, 3)`, w >= 0."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    found = np.array([w, x, y, z])
    return found if w >= 0 else -found


def corners(boxes: Array) -> Float32:
    """`(N, 8, 3)` of boxes `(N, 7)`, in OpenCOOD's order, ego frame."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 7)
    found = np.empty((len(boxes), 8, 3), np.float32)
    # below, front right first, and the same above; `corners_bev` begins front left
    found[:, :4, :2] = found[:, 4:, :2] = corners_bev(boxes)[:, [3, 0, 1, 2]]
    found[:, :4, 2], found[:, 4:, 2] = ((boxes[:, 2] + side * boxes[:, 5] / 2)[:, None] for side in (-1, 1))
    return found


def npy_bytes(array: Array) -> bytes:
    """An array as the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
