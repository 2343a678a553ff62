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

from robosac.boxes import invert_pose
from robosac.data.recording import Objects
from robosac.types import Array, Bool, Float32, Float64, Id, Int64, Truth

_CELL_M: Final = 1.0
_SLACK_M: Final = 1e-4  # scans are stored in float32: a point on the surface must not fall out by rounding
_FAR_M: Final = 10_000.0  # no scan reaches further
_PAIRS: Final = 4_000_000  # of a point and a box, looked at together
_NAMED: Final = 1 << 62  # ids made of names lie above, so that they never meet a number
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
    """Points `(N, >=3)` of a scan, in the sensor frame, that lie in each box, its surface included: `(G,)`.

    Boxes are taken as they stand, tilt included. Points are sorted into rows of cells once; a box then looks only at
    the stretches of the rows that it may reach into, all boxes in one go. Points that are not finite lie nowhere.
    """
    count = np.zeros(len(objects), dtype=np.int64)
    if not len(objects) or not len(points):
        return count
    sensor_T_box = invert_pose(world_T_sensor) @ objects.world_T_box
    turn, centre = sensor_T_box[:, :3, :3], sensor_T_box[:, :3, 3]
    half = objects.size.astype(np.float64) / 2
    reach = np.einsum("gij,gj->gi", np.abs(turn[:, :2]), half) + 2 * _SLACK_M  # of the tilted box along x and y
    low, high = centre[:, :2] - reach, centre[:, :2] + reach

    xyz = np.asarray(points[:, :3], dtype=np.float64)
    least, most = np.maximum(low.min(axis=0), -_FAR_M), np.minimum(high.max(axis=0), _FAR_M)
    xyz = xyz[(xyz[:, :2] >= least).all(axis=1) & (xyz[:, :2] <= most).all(axis=1)]  # NaN compares false
    if not len(xyz):
        return count
    row = np.floor(xyz[:, 1] / _CELL_M)
    order = np.lexsort((xyz[:, 0], row))
    xyz = xyz[order]
    box, first, last = _stretches(low, high, row[order], xyz[:, 0])
    length = last - first
    parts = max(1, int(length.sum()) // _PAIRS)
    for part in np.array_split(np.arange(len(box)), parts):  # bounds the memory; one part is the rule
        n = length[part]
        pair_box = np.repeat(box[part], n)
        pair_point = np.arange(len(pair_box)) + np.repeat(first[part] - (np.cumsum(n) - n), n)
        at = np.einsum("pji,pj->pi", turn[pair_box], xyz[pair_point] - centre[pair_box])
        inside = (np.abs(at) <= half[pair_box] + _SLACK_M).all(axis=1)
        count += np.bincount(pair_box[inside], minlength=len(objects))
    return count


def _stretches(low: Float64, high: Float64, row: Float64, x: Float64) -> tuple[Int64, Int64, Int64]:
    """Box, first and last + 1 point `(S,)` of every row that a box may reach; points are sorted by row, then x."""
    filled, rank = np.unique(row, return_inverse=True)
    first_row = np.searchsorted(filled, np.floor(low[:, 1] / _CELL_M), side="left")
    last_row = np.searchsorted(filled, np.floor(high[:, 1] / _CELL_M), side="right")
    rows = np.maximum(last_row - first_row, 0)
    box = np.repeat(np.arange(len(low)), rows)
    in_row = first_row[box] + np.arange(len(box)) - np.repeat(np.cumsum(rows) - rows, rows)
    # row and x in one key, so that one binary search finds a place in a row; x stays a metre away from the next row
    x0, span = x.min(), float(np.ptp(x)) + 1.0
    key, base = rank * span + (x - x0), in_row * span
    first = np.searchsorted(key, base + np.clip(low[box, 0] - x0, 0, span - 0.5) - 1e-6, side="left")
    last = np.searchsorted(key, base + np.clip(high[box, 0] - x0, -0.1, span - 0.5) + 1e-6, side="right")
    return box.astype(np.int64), first.astype(np.int64), np.maximum(last, first).astype(np.int64)


def track_ids(names: Sequence[str]) -> Int64:
    """Ids `(G,)` of objects by name: the number that the name is, else one made of it, the same in any process."""
    return np.array([_track_id(name) for name in names], dtype=np.int64)


def _track_id(name: str) -> int:
    digits = name.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 18 and str(int(name)) == name:
        return int(name)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return _NAMED | (int.from_bytes(digest, "little") >> 2)
