"""How much two results for the same frame agree.

A measure is a value. `against(reference, ego, grid)` fixes one side (the ego's own result) and returns a function that
scores the other side in [0, 1]: 1 means "nothing here contradicts the ego". Two empty results agree fully. A result
that is not finite (NaN or inf in its boxes, scores or map, as an absurd message may cause) agrees with nothing.

- `BoxJaccard` is the paper's measure (section 3.3): boxes matched one to one, matched / (n0 + ns - matched).
- `ScoreMapOverlap` compares the dense score maps, sum(min) / sum(max): no NMS, no thresholds on single boxes.
- `SeenScoreMap` does so above all where the ego's own rays prove it could see: what teammates add behind a corner is
  the reason to have teammates, and hardly a contradiction.

A detector that gives boxes only has its score maps made from them (`robosac.score_maps.rasterise_boxes`), on its own
grid or, where it has none, on `DEFAULT_GRID`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from robosac.boxes import iou_bev, reaches
from robosac.score_maps import rasterise_boxes
from robosac.types import Array, BevGrid, Detections, Float32, InputError, View
from robosac.visibility import seen_cells

Compare: TypeAlias = Callable[[Detections], float]

DEFAULT_GRID: Final = BevGrid(x_min_m=-76.8, y_min_m=-76.8, cell_m=1.2, rows=128, cols=128)
"""About the ego, for detectors without a grid of their own; boxes beyond it are not compared."""


class Agreement(Protocol):
    """A measure of agreement with the ego's own result."""

    @property
    def name(self) -> str:
        """Key of the measure in calibration files and results."""
        ...

    @property
    def default_threshold(self) -> float:
        """What is asked for where no calibration is at hand."""
        ...

    def against(self, reference: Detections, ego: View | None = None, grid: BevGrid | None = None) -> Compare:
        """What compares a result with `reference`, the ego's own: a function from a result to [0, 1].

        `ego` and `grid` are for measures that look at what the ego saw.

        Raises:
            InputError: the measure needs `ego` or `grid` and got none.
        """
        ...


def _if_finite(reference: Detections, compare: Compare) -> Compare:
    """`compare`, but 0 where either side is not finite: comparisons with NaN would take it for "nothing there"."""
    if not reference.finite:
        return lambda other: 0.0
    return lambda other: compare(other) if other.finite else 0.0


def check_finite(detector: str, results: Sequence[Detections]) -> None:
    """That what a detector makes of honest messages is finite.

    Raises:
        InputError: it is not. It would agree with nothing, and a threshold read off it would let everything pass.
    """
    if not all(result.finite for result in results):
        raise InputError(
            f"expected finite results of {detector!r} on honest frames, got NaN, inf or a failure; its weights or its "
            "code are broken"
        )


# ------------------------------------------------------------------------------------------------------ boxes
def jaccard(a: Array, b: Array, *, iou: float) -> float:
    """Jaccard index of two sets of boxes `(N, 7)`, `(M, 7)`: Hungarian matching on BEV IoU, pairs below `iou` undone.

    Source: arXiv 2303.09495, section 3.3; the reference code matches a pair at IoU >= 0.5. Two empty sets give 1.
    """
    if len(a) == 0 and len(b) == 0:
        return 1.0
    overlap = iou_bev(a, b)
    overlap[~reaches(overlap, iou)] = 0.0  # a pair that does not count must not draw a partner away from one that does
    rows, cols = linear_sum_assignment(overlap, maximize=True)
    matched = int((overlap[rows, cols] > 0).sum())
    return matched / (len(a) + len(b) - matched)


