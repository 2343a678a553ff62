"""Triangle meshes: every object is a unit template, scaled and posed.

A template fills x, y in [-0.5, 0.5] and z in [0, 1] (x forward, z up, the ground at z = 0), so that a scaled copy
touches all six faces of its box. A vehicle is two or three convex prisms and its axles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.types import Array, Bool, Float32, Float64


@dataclass(frozen=True, eq=False)
class Template:
    """Triangles `(T, 3, 3)` of the unit object; a triangle reflects `base + paint * colour`, both `(T,)`; `glass`
    `(T,)` says which are windows.
    """

    triangles: Float32
    base: Float32
    paint: Float32
    glass: Bool


def _prism(
    profile: Sequence[tuple[float, float, float]], base: float = 0.0, paint: float = 0.0, *, windows: bool = False
) -> Template:
    """A convex side view `[(x, z, half width), ...]` (counter-clockwise seen from the right) drawn out across y;
    `windows`: all but its level faces are of glass.
    """
    p = np.asarray(profile, dtype=np.float64)
    left = np.stack([p[:, 0], p[:, 2], p[:, 1]], axis=1)
    right = left * [1, -1, 1]
    n = len(p)
    k, nxt = np.arange(n), (np.arange(n) + 1) % n
    fan = np.stack([np.zeros(n - 2, np.int64), np.arange(1, n - 1), np.arange(2, n)], axis=1)
    triangles = np.concatenate(
        [
            right[fan],
            left[fan[:, ::-1]],
            np.stack([right[nxt], right[k], left[k]], axis=1),
            np.stack([right[nxt], left[k], left[nxt]], axis=1),
        ]
    ).astype(np.float32)
    full = np.ones(len(triangles), np.float32)
    level = np.ptp(triangles[:, :, 2], axis=1) < 1e-6
    return Template(triangles, base * full, paint * full, windows & ~level)


def _join(*parts: Template) -> Template:
    return Template(
        np.concatenate([p.triangles for p in parts]),
        np.concatenate([p.base for p in parts]),
        np.concatenate([p.paint for p in parts]),
        np.concatenate([p.glass for p in parts]),
    )


def _block(x0: float, x1: float, z0: float, z1: float, half: float = 0.5, *, base: float, paint: float) -> Template:
    return _prism([(x0, z0, half), (x1, z0, half), (x1, z1, half), (x0, z1, half)], base, paint)


def _axle(x: float, radius_x: float, radius_z: float) -> Template:
    angle = -np.pi / 2 + np.arange(6) * np.pi / 3
    ring = [(x + radius_x * float(np.cos(a)), radius_z * (1 + float(np.sin(a))), 0.48) for a in angle]
    return _prism(ring, base=0.06)


def _car(
    nose_z: float, bonnet: tuple[float, float], tail_z: float, roof: tuple[float, float], back_x: float
) -> Template:
    """A car: nose height, bonnet's end (x, z) = foot of the windscreen, boot height, roof from x to x, window foot."""
    belt_x, belt_z = bonnet
    body = [
        (-0.47, 0.13, 0.45),
        (0.46, 0.13, 0.45),
        (0.50, 0.25, 0.47),
        (0.49, nose_z, 0.48),
        (belt_x, belt_z, 0.49),
        (-0.48, tail_z, 0.48),
        (-0.50, 0.30, 0.50),
    ]
    rear, front = roof
    cabin = [
        (back_x, tail_z - 0.04, 0.47),
        (belt_x, belt_z - 0.04, 0.47),
        (front, 1.0, 0.38),
        (rear, 1.0, 0.38),
    ]
    return _join(
        _prism(body, paint=1.0),
        _prism(cabin, base=0.05, paint=0.35, windows=True),
        _axle(0.31, 0.072, 0.22),
        _axle(-0.29, 0.072, 0.22),
    )


