"""Early fusion: every agent sends its points; the ego merges those of a subset with its own and detects once.

`EarlyFusion(detect, name="mine")` makes a collaborative detector, to be wrapped by the defence, of any single-vehicle
detector that is a callable from points to boxes and scores. A trial costs one run of it on the merged points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from robosac.boxes import invert_pose, transform_points
from robosac.capabilities import Contribution, Outputs
from robosac.detectors.fusion.base import PerVehicle
from robosac.detectors.fusion.callables import best_first, empty, found_by, own_body
from robosac.detectors.messages import by_sender, claims_of
from robosac.detectors.session import SubsetSession
from robosac.detectors.solo import brought
from robosac.errors import warn
from robosac.types import (
    Array,
    Codec,
    Detections,
    Float32,
    Float64,
    Id,
    InputError,
    Message,
    Request,
    Subset,
    View,
)

POINTS: Final = "points"


@dataclass(eq=False, repr=False, kw_only=True)
class EarlyFusion(PerVehicle):
    """A collaborative detector of points. Stateless but for what `detect` is.

    A message carries `{"points": (n, 4) float32}` `[x y z intensity]` in the sender's own sensor frame.

    Attributes:
        max_points: a message holds at most this many; an agent with more thins its scan evenly.
        max_value: coordinates and intensities in a message are within +- this.
    """

    max_points: int = 120_000
    max_value: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_points < 1 or self.max_messages < 1 or self.max_value <= 0:
            raise InputError(
                "expected max_points and max_messages >= 1 and max_value > 0, "
                f"got {self.max_points}, {self.max_messages} and {self.max_value}"
            )

    def __repr__(self) -> str:
        return f"EarlyFusion({self.detect!r}, name={self.name!r}, max_points={self.max_points})"

    @property
    def codec(self) -> Codec:
        arrays = {POINTS: (("n", 4), "float32", -self.max_value, self.max_value)}
        return Codec(f"{self.name}-points", arrays, {"n": self.max_points}, self.max_messages)

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends: its points, thinned to `max_points`."""
        points = np.asarray(view.points, dtype=np.float32)
        sound = np.flatnonzero(
            np.isfinite(points).all(axis=1) & (np.abs(points).max(axis=1, initial=0) <= self.max_value)
        )
        if len(sound) > self.max_points:
            sound = sound[np.arange(self.max_points) * len(sound) // self.max_points]
        return Message.of(view, to, self.codec.name, MappingProxyType({POINTS: points[sound]}))

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> EarlySession:
        """Bring every message's points to the ego's frame.

        Raises:
            InputError: if a message does not fit the codec, two come from one sender, or one from the ego.
        """
        received = by_sender(ego.id, self.codec, messages)
        return EarlySession(self, ego.points, to, received)

    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Boxes and scores of these agents' points; see `robosac.capabilities.Verifiable`."""
        sent = self._sent(others, to, tampered)
        found = self.found(ego.points, [in_ego_frame(m, to.world_T_ego) for m in sent])
        return {"boxes": found.boxes, "scores": found.scores}

    def found(self, own: Array, others: Sequence[Float32]) -> Detections:
        """Detect once in the ego's points `(N, 4)` and those of others, all in the ego's frame.

        The ego's points alone go to `detect` as they are, and whatever is wrong with its answer raises. What it does
        with points of teammates must not stop the ego: an error there is a warning and a result without boxes that is
        not finite (`Detections.finite`), so that it agrees with nothing and nobody takes it for an empty street.
        """
        if not others:
            return self._best(*found_by(self.detect, own, name=self.name))
        found = self._guarded(np.concatenate([own, *others]))
        kept = ~own_body(found.boxes) | self.keep_own_body
        return replace(found, boxes=found.boxes[kept], scores=found.scores[kept])

    def _best(self, boxes: Float32, scores: Float32) -> Detections:
        return Detections(*best_first(boxes, scores, min_score=self.min_score, most=len(scores)))

    def shown_by(self, message: Message, ego_T_payload: Float64) -> Detections:
        """What `detect` finds in the points of one message, in its own frame, brought to the ego's by `(4, 4)`.

        An error is a warning and an empty result.
        """
        found = self._guarded(np.asarray(message.payload[POINTS]))
        return brought(Detections(found.boxes, found.scores), ego_T_payload, None, keep_own_body=self.keep_own_body)

    def _guarded(self, points: Array) -> Detections:
        """What `detect` finds where points are a teammate's: its errors are warnings."""
        try:
            boxes, scores = found_by(self.detect, points, name=self.name)
        except Exception as error:  # foreign code on an attacker's points: it can fail in any way
            warn(f"{self.name!r} failed on the points of teammates and shows nothing: {error!r}")
            return Detections(*empty(), score_map=np.full((1, 1), np.nan, np.float32))
        return self._best(boxes, scores)


def in_ego_frame(message: Message, world_T_ego: Float64) -> Float32:
    """A message's points `(N, 4)` in the ego's frame, by the pose that the sender claims."""
    return transform_points(invert_pose(world_T_ego) @ message.world_T_payload, np.asarray(message.payload[POINTS]))


class EarlySession(SubsetSession):
    """Implements `robosac.capabilities.RawSession`, `Contributing` and `Solo`."""

    def __init__(self, detector: EarlyFusion, own: Float32, to: Request, received: Mapping[Id, Message]) -> None:
        super().__init__(claims_of(to, received))
        self._detector, self._messages = detector, list(received.values())
        self._points = [own, *(in_ego_frame(m, to.world_T_ego) for m in self._messages)]

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        own, *others = self._points
        return [
            self._detector.found(own, [p for i, p in zip(self.ids, others, strict=True) if i in subset])
            for subset in subsets
        ]

    def _contribution(self, row: int) -> Contribution:
        return Contribution(points=self._points[row])

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        sent = [self._messages[row - 1] for row in rows]
        return [self._detector.shown_by(m, self.claim(m.sender).ego_T_payload) for m in sent]

    def outputs(self, subset: Subset) -> Outputs:
        """Boxes and scores of a subset."""
        found = self.detect([subset])[0]
        return {"boxes": found.boxes, "scores": found.scores}