@dataclass(frozen=True, kw_only=True)
class BoxJaccard:
    """Jaccard index of matched boxes whose score is at least `min_score`."""

    iou: float = 0.5
    min_score: float = 0.3
    default_threshold: float = 0.3

    @property
    def name(self) -> str:
        return f"box-jaccard(iou={self.iou:g},score={self.min_score:g})"

    def against(self, reference: Detections, ego: View | None = None, grid: BevGrid | None = None) -> Compare:
        own = reference.boxes[reference.scores >= self.min_score]
        return _if_finite(
            reference, lambda other: jaccard(own, other.boxes[other.scores >= self.min_score], iou=self.iou)
        )


# ------------------------------------------------------------------------------------------------- score maps
def overlap(a: Array, b: Array, *, weight: Array | None = None, floor: float = 0.0, slack: float = 0.0) -> float:
    """Weighted overlap `(sum w min(a, b) + slack) / (sum w max(a, b) + slack)` of two score maps `(H, W)`.

    Scores below `floor` count as nothing. `slack` (in cells of full score) keeps a frame with hardly any evidence
    from being judged by noise. Two maps without any score agree fully.

    Raises:
        InputError: the maps differ in shape.
    """
    if a.shape != b.shape:
        raise InputError(f"expected score maps of one shape, got {a.shape} and {b.shape}")
    a, b = (np.where(m >= floor, m, 0.0).astype(np.float64) for m in (a, b))
    if weight is not None:
        a, b = a * weight, b * weight
    top = float(np.minimum(a, b).sum()) + slack
    bottom = float(np.maximum(a, b).sum()) + slack
    return top / bottom if bottom > 0 else 1.0


def map_of(detections: Detections, grid: BevGrid | None) -> Float32:
    """The score map of a result; where it holds boxes only, one made from them on `grid` or else `DEFAULT_GRID`."""
    if detections.score_map is not None:
        return detections.score_map
    return rasterise_boxes(detections.boxes, detections.scores, grid or DEFAULT_GRID)


@dataclass(frozen=True, kw_only=True)
class ScoreMapOverlap:
    """Overlap of the whole score maps."""

    floor: float = 0.1
    slack: float = 1.0
    default_threshold: float = 0.5

    @property
    def name(self) -> str:
        return f"score-map(floor={self.floor:g},slack={self.slack:g})"

    def against(self, reference: Detections, ego: View | None = None, grid: BevGrid | None = None) -> Compare:
        own = map_of(reference, grid)
        return _if_finite(
            reference, lambda other: overlap(own, map_of(other, grid), floor=self.floor, slack=self.slack)
        )


@dataclass(frozen=True, kw_only=True)
class SeenScoreMap:
    """Overlap of the score maps, cells the ego itself could see (see `seen_cells`) counting in full.

    The others count with `unseen_weight`: at 0 what attackers show behind a corner goes unnoticed, at 1 the help of
    honest teammates there looks like an attack. On validation scenes 0.1 let the fewest attackers pass at every budget
    tried (docs/defense.md).
    An ego that sees no cell at all agrees with nobody.
    """

    floor: float = 0.1
    slack: float = 1.0
    unseen_weight: float = 0.1
    default_threshold: float = 0.45

    @property
    def name(self) -> str:
        return f"seen-score-map(floor={self.floor:g},slack={self.slack:g},unseen={self.unseen_weight:g})"

    def against(self, reference: Detections, ego: View | None = None, grid: BevGrid | None = None) -> Compare:
        """As `Agreement.against`.

        Raises:
            InputError: `ego` is None, or `grid` is although results hold score maps.
        """
        if ego is None or (grid is None and reference.score_map is not None):
            raise InputError("SeenScoreMap needs the ego's view and the detector's grid; use ScoreMapOverlap instead")
        grid = grid or DEFAULT_GRID
        own = map_of(reference, grid)
        seen = seen_cells(ego.points, grid)
        if not seen.any():
            return lambda other: 0.0  # an ego that sees nothing can vouch for nobody
        weight = seen + self.unseen_weight * (1 - seen)
        return _if_finite(
            reference,
            lambda other: overlap(own, map_of(other, grid), weight=weight, floor=self.floor, slack=self.slack),
        )
