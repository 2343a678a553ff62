"""What a claimed pose is worth: fine, corrected, refused, or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from robosac.poses.estimate import PoseEstimate, estimate
from robosac.poses.hypotheses import Limits
from robosac.poses.objects import Objects
from robosac.poses.offset import Offset
from robosac.types import Detections, Float64, InputError

Kind = Literal["fine", "corrected", "refused", "unknown"]


@dataclass(frozen=True)
class PoseVerdict:
    """What was decided about one claimed pose.

    Attributes:
        kind: `fine` (within honest errors), `corrected` (`offset` mends it), `refused` (off, and not to be mended) or
            `unknown` (too little in common to tell, or several answers).
        seen: objects in common by the best motion.
        why: in words.
        offset: what mends it; no motion unless it is corrected.
        estimate: the best motion, where there is one.
    """

    kind: Kind
    seen: int
    why: str
    offset: Offset = field(default_factory=Offset)
    estimate: PoseEstimate | None = None
