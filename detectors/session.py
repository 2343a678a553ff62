"""What the sessions of all detectors here share: subsets of known teammates, each decoded once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from robosac.capabilities import Claim, Contribution
from robosac.detectors.messages import check_known
from robosac.types import Detections, Id, Subset

K = TypeVar("K", bound=Hashable)
Self = TypeVar("Self", bound="SubsetSession")


class SubsetSession:
    """One ego, one frame. Implements `robosac.types.Session` and `robosac.capabilities.Contributing` and `Solo`.

    A detector's own session adds `_decode`, `_contribution` and `_solo`; they are only asked for teammates with a
    message.
    """

    def __init__(self, claims: Mapping[Id, Claim]) -> None:
        """`claims` are those of the teammates with a message, in a fixed order."""
        self._ids, self._claims = tuple(claims), claims
        self._done: dict[Subset, Detections] = {}
        self._shown: dict[Id, Detections] = {}
        self._batches: dict[tuple[str, tuple[Hashable, ...]], Sequence[Detections]] | None = None  # where shared

    def again(self: Self) -> Self:
        """The same messages to the same ego, for somebody else: nothing is decoded yet.

        A batch that was asked for here before is not computed again. Batches are told apart as wholes, since rounding
        depends on what is computed together: results are, bit by bit, those of a session that was opened anew.
        """
        if self._batches is None:
            self._batches = {}
        other = copy.copy(self)
        other._done, other._shown = {}, {}
        return other

    @property
    def ids(self) -> Sequence[Id]:
        return self._ids

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        """Fuse and decode a batch of subsets, those that are new once each.

        Raises:
            InputError: if a subset names a teammate without a message.
        """
        check_known(self._ids, subsets)
        new = [s for s in dict.fromkeys(subsets) if s not in self._done]
        if new:
            self._done.update(zip(new, self._once("subsets", new, self._decode), strict=True))
        return [self._done[s] for s in subsets]

    def contribution(self, teammate: Id | None) -> Contribution:
        """What the message of one teammate shows in the ego's frame; None: what the ego itself does.

        Raises:
            InputError: if nothing came from that teammate, or this model never brings a message to the ego's frame.
        """
        if teammate is None:
            return self._contribution(0)
        check_known(self._ids, [frozenset({teammate})])
        return self._contribution(1 + self._ids.index(teammate))

    def solo(self, teammates: Sequence[Id]) -> list[Detections]:
        """What the messages of these teammates show, each for itself, in the ego's frame; each is decoded once.

        Raises:
            InputError: if nothing came from one of them.
        """
        check_known(self._ids, [frozenset(teammates)])
        new = [i for i in dict.fromkeys(teammates) if i not in self._shown]
        if new:
            found = self._once("solo", [1 + self._ids.index(i) for i in new], self._solo)
            self._shown.update(zip(new, map(_sound, found), strict=True))
        return [self._shown[i] for i in teammates]

    def claim(self, teammate: Id) -> Claim:
        """What a teammate's message claims beside its payload.

        Raises:
            InputError: if nothing came from it.
        """
        check_known(self._ids, [frozenset({teammate})])
        return self._claims[teammate]

    def _once(
        self, what: str, batch: Sequence[K], compute: Callable[[Sequence[K]], Sequence[Detections]]
    ) -> Sequence[Detections]:
        """What `compute` makes of a batch, now or when it was asked for before; everybody's arrays are its own."""
        if self._batches is None:
            return compute(batch)
        key = (what, tuple(batch))
        if key not in self._batches:
            self._batches[key] = compute(batch)
        return [_copied(found) for found in self._batches[key]]

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        """The results of different subsets."""
        raise NotImplementedError

    def _contribution(self, row: int) -> Contribution:
        """Row 0 is the ego, the others are `ids` in their order."""
        raise NotImplementedError

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        """What the messages in these rows show by themselves, in the ego's frame; `ids` begin with row 1."""
        raise NotImplementedError


def _copied(found: Detections) -> Detections:
    score_map = None if found.score_map is None else found.score_map.copy()
    return replace(found, boxes=found.boxes.copy(), scores=found.scores.copy(), score_map=score_map)


def _sound(found: Detections) -> Detections:
    """Without boxes and scores that are not finite, which absurd payloads and poses can make."""
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    score_map = None if found.score_map is None else np.nan_to_num(found.score_map, posinf=0.0, neginf=0.0)
    return Detections(found.boxes[kept], found.scores[kept], score_map)
