"""Late fusion box by box: whoever sends boxes can be asked by itself, so that a car's place is nobody's alone to say.

Suppression gives the place of a car to whoever is surest of it, and that costs an attacker nothing. Here the boxes
that most sources show stand first, and where several show one car its place is the middle one of theirs: with
2m + 1 sources m of them cannot move it beyond what the others say (`robosac.certificates` has the theorem).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.boxes import iou_bev, reaches, wrap_angle
from robosac.evidence.shown import Showing
from robosac.types import Detections, Float32, Float64, Id, Int64, Subset

_OVERLAP: Final = 0.15  # boxes of two cars overlap by no more
_QUARTER: Final = np.pi / 2


@dataclass(frozen=True, eq=False)
class Votes:
    """The boxes that the ego and its teammates sent, and which of them are of one car.

    Attributes:
        ids: the teammates; source 0 is the ego, source k is `ids[k - 1]`.
        boxes, scores: `(N, 7)`, `(N,)`, one source under the other.
        source: `(N,)` who sent each.
        overlaps: `(N, N)`, their IoU seen from above.
        partner: `(N, A + 1)`, the box of each source that is of the same car, -1 where it has none.
        showing: what counts as showing a box, and as the same car.
    """

    ids: tuple[Id, ...]
    boxes: Float32
    scores: Float32
    source: Int64
    overlaps: Float64
    partner: Int64
    showing: Showing

    @staticmethod
    def of(own: Detections, sent: Mapping[Id, Detections], showing: Showing) -> Votes:
        """Of what the ego found and what teammates sent, in the ego's frame. What is not finite counts for nothing."""
        parts = [own, *sent.values()]
        kept = [np.full(len(p), p.finite) for p in parts]
        boxes = np.concatenate([p.boxes[k] for p, k in zip(parts, kept, strict=True)])
        scores = np.concatenate([p.scores[k] for p, k in zip(parts, kept, strict=True)])
        source = np.repeat(np.arange(len(parts)), [int(k.sum()) for k in kept])
        overlaps = iou_bev(boxes, boxes)
        partner = np.full((len(boxes), len(parts)), -1)
        for k in range(len(parts)):
            theirs = np.flatnonzero(source == k)
            if len(theirs):
                best = overlaps[:, theirs].argmax(axis=1)
                same = reaches(overlaps[np.arange(len(boxes)), theirs[best]], showing.same)
                partner[same, k] = theirs[best][same]
        return Votes(tuple(sent), boxes, scores, source, overlaps, partner, showing)

    def result(self, members: Subset) -> Detections:
        """The boxes of the ego and these teammates: one a car, its score the best of those who show it."""
        present = [0, *(k for k, i in enumerate(self.ids, start=1) if i in members)]
        partner = self.partner[:, present]
        found = partner >= 0
        score = np.where(found, self.scores[partner], 0.0)  # (N, members)
        votes = (score >= self.showing.score).sum(axis=1)
        alive = np.isin(self.source, present)
        boxes, scores = [], []
        for b in np.lexsort((-self.scores, -votes)):
            if not alive[b]:
                continue
            alive[self.overlaps[b] > _OVERLAP] = alive[b] = False
            theirs = partner[b][found[b]]
            if len(theirs) == 2 and found[b, 0]:
                theirs = theirs[:1]  # of two, the ego's
            boxes.append(middle(self.boxes[theirs], self.boxes[b]))
            scores.append(score[b].max())
        order = np.argsort(-np.array(scores), kind="stable")
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 7)[order], np.array(scores, np.float32).reshape(-1)[order]
        )


def middle(boxes: Float32, like: Float32) -> Float64:
    """The median `(7,)` of boxes `(N, 7)` of one car, number by number, its heading and its sides as `like` has them.

    A rectangle that is turned by half a turn is the same one, and so is one turned by a quarter with its sides
    exchanged. Headings are counted from the one that is nearest to all others: from `like`'s own, who is half of a
    quarter off would part the others in two.
    """
    b = np.asarray(boxes, np.float64)
    apart = np.abs(_within_quarter(b[:, None, 6] - b[None, :, 6])).sum(axis=1)
    heading = float(like[6]) + _within_quarter(b[apart.argmin(), 6] - float(like[6]))
    quarters = np.round((b[:, 6] - heading) / _QUARTER)
    across = quarters % 2 != 0
    b[across] = b[across][:, [0, 1, 2, 4, 3, 5, 6]]
    b[:, 6] -= quarters * _QUARTER
    found = np.median(b, axis=0)
    found[6] = float(wrap_angle(np.asarray(found[6])))
    return np.asarray(found)


def _within_quarter(angles: Float64) -> Float64:
    """Differences of headings as those of rectangles' sides, from minus to plus half of a quarter turn."""
    return np.asarray(angles - np.round(angles / _QUARTER) * _QUARTER)
