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

from robosac.boxes import iou_bev, nms_bev, reaches, wrap_angle
from robosac.evidence.shown import Showing
from robosac.types import Bool, Detections, Float32, Float64, Id, Int64, Subset

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
        """Of what the ego found and what teammates sent, in the ego's frame.

        A message with a number that is not finite counts for nothing, and so does a box without sides.
        """
        parts = [own, *sent.values()]
        kept = [(p.boxes[:, 3:5] > 0).all(axis=1) & p.finite for p in parts]
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
        rows = np.flatnonzero(np.isin(self.source, present))
        partner = self.partner[rows][:, present]
        score = np.where(partner >= 0, self.scores[partner], 0.0)  # (N, members)
        shown_by = self._of_one_car(partner, score, np.searchsorted(present, self.source[rows]))
        score = np.where(shown_by, score, 0.0)
        votes = (score >= self.showing.score).sum(axis=1)
        spans = (shown_by != (partner >= 0)).any(axis=1)
        order = np.lexsort((-self.scores[rows], spans, -votes))
        first = order[nms_bev(self.boxes[rows[order]], -np.arange(len(order), dtype=np.float64), _OVERLAP)]
        shown_by = shown_by[first]
        of_two = shown_by[:, 0] & (shown_by.sum(axis=1) == 2)
        shown_by[of_two, 1:] = False  # of two, the ego's
        boxes = middle(self.boxes[partner[first]], shown_by, self.boxes[rows[first]])
        best = score[first].max(axis=1)
        order = np.argsort(-best, kind="stable")
        return Detections(boxes[order].astype(np.float32), best[order].astype(np.float32))

    def _of_one_car(self, partner: Int64, score: Float64, own: Int64) -> Bool:
        """Which of a box's partners `(N, members)` show one car with it: all of them, unless they show several.

        A long or a wide box is a partner of two cars at once, and would have the votes of both. It has those of the
        car that more sources show, and its own; `own` `(N,)` is the column of its own source.
        """
        there = partner >= 0
        apart = self.overlaps[partner[:, :, None], partner[:, None, :]] <= _OVERLAP
        apart &= there[:, :, None] & there[:, None, :]
        with_it = there[:, None, :] & ~apart  # (N, members, members): who shows the car of this one
        votes = (with_it & (score >= self.showing.score)[:, None, :]).sum(axis=2)
        rows = np.arange(len(own))
        votes[rows, own] = -1  # it is near to all of them
        one = with_it[rows, np.where(there, votes, -1).argmax(axis=1)]
        one[rows, own] = True
        return np.where(np.asarray(apart.any(axis=(1, 2)))[:, None], one, there)


def middle(boxes: Float32, there: Bool, like: Float32) -> Float64:
    """The medians `(N, 7)` of boxes of N cars, number by number, with the heading and sides of `like` `(N, 7)`.

    A rectangle that is turned by half a turn is the same one, and so is one turned by a quarter with its sides
    exchanged. Headings are counted from the one that is nearest to all others: from `like`'s own, who is half of a
    quarter off would part the others in two.

    Args:
        boxes: `(N, S, 7)`, of each car the box of each source; `there` `(N, S)`: which of them there are. A car of
            which there is none is where `like` is.
    """
    b = np.where(there[..., None], boxes, like[:, None]).astype(np.float64)
    apart = np.abs(_within_quarter(b[:, :, None, 6] - b[:, None, :, 6]))
    apart = np.where(there, (apart * there[:, None]).sum(axis=2), np.inf)
    own = like[:, 6].astype(np.float64)
    heading = own + _within_quarter(b[np.arange(len(b)), apart.argmin(axis=1), 6] - own)
    quarters = np.round((b[:, :, 6] - heading[:, None]) / _QUARTER)
    across = quarters % 2 != 0
    b[across] = b[across][:, [0, 1, 2, 4, 3, 5, 6]]
    b[:, :, 6] -= quarters * _QUARTER
    counts = there | ~there.any(axis=1, keepdims=True)
    found = np.asarray(np.nanmedian(np.where(counts[..., None], b, np.nan), axis=1))
    found[:, 6] = wrap_angle(found[:, 6])
    return found


def _within_quarter(angles: Float64) -> Float64:
    """Differences of headings as those of rectangles' sides, from minus to plus half of a quarter turn."""
    return np.asarray(angles - np.round(angles / _QUARTER) * _QUARTER)
