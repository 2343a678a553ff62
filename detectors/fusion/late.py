"""Late fusion: every agent detects alone and sends its boxes; the ego fuses any subset of them with its own.

`LateFusion(detect, name="mine")` makes a collaborative detector, to be wrapped by the defence, of any single-vehicle
detector that is a callable from points to boxes and scores. Which boxes overlap is computed once a frame, so that a
trial costs a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from robosac.boxes import invert_pose, nms_bev, transform_boxes
from robosac.capabilities import Claim, Contribution, Outputs
from robosac.detectors.fusion.base import PerVehicle
from robosac.detectors.fusion.callables import best_first, found_by, own_body
from robosac.detectors.fusion.merge import Overlaps, rank, survivors, wbf_bev, weighted
from robosac.detectors.messages import by_sender, claims_of
from robosac.detectors.session import SubsetSession
from robosac.types import (
    Codec,
    Detections,
    Float32,
    Float64,
    Id,
    InputError,
    Int64,
    Message,
    Request,
    Subset,
    View,
)

BOXES: Final = "boxes"
SCORES: Final = "scores"
Merge = Literal["nms", "wbf"]
Found = tuple[Float32, Float32]  # boxes (N, 7) and scores (N,)


@dataclass(eq=False, repr=False, kw_only=True)
class LateFusion(PerVehicle):
    """A collaborative detector of boxes. Stateless but for what `detect` is.

    A message carries `{"boxes": (n, 7) float32, "scores": (n,) float32}` in the sender's own sensor frame, best first.

    Attributes:
        merge: "nms" keeps the best of boxes that overlap, "wbf" their weighted mean (`robosac.detectors.fusion.merge`).
        iou: boxes that overlap a better one by more show the same object.
        max_boxes: an agent's own boxes, and those of a message, are at most this many: its best.
        reach_m: coordinates in a message are within +- this.
        max_size_m: what a teammate sends that is longer, wider or higher is no vehicle and left out.
    """

    merge: Merge = "nms"
    iou: float = 0.15
    max_boxes: int = 100
    reach_m: float = 300.0
    max_size_m: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merge not in ("nms", "wbf"):
            raise InputError(f"expected merge to be 'nms' or 'wbf', got {self.merge!r}")
        if not 0 <= self.iou <= 1:
            raise InputError(f"expected iou in [0, 1], got {self.iou}")
        if self.max_boxes < 1 or self.max_messages < 1 or self.reach_m <= 0 or self.max_size_m <= 0:
            raise InputError(
                "expected max_boxes and max_messages >= 1, reach_m and max_size_m > 0, "
                f"got {self.max_boxes}, {self.max_messages}, {self.reach_m} and {self.max_size_m}"
            )

    def __repr__(self) -> str:
        return f"LateFusion({self.detect!r}, name={self.name!r}, merge={self.merge!r}, iou={self.iou})"

    @property
    def codec(self) -> Codec:
        arrays = {
            BOXES: (("n", 7), "float32", -self.reach_m, self.reach_m),
            SCORES: (("n",), "float32", 0.0, 1.0),
        }
        return Codec(f"{self.name}-boxes", arrays, {"n": self.max_boxes}, self.max_messages)

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends: the best of what it sees alone."""
        boxes, scores = self.alone(view)
        near = np.abs(boxes).max(axis=1, initial=0.0) <= self.reach_m
        boxes, scores = boxes[near], scores[near]
        return Message.of(view, to, self.codec.name, MappingProxyType({BOXES: boxes, SCORES: scores}))

    def alone(self, view: View) -> Found:
        """What `detect` finds in one scan, at most `max_boxes`, best first, in its sensor's frame.

        Where there are more, as of a detector that does not suppress its own, they are suppressed among themselves
        before the best are taken: else a hundred boxes on one car would be all that it has to say.

        Raises:
            InputError: if `detect` returns nonsense.
        """
        found = found_by(self.detect, view.points, name=self.name)
        boxes, scores = best_first(*found, min_score=self.min_score, most=len(found[1]))
        kept = nms_bev(boxes, scores, self.iou)[: self.max_boxes] if len(boxes) > self.max_boxes else slice(None)
        return boxes[kept], scores[kept]

    def in_ego_frame(self, message: Message, world_T_ego: Float64) -> Found:
        """A teammate's boxes in the ego's frame, by the pose that it claims, without those that can be no vehicle."""
        boxes, scores = np.asarray(message.payload[BOXES]), np.asarray(message.payload[SCORES])
        sized = ((boxes[:, 3:6] > 0) & (boxes[:, 3:6] <= self.max_size_m)).all(axis=1)
        moved = transform_boxes(invert_pose(world_T_ego) @ message.world_T_payload, boxes[sized])
        scores = np.clip(scores[sized], 0, 1).astype(np.float32)
        if not self.keep_own_body:
            others = ~own_body(moved)
            moved, scores = moved[others], scores[others]
        return best_first(moved, scores, min_score=self.min_score, most=self.max_boxes)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> LateSession:
        """Detect with the ego's points and bring every message to its frame.

        Raises:
            InputError: if `detect` returns nonsense, a message does not fit the codec, two come from one sender, or
                one from the ego.
        """
        received = by_sender(ego.id, self.codec, messages)
        moved = {i: self.in_ego_frame(m, to.world_T_ego) for i, m in received.items()}
        return LateSession(self, self.alone(ego), moved, claims_of(to, received))

    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Boxes and scores of these agents from their points, fused at once; see `robosac.capabilities.Verifiable`."""
        sent = self._sent(others, to, tampered)
        parts = [self.alone(ego), *(self.in_ego_frame(m, to.world_T_ego) for m in sent)]
        boxes, scores = np.concatenate([b for b, _ in parts]), np.concatenate([s for _, s in parts])
        if self.merge == "nms":
            kept = nms_bev(boxes, scores, self.iou)
            return {BOXES: boxes[kept], SCORES: scores[kept]}
        fused, best = wbf_bev(boxes, scores, self.iou)
        return {BOXES: fused, SCORES: best}


class LateSession(SubsetSession):
    """Implements `robosac.capabilities.RawSession`, `Contributing`, `Solo` and `OfBoxes`.

    All boxes are in the ego's frame already, ranked by score (equal ones: the ego's first, then by name), with the
    pairs that overlap; a subset is a suppression among its own.
    """

    def __init__(
        self, detector: LateFusion, own: Found, received: Mapping[Id, Found], claims: Mapping[Id, Claim]
    ) -> None:
        super().__init__(claims)
        self._wbf = detector.merge == "wbf"
        self._parts = [own, *received.values()]
        order = rank(np.concatenate([s for _, s in self._parts]))
        self._boxes: Float32 = np.concatenate([b for b, _ in self._parts])[order]
        self._scores: Float32 = np.concatenate([s for _, s in self._parts])[order]
        counts = [len(scores) for _, scores in self._parts]
        self._owner: Int64 = np.repeat(np.arange(len(counts)), counts)[order]  # 0: the ego
        self._overlaps = Overlaps.of(self._boxes, detector.iou)

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        return [self._fused(subset) for subset in subsets]

    def _contribution(self, row: int) -> Contribution:
        return Contribution(detections=Detections(*self._parts[row]))

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        """Its boxes are what a message shows."""
        return [Detections(*self._parts[row]) for row in rows]

    def sent(self, teammates: Sequence[Id]) -> list[Detections]:
        """What these teammates sent; see `robosac.capabilities.OfBoxes`."""
        return self.solo(teammates)

    def outputs(self, subset: Subset) -> Outputs:
        """Boxes and scores of a subset."""
        found = self.detect([subset])[0]
        return {BOXES: found.boxes, SCORES: found.scores}

    def _fused(self, subset: Subset) -> Detections:
        present = np.array([True, *(i in subset for i in self.ids)])
        member = present[self._owner]
        overlaps = self._overlaps.among(member)
        kept = survivors(member, overlaps)
        boxes = weighted(self._boxes, self._scores, kept, overlaps) if self._wbf else self._boxes[kept]
        return Detections(boxes, self._scores[kept])
