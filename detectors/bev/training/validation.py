"""How good a detector is on the validation scenes: AP of the ego alone, of random subsets, and of all teammates.

The rules are those of `robosac.evaluation.ap`: objects that at least `min_hits` points of the ego and all of its
teammates fell on count, whatever subset is fused; other real objects, and what is off the map, are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

from robosac.detectors.bev.config import DataConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.model import FEATURES
from robosac.detectors.bev.raster import Raster
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.evaluation.ap import FrameMatches, average_precision, match_frame
from robosac.types import Message, Request, Subset, keyed_rng

POLICIES = ("ego", "one", "three", "all")
_THRESHOLDS = (0.5, 0.7)


def validate(
    detector: BevDetector,
    scenes: Sequence[Sequence[CachedFrame]],
    *,
    data: DataConfig,
    egos_per_frame: int = 2,
) -> dict[str, float | int]:
    """AP at IoU 0.5 and 0.7 on validation scenes.

    The first `egos_per_frame` vehicles of every frame are egos. Returns figures named `<policy>_ap<iou>`, for the
    policies `ego`, `one` (a random teammate), `three` (at most three random ones) and `all`.
    """
    found: dict[str, list[FrameMatches]] = {p: [] for p in POLICIES}
    for s, scene in enumerate(scenes):
        for f, frame in enumerate(scene):
            rasters = [Raster(bits, plane) for bits, plane in zip(frame.bits, frame.planes, strict=True)]
            maps = [detector.features(r) for r in rasters]
            for ego in frame.egos[:egos_per_frame]:
                to = Request(str(ego), 0, frame.poses[ego])
                mates = frame.teammates(ego, data.comm_range_m)
                messages = [
                    Message(
                        str(k), to.ego, 0, frame.poses[k], detector.codec.name, {FEATURES: maps[k][0].cpu().numpy()}
                    )
                    for k in mates
                ]
                session = detector.open_encoded(rasters[ego], maps[ego], to, messages)
                order = [str(k) for k in keyed_rng(0, "validate", s, f, ego).permutation(mates)]
                subsets: list[Subset] = [frozenset(order[:n]) for n in (0, 1, 3, len(order))]
                boxes, hits = frame.seen_from(ego)
                counts = (hits[[ego, *mates]].sum(axis=0) >= data.min_hits) & detector.grid.contains(boxes)
                for policy, result in zip(POLICIES, session.detect(subsets), strict=True):
                    match = match_frame(
                        result, boxes[counts], boxes[~counts], region=detector.grid, thresholds=_THRESHOLDS
                    )
                    found[policy].append(match)
    figures: dict[str, float | int] = {"scenes": len(scenes), "frames": len(found["all"])}
    for policy in POLICIES:
        for iou, value in average_precision(found[policy]).items():
            figures[f"{policy}_ap{round(100 * iou)}"] = round(value or 0.0, 4)
    return figures
