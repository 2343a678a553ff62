"""Frames as the head sees them: scans encoded, warped and fused once, where the encoder is not trained.

A step on such a frame costs the head's share alone, a twentieth of what a step on rasters costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.bev.config import DecodeConfig, ModelConfig, TrainConfig
from robosac.detectors.bev.decode import decode
from robosac.detectors.bev.network import Head, Network
from robosac.detectors.bev.raster import unpack
from robosac.detectors.bev.training.batches import Batch, EgoSample, draw_batch
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.detectors.bev.training.loop import fused
from robosac.detectors.bev.training.targets import Targets, draw_targets
from robosac.detectors.bev.warp import planar_batch, relative_planar
from robosac.evaluation.ap import FrameMatches, match_frame
from robosac.types import Array, Bool, Detections, Float32


@dataclass(frozen=True, eq=False)
class Draws:
    """Samples of one frame to learn from: fused maps `(V, 32, H, W)` and their targets."""

    maps: Tensor
    targets: Targets


@dataclass(frozen=True, eq=False)
class Look:
    """One frame to be judged on: the ego alone, then with all its teammates.

    Attributes:
        maps: `(2, 32, H, W)` fused.
        targets: of both.
        boxes, counts: `(G, 7)` in the ego frame, and which of them count as truth `(G,)`.
        ground: `(3,)` of the ego.
    """

    maps: Tensor
    targets: Targets
    boxes: Float32
    counts: Bool
    ground: Array


@torch.no_grad()
def encode_draws(
    net: Network, frame: CachedFrame, settings: TrainConfig, rng: np.random.Generator, *, variants: int = 2
) -> Draws:
    """So many draws of a frame's teammates, errors of their poses and mirrored worlds, as training draws them."""
    net.eval()
    batches = [draw_batch([frame], settings, rng) for _ in range(variants)]
    maps = torch.cat([fused(net, b, settings.model.map) for b in batches])
    return Draws(maps, Targets.joined([b.targets for b in batches]))


@torch.no_grad()
def encode_look(net: Network, frame: CachedFrame, settings: TrainConfig) -> Look:
    """The first ego of a frame as it is: exact poses, alone and with everybody in range."""
    net.eval()
    ego, model = frame.egos[0], settings.model
    mates = frame.teammates(ego, settings.data.comm_range_m)
    boxes, hits = frame.seen_from(ego)
    poses = planar_batch([relative_planar(frame.poses[ego], frame.poses[k]) for k in mates])
    rasters = torch.from_numpy(unpack(frame.bits))
    samples = [EgoSample(ego, [], planar_batch([])), EgoSample(ego, mates, poses)]
    seen = [hits[agents].sum(axis=0) >= settings.data.min_hits for agents in ([ego], [ego, *mates])]
    targets = Targets.stack([draw_targets(boxes, visible, frame.planes[ego], model) for visible in seen])
    maps = fused(net, Batch(rasters, samples, targets), model.map)
    return Look(maps, targets, boxes, seen[1] & model.map.contains(boxes), frame.planes[ego])


def detections(head: Head, look: Look, model: ModelConfig, config: DecodeConfig) -> list[Detections]:
    """The ego's result alone, and that of all."""
    with torch.no_grad():
        return decode(head(look.maps), model.map, look.ground, config)


def matches(
    found: Sequence[Detections], look: Look, model: ModelConfig, thresholds: Sequence[float]
) -> list[FrameMatches]:
    """The results of a look against its truth."""
    truth, rest = look.boxes[look.counts], look.boxes[~look.counts]
    return [match_frame(d, truth, rest, region=model.map, thresholds=tuple(thresholds)) for d in found]
