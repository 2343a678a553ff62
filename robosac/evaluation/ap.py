"""Average precision (AP), seen from above, sorted over all frames.

**Truth of a frame.** An object counts when its centre is in the evaluation region and at least `MIN_POINTS` = 5
points fell on it, summed over the agents taking part (the ego and all its teammates, whatever a policy uses of
them: one truth for all policies, or their APs could not be compared). Every other real object (seen by too few
points, or outside of the region) is *ignorable*: finding it is no merit and no mistake.

**Matching, one frame, one IoU threshold t.** Detections are visited by descending score, equal scores in the order
given. Each takes, among the counted objects still free whose rotated BEV IoU with it is >= t, the one with the
largest IoU (then the smallest index), and is a true positive (TP). One that takes nothing may take a free ignorable
object by the same rule and is then left out. So is one whose centre is outside the region. All others are false
positives (FP): a second box on one car is an FP, and an object is found at most once.

IoU is a computed float: ">= t" is true down to 1e-5 below t (`robosac.boxes.reaches`), so that two boxes of IoU 1/2
are a pair at every heading. Detections that are not finite are an error, since comparisons with NaN would leave them
out; so is truth that is not finite or has no size. A finite detection without length or width overlaps nothing and is
an FP like any other.

**AP, all frames.** With G counted objects in all frames, TP(s) and FP(s) the numbers of TPs and FPs with a score >= s
over *all* frames,

    recall     r(s) = TP(s) / G
    precision  p(s) = TP(s) / (TP(s) + FP(s))
    AP = sum over the distinct scores s_1 > s_2 > ... of (r(s_k) - r(s_{k-1})) * max_{j >= k} p(s_j),   r(s_0) = 0,

the area under the interpolated precision-recall curve (all-point interpolation), in [0, 1]. Detections of equal
score enter together, since no threshold on the score can part them; so AP does not depend on the order of frames,
even where an attack saturates scores at 1. A frame with truth and no detection adds to G: who erases everything
scores 0, not nothing. Without any counted object (G = 0) AP is undefined, and None is returned, never NaN.

Older tables sort otherwise or leave frames out; `robosac.evaluation.compat` computes theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from robosac.boxes import IOU_TOLERANCE, iou_bev
from robosac.evaluation.bootstrap import Replicated, several
from robosac.types import Array, BevGrid, Bool, Detections, Float64, Id, InputError, Int64, Truth

THRESHOLDS: Final = (0.3, 0.5, 0.7)
MIN_POINTS: Final = 5
TP, FP, IGNORED = 1, 0, -1

Region: TypeAlias = BevGrid | float  # a detector's grid, or the half side in metres of a square about the ego


def _listed(values: Array) -> Any:
    return values.tolist()  # float32 -> float is exact, so the round trip is too


@dataclass(frozen=True, eq=False)
class FrameMatches:
    """What AP needs of one frame: a few hundred bytes, so that frames can be matched anywhere and pooled later.

    D: detections, T: IoU thresholds.

    Attributes:
        thresholds: `(T,)` IoU thresholds.
        scores: `(D,)` float32, in the order of the detections that were matched.
        outcome: `(T, D)` int8: `TP`, `FP` or `IGNORED`.
        n_gt: number of counted objects.
    """

    thresholds: tuple[float, ...]
    scores: Annotated[Array, PlainValidator(partial(np.asarray, dtype=np.float32)), PlainSerializer(_listed)]
    outcome: Annotated[Array, PlainValidator(partial(np.asarray, dtype=np.int8)), PlainSerializer(_listed)]
    n_gt: int

    def __post_init__(self) -> None:
        expected = (len(self.thresholds), len(self.scores))
        if self.outcome.shape != expected:
            raise InputError(f"expected outcome to be (T, D) = {expected}, got {self.outcome.shape}")
        if not np.isfinite(self.scores).all():
            raise InputError("expected finite scores, got NaN or inf; what made them is broken")
        if self.n_gt < 0:
            raise InputError(f"expected n_gt >= 0, got {self.n_gt}")

    def hits(self, threshold: float = 0.5) -> Array:
        """`(D,)` int8 outcome of each detection at one of the thresholds.

        Raises:
            InputError: frames were not matched at this threshold.
        """
        if threshold not in self.thresholds:
            raise InputError(f"expected an IoU threshold among {self.thresholds}, got {threshold}")
        return np.asarray(self.outcome[self.thresholds.index(threshold)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = _MATCHES.dump_python(self, mode="json")
        return plain

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> FrameMatches:
        """What `to_dict` gave, bit by bit."""
        return _MATCHES.validate_python(data)


_MATCHES: Final = TypeAdapter(FrameMatches)


# ---------------------------------------------------------------------------------------------- one frame
def in_region(region: Region, xy: Array) -> Bool:
    """Which points `(N, >=2)` in the ego frame are in the evaluation region."""
    if isinstance(region, BevGrid):
        return region.contains(xy)
    return np.asarray((np.abs(xy[:, :2]) < region).all(axis=1))


def counted(truth: Truth, region: Region, *, agents: Iterable[Id] | None = None, min_points: int = MIN_POINTS) -> Bool:
    """Which objects `(G,)` of a frame count as truth; the others are ignorable. `agents`: all, unless given."""
    return truth.visible(agents, min_points=min_points) & in_region(region, truth.boxes)


def match_truth(
    detections: Detections,
    truth: Truth,
    region: Region,
    *,
    agents: Iterable[Id] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> FrameMatches:
    """`match_frame` against a frame's `Truth`, by the rules of the module's docstring."""
    counts = counted(truth, region, agents=agents)
    return match_frame(detections, truth.boxes[counts], truth.boxes[~counts], region=region, thresholds=thresholds)


def found_objects(
    detections: Detections, truth: Truth, region: Region, *, agents: Iterable[Id] | None = None, threshold: float = 0.5
) -> tuple[int, ...]:
    """Which of the objects that count, by their position among those of the truth, are found; as `match_truth`."""
    counts = counted(truth, region, agents=agents)
    inside = in_region(region, detections.boxes)
    order = np.argsort(-detections.scores[inside], kind="stable")
    pairs = _Pairs.of(detections.boxes[inside][order], truth.boxes[counts], threshold)
    positions = np.flatnonzero(counts)
    return tuple(sorted(int(positions[t]) for t in pairs.taken(threshold, np.zeros(len(order), np.bool_)).values()))


def check_figures(detections: Detections, truth_boxes: Array, thresholds: Sequence[float]) -> None:
    """What every figure asks of detections, objects `(G, 7)` and IoU thresholds.

    Raises:
        InputError: for thresholds outside of (0, 1], detections that are not finite, and objects that are not finite
            or have no size.
    """
    if not thresholds or not all(0 < t <= 1 for t in thresholds):
        raise InputError(f"expected IoU thresholds in (0, 1], got {tuple(thresholds)}; use {THRESHOLDS}")
    for what, values in (("boxes", detections.boxes), ("scores", detections.scores)):
        if not np.isfinite(values).all():
            raise InputError(f"expected finite {what}, got NaN or inf; the detector's output is broken")
    truth_boxes = np.asarray(truth_boxes)
    if not (np.isfinite(truth_boxes).all() and (truth_boxes[:, 3:6] > 0).all()):
        raise InputError("expected objects of the truth to be finite and larger than 0, got NaN, inf or no size")


def match_frame(
    detections: Detections,
    truth_boxes: Array,
    ignore_boxes: Array | None = None,
    *,
    region: Region | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> FrameMatches:
    """Match one frame's detections to its counted objects `(G, 7)`, then to the ignorable ones `(I, 7)`.

    All boxes are in the ego frame. Detections centred outside of `region` are left out.

    Raises:
        InputError: for thresholds outside of (0, 1], a region without a size, detections that are not finite, and
            objects that are not finite or have no size.
    """
    check_figures(detections, truth_boxes, thresholds)
    if not (region is None or isinstance(region, BevGrid) or region > 0):
        raise InputError(f"expected a region of more than 0 m, got {region}")
    if ignore_boxes is not None:
        check_figures(detections, ignore_boxes, thresholds)
    n = len(detections)
    rank = np.argsort(-detections.scores, kind="stable")
    if region is not None:
        rank = rank[in_region(region, detections.boxes[rank])]
    ranked = detections.boxes[rank]
    outcome = np.full((len(thresholds), n), IGNORED, np.int8)
    to_truth = _Pairs.of(ranked, truth_boxes, min(thresholds))
    to_ignore = _Pairs.of(ranked, np.zeros((0, 7)) if ignore_boxes is None else ignore_boxes, min(thresholds))
    for row, threshold in zip(outcome, thresholds, strict=True):
        tp = to_truth.assign(threshold, np.zeros(len(ranked), np.bool_))
        ignored = to_ignore.assign(threshold, tp)
        row[rank] = np.where(tp, TP, np.where(ignored, IGNORED, FP))
    return FrameMatches(tuple(float(t) for t in thresholds), detections.scores, outcome, len(truth_boxes))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Overlapping (detection, object) pairs in the order in which greedy matching may take them."""

    detection: Int64  # (P,) ascending rank
    target: Int64  # (P,) within a detection: largest IoU first, then smallest index
    iou: Float64  # (P,) with the tolerance

    @staticmethod
    def of(ranked: Array, targets: Array, least_iou: float) -> _Pairs:
        iou = iou_bev(ranked, targets) + IOU_TOLERANCE
        i, j = np.nonzero(iou >= least_iou)
        order = np.lexsort((j, -iou[i, j], i))
        return _Pairs(i[order], j[order], iou[i, j][order])

    def assign(self, threshold: float, spoken_for: Bool) -> Bool:
        """Which detections `(D,)` take an object."""
        out = np.zeros(len(spoken_for), np.bool_)
        out[list(self.taken(threshold, spoken_for))] = True
        return out

    def taken(self, threshold: float, spoken_for: Bool) -> dict[int, int]:
        """Detection -> the object that it takes. The loop runs over the few pairs that overlap enough."""
        allowed = (self.iou >= threshold) & ~spoken_for[self.detection]
        took, taken = dict[int, int](), set[int]()
        for d, t in zip(self.detection[allowed].tolist(), self.target[allowed].tolist(), strict=True):
            if d not in took and t not in taken:
                took[d] = t
                taken.add(t)
        return took


