"""What a message shows by itself, found in the frame of its payload, brought to the ego's."""

from __future__ import annotations

import numpy as np

from robosac.boxes import transform_boxes
from robosac.detectors.fusion.callables import own_body
from robosac.types import BevGrid, Detections, Float32, Float64


def brought(
    found: Detections, ego_T_payload: Float64, grid: BevGrid | None, *, keep_own_body: bool = False
) -> Detections:
    """Detections of the frame of a payload in the ego's, by the claimed pose `ego_T_payload (4, 4)`.

    Boxes that the pose moves beyond all bounds are left out, and those that hold the ego's own sensor. A score map is
    read bilinearly; it is 0 where the payload does not reach.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = transform_boxes(ego_T_payload, found.boxes)
        kept = np.isfinite(boxes).all(axis=1)
        kept &= keep_own_body | ~own_body(boxes)
    score_map = None
    if found.score_map is not None and grid is not None:
        score_map = brought_map(found.score_map, ego_T_payload, grid)
    return Detections(boxes[kept], found.scores[kept], score_map)


def brought_map(score_map: Float32, ego_T_payload: Float64, grid: BevGrid) -> Float32:
    """A score map `(H, W)` on the same grid in the ego's frame, by a pose `(4, 4)` seen from above."""
    import torch

    from robosac.detectors.bev.warp import planar, planar_batch, warp

    pose = planar_batch([planar(ego_T_payload)])
    moved, _ = warp(torch.from_numpy(np.ascontiguousarray(score_map))[None, None], pose, grid)
    in_frame: Float32 = moved[0, 0].numpy()
    return in_frame
