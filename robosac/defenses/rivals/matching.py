"""How unlike two sets of boxes are, scores and places together."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from robosac.boxes import iou_bev
from robosac.types import Array, Detections, Float64


def match_loss(
    a: Detections, b: Detections, *, weight_a: Array | None = None, weight_b: Array | None = None, score: float = 0.1
) -> float:
    """1 less the overlap of the best matching of two results, in [0, 1]; 0 for two that show nothing.

    Pairs are matched one to one (Hungarian), a pair is worth its IoU times the smaller of both scores, and the sum is
    held against half of all scores, as the Dice coefficient does. Weights `(N,)`, `(M,)` multiply scores.
    """
    boxes_a, value_a = _shown(a, weight_a, score)
    boxes_b, value_b = _shown(b, weight_b, score)
    total = float(value_a.sum() + value_b.sum())
    if total <= 0:
        return 0.0
    worth = iou_bev(boxes_a, boxes_b) * np.minimum(value_a[:, None], value_b[None])
    rows, cols = linear_sum_assignment(worth, maximize=True)
    return 1.0 - 2.0 * float(worth[rows, cols].sum()) / total


def _shown(found: Detections, weight: Array | None, score: float) -> tuple[Array, Float64]:
    kept = found.scores >= score
    value = np.asarray(found.scores, np.float64)
    if weight is not None:
        value = value * np.asarray(weight, np.float64)
    return found.boxes[kept], value[kept]


def unmatched(a: Detections, b: Detections, iou: float, score: float) -> Array:
    """`(N,)` which boxes of `a` that score this have no box of `b` at their place."""
    overlaps = iou_bev(a.boxes, b.boxes[b.scores >= score / 2])
    nothing = overlaps.max(axis=1, initial=0.0) < iou
    return np.asarray(nothing & (a.scores >= score))
