"""AP by distance from the ego: a frame's matches, a band of distances at a time.

In a band, objects whose centre is in it count; all others are ignorable. A detection that takes no object of the
band and is itself centred outside of it belongs to another band and is left out here. So every object is in exactly one
band, and a false box counts in the band in which it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from robosac.evaluation.ap import FP, IGNORED, FrameMatches, Region, counted, match_frame
from robosac.types import Bool, Detections, Float32, Id, Truth

BANDS_M: Final[tuple[tuple[float, float], ...]] = ((0.0, 15.0), (15.0, 30.0), (30.0, float("inf")))
THRESHOLD: Final = 0.5


def band_name(band: tuple[float, float]) -> str:
    """ "0-15", "15-30", "30+"; metres."""
    low, high = band
    return f"{low:g}+" if high == float("inf") else f"{low:g}-{high:g}"


def match_bands(
    detections: Detections, truth: Truth, region: Region, *, agents: Iterable[Id] | None = None
) -> tuple[FrameMatches, ...]:
    """Matches at IoU 0.5, one for each of `BANDS_M`."""
    counts = counted(truth, region, agents=agents)
    found = []
    for low, high in BANDS_M:
        here = counts & _within(truth.boxes, low, high)
        m = match_frame(detections, truth.boxes[here], truth.boxes[~here], region=region, thresholds=(THRESHOLD,))
        elsewhere = ~_within(detections.boxes, low, high)
        outcome = np.where((m.outcome == FP) & elsewhere, IGNORED, m.outcome).astype(np.int8)
        told = outcome[0] != IGNORED  # a band has no use for what belongs to another
        found.append(FrameMatches(m.thresholds, m.scores[told], outcome[:, told], m.n_gt))
    return tuple(found)


def _within(boxes: Float32, low: float, high: float) -> Bool:
    distance = np.hypot(boxes[:, 0], boxes[:, 1])
    return np.asarray((distance >= low) & (distance < high))
