"""What was accepted in the frame before, seen from where the ego is now."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robosac.boxes import invert_pose, transform_boxes
from robosac.defenses.rivals.frame import Look
from robosac.types import Detections, Float64


@dataclass
class Before:
    """Remembers one result; `seen_now` moves its boxes by the ego's motion and leaves out those off the grid.

    The published rules move boxes by the motion of the ego alone. Traffic moves too, so that boxes of moving cars match
    less well the longer ago they were seen.

    Attributes:
        longest_s: what is older is forgotten.
    """

    longest_s: float = 1.0
    result: Detections | None = None
    world_T_ego: Float64 | None = None
    t_ns: int = 0

    def seen_now(self, look: Look) -> Detections | None:
        """The remembered boxes in the ego's present frame, without a score map; None where nothing fits."""
        age_s = (look.to.t_ns - self.t_ns) / 1e9
        if self.result is None or self.world_T_ego is None or not 0 <= age_s <= self.longest_s:
            return None
        now_T_then = invert_pose(look.to.world_T_ego) @ self.world_T_ego
        boxes = transform_boxes(now_T_then, self.result.boxes)
        kept = np.asarray(look.grid.contains(boxes))
        return Detections(boxes[kept], self.result.scores[kept])

    def keep(self, look: Look, result: Detections) -> None:
        """Remember what this frame ended with."""
        self.result, self.world_T_ego, self.t_ns = replace(result, score_map=None), look.to.world_T_ego, look.to.t_ns
