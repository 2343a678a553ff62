"""The frames of a scene with everybody's honest messages, made once for all that is played on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from robosac.evaluation.play import Staged, stage
from robosac.types import Detector, Frame, Truth

KEPT_BYTES: Final = 1 << 30  # of a scene's frames and messages; frames beyond are made anew each time


class Reel:
    """Frames in order; those that fit into memory are simulated or read, and encoded, once."""

    def __init__(self, makers: Sequence[Callable[[], tuple[Frame, Truth]]], detector: Detector) -> None:
        self.detector = detector
        self._makers, self._kept, self._room = makers, list[Staged](), KEPT_BYTES

    def __len__(self) -> int:
        return len(self._makers)

    def __iter__(self) -> Iterator[Staged]:
        return (self.at(k) for k in range(len(self)))

    def at(self, k: int) -> Staged:
        """Frame k of the scene, encoded."""
        if k < len(self._kept):
            return self._kept[k]
        made = next(iter(stage([self._makers[k]()], self.detector)))
        if k == len(self._kept) and (size := _bytes(made)) <= self._room:
            self._kept.append(made)
            self._room -= size
        return made

    def under(self, detector: Detector) -> Reel:
        """The same frames, encoded by another detector."""
        return Reel([partial(self._footage, k) for k in range(len(self))], detector)

    def _footage(self, k: int) -> tuple[Frame, Truth]:
        found = self.at(k)
        return found.frame, found.truth


def _bytes(s: Staged) -> int:
    views = (s.frame.ego, *s.frame.others.values())
    return sum(v.points.nbytes for v in views) + sum(m.bytes for m in s.honest.values())
