"""Truth of a frame the way the field defines it: what the agents taking part list, with the points that fell on each.

- The objects are the union, by name, of what is listed for the agents taking part: the ego and the teammates whose
  views are in the frame. Boxes are brought into the ego's true sensor frame; no range is cut off here, since the
  evaluation's region does that and finding a real object outside of it is no mistake (`robosac.evaluation.ap`).
- The ego's own body is left out: the object under the ego's name, and where labels do not name the agents, the one
  that the ego's sensor stands on. A road-side unit has none.
- `hits` are the points of each agent's scan inside of each box, whole surface included. An object is visible where at
  least 5 points fell on it, summed over the agents (`Truth.visible`).
- Track ids: an object's name where that is a whole number, else a number made of it that is the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from robosac.boxes import invert_pose
from robosac.data.recording import Objects
from robosac.types import Array, Bool, Float32, Float64, Id, Int64, Truth

_SLACK_M: Final = 1e-4  # scans are stored in float32: a point on the surface must not fall out by rounding
_NAMED: Final = 1 << 62  # ids made of names are above, so that they never meet a number
_OWN_BODY_M: Final = 4.0  # a sensor stands at most so far above the centre of its own vehicle


def truth_of(
    objects: Objects,
    *,
    ego: Id,
    world_T_sensor: Mapping[Id, Float64],
    sent_from: Mapping[Id, Float64],
    points: Mapping[Id, Float32],
    body: str | None,
    roadside: bool,
) -> Truth:
    """The truth of one frame.

    Args:
        objects: the union of the lists of the agents taking part.
        ego: one of the agents; `body` is the name under which others list it, `roadside` whether it has no body.
        world_T_sensor: agent -> true pose `(4, 4)` at the frame's moment.
        sent_from: agent -> true pose `(4, 4)` of the scan that is in the frame; differs for delayed teammates.
        points: agent -> points `(N, 4)` of its scan at the frame's moment, sensor frame.
    """
    kept = np.ones(len(objects), dtype=np.bool_)
    if not roadside:
        named = np.array([body is not None and name == body for name in objects.ids], dtype=np.bool_)
        kept = ~(named if named.any() else stands_on(objects, world_T_sensor[ego]))
    objects = select(objects, kept)
    ego_T_world = invert_pose(world_T_sensor[ego])
    return Truth(
        boxes=boxes_in(objects, ego_T_world),
        track_ids=track_ids(objects.ids),
        hits={a: points_in_boxes(p, world_T_sensor[a], objects) for a, p in points.items()},
        world_T_sensor=dict(sent_from),
    )


def select(objects: Objects, which: Bool) -> Objects:
    """Those of the objects where `which (G,)` is true."""
    ids = tuple(name for name, keep in zip(objects.ids, which, strict=True) if keep)
    return replace(objects, ids=ids, world_T_box=objects.world_T_box[which], size=objects.size[which])


def boxes_in(objects: Objects, dst_T_world: Float64) -> Float32:
    """Boxes `(G, 7)` float32 in dst: centres exactly, headings as seen from above in dst."""
    poses = dst_T_world @ objects.world_T_box
    heading = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    return np.concatenate([poses[:, :3, 3], objects.size, heading[:, None]], axis=1).astype(np.float32)


def stands_on(objects: Objects, world_T_sensor: Float64) -> Bool:
    """Which objects `(G,)` have the sensor above or within their outline: the vehicle that carries it."""
    at = np.einsum("gji,gj->gi", objects.world_T_box[:, :3, :3], world_T_sensor[:3, 3] - objects.world_T_box[:, :3, 3])
    within = (np.abs(at[:, :2]) <= objects.size[:, :2] / 2).all(axis=1)
    return np.asarray(within & (np.abs(at[:, 2]) <= objects.size[:, 2] / 2 + _OWN_BODY_M))


def points_in_boxes(points: Array, world_T_sensor: Float64, objects: Objects) -> Int64:
    """Points `(N, >=3)` of a scan, in the sensor frame, that are in each box, its surface included: `(G,)`.

    Boxes are taken as they stand, tilt included. Points that are not finite are in none.
    """
    count = np.zeros(len(objects), dtype=np.int64)
    xyz = np.asarray(points[:, :3], dtype=np.float64)
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(objects) or not len(xyz):
        return count
    tree = cKDTree(xyz, balanced_tree=False, compact_nodes=False)  # built in half the time, asked as fast
    sensor_T_box = invert_pose(world_T_sensor) @ objects.world_T_box
    half = objects.size.astype(np.float64) / 2 + _SLACK_M
    radius = np.linalg.norm(half, axis=1) + _SLACK_M
    for g, (pose, reach) in enumerate(zip(sensor_T_box, half, strict=True)):
        near = xyz[tree.query_ball_point(pose[:3, 3], radius[g])] - pose[:3, 3]
        count[g] = (np.abs(near @ pose[:3, :3]) <= reach).all(axis=1).sum()
    return count


def track_ids(names: Sequence[str]) -> Int64:
    """Ids `(G,)` of objects by name: the number that the name is, else one made of it, the same in any process."""
    return np.array([_track_id(name) for name in names], dtype=np.int64)


def _track_id(name: str) -> int:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 18 and str(int(name)) == name:
        return int(name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return _NAMED | (int.from_bytes(digest, "little") >> 2)
