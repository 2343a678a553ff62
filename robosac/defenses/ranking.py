"""How boxes are ranked: what is corroborated above what one teammate alone claims, free ground below all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from robosac.boxes import nms_bev
from robosac.evidence import Pooled, Shown
from robosac.poses import FreeGround
from robosac.poses.objects import Objects
from robosac.types import EGO_ALONE, Array, Bool, Detections, Float32, Id, InputError, Int64, Subset

_OVERLAP: Final = 0.3  # a box that overlaps a better ranked one by more is the same object


@dataclass(frozen=True, eq=False)
class Ranked:
    """A result, with the subsets each box rests on, and who of the ego and the teammates shows it alone."""

    result: Detections
    sources: tuple[Subset, ...]
    support: tuple[tuple[Subset, ...], ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some boxes `(N, 7)`, their scores, and who of the ego and the teammates shows them `(N, A + 1)`."""

    boxes: Float32
    scores: Array
    by: Bool
    source: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))  # whose single each is from, of members


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A box's score is multiplied by how well it is supported: 1 where the ego shows it, or three teammates do.

    What somebody shows alone stands beside it with a lower rank, and stays where no better ranked box is: who hides or
    moves a car in every joint result cannot do so in an honest teammate's single.

    Attributes:
        nobody, one, two: where nobody's single shows it, that of one teammate, those of two.
        own_score: the ego's own boxes from this score on, and all that members show and the ego does not, are put back
        put_back: with this share of their score. So what the ego surely sees is never lost.
        drop_free: whether boxes on ground that the ego's rays prove to be free are left out where fewer than two
            teammates show them, and ranked as nobody's where more do. What the ego shows stays.
    """

    nobody: float = 0.3
    one: float = 0.5
    two: float = 0.7
    own_score: float = 0.5
    put_back: float = 0.5
    drop_free: bool = True

    def __post_init__(self) -> None:
        for name in ("nobody", "one", "two", "own_score", "put_back"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} in [0, 1], got {getattr(self, name)}")

    def of(
        self,
        pool: Pooled,
        shown: Shown,
        members: Subset,
        apart: Sequence[Subset],
        own: Detections,
        free: FreeGround | None,
    ) -> Ranked:
        """The pooled result, ranked.

        Args:
            shown: what the ego and the teammates show alone.
            members: whose messages the result rests on; nobody else corroborates.
            apart: pairs who together show more than two honest teammates do: they count as one.
            own: the ego's own result.
            free: ground that the ego's rays prove to be free; None where nobody but the ego is in the result.
        """
        found, ids = pool.result, shown.ids
        others = [k for k, i in enumerate(ids, start=1) if i not in members]
        by = _without(shown.supporters(found.boxes), others)
        if not members:  # the ego's own result stands as it is
            return Ranked(own, (EGO_ALONE,) * len(own), tuple(_names(row, ids) for row in by))
        witnesses = _witnesses(by, ids, apart)
        weight = np.array([self.nobody, self.one, self.two, 1.0])[np.minimum(witnesses, 3)]
        weight[by[:, 0]] = 1.0
        stays = np.ones(len(found), np.bool_)
        if self.drop_free and free is not None:
            refuted = ~by[:, 0] & _on_free_ground(found.boxes, free)
            stays = ~refuted | (witnesses >= 2)
            weight[refuted] *= self.nobody
        parts = [
            _Part(found.boxes[stays], (weight * found.scores)[stays], by[stays]),
            self._of_ego(own, by.shape[1]),
            self._of_members(_without(shown.by, others), shown, free),
        ]
        rests_on = [frozenset().union(*pool.subsets[b]) for b in np.flatnonzero(stays)]
        rests_on += [EGO_ALONE] * len(parts[1].boxes)
        rests_on += [frozenset({ids[int(k) - 1]}) for k in parts[2].source]
        boxes = np.concatenate([p.boxes for p in parts])
        scores = np.concatenate([p.scores for p in parts]).astype(np.float32)
        support = np.concatenate([p.by for p in parts])
        kept = np.argsort(-scores, kind="stable")
        kept = kept[np.sort(nms_bev(boxes[kept], -np.arange(len(kept), dtype=np.float64), _OVERLAP))]
        as_it_was = len(kept) == len(found) and (kept < len(found)).all() and np.array_equal(scores[kept], found.scores)
        result = found if as_it_was else Detections(boxes[kept], scores[kept], found.score_map)
        return Ranked(result, tuple(rests_on[k] for k in kept), tuple(_names(support[k], ids) for k in kept))

    def _of_ego(self, own: Detections, sources: int) -> _Part:
        """What the ego is sure of."""
        sure = own.scores >= self.own_score
        by = np.zeros((int(sure.sum()), sources), np.bool_)
        by[:, 0] = True
        return _Part(own.boxes[sure], self.put_back * own.scores[sure], by)

    def _of_members(self, by: Bool, shown: Shown, free: FreeGround | None) -> _Part:
        """What members show and the ego does not; `by` says who of them shows each of `shown.boxes`."""
        theirs = ~by[:, 0] & by[np.arange(len(by)), shown.source]
        if self.drop_free and free is not None:
            theirs &= ~_on_free_ground(shown.boxes, free)
        return _Part(shown.boxes[theirs], self.put_back * shown.scores[theirs], by[theirs], shown.source[theirs])


def _without(by: Bool, sources: Sequence[int]) -> Bool:
    """As if these sources showed nothing."""
    kept = np.asarray(by.copy())
    kept[:, sources] = False
    return kept


def _witnesses(by: Bool, ids: Sequence[Id], apart: Collection[Subset]) -> Int64:
    """How many teammates show each box `(N,)` alone; those of a pair that is to be kept apart count as one."""
    held = by[:, 1:].astype(np.int64)
    count = held.sum(axis=1)
    for pair in apart:
        a, b = (ids.index(i) for i in sorted(pair))
        count -= held[:, a] * held[:, b]
    return np.asarray(np.maximum(count, by[:, 1:].any(axis=1)))


def _names(row: Bool, ids: Sequence[Id]) -> tuple[Subset, ...]:
    return tuple(EGO_ALONE if k == 0 else frozenset({ids[k - 1]}) for k in np.flatnonzero(row))


def _on_free_ground(boxes: Float32, free: FreeGround) -> Bool:
    flat = boxes.astype(np.float64)
    objects = Objects(flat[:, :2], flat[:, 6], flat[:, 3:5], np.ones(len(flat)))
    return free.refuted(objects, np.zeros(3), np.zeros(2))
