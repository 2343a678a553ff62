"""GCP: spatial concordance where the ego is sure, temporal flow where it is not, one Benjamini-Hochberg test.

Source: GCP, arXiv 2501.02450: a concordance loss scaled by the ego's confidence finds what contradicts it now; for
regions of low confidence a teammate's objects are held against motion flows of earlier frames; p-values of both are
joined by Benjamini-Hochberg.

Left open there, or out of reach, and chosen here. *The flow*: theirs is a trained network over bird's-eye-view
flows; ours moves the boxes of earlier results by the ego's motion and by their own displacement between the last
two frames. Objects of a teammate where the ego is blind must stand on such a prediction; those near the edge of the
grid may be new. The loss is the summed score of those that do not. *Confidence*: whether the ego's rays saw the
ground around a box. *The first frame* has no flow; its test says nothing. *Joining*: a teammate's smaller p-value,
doubled (Bonferroni over the two tests), goes into one procedure over all teammates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import DEFAULT_GRID
from robosac.boxes import iou_bev
from robosac.calibration import Calibration
from robosac.defenses.rivals.before import Before
from robosac.defenses.rivals.frame import Choice, Look, Peer, check_shares, known, of_each, p_value, scores_of_singles
from robosac.defenses.rivals.learned import FLOW, learned, p_of_loss
from robosac.defenses.rivals.made import refused_by
from robosac.defenses.rivals.matching import match_loss
from robosac.defenses.rivals.surrogates import OfSingles, by_score_maps
from robosac.gate import Gate
from robosac.types import Array, BevGrid, Detections, Float64, Id, Session, Subset, Trial, View
from robosac.visibility import seen_cells

_REACH_M = 4.0  # between two frames an object is looked for within this


def confidence(ego: View, grid: BevGrid, boxes: Array) -> Float64:
    """`(N,)` share of the ground under each box, 3 x 3 places on it, that the ego's own rays saw."""
    seen = seen_cells(ego.points, grid)
    u, v = (g.ravel() for g in np.meshgrid((-0.45, 0.0, 0.45), (-0.45, 0.0, 0.45)))
    b = np.asarray(boxes, np.float64)
    cos, sin = np.cos(b[:, 6:]), np.sin(b[:, 6:])
    along, across = u * b[:, 3:4], v * b[:, 4:5]
    xy = np.stack([b[:, :1] + cos * along - sin * across, b[:, 1:2] + sin * along + cos * across], axis=-1)
    inside = grid.contains(xy.reshape(-1, 2))
    found = np.zeros(len(inside))
    row, col = grid.cells(xy.reshape(-1, 2)[inside])
    found[inside] = seen[row, col]
    return np.asarray(found.reshape(len(b), len(u)).mean(axis=1))


@dataclass(frozen=True)
class Concordance:
    """A `robosac.calibration.Statistic` of singles: minus the match loss, boxes counting by the ego's confidence."""

    name: str = "spatial-concordance"

    def of(self, ego: View, grid: BevGrid, own: Detections, results: Sequence[Detections]) -> list[float]:
        """One score a result."""
        sure = confidence(ego, grid, own.boxes)
        return [-match_loss(own, r, weight_a=sure, weight_b=confidence(ego, grid, r.boxes)) for r in results]

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        return scores_of_singles(
            session, subsets, lambda own, results: self.of(ego, grid or DEFAULT_GRID, own, results)
        )


