"""Training batches: every vehicle of a few frames is an ego in turn, with a random subset of its teammates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robosac.boxes import pose_xyz_rpy
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.raster import BINS, unpack
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.detectors.bev.training.targets import Targets, draw_targets
from robosac.detectors.bev.warp import planar_batch, relative_planar
from robosac.types import Array


@dataclass(frozen=True, eq=False)
class EgoSample:
    """One ego with the teammates drawn for it.

    Attributes:
        ego: index of its raster in the batch.
        mates: indices of the teammates' rasters.
        poses: `(M, 3)` float64 planar `ego_T_sender` as measured, noise included.
    """

    ego: int
    mates: list[int]
    poses: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Rasters `(B, 8, R, C)` float32 of all agents of some frames, the egos among them, and their targets."""

    rasters: Tensor
    samples: list[EgoSample]
    targets: Targets

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; poses stay, they are looked at on the CPU."""
        return Batch(self.rasters.to(device), self.samples, self.targets.to(device))


def draw_batch(frames: Sequence[CachedFrame], settings: TrainConfig, rng: np.random.Generator) -> Batch:
    """Draw a training batch from whole frames; each may be mirrored or turned by 180 degrees.

    An object counts as visible from `settings.data.min_hits` points of the drawn agents on.
    """
    optim, data = settings.optim, settings.data
    samples: list[EgoSample] = []
    targets: list[Targets] = []
    offset = 0
    turned = [_augment(frame, rng) for frame in frames]
    if optim.thin > 0:
        turned = [replace(frame, bits=np.stack([thinned(b, optim.thin, rng) for b in frame.bits])) for frame in turned]
    for frame in turned:
        for ego in frame.egos:
            mates = draw_mates(frame.teammates(ego, data.comm_range_m), optim.ego_only, rng)
            boxes, hits = frame.seen_from(ego)
            visible = hits[[ego, *mates]].sum(axis=0) >= data.min_hits
            noise = rng.uniform(0, 1) * np.array([optim.noise_m, optim.noise_m, np.deg2rad(optim.noise_deg)])
            exact = [relative_planar(frame.poses[ego], frame.poses[k]) for k in mates]
            poses = [np.add(pose, rng.normal(size=3) * noise) for pose in exact]
            samples.append(
                EgoSample(offset + ego, [offset + k for k in mates], planar_batch([tuple(p) for p in poses]))
            )
            targets.append(draw_targets(boxes, visible, frame.planes[ego], settings.model))
        offset += len(frame.bits)
    rasters = torch.from_numpy(unpack(np.concatenate([f.bits for f in turned])))
    return Batch(rasters, samples, Targets.stack(targets))


def draw_mates(teammates: list[int], ego_only: float, rng: np.random.Generator) -> list[int]:
    """A random subset: none with probability `ego_only`, else of a size drawn uniformly from 1 to all."""
    alone = rng.uniform() < ego_only
    size = int(rng.integers(1, len(teammates) + 1)) if teammates else 0
    chosen = [int(k) for k in rng.permutation(teammates)[:size]]
    return [] if alone else chosen


def thinned(bits: NDArray[np.uint8], most: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A raster `(R, C)` that lost a share of its occupied bins, uniform in [0, most), or with probability one half
    none."""
    if rng.uniform() < 0.5:
        return bits
    kept = 1 - rng.uniform(0, most)
    flat = bits.ravel().copy()
    occupied = np.flatnonzero(flat)
    mask = np.packbits(rng.random((len(occupied), BINS), dtype=np.float32) < kept, axis=1, bitorder="little")
    flat[occupied] &= mask[:, 0]
    return flat.reshape(bits.shape)


_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
_HALF_TURN = pose_xyz_rpy(0, 0, 0, yaw_rad=np.pi)


def _augment(frame: CachedFrame, rng: np.random.Generator) -> CachedFrame:
    """Mirror the whole world, and turn each sensor's own axes by 180 degrees, each with probability one half.

    Both map the raster onto itself cell by cell, so nothing is resampled.
    """
    bits, planes, poses, boxes = frame.bits, frame.planes, frame.poses, frame.boxes
    if rng.uniform() < 0.5:
        bits, planes = bits[:, ::-1], planes * [1, 1, -1]
        poses = _MIRROR @ poses @ _MIRROR
        boxes = boxes * np.array([1, -1, 1, 1, 1, 1, -1], np.float32)
    turn: Array = rng.uniform(size=len(bits)) < 0.5
    bits = np.where(turn[:, None, None], bits[:, ::-1, ::-1], bits)
    planes = np.where(turn[:, None], planes * [1, -1, -1], planes)
    poses = np.where(turn[:, None, None], poses @ _HALF_TURN, poses)
    return CachedFrame(bits, planes, poses, frame.body, boxes, frame.hits, frame.ego)
