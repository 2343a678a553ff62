"""Who shows what: the boxes of the ego alone and of every teammate alone with the ego.

`D({})` is the ego's own result, `D({i})` the *single* of a teammate. What a teammate adds or moves stands in its
single, where nobody else can hide or excuse it. One threshold says what "shows" means, for claims, support and extras
alike: with two, boxes in between explain others and are not counted themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from robosac.boxes import iou_bev, reaches
from robosac.types import Bool, Detections, Float32, Float64, Id, InputError, Int64


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What counts as showing a box.

    Attributes:
        score: from which a box is shown, by whoever's result it stands in.
        same: BEV IoU from which two boxes are of one object.
        place: IoU from which they are at one place.
    """

    score: float = 0.25
    same: float = 0.3
    place: float = 0.5

    def __post_init__(self) -> None:
        for name in ("score", "same", "place"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"expected {name} inside (0, 1), got {getattr(self, name)}")

    @property
    def name(self) -> str:
        return f"score={self.score:g},same={self.same:g},place={self.place:g}"


@dataclass(frozen=True, eq=False)
class Shown:
    """The boxes that the ego and the teammates show, one source under the other.

    Attributes:
        ids: the teammates; source 0 is the ego, source k the single of `ids[k - 1]`.
        boxes, scores: `(N, 7)`, `(N,)`, all at least `showing.score`.
        source: `(N,)` whose result each stands in.
        by: `(N, A + 1)` which sources show an object there.
        showing: what counts.
    """

    ids: tuple[Id, ...]
    boxes: Float32
    scores: Float32
    source: Int64
    by: Bool
    showing: Showing

    @staticmethod
    def of(own: Detections, singles: Mapping[Id, Detections], showing: Showing) -> Shown:
        """From the ego's own result and the singles. A result that is not finite shows nothing."""
        results = [own, *singles.values()]
        kept = [r.scores >= showing.score if r.finite else np.zeros(len(r), np.bool_) for r in results]
        boxes = np.concatenate([r.boxes[k] for r, k in zip(results, kept, strict=True)])
        scores = np.concatenate([r.scores[k] for r, k in zip(results, kept, strict=True)])
        source = np.repeat(np.arange(len(results)), [int(k.sum()) for k in kept])
        by = showing_sources(boxes, boxes, source, len(results), showing.same)
        return Shown(tuple(singles), boxes, scores, source, by, showing)

    @cached_property
    def ego_in_place(self) -> Bool:
        """Which boxes `(N,)` the ego shows at the same place."""
        own = self.boxes[self.source == 0]
        return np.asarray(reaches(iou_bev(self.boxes, own), self.showing.place).any(axis=1))

    def rows(self, members: Collection[Id]) -> list[int]:
        """The sources of these teammates, the ego's left out, in the order of `ids`."""
        return [k for k, i in enumerate(self.ids, start=1) if i in members]

    def sole(self, members: Collection[Id]) -> dict[Id, int]:
        """How many boxes each of these teammates shows that neither the ego nor another of them does."""
        rows = self.rows(members)
        return {self.ids[k - 1]: self._only((k,), rows) for k in rows}

    def shared(self, members: Collection[Id]) -> dict[tuple[Id, Id], int]:
        """How many boxes two of them show that neither the ego nor a third of them does, for each pair.

        Colluders who show the same thing have no sole claims; together they hold it for themselves.
        """
        rows = self.rows(members)
        return {(self.ids[a - 1], self.ids[b - 1]): self._only((a, b), rows) for a, b in combinations(rows, 2)}

    def _only(self, holders: Sequence[int], rows: Sequence[int]) -> int:
        """Boxes that all holders show and nobody else of the ego and `rows`, as the one who shows most counts them."""
        others = [0, *(k for k in rows if k not in holders)]
        theirs = self.by[:, list(holders)].all(axis=1) & ~self.by[:, others].any(axis=1)
        return max(int((theirs & (self.source == k)).sum()) for k in holders)

    def supporters(self, boxes: Float32) -> Bool:
        """Which sources `(M, A + 1)` show an object where each of other boxes `(M, 7)` is."""
        return showing_sources(boxes, self.boxes, self.source, len(self.ids) + 1, self.showing.same)

    def overlaps(self, boxes: Float32) -> Float64:
        """IoU `(N, M)` of what is shown with other boxes."""
        return iou_bev(self.boxes, boxes)


def showing_sources(boxes: Float32, shown: Float32, source: Int64, sources: int, same: float) -> Bool:
    """`(M, sources)`: which sources have a box among `shown (N, 7)` that overlaps each of `boxes (M, 7)` enough."""
    row, col = np.nonzero(reaches(iou_bev(boxes, shown), same))
    by = np.zeros((len(boxes), sources), np.bool_)
    by[row, source[col]] = True
    return by