def _van(screen_x: float, nose_z: float) -> Template:
    body = [
        (-0.50, 0.10, 0.49),
        (0.49, 0.10, 0.49),
        (0.50, nose_z, 0.50),
        (screen_x + 0.12, nose_z + 0.12, 0.50),
        (screen_x, 0.96, 0.46),
        (screen_x - 0.08, 1.0, 0.45),
        (-0.50, 1.0, 0.45),
    ]
    return _join(_prism(body, base=0.02, paint=0.85), _axle(0.32, 0.062, 0.15), _axle(-0.28, 0.062, 0.15))


def _truck(cab_x: float, cab_z: float, wheel: float) -> Template:
    cab = [
        (cab_x, 0.13, 0.48),
        (0.49, 0.13, 0.48),
        (0.50, 0.45, 0.48),
        (0.46, cab_z, 0.46),
        (cab_x, cab_z, 0.46),
    ]
    return _join(
        _prism(cab, base=0.02, paint=0.8),
        _block(-0.50, cab_x - 0.02, 0.30, 1.0, base=0.35, paint=0.2),
        _block(-0.48, cab_x, 0.16, 0.30, 0.2, base=0.1, paint=0.0),
        _axle((cab_x + 0.5) / 2, wheel, 0.14),
        _axle(-0.22, wheel, 0.14),
        _axle(-0.36, wheel, 0.14),
    )


def _bus() -> Template:
    body = [
        (-0.50, 0.10, 0.50),
        (0.49, 0.10, 0.50),
        (0.50, 0.40, 0.50),
        (0.485, 0.97, 0.48),
        (0.46, 1.0, 0.46),
        (-0.49, 1.0, 0.46),
        (-0.50, 0.97, 0.49),
    ]
    return _join(_prism(body, base=0.08, paint=0.5), _axle(0.30, 0.043, 0.15), _axle(-0.25, 0.043, 0.15))


def _crown() -> Template:
    """A tree's crown: two rings of eight between a bottom and a top."""
    angle = np.arange(8) * np.pi / 4
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(8)], axis=1)
    low, high = ring * [0.36, 0.36, 0] + [0, 0, 0.18], ring * [0.5, 0.5, 0] + [0, 0, 0.5]
    bottom, top = np.broadcast_to([0, 0, 0.0], (8, 3)), np.broadcast_to([0, 0, 1.0], (8, 3))
    roll = [np.roll(r, -1, axis=0) for r in (low, high)]
    triangles = np.concatenate(
        [
            np.stack([bottom, roll[0], low], axis=1),
            np.stack([low, roll[0], roll[1]], axis=1),
            np.stack([low, roll[1], high], axis=1),
            np.stack([high, roll[1], top], axis=1),
        ]
    ).astype(np.float32)
    return Template(triangles, np.zeros(32, np.float32), np.ones(32, np.float32), np.zeros(32, np.bool_))


def _pickup() -> Template:
    """A cab before an open bed."""
    cab = [
        (-0.06, 0.16, 0.47),
        (0.46, 0.16, 0.46),
        (0.50, 0.30, 0.47),
        (0.49, 0.56, 0.48),
        (0.27, 0.62, 0.49),
        (-0.06, 0.62, 0.49),
    ]
    cabin = [(-0.08, 0.58, 0.46), (0.27, 0.58, 0.46), (0.13, 1.0, 0.39), (-0.05, 1.0, 0.39)]
    return _join(
        _prism(cab, paint=1.0),
        _prism(cabin, base=0.05, paint=0.35, windows=True),
        _block(-0.50, -0.06, 0.18, 0.42, 0.5, base=0.0, paint=1.0),
        _block(-0.50, -0.47, 0.42, 0.62, 0.5, base=0.0, paint=1.0),
        _axle(0.31, 0.07, 0.2),
        _axle(-0.29, 0.07, 0.2),
    )


def _person() -> Template:
    return _join(
        _block(-0.25, 0.25, 0.0, 0.48, 0.3, base=0.1, paint=0.5),
        _block(-0.5, 0.5, 0.46, 0.84, 0.5, base=0.05, paint=1.0),
        _block(-0.25, 0.25, 0.84, 1.0, 0.2, base=0.4, paint=0.0),
    )


