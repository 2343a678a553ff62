"""What late and early fusion share: a single-vehicle detector that is a callable, and who sent what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robosac.detectors.fusion.callables import Detect
from robosac.types import BevGrid, Codec, InputError, Message, Request, View


class PerVehicle:
    """A collaborative detector made of a single-vehicle one. Stateless but for what `detect` is."""

    def __init__(
        self,
        detect: Detect,
        *,
        name: str,
        grid: BevGrid | None,
        min_score: float,
        max_messages: int,
        keep_own_body: bool,
    ) -> None:
        if not callable(detect):
            raise InputError(
                f"expected detect to be a callable, points -> (boxes, scores), got {type(detect).__name__}"
            )
        if not 0 <= min_score <= 1:
            raise InputError(f"expected min_score in [0, 1], got {min_score}")
        self._detect, self._name, self._grid, self.min_score = detect, name, grid, min_score
        self.max_messages, self.keep_own_body = max_messages, keep_own_body

    def fingerprint(self) -> list[Any]:
        """Which fusion, all of its settings, and what `detect` is made of."""
        return [type(self).__name__, vars(self)]

    @property
    def name(self) -> str:
        return self._name

    @property
    def grid(self) -> BevGrid | None:
        return self._grid

    @property
    def reporting_threshold(self) -> float:
        return self.min_score

    @property
    def codec(self) -> Codec:
        raise NotImplementedError

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        raise NotImplementedError

    def _sent(self, others: Sequence[View], to: Request, tampered: Sequence[Message]) -> list[Message]:
        """What these agents send, in the order of names; tampered messages in place of their senders' own."""
        instead = {m.sender: m for m in tampered}
        return [instead.get(v.id) or self.encode(v, to) for v in sorted(others, key=lambda v: v.id)]
