"""How boxes are ranked: what is corroborated above what one teammate alone claims, free ground below all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from robosac.boxes import iou_bev, reaches
from robosac.evidence import Pooled, Shown
from robosac.poses import FreeGround
from robosac.poses.objects import Objects
from robosac.types import EGO_ALONE, Bool, Detections, Float32, Id, InputError, Int64, Subset


@dataclass(frozen=True, eq=False)
class Ranked:
    """A result, with the subsets each box rests on, and who of the ego and the teammates shows it alone."""

    result: Detections
    sources: tuple[Subset, ...]
    support: tuple[tuple[Subset, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A box's score is multiplied by how well it is supported: 1 where the ego shows it, or three teammates do.

    Attributes:
        nobody, one, two: where nobody's single shows it, that of one teammate, those of two.
        own_score: boxes of the ego from this score on that the result lacks are put back,
        put_back: with this share of their score: what the ego surely sees is never lost.
        drop_free: whether boxes on ground that the ego's rays prove to be free are left out unless the ego shows them.
    """

    nobody: float = 0.3
    one: float = 0.5
    two: float = 0.9
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
        found = pool.result
        by = shown.supporters(found.boxes)
        by[:, [k for k, i in enumerate(shown.ids, start=1) if i not in members]] = False
        if not members:  # the ego's own result stands as it is
            return Ranked(own, (EGO_ALONE,) * len(own), tuple(_names(row, shown.ids) for row in by))
        witnesses = _witnesses(by, shown.ids, apart)
        weight = np.array([self.nobody, self.one, self.two, 1.0])[np.minimum(witnesses, 3)]
        weight[by[:, 0]] = 1.0
        stays = np.ones(len(found), np.bool_)
        if self.drop_free and free is not None:
            stays = by[:, 0] | ~_on_free_ground(found.boxes, free)
        back = self._lacking(own, found.boxes[stays])
        boxes = np.concatenate([found.boxes[stays], own.boxes[back]])
        scores = np.concatenate([(weight * found.scores)[stays], self.put_back * own.scores[back]]).astype(np.float32)
        sources = [frozenset().union(*pool.subsets[b]) for b in np.flatnonzero(stays)] + [EGO_ALONE] * int(back.sum())
        support = [_names(by[b], shown.ids) for b in np.flatnonzero(stays)] + [(EGO_ALONE,)] * int(back.sum())
        order = np.argsort(-scores, kind="stable")
        as_it_was = stays.all() and not back.any() and np.array_equal(scores, found.scores)
        result = found if as_it_was else Detections(boxes[order], scores[order], found.score_map)
        if as_it_was:
            order = np.arange(len(found))
        return Ranked(
            result,
            tuple(sources[k] for k in order),
            tuple(support[k] for k in order),
        )

    def _lacking(self, own: Detections, boxes: Float32) -> Bool:
        """Which of the ego's own boxes are sure, and not among `boxes (N, 7)`."""
        there = reaches(iou_bev(own.boxes, boxes), 0.3).any(axis=1)
        return np.asarray((own.scores >= self.own_score) & ~there)


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
