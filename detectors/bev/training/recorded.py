"""Recorded frames as training frames: whose sensors saw what, in the ego's frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robosac.boxes import invert_pose
from robosac.detectors.bev import raster
from robosac.detectors.bev.raster import rasterise
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.fingerprint import fingerprint
from robosac.types import BevGrid, Frame, Truth


def cache_recorded(frame: Frame, truth: Truth, grid: BevGrid) -> CachedFrame:
    """One ego at one tick. Only it is an ego here: the truth is its own, without its body, and another agent's may
    hold other objects."""
    views = [frame.ego, *frame.others.values()]
    rasters = [rasterise(v.points, grid) for v in views]
    ego_T_world = invert_pose(truth.world_T_sensor[frame.ego.id])
    return CachedFrame(
        bits=np.stack([r.bits for r in rasters]),
        planes=np.stack([r.plane for r in rasters]),
        poses=np.stack([ego_T_world @ truth.world_T_sensor[v.id] for v in views]),
        body=np.full(len(views), -1, np.int64),
        boxes=truth.boxes.astype(np.float32),
        hits=np.stack([truth.hits[v.id] for v in views]).astype(np.int64),
        ego=np.arange(len(views)) == 0,
    )


def cache_key(content: Any, grid: BevGrid, readers: Sequence[Path]) -> str:
    """Identifies what cached frames of files depend on; `content` says what is in the files, `readers` are the sources
    of what reads them."""
    return fingerprint(content, grid, *readers, Path(raster.__file__), Path(__file__))
