"""One set of boxes from the boxes of several agents: rotated non-maximum suppression or weighted box fusion.

No well-kept library fuses ROTATED boxes: ensemble-boxes (Weighted-Boxes-Fusion, the reference of the method) knows
axis-aligned boxes only, in 2D and in 3D, and its issues 20 and 60 ask for rotated ones to this day; the detection
toolboxes offer rotated NMS and no fusion. So it is here, vectorised over boxes.

Weighted box fusion (Solovyev, Wang and Gabruseva, arXiv 1910.13302) averages boxes that show one object, weighted by
their scores. Two things are other than there, on purpose:

- clusters form about the boxes that suppression keeps, not about a running mean, so that the result does not depend on
  the order of boxes beyond their scores: each suppressed box joins the kept one it overlaps most;
- a fused box keeps its best score. There all models look at one picture, and a box that only one of them shows is
  doubtful. Here an agent that shows no box may just as well stand behind a corner.

A rectangle turned by half a turn is the same rectangle, and so is one turned by a quarter with length and width
exchanged: headings are averaged modulo pi, after such quarters are undone, and the heading of the best box says which
way it points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robosac.boxes import pairs_exceeding, wrap_angle
from robosac.types import Array, Bool, Float32, Float64, Int64


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The pairs of boxes, best first, that overlap by more than a threshold: `first[p] < second[p]`, `iou[p]`."""

    first: Int64
    second: Int64
    iou: Float64

    @staticmethod
    def of(ranked: Array, iou: float) -> Overlaps:
        """Of boxes `(N, 7)` in the order of their scores, best first; each pair's BEV IoU is computed once."""
        return Overlaps(*pairs_exceeding(ranked, iou))

    def among(self, member: Bool) -> Overlaps:
        """The pairs of which both boxes are members, `(N,)`."""
        both = member[self.first] & member[self.second]
        return Overlaps(self.first[both], self.second[both], self.iou[both])


def survivors(member: Bool, overlaps: Overlaps) -> Bool:
    """Which members `(N,)` greedy suppression keeps: a box is kept unless a kept, better one overlaps it.

    `overlaps` are those among the members. The least fixed point of that sentence, as in `robosac.boxes.nms_bev`.
    """
    kept = member.copy()
    while True:
        suppressed = np.zeros(len(member), dtype=np.bool_)
        suppressed[overlaps.second[kept[overlaps.first]]] = True
        now: Bool = np.logical_and(member, ~suppressed)
        if np.array_equal(now, kept):
            return now
        kept = now


def weighted(ranked: Array, scores: Array, kept: Bool, overlaps: Overlaps) -> Float32:
    """The kept boxes `(K, 7)`, each the weighted mean of itself and the suppressed boxes that overlap it most.

    Args:
        ranked: boxes `(N, 7)`, best first.
        scores: `(N,)`, the weights.
        kept: `(N,)`, as `survivors` says.
        overlaps: among the members.
    """
    pairs = kept[overlaps.first] & ~kept[overlaps.second]
    seed, joins, iou = overlaps.first[pairs], overlaps.second[pairs], overlaps.iou[pairs]
    order = np.lexsort((seed, -iou, joins))  # by box, then the largest overlap, then the better seed
    seed, joins = seed[order], joins[order]
    once = np.diff(joins, prepend=-1) != 0
    own = np.flatnonzero(kept)
    seed, joins = np.concatenate([own, seed[once]]), np.concatenate([own, joins[once]])

    box = np.asarray(ranked, np.float64)[joins]
    best = np.asarray(ranked, np.float64)[seed]
    box = _aligned(box, best[:, 6])
    weight = np.maximum(np.asarray(scores, np.float64)[joins], 1e-6)
    # what is averaged is the difference to the best: equal boxes stay what they are, to the bit
    turn = wrap_angle(2 * (box[:, 6] - best[:, 6]))
    columns = np.concatenate([box[:, :6] - best[:, :6], np.sin(turn)[:, None], np.cos(turn)[:, None]], axis=1)
    total = np.zeros((len(ranked), 8))
    np.add.at(total, seed, weight[:, None] * columns)
    mass = np.bincount(seed, weight, minlength=len(ranked))
    fused = np.asarray(ranked, np.float64)[own]
    fused[:, :6] += total[own, :6] / mass[own, None]
    fused[:, 6] = wrap_angle(fused[:, 6] + np.arctan2(total[own, 6], total[own, 7]) / 2)
    return fused.astype(np.float32)


def _aligned(box: Float64, heading: Float64) -> Float64:
    """Boxes `(P, 7)`, those at right angles to `heading (P,)` written with length and width exchanged."""
    across = np.abs(np.sin(box[:, 6] - heading)) > np.sqrt(0.5)
    turned = box[:, [0, 1, 2, 4, 3, 5, 6]] + np.array([0, 0, 0, 0, 0, 0, np.pi / 2])
    return np.where(across[:, None], turned, box)


def rank(scores: Array) -> Int64:
    """Indices `(N,)`, best score first, equal scores in their order."""
    return np.argsort(-np.asarray(scores), kind="stable").astype(np.int64)


def wbf_bev(boxes: Array, scores: Array, iou: float) -> tuple[Float32, Float32]:
    """Weighted box fusion of boxes `(N, 7)` with scores `(N,)`: fused boxes `(K, 7)` and scores `(K,)`, best first."""
    order = rank(scores)
    ranked, score = np.asarray(boxes)[order], np.asarray(scores, np.float32)[order]
    overlaps = Overlaps.of(ranked, iou)
    kept = survivors(np.ones(len(ranked), np.bool_), overlaps)
    return weighted(ranked, score, kept, overlaps), score[kept]
