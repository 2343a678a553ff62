"""Average precision as older tables print it, on our containers: for comparing with them and for nothing else.

Three named modes. Each gives what the framework's own functions give on the same detections and the same truth,
mistakes included (`tests/adapters/test_ap_compat.py` compares). Our own figure is `robosac.evaluation.ap`.

`opencood_global`
    OpenCOOD's `--global_sort_detections`. In a frame, detections by descending score; each takes, among the objects
    still free, the one with the largest IoU if that is >= the threshold. Then all detections of all frames are
    sorted by score, one by one, and AP is the area under the interpolated precision-recall curve.
`opencood_local`
    OpenCOOD's default, which its published tables use. As above, but detections stay in the order of the frames:
    AP depends on how the frames are ordered, and is no average precision (its issues 101 and 104). This is its first
    answer: called twice on the same statistics, OpenCOOD adds up its sums again and may print an AP above 1.
`coperception`
    `cal_local_mAP` and `eval_map`. A frame counts only if it has at least one detection *and* at least one object:
    whoever makes a detector silent removes the frame, and the objects missed in it, from the figure (`left_out`
    says how many). A detection looks only at the object that it overlaps most: if another took that one before, it is
    a mistake, even if it overlaps a second object enough. All detections are sorted by score over the frames that
    count. Precision and AP are rounded to float32.

In all three IoU is seen from above and rounded to float32 before it is compared, and equal scores stay in the order
in which numpy's default sort leaves them: saturated scores make AP a matter of chance, which ours is not.

Not reproduced, since it comes before: which boxes count. OpenCOOD keeps detections and objects whose corners are all
in [-140, 140] x [-40, 40] x [-3, 1] m; coperception keeps detections scored above 0.7 after suppression at IoU 0.01,
and averages the APs of every agent as ego. These modes know no ignorable objects: hand them what shall count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from robosac.boxes import iou_bev
from robosac.evaluation.ap import THRESHOLDS, check_figures
from robosac.types import Array, Bool, Detections, Float32, Float64, InputError

Scene: TypeAlias = tuple[Detections, Array]  # a frame's detections and the objects (G, 7) that count, ego frame


@dataclass(frozen=True, eq=False)
class _Outcome:
    """One frame, one threshold. D detections."""

    scores: Float64  # (D,)
    hit: Bool  # (D,)


_Match = Callable[[Detections, Float32, float], _Outcome]  # detections, IoU (D, G), threshold


@dataclass(frozen=True)
class _Mode:
    counts: Callable[[Detections, Array], bool]  # does a frame count at all
    match: _Match
    pooled: Callable[[Float64], Array]  # scores of all frames, concatenated -> the order of the detections
    area: Callable[[Bool, int], float]  # hits in that order, number of objects


def average_precision(
    frames: Sequence[Scene], mode: str, thresholds: Sequence[float] = THRESHOLDS
) -> dict[float, float | None]:
    """AP of `frames`, in their order, at each IoU threshold, as `mode` computes it; None without any object to find.

    Args:
        frames: each frame's detections and the objects `(G, 7)` that count, in one frame of reference.
        mode: one of `MODES`.

    Raises:
        InputError: for an unknown mode, thresholds outside of (0, 1], and boxes or scores that are not finite.
    """
    rules = _rules(mode)
    for d, t in [(Detections.empty(), np.zeros((0, 7))), *frames]:  # thresholds are checked without a frame, too
        check_figures(d, t, thresholds)
    counted = [(d, t) for d, t in frames if rules.counts(d, t)]
    overlaps = [iou_bev(d.boxes, t).astype(np.float32) for d, t in counted]
    n_objects = sum(len(t) for _, t in counted)
    out: dict[float, float | None] = {}
    for threshold in thresholds:
        if n_objects == 0:
            out[float(threshold)] = None
            continue
        found = [rules.match(d, iou, threshold) for (d, _), iou in zip(counted, overlaps, strict=True)]
        order = rules.pooled(np.concatenate([f.scores for f in found]))
        out[float(threshold)] = rules.area(np.concatenate([f.hit for f in found])[order], n_objects)
    return out


def left_out(frames: Sequence[Scene], mode: str) -> tuple[int, int]:
    """How many frames a mode does not count although they hold objects or detections, and the objects in them."""
    rules = _rules(mode)
    dropped = [len(t) for d, t in frames if (len(d) or len(t)) and not rules.counts(d, t)]
    return len(dropped), sum(dropped)


def _rules(mode: str) -> _Mode:
    if mode not in _MODES:
        raise InputError(f"expected a mode among {', '.join(MODES)}, got {mode!r}")
    return _MODES[mode]


# ---------------------------------------------------------------------------------------------------- matching
def _best_free(detections: Detections, iou: Float32, threshold: float) -> _Outcome:
    """OpenCOOD's: by descending score, each takes the free object that it overlaps most. In that order."""
    order = np.argsort(-detections.scores)  # not stable, as there: equal scores must fall alike
    free = iou[order].copy()
    hit = np.zeros(len(order), np.bool_)
    for d in np.flatnonzero((free >= np.float32(threshold)).any(axis=1)):  # few: those that overlap anything enough
        best = int(free[d].argmax())
        hit[d] = free[d, best] >= np.float32(threshold)
        if hit[d]:
            free[:, best] = -1
    return _Outcome(detections.scores[order].astype(np.float64), hit)


def _best_only(detections: Detections, iou: Float32, threshold: float) -> _Outcome:
    """coperception's: a detection is judged by the object that it overlaps most, taken or not. In the order given."""
    scores = detections.scores.astype(np.float64)  # its rows hold corners and score together, in float64
    order = np.argsort(-scores)
    best = iou.argmax(axis=1)
    enough = iou.max(axis=1) >= np.float32(threshold)
    candidates = order[enough[order]]
    _, first = np.unique(best[candidates], return_index=True)  # who comes first takes the object
    hit = np.zeros(len(scores), np.bool_)
    hit[candidates[first]] = True
    return _Outcome(scores, hit)


# ------------------------------------------------------------------------------------------------------- areas
def _interpolated(recall: Float64, precision: Float64) -> Float64:
    """The terms `(K,)` of the area under the interpolated curve: steps of recall times the best precision beyond."""
    envelope = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall, [1.0]]))
    return np.asarray((steps * envelope)[steps != 0])


def _area(hit: Bool, n_objects: int) -> float:
    tp, rank = np.cumsum(hit), np.arange(1, len(hit) + 1)
    return float(_interpolated(tp / n_objects, tp / rank).sum())


def _area_float32(hit: Bool, n_objects: int) -> float:
    tp, rank = np.cumsum(hit), np.arange(1, len(hit) + 1)
    precision = (tp.astype(np.float32) / rank.astype(np.float32)).astype(np.float64)
    return float(np.float32(_interpolated(tp / n_objects, precision).sum()))


_MODES: Final[Mapping[str, _Mode]] = {
    "opencood_local": _Mode(lambda d, t: True, _best_free, lambda scores: np.arange(len(scores)), _area),
    "opencood_global": _Mode(lambda d, t: True, _best_free, lambda scores: np.argsort(-scores), _area),
    "coperception": _Mode(
        lambda d, t: len(d) > 0 and len(t) > 0, _best_only, lambda scores: np.argsort(-scores), _area_float32
    ),
}
MODES: Final = tuple(_MODES)
