"""One result of several: every box's score is the mean over all results that were accepted.

Among results that are equally consistent none is chosen: who attacks would choose with us. What only some show is
ranked by how many; a place is that of the first result that shows it, the largest subset's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robosac.boxes import iou_bev, nms_bev, reaches
from robosac.types import Detections, InputError, Subset

_SAME = 0.5  # IoU at which a box of another result is the same box
_OVERLAP = 0.3  # a box that overlaps a better one by more is the same object


@dataclass(frozen=True, eq=False)
class Pooled:
    """A result, and for each of its boxes the subsets whose results have it."""

    result: Detections
    subsets: tuple[tuple[Subset, ...], ...]


def pooled(results: Mapping[Subset, Detections]) -> Pooled:
    """All results as one, larger subsets first; a single one as it is.

    Raises:
        InputError: there are none.
    """
    if not results:
        raise InputError("expected at least one result to pool, got none")
    ordered = sorted(results, key=lambda s: (-len(s), sorted(s)))
    if len(ordered) == 1:
        only = results[ordered[0]]
        return Pooled(only, ((ordered[0],),) * len(only))
    boxes = np.concatenate([results[s].boxes for s in ordered])
    rank = np.repeat(np.arange(len(ordered)), [len(results[s]) for s in ordered])
    said = np.zeros((len(boxes), len(ordered)))
    for k, s in enumerate(ordered):
        there = reaches(iou_bev(boxes, results[s].boxes), _SAME)
        said[:, k] = np.where(there, results[s].scores[None, :], 0.0).max(axis=1, initial=0.0)
    score = said.mean(axis=1)
    order = np.lexsort((rank, -score))
    kept = order[np.sort(nms_bev(boxes[order], -np.arange(len(order)), _OVERLAP))]
    shown = tuple(tuple(ordered[k] for k in np.flatnonzero(said[b] > 0)) for b in kept)
    maps = [m for s in ordered if (m := results[s].score_map) is not None]
    mean_map = np.stack(maps).mean(axis=0).astype(np.float32) if len(maps) == len(ordered) else None
    return Pooled(Detections(boxes[kept], score[kept].astype(np.float32), mean_map), shown)
