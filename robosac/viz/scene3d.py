"""A frame in space as coloured points and line segments: what a 3D viewer is handed, and nothing of any viewer.

Ego frame, metres. Points of teammates that are not used fade towards the background; truth is green, detections blue,
an attacker's pose and points are in the attackers' colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from robosac.boxes import corners_bev, invert_pose, transform_points
from robosac.types import EGO_ALONE, Array, Detections, Float64, Frame, Subset
from robosac.viz.bev import agent_colours
from robosac.viz.canvas import MUTED

BACKDROP = "#14181d"  # dark: points are many and small
TRUTH_3D, HIT_3D = "#2fd6a3", "#4da3ff"
FADED = 0.75
_EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
_AXES = ("#d62728", "#2ca02c", "#1f77b4")  # x y z, as everywhere
_AXIS_M = 3.0


@dataclass(frozen=True, eq=False)
class Scene3D:
    """Points `(P, 3)` with colours `(P, 3)` in [0, 1], and segments `(S, 2, 3)` with colours `(S, 3)`."""

    points: Float64
    point_colours: Float64
    segments: Float64
    segment_colours: Float64


def scene_of(
    frame: Frame,
    *,
    truth_boxes: Array | None = None,
    result: Detections | None = None,
    used: Subset | None = None,
    attackers: Subset = EGO_ALONE,
) -> Scene3D:
    """Everything about a frame. `truth_boxes` `(G, 7)` and the result are in the ego frame; `used` None: all agents.

    All boxes of the result are drawn: who calls chooses those of a score that is stated beside the picture.
    """
    ego_T_world = invert_pose(frame.ego.world_T_sensor)
    tints = agent_colours(frame, attackers)
    points, colours = [np.zeros((0, 3))], [np.zeros((0, 3))]
    lines: list[tuple[Array, str]] = []
    for name, view in ((frame.ego.id, frame.ego), *sorted(frame.others.items())):
        ego_T_sensor = ego_T_world @ view.world_T_sensor
        points.append(transform_points(ego_T_sensor, view.points)[:, :3].astype(np.float64))
        tint = np.array(to_rgb(tints[name]))
        if used is not None and name != frame.ego.id and name not in used:
            tint = tint + FADED * (np.array(to_rgb(BACKDROP)) - tint)
        colours.append(np.tile(tint, (len(view.points), 1)))
        lines += _tripod(ego_T_sensor)
    if truth_boxes is not None:
        lines.append((box_edges(truth_boxes), TRUTH_3D))
    if result is not None:
        lines.append((box_edges(result.boxes), HIT_3D))
        lines.append((headings(result.boxes), HIT_3D))
    segments = [np.zeros((0, 2, 3)), *(s for s, _ in lines)]
    tinted = [np.zeros((0, 3)), *(np.tile(to_rgb(colour), (len(s), 1)) for s, colour in lines)]
    return Scene3D(np.concatenate(points), np.concatenate(colours), np.concatenate(segments), np.concatenate(tinted))


def box_edges(boxes: Array) -> Float64:
    """The twelve edges `(12 N, 2, 3)` of boxes `(N, 7)`."""
    flat = corners_bev(boxes)
    half = np.asarray(boxes, np.float64)[:, 5] / 2
    z = np.asarray(boxes, np.float64)[:, 2]
    corners = np.concatenate([_lifted(flat, z - half), _lifted(flat, z + half)], axis=1)
    return corners[:, _EDGES].reshape(-1, 2, 3)


def headings(boxes: Array) -> Float64:
    """From the centre to the front `(N, 2, 3)` of boxes `(N, 7)`, on their roofs."""
    b = np.asarray(boxes, np.float64)
    roof = b[:, :3] + np.stack([0 * b[:, 5], 0 * b[:, 5], b[:, 5] / 2], axis=1)
    ahead = np.stack([np.cos(b[:, 6]), np.sin(b[:, 6]), 0 * b[:, 6]], axis=1) * b[:, 3:4] / 2
    return np.stack([roof, roof + ahead], axis=1)


def _lifted(flat: Float64, z: Float64) -> Float64:
    return np.concatenate([flat, np.broadcast_to(z[:, None, None], (*flat.shape[:2], 1))], axis=2)


def _tripod(ego_T_sensor: Float64) -> Iterator[tuple[Array, str]]:
    """The axes of a sensor, and a line down to about the ground."""
    origin = ego_T_sensor[:3, 3]
    for k, colour in enumerate(_AXES):
        yield np.stack([origin, origin + _AXIS_M * ego_T_sensor[:3, k]])[None], colour
    yield np.stack([origin, origin - 1.8 * ego_T_sensor[:3, 2]])[None], MUTED
