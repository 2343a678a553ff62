"""Claimed poses: moved away from the true one, and how far off they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from robosac.attacks.measures import same_array, same_but
from robosac.types import Float64, Message

Move: TypeAlias = tuple[float, float, float]  # metres along the world's x and y, radians counter-clockwise
_RIGID: Final = 1e-6  # how far a change of rotation may be from a rotation, entry by entry


def moved(message: Message, move: Move) -> Message:
    """The message as if its payload had been sensed elsewhere; no move leaves it bit-identical."""
    x, y, yaw = move
    pose: Float64 = np.array(message.world_T_payload)
    if yaw:
        turn = np.array([[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        pose[:3, :3] = turn @ pose[:3, :3]
    if x:  # adding 0 would turn -0.0 into 0.0
        pose[0, 3] += x
    if y:
        pose[1, 3] += y
    return replace(message, world_T_payload=pose)


def within(message: Message, move: Move, size: Callable[[Message, Sequence[Message]], float], budget: float) -> Message:
    """`moved`, by a hair less where rounding (of large world coordinates, say) would exceed the budget."""
    share, less = 1.0, 1e-12
    while True:
        x, y, yaw = (share * part for part in move)
        claimed = moved(message, (x, y, yaw))
        if size(message, [claimed]) <= budget:
            return claimed
        share, less = max(share - less, 0.0), 2 * less


def pose_change(honest: Message, sent: Message) -> tuple[float, float] | None:
    """Metres and degrees between two claimed poses; None where anything else differs or the pose is not rigid.

    Exactly 0 for what is bit-identical, position and rotation each on their own.
    """
    if not same_but(honest, sent, "world_T_payload"):
        return None
    a, b = np.asarray(honest.world_T_payload), np.asarray(sent.world_T_payload)
    if b.shape != (4, 4) or not np.isfinite(b).all() or not same_array(a[3], b[3]):
        return None
    metres = float(np.linalg.norm(b[:3, 3] - a[:3, 3]))
    if same_array(a[:3, :3], b[:3, :3]):
        return metres, 0.0
    turn = b[:3, :3] @ np.linalg.inv(a[:3, :3])
    if np.abs(turn @ turn.T - np.eye(3)).max() > _RIGID or np.linalg.det(turn) < 0:
        return None
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return metres, math.degrees(math.atan2(float(np.linalg.norm(axis)), float(np.trace(turn)) - 1.0))


def offset_size(honest: Message, sent: Sequence[Message]) -> float:
    """Metres between the claimed and the true position; `inf` where anything else differs, the heading included."""
    change = pose_change(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if change is None or change[1] > 0 else change[0]


def heading_size(honest: Message, sent: Sequence[Message]) -> float:
    """Degrees between the claimed and the true heading; `inf` where anything else differs, the position included."""
    change = pose_change(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if change is None or change[0] > 0 else change[1]
