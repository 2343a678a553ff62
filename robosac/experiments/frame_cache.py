"""The frames of a scene with everybody's honest messages, made once for all that is played on them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from robosac.evaluation.play import EncodedFrame, Moment, encode_frames
from robosac.experiments.scenes import Maker
from robosac.types import Detector

KEPT_BYTES: Final = 1 << 30  # of a scene's frames and messages; frames beyond are made anew each time


class FrameCache:
    """Frames in order; those that fit into memory are simulated or read, and encoded, once.

    `making_ms` is what a frame took to be simulated or read, the mean over those that were.
    """

    def __init__(self, makers: Sequence[Maker], detector: Detector) -> None:
        self.detector = detector
        self._makers, self._kept, self._free_bytes = makers, list[EncodedFrame](), KEPT_BYTES
        self._made, self._seconds = 0, 0.0

    def __len__(self) -> int:
        return len(self._makers)

    def __iter__(self) -> Iterator[EncodedFrame]:
        return (self.at(k) for k in range(len(self)))

    @property
    def making_ms(self) -> float:
        return 1e3 * self._seconds / max(self._made, 1)

    def at(self, k: int) -> EncodedFrame:
        """Frame k of the scene, encoded."""
        if k < len(self._kept):
            return self._kept[k]
        start = time.perf_counter()
        moment = self._makers[k]()
        self._made, self._seconds = self._made + 1, self._seconds + time.perf_counter() - start
        made = next(iter(encode_frames([moment], self.detector)))
        if k == len(self._kept) and (size := _bytes(made)) <= self._free_bytes:
            self._kept.append(made)
            self._free_bytes -= size
        return made

    def under(self, detector: Detector) -> FrameCache:
        """The same frames, encoded by another detector."""
        return FrameCache([partial(self._moment, k) for k in range(len(self))], detector)

    def _moment(self, k: int) -> Moment:
        found = self.at(k)
        return Moment(found.frame, found.truth, found.world)


def _bytes(s: EncodedFrame) -> int:
    views = (s.frame.ego, *s.frame.others.values())
    return sum(v.points.nbytes for v in views) + sum(m.bytes for m in s.honest.values())