def _cyclist() -> Template:
    """Two wheels, a frame and who sits on it."""
    return _join(
        _wheel(-0.32),
        _wheel(0.32),
        _block(-0.3, 0.3, 0.3, 0.42, 0.1, base=0.2, paint=0.2),
        _block(-0.22, 0.12, 0.4, 0.88, 0.42, base=0.05, paint=1.0),
        _block(-0.02, 0.12, 0.86, 1.0, 0.15, base=0.4, paint=0.0),
        _block(0.2, 0.3, 0.5, 0.62, 0.5, base=0.2, paint=0.0),
    )


def _wheel(x: float) -> Template:
    angle = -np.pi / 2 + np.arange(8) * np.pi / 4
    ring = [(x + 0.18 * float(np.cos(a)), 0.2 * (1 + float(np.sin(a))), 0.06) for a in angle]
    return _prism(ring, base=0.1)


TEMPLATES: Final[dict[str, Template]] = {
    "sedan": _car(0.50, (0.22, 0.64), 0.66, (-0.26, 0.04), -0.40),
    "coupe": _car(0.48, (0.18, 0.64), 0.68, (-0.20, 0.00), -0.46),
    "hatchback": _car(0.52, (0.27, 0.63), 0.64, (-0.40, 0.10), -0.47),
    "estate": _car(0.50, (0.22, 0.62), 0.63, (-0.43, 0.05), -0.48),
    "suv": _car(0.52, (0.25, 0.64), 0.64, (-0.42, 0.08), -0.48),
    "van": _van(0.26, 0.42),
    "minivan": _van(0.18, 0.50),
    "truck": _truck(0.27, 0.85, 0.055),
    "lorry": _truck(0.36, 0.80, 0.036),
    "bus": _bus(),
    "block": _block(-0.5, 0.5, 0.0, 1.0, base=0.0, paint=1.0),
    "crown": _crown(),
    "pickup": _pickup(),
    "person": _person(),
    "cyclist": _cyclist(),
}


def place(template: Template, sizes: Array, poses: Array) -> Float32:
    """Copies of a template: sizes `(N, 3)` [l w h] in metres, `world_T_object` poses `(N, 4, 4)`, object origin on
    the ground below its centre. Returns triangles `(N * T, 3, 3)` in the world frame, object after object.
    """
    linear = (poses[:, :3, :3] * np.asarray(sizes)[:, None, :]).transpose(0, 2, 1)
    corners = template.triangles.reshape(1, -1, 3) @ linear.astype(np.float32)
    corners += poses[:, None, :3, 3].astype(np.float32)
    return np.ascontiguousarray(corners.reshape(-1, 3, 3), dtype=np.float32)


def colours(template: Template, paint: Array) -> Float32:
    """Reflectivity `(N * T,)` of N copies with paints `(N,)`."""
    shades = template.base + np.asarray(paint, np.float32)[:, None] * template.paint
    return np.asarray(shades, np.float32).reshape(-1)


def resting_poses(xy: Array, yaw: Array, z: Array, slope: Array) -> Float64:
    """`world_T_object` `(N, 4, 4)` of objects at `xy` `(N, 2)`, heights `z` `(N,)`, headings `yaw` `(N,)`, on
    ground whose slope there is `(N, 2)` dz/d(x, y): x along the heading in the tangent plane, z along the normal.
    """
    up = np.concatenate([-np.asarray(slope), np.ones((len(xy), 1))], axis=1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    heading = np.stack([np.cos(yaw), np.sin(yaw), np.zeros(len(xy))], axis=1)
    heading[:, 2] = heading[:, 0] * slope[:, 0] + heading[:, 1] * slope[:, 1]
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    poses = np.zeros((len(xy), 4, 4))
    poses[:, :3, 0], poses[:, :3, 2] = heading, up
    poses[:, :3, 1] = np.cross(up, heading)
    poses[:, :2, 3], poses[:, 2, 3], poses[:, 3, 3] = xy, z, 1
    return poses