@dataclass
class Flow:
    """The last two results, and where their objects should be now."""

    last: Before = field(default_factory=Before)
    steps: Float64 = field(default_factory=lambda: np.zeros((0, 2)))  # of each box of the last result, metres a frame

    def predicted(self, look: Look) -> Detections | None:
        """Boxes that are expected now; None in a first frame."""
        if self.last.result is None:
            return None
        moved = Detections(self.last.result.boxes.copy(), self.last.result.scores)
        moved.boxes[:, :2] += self.steps
        return Before(self.last.longest_s, moved, self.last.world_T_ego, self.last.t_ns).seen_now(look)

    def learn(self, look: Look, result: Detections) -> None:
        """Take in what a frame ended with: an object's step is to the nearest one of the frame before."""
        before = self.last.seen_now(look)
        steps = np.zeros((len(result), 2))
        if before is not None and len(before) and len(result):
            apart = result.boxes[:, None, :2] - before.boxes[None, :, :2]
            length = np.hypot(apart[..., 0], apart[..., 1])
            nearest = length.argmin(axis=1)
            rows = np.arange(len(result))
            steps = np.where((length[rows, nearest] < _REACH_M)[:, None], apart[rows, nearest], 0.0)
        self.steps = steps
        self.last.keep(look, result)


def flow_loss(look: Look, predicted: Detections, own: Detections, result: Detections, score: float) -> float:
    """Summed scores of a single's objects where the ego is blind that no prediction and no box of the ego is near."""
    grid, margin = look.grid, 2.0 * _REACH_M
    kept = result.scores >= score
    boxes, scores = result.boxes[kept], result.scores[kept]
    edge = (boxes[:, 0] < grid.x_min_m + margin) | (boxes[:, 0] > grid.x_max_m - margin)
    edge |= (boxes[:, 1] < grid.y_min_m + margin) | (boxes[:, 1] > grid.y_max_m - margin)
    expected = np.concatenate([predicted.boxes, own.boxes])
    new = iou_bev(boxes, expected).max(axis=1, initial=0.0) < 0.1
    blind = 1.0 - confidence(look.ego, grid, boxes)
    return float((scores * blind)[new & ~edge].sum())


@dataclass(frozen=True, kw_only=True)
class SpatialTemporal:
    """GCP.

    Attributes:
        level: of the joint Benjamini-Hochberg test.
        score: from which objects are held against the flow.
        stated: concordance loss above which a teammate is refused where nothing is calibrated.
    """

    level: float = 0.05
    score: float = 0.3
    stated: float = 0.6
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "level", "score", "stated")

    def statistics(self) -> tuple[Concordance]:
        """The concordance; honest flows take two frames, `robosac train-rivals` keeps them."""
        return (Concordance(),)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Flowing(self, calibration).decide)

    def surrogate(self, calibration: Calibration | None, detector: str) -> OfSingles:
        """The overlap of score maps in place of the concordance; the flow is not in it."""
        return by_score_maps(calibration, detector, self.level)


@dataclass
class _Flowing:
    """One scenario of `SpatialTemporal`."""

    of: SpatialTemporal
    calibration: Calibration | None
    flow: Flow = field(default_factory=Flow)

    def decide(self, look: Look) -> Choice:
        of, name = self.of, Concordance().name
        measure = known(self.calibration, look.detector.name, [name], "gcp").get(name)
        own, singles = look.own, look.singles()
        scores = Concordance().of(look.ego, look.grid, own, list(singles.values()))
        p = {i: p_value(measure, s, -of.stated) for i, s in zip(singles, scores, strict=True)}
        temporal: dict[Id, float] = {}
        predicted, honest = self.flow.predicted(look), learned(look.detector.name).get(f"{FLOW}.honest")
        if predicted is not None and honest is not None:
            for i, r in singles.items():
                loss = flow_loss(look, predicted, own, r, of.score)
                temporal[i] = p_of_loss(honest, loss)
        joint = {i: min(1.0, 2 * min(p[i], temporal[i])) if i in temporal else p[i] for i in p}
        refused = refused_by(joint, of.level)
        trials = (
            Trial(frozenset({i}), joint[i], i not in refused, of.level, {"temporal": temporal.get(i, 1.0)})
            for i in look.ids
        )
        made = of_each(trials, {i: 1.0 - joint[i] for i in joint})
        self.flow.learn(look, look.result(made.used))
        return made
