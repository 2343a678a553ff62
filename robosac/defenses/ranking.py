"""How boxes are ranked: what is corroborated above what one teammate alone claims, free ground below all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.boxes import iou_bev, nms_bev, reaches
from robosac.evidence import Pooled, Shown
from robosac.poses import FreeGround
from robosac.poses.objects import Objects
from robosac.types import EGO_ALONE, Array, Bool, Detections, Float32, Float64, Id, InputError, Int64, Subset

_OVERLAP: Final = 0.3  # IoU from which a box is there already


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


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A box's score is multiplied by how well it is supported: 1 where the ego shows it, or three teammates do.

    What the joint results lack and somebody shows alone comes back, below what they have: who hides a car in every
    joint result cannot hide it in an honest teammate's single.

    Attributes:
        nobody, one, two: where nobody's single shows it, that of one teammate, those of two.
        own_score: boxes of the ego from this score on that the result lacks are put back, and all that members show,
        put_back: with this share of their score: what the ego surely sees is never lost.
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
        weight = self._weights(by, witnesses)
        stays = np.ones(len(found), np.bool_)
        if self.drop_free and free is not None:
            refuted = ~by[:, 0] & _on_free_ground(found.boxes, free)
            stays = ~refuted | (witnesses >= 2)
            weight[refuted] *= self.nobody
        parts = [_Part(found.boxes[stays], (weight * found.scores)[stays], by[stays])]
        rests_on = [frozenset().union(*pool.subsets[b]) for b in np.flatnonzero(stays)]
        for part, whose in self._put_back(parts[0].boxes, _without(shown.by, others), shown, apart, own, free):
            parts.append(part)
            rests_on += whose
        boxes = np.concatenate([p.boxes for p in parts])
        scores = np.concatenate([p.scores for p in parts]).astype(np.float32)
        support = np.concatenate([p.by for p in parts])
        as_it_was = stays.all() and len(boxes) == len(found) and np.array_equal(scores, found.scores)
        order = np.arange(len(boxes)) if as_it_was else np.argsort(-scores, kind="stable")
        result = found if as_it_was else Detections(boxes[order], scores[order], found.score_map)
        return Ranked(result, tuple(rests_on[k] for k in order), tuple(_names(support[k], ids) for k in order))

    def _weights(self, by: Bool, witnesses: Int64) -> Float64:
        weight = np.array([self.nobody, self.one, self.two, 1.0])[np.minimum(witnesses, 3)]
        weight[by[:, 0]] = 1.0
        return np.asarray(weight)

    def _put_back(
        self,
        there: Float32,
        by: Bool,
        shown: Shown,
        apart: Sequence[Subset],
        own: Detections,
        free: FreeGround | None,
    ) -> Iterator[tuple[_Part, list[Subset]]]:
        """What is not among the boxes `there (N, 7)`: first of the ego's own what is sure, then what members show.

        Args:
            by: which of the ego and the members show each of `shown.boxes`.
        """
        lacking = (own.scores >= self.own_score) & _apart_from(there, own.boxes)
        mine = own.boxes[lacking]
        only_ego = np.zeros((len(mine), by.shape[1]), np.bool_)
        only_ego[:, 0] = True
        yield _Part(mine, self.put_back * own.scores[lacking], only_ego), [EGO_ALONE] * len(mine)
        theirs = by[:, 1:].any(axis=1) & ~by[:, 0] & by[np.arange(len(by)), shown.source]
        theirs &= _apart_from(np.concatenate([there, mine]), shown.boxes)
        if self.drop_free and free is not None:
            theirs &= ~_on_free_ground(shown.boxes, free)
        back = np.flatnonzero(theirs)
        rank = shown.scores[back] * self._weights(by[back], _witnesses(by[back], shown.ids, apart))
        order = np.argsort(-rank, kind="stable")
        back = back[order][
            np.sort(nms_bev(shown.boxes[back[order]], -np.arange(len(back), dtype=np.float64), _OVERLAP))
        ]
        part = _Part(shown.boxes[back], self.put_back * shown.scores[back], by[back])
        yield part, [frozenset({shown.ids[k - 1]}) for k in shown.source[back]]


def _without(by: Bool, sources: Sequence[int]) -> Bool:
    """As if these sources showed nothing."""
    kept = np.asarray(by.copy())
    kept[:, sources] = False
    return kept


def _apart_from(boxes: Float32, others: Float32) -> Bool:
    """Which of `others (M, 7)` overlap none of `boxes` by more than a little."""
    return np.asarray(~reaches(iou_bev(others, boxes), _OVERLAP).any(axis=1))


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
