"""PoseGuard's last step: the object that matters most is taken from the ego where fusion moves it.

Source: PoseGuard's final stage: of all that is fused the critical object, the nearest in the ego's way, is held
against the ego's own box, which stands where both differ. Its earlier stages, a check of claimed poses, are
`pose-checked` here.

Left open, and chosen here. *In the way*: ahead within a corridor of 2.5 m to either side and 40 m; *the same
object*: IoU 0.1 or 3 m apart; *differ*: IoU below 0.5. A fused critical object that the ego does not show is kept,
since seeing what the ego cannot is what teammates are for; one that the ego shows and fusion lost is put back.
Everybody is fused, nobody is accused: this is a last step and no defence of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.boxes import iou_bev
from robosac.calibration import Calibration
from robosac.defenses.rivals.frame import Choice, Look, Peer, check_shares
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detections, Subset


@dataclass(frozen=True, kw_only=True)
class CriticalObject:
    """Fuse everybody; then the ego's box of the critical object.

    Attributes:
        half_width_m, ahead_m: the corridor.
        iou: from which both boxes are taken to be alike.
        near_m: centres of one object are no further apart.
        score: from which an object counts.
    """

    half_width_m: float = 2.5
    ahead_m: float = 40.0
    iou: float = 0.5
    near_m: float = 3.0
    score: float = 0.3
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "iou", "score")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, self.decide)

    def decide(self, look: Look) -> Choice:
        """One frame; there is no memory."""
        everybody = frozenset(look.ids)
        own, fused = look.results([EGO_ALONE, everybody])
        critical = self.nearest(own)
        if critical is None:
            return Choice(everybody, "the ego shows nothing in its way", result=fused)
        box = own.boxes[critical]
        apart = np.hypot(*(fused.boxes[:, :2] - box[:2]).T)
        overlap = iou_bev(fused.boxes, box[None])[:, 0]
        same = (apart <= self.near_m) | (overlap >= 0.1)
        if (same & (overlap >= self.iou) & (fused.scores >= self.score)).any():
            return Choice(everybody, "the critical object is where the ego shows it", result=fused)
        boxes = np.concatenate([box[None], fused.boxes[~same]])
        scores = np.concatenate([own.scores[critical][None], fused.scores[~same]])
        order = np.argsort(-scores, kind="stable")
        sources: list[Subset] = [EGO_ALONE, *[everybody] * int((~same).sum())]
        return Choice(
            everybody,
            "the ego's own box of the critical object stands",
            result=Detections(boxes[order], scores[order], None),
            sources=tuple(sources[k] for k in order),
        )

    def nearest(self, found: Detections) -> int | None:
        """The nearest object in the corridor."""
        x, y = found.boxes[:, 0], found.boxes[:, 1]
        inside = (found.scores >= self.score) & (x > 0) & (x <= self.ahead_m) & (np.abs(y) <= self.half_width_m)
        return int(np.flatnonzero(inside)[x[inside].argmin()]) if inside.any() else None