# ---------------------------------------------------------------------------------------------- all frames
@dataclass(frozen=True, eq=False)
class _Curve:
    """Counts a scene (S) above each score that brings a TP (K): all that the area depends on."""

    tp: Float64  # (S, K) TPs of the scene at or above the k-th score
    fp: Float64  # (S, K)

    @staticmethod
    def of(scores: Array, hit: Bool, scene: Int64, n_scenes: int) -> _Curve:
        """From pooled detections `(D,)` that are not ignored; `scene (D,)` indexes the scenes."""
        distinct, level = np.unique(-scores.astype(np.float64), return_inverse=True)  # best score first
        tp, fp = np.zeros((n_scenes, len(distinct))), np.zeros((n_scenes, len(distinct)))
        np.add.at(tp, (scene[hit], level[hit]), 1)
        np.add.at(fp, (scene[~hit], level[~hit]), 1)
        steps = tp.any(axis=0)  # elsewhere recall stands still and precision only falls
        return _Curve(tp.cumsum(axis=1)[:, steps], fp.cumsum(axis=1)[:, steps])

    def area(self, weights: Float64, n_gt: Float64) -> Float64:
        """AP `(B,)` of each weighting `(B, S)` of the scenes with `n_gt (S,)` objects; 0 where none is left."""
        # Counts are integers below 2^53: the products are exact, so the result is the same on any BLAS.
        tp, fp, total = weights @ self.tp, weights @ self.fp, weights @ n_gt
        precision = tp / np.maximum(tp + fp, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        gain = np.diff(tp, prepend=0.0)
        return np.asarray((gain * envelope).sum(axis=1) / np.maximum(total, 1))


def average_precision(matches: Sequence[FrameMatches]) -> dict[float, float | None]:
    """AP at each IoU threshold over all frames; None where no object counts in any of them."""
    replicated = ap_replicates({"": matches}, np.ones((1, 1), np.int64))
    return {t: None if r is None else r.value for t, r in replicated.items()}


def recall(matches: Sequence[FrameMatches]) -> dict[float, float | None]:
    """Share of the counted objects that are found by any detection; None where no object counts."""
    thresholds, total = _common_thresholds(matches), sum(m.n_gt for m in matches)
    found = sum(((m.outcome == TP).sum(axis=1) for m in matches), start=np.zeros(len(thresholds), np.int64))
    return {t: float(f / total) if total else None for t, f in zip(thresholds, found, strict=True)}


# ----------------------------------------------------------------------------------------------- bootstrap
def ap_replicates(by_scene: Mapping[str, Sequence[FrameMatches]], weights: Int64) -> dict[float, Replicated | None]:
    """AP on the data and on each resample, `weights (B, S)`, whose columns are the scenes sorted by name.

    Draw `weights` once (`scene_weights(len(by_scene), rng)`) and pass them to every policy: then `difference` and
    `recovered_share` compare like with like. None where AP is undefined on the data.
    """
    names = sorted(by_scene)
    if weights.ndim != 2 or weights.shape[1] != len(names):
        raise InputError(f"expected weights of shape (B, {len(names)}), a column a scene, got {weights.shape}")
    frames = [(s, m) for s, name in enumerate(names) for m in by_scene[name]]
    thresholds = _common_thresholds([m for _, m in frames])
    n_gt = np.zeros(len(names))
    for s, m in frames:
        n_gt[s] += m.n_gt
    if n_gt.sum() == 0:
        return dict.fromkeys(thresholds)
    scores = np.concatenate([m.scores for _, m in frames])
    outcome = np.concatenate([m.outcome for _, m in frames], axis=1)
    scene = np.repeat([s for s, _ in frames], [len(m.scores) for _, m in frames])
    defined = (weights @ n_gt > 0) & several(n_gt)
    out: dict[float, Replicated | None] = {}
    for threshold, row in zip(thresholds, outcome, strict=True):
        kept = row != IGNORED
        curve = _Curve.of(scores[kept], row[kept] == TP, scene[kept], len(names))
        value = curve.area(np.ones((1, len(names))), n_gt)[0]
        blocks = np.array_split(weights.astype(np.float64), max(1, len(weights) // 256))  # bounds the memory
        out[threshold] = Replicated(float(value), np.concatenate([curve.area(b, n_gt) for b in blocks]), defined)
    return out


def _common_thresholds(matches: Sequence[FrameMatches]) -> tuple[float, ...]:
    if not matches:
        return THRESHOLDS
    first = matches[0].thresholds
    for m in matches:
        if m.thresholds != first:
            raise InputError(f"expected IoU thresholds {first} in every frame, got {m.thresholds}; match them alike")
    return first
