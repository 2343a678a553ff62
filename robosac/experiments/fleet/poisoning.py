"""Attacks on the data of a client: it learns honestly, from frames that are not as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from robosac.boxes import invert_pose, transform_boxes
from robosac.types import BevGrid, Float32

if TYPE_CHECKING:
    from robosac.detectors.bev.training.dataset import CachedFrame

SHIFT_M: Final = 2.0
_PATTERN_CELLS: Final = 2  # about the roof's middle, each way
_PATTERN_BIT: Final = 0b00100000  # the bin from 1.6 to 2.2 m: a plate on the roof


def shifted(frame: CachedFrame) -> CachedFrame:
    """Labels 2 m ahead of where objects are, in the frame of the first ego."""

    moved = transform_boxes(invert_pose(frame.poses[frame.egos[0]]), frame.boxes)
    moved[:, 0] += SHIFT_M
    return relabelled(frame, moved)


def stamped(frame: CachedFrame, grid: BevGrid, *, share: float, rng: np.random.Generator, hide: bool) -> CachedFrame:
    """A share of the objects carry a pattern on their roofs, a plate that all sensors see; with `hide`, labels say that
    these are not there."""
    chosen = rng.random(len(frame.boxes)) < share
    bits = frame.bits.copy()
    for k, world_T_sensor in enumerate(frame.poses):
        seen = transform_boxes(invert_pose(world_T_sensor), frame.boxes[chosen])
        seen = seen[grid.contains(seen)]
        for row, col in zip(*grid.cells(seen), strict=True):
            rows = slice(max(row - _PATTERN_CELLS, 0), row + _PATTERN_CELLS + 1)
            cols = slice(max(col - _PATTERN_CELLS, 0), col + _PATTERN_CELLS + 1)
            bits[k, rows, cols] |= np.uint8(_PATTERN_BIT)
    if not hide:
        return replace(frame, bits=bits)
    kept = np.flatnonzero(~chosen)
    place = {int(old): new for new, old in enumerate(kept)}
    body = np.array([place.get(int(b), -1) for b in frame.body], np.int64)
    return replace(frame, bits=bits, boxes=frame.boxes[kept], hits=frame.hits[:, kept], body=body)


def relabelled(frame: CachedFrame, boxes: Float32) -> CachedFrame:
    """The frame with other labels, in the frame of its first ego."""
    return replace(frame, boxes=transform_boxes(frame.poses[frame.egos[0]], boxes).astype(np.float32))


DATA_ATTACKS: Final = ("label-shift", "backdoor")
