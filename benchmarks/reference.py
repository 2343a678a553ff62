"""A defended frame the way research code computes it: everybody encoded, warped and decoded anew in every trial.

The same network, operations and thresholds as the shipped detector, in batches wherever they can be: the six scans go
through the encoder together, all ordered pairs through one warp, all receivers through one head and one decode. Only
the order of work differs. In each pass the receivers hear the members of the trial's team, and the ego's result is
the one that is judged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from robosac.detectors.bev.decode import decode
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.raster import Raster, unpack
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.types import Detections, Float64, Frame, Subset


def reference_frame(
    detector: BevDetector, frame: Frame, subsets: Sequence[Subset]
) -> tuple[list[list[Detections]], float]:
    """One pass a subset.

    Returns:
        Per subset, the results of the ego and then of the others by name, each in its own frame; and the milliseconds
        that went into rasterising, for those who would keep the rasters between passes.
    """
    views = [frame.ego, *(frame.others[i] for i in sorted(frame.others))]
    poses = [v.world_T_sensor for v in views]
    results, rasterising = [], 0.0
    for subset in subsets:
        start = time.perf_counter()
        rasters = [detector.raster(v.points) for v in views]
        rasterising += 1e3 * (time.perf_counter() - start)
        team = torch.tensor([v.id in subset or v is frame.ego for v in views], dtype=torch.float32)
        results.append(reference_pass(detector, rasters, poses, team))
    return results, rasterising


def reference_pass(
    detector: BevDetector, rasters: Sequence[Raster], world_T_sensor: Sequence[Float64], team: torch.Tensor
) -> list[Detections]:
    """The results of all K agents, each hearing those that are 1 in `team (K,)`."""
    network, grid, k = detector.network, detector.grid, len(rasters)
    senders = [[j for j in range(k) if j != i] for i in range(k)]
    with torch.inference_mode():
        maps = network.encoder(torch.from_numpy(np.stack([unpack(r.bits) for r in rasters]))).contiguous()
        relative = [relative_planar(world_T_sensor[i], world_T_sensor[j]) for i in range(k) for j in senders[i]]
        sent = maps[[j for heard in senders for j in heard]]
        warped, valid = warp(sent, planar_batch(relative), grid)
        fused = []
        for i, heard in enumerate(senders):
            pairs = slice(i * (k - 1), (i + 1) * (k - 1))
            fused.append(
                network.fusion(
                    torch.cat([maps[i : i + 1], warped[pairs]]),
                    torch.cat([torch.ones(1, 1, grid.rows, grid.cols), valid[pairs]]),
                    torch.cat([torch.ones(1), team[heard]])[None],
                )
            )
        output = network.head(torch.cat(fused).contiguous(memory_format=torch.channels_last))
        ground = np.stack([r.plane for r in rasters], axis=1)[:, :, None]  # (3, K, 1): a plane a receiver
        return decode(output, grid, ground, detector.header.decode)
