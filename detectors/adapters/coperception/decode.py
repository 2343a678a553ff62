"""From a model's raw outputs of one agent to detections, and back to what coperception's own evaluation reads.

The models work in a plane mirrored along x (see `layout`). An anchor's box is coded by six numbers
`(dx, dy, dw, dl, sin, cos)`: `w = w_a / e^dw`, `l = l_a / e^dl`, `x = x_a - w dx`, `y = y_a - l dy`, and the angle is
the sum of the anchor's and the coded one. Angles turn clockwise and are 0 where the length is across x. The pair
(sin, cos) need not have length 1; it scales the box, as it scales coperception's corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from robosac.boxes import nms_bev
from robosac.detectors.adapters.coperception.layout import Layout
from robosac.types import Array, Detections, Float32, Float64

# Whatever a malicious message makes of a box: at most e^4 times its anchor, at most this many of its own sizes away.
_LOG_SIZE_RANGE = 4.0
_OFFSET_RANGE = 1e3
_SCALE_RANGE = 1e3


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How boxes are read.

    Attributes:
        score_threshold: a box needs a higher score; coperception's own is 0.7.
        nms_iou: overlap above which the worse of two boxes goes; coperception's own is 0.01.
        max_boxes: at most this many, the best, go into the suppression; coperception's own is unlimited.
        height_m: of every box. The models see from above and say nothing about z.
        centre_above_floor_m: a box's centre over the lower end of the ego's raster.
    """

    score_threshold: float = 0.7
    nms_iou: float = 0.01
    max_boxes: int = 4096
    height_m: float = 1.6
    centre_above_floor_m: float = 2.0


def class_logits(cls: Tensor, layout: Layout) -> Tensor:
    """Class logits `(256, 256)`, rows along +y, columns along +x, of outputs `cls (256 * 256 * anchors, 2)`.

    The logit of a cell is the highest of its anchors, car against background: `sigmoid` gives coperception's score.
    """
    margin = (cls[:, 1] - cls[:, 0]).view(layout.cells, layout.cells, len(layout.anchors))
    return margin.amax(dim=2).flip(1)


def decode(loc: Tensor, cls: Tensor, layout: Layout, config: DecodeConfig, floor_m: float) -> Detections:
    """Detections of one agent, in its own sensor's frame, best first, with the score map `(256, 256)`.

    Args:
        loc: `(256, 256, anchors, 1, 6)` box codes.
        cls: `(256 * 256 * anchors, 2)` logits of background and car, in the same order.
        floor_m: lower end of the ego's raster along z.

    Where outputs are not finite, as an absurd message or broken weights make them, there is no box and the map is NaN.
    """
    sound = cls.isfinite().all(dim=1) & loc.reshape(-1, loc.shape[-1]).isfinite().all(dim=1)
    scores = torch.where(sound, torch.sigmoid((cls[:, 1] - cls[:, 0]).float()), 0.0)
    known = torch.where(sound, scores, torch.nan)
    score_map = known.view(layout.cells, layout.cells, -1).amax(dim=2).flip(1).cpu().numpy()
    above = torch.nonzero(scores > config.score_threshold)[:, 0]  # first of all: 393,216 boxes are not worth decoding
    if len(above) > config.max_boxes:
        above = above[scores[above].topk(config.max_boxes).indices]
    codes = loc.reshape(-1, loc.shape[-1])[above].double().cpu().numpy()
    score = scores[above].cpu().numpy()
    planar = boxes_of(codes, anchors(layout)[above.cpu().numpy()])
    boxes = _stand(planar, config, floor_m)
    keep = nms_bev(boxes, score, config.nms_iou)
    return Detections(boxes[keep].astype(np.float32), score[keep], score_map)


def boxes_of(codes: Array, at: Array) -> Float64:
    """Boxes `(N, 5)` `[x y l w yaw]` in the sensor's frame of codes `(N, 6)` at anchors `(N, 5)`.

    The heading is the one the labels were made with; the two ends of a box differ in nothing else.
    """
    width = at[:, 2] / np.exp(np.clip(codes[:, 2], -_LOG_SIZE_RANGE, _LOG_SIZE_RANGE))
    length = at[:, 3] / np.exp(np.clip(codes[:, 3], -_LOG_SIZE_RANGE, _LOG_SIZE_RANGE))
    x = at[:, 0] - width * np.clip(codes[:, 0], -_OFFSET_RANGE, _OFFSET_RANGE)
    y = at[:, 1] - length * np.clip(codes[:, 1], -_OFFSET_RANGE, _OFFSET_RANGE)
    scale = np.minimum(np.hypot(codes[:, 4], codes[:, 5]), _SCALE_RANGE)
    angle = at[:, 4] + np.arctan2(codes[:, 4], codes[:, 5])
    return np.stack([-x, y, length * scale, width * scale, angle - np.pi / 2], axis=1)


@lru_cache(maxsize=4)
def anchors(layout: Layout) -> Float64:
    """Anchors `(256 * 256 * anchors, 5)` `[x y w l angle]` in coperception's mirrored plane, in its order."""
    centre = -layout.extent_m + (np.arange(layout.cells) + 0.5) * layout.voxel_m[0]
    shapes = np.asarray(layout.anchors)
    every = np.empty((layout.cells, layout.cells, len(shapes), 5))
    every[..., 0] = centre[None, :, None]
    every[..., 1] = centre[:, None, None]
    every[..., 2:] = shapes
    flat = every.reshape(-1, 5)
    flat.flags.writeable = False
    return flat


def _stand(planar: Array, config: DecodeConfig, floor_m: float) -> Float64:
    boxes = np.empty((len(planar), 7))
    boxes[:, [0, 1, 3, 4, 6]] = planar
    boxes[:, 2], boxes[:, 5] = floor_m + config.centre_above_floor_m, config.height_m
    boxes[:, 6] = (boxes[:, 6] + np.pi) % (2 * np.pi) - np.pi
    return boxes


def their_predictions(detections: Detections) -> list[dict[str, Array]]:
    """Detections as one agent's entry of what `FaFModule.predict_all` returns, for coperception's own evaluation.

    `pred` are corners `(N, 1, 4, 2)` in its mirrored plane, `score` `(N,)`; `selected_idx` numbers the boxes, since the
    anchors they came from are gone.
    """
    corners = their_corners(detections.boxes)
    return [{"pred": corners[:, None], "score": detections.scores, "selected_idx": np.arange(len(corners))}]


def their_corners(boxes: Array) -> Float32:
    """Corners `(N, 4, 2)` in coperception's mirrored plane, in its order, of boxes `(N, 7)` in the sensor's frame."""
    b = np.asarray(boxes, np.float64)
    angle = b[:, 6] + np.pi / 2
    across, along = np.array([-1, 1, 1, -1]) / 2, np.array([1, 1, -1, -1]) / 2
    u, v = b[:, 4, None] * across, b[:, 3, None] * along
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x = -b[:, 0, None] + u * cos + v * sin
    y = b[:, 1, None] - u * sin + v * cos
    return np.stack([x, y], axis=2).astype(np.float32)
