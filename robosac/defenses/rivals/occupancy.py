"""Occupancy (CAD): boxes on ground that is seen to be free, and surfaces without a box.

Source: Zhang et al., "On Data Fabrication in Collaborative Vehicular Perception", arXiv 2309.12955: vehicles share
maps of free and occupied space; a box on free space, or an object's surface that lost its box, is a conflict. 91.5
% of attacks at 3 % false alarms.

Left open, and chosen here. *Whose maps*: the ego's own alone. Messages here hold no occupancy, and a shared map is
one more claim of its sender; so nothing is noticed where the ego sees nothing, as theirs notices nothing where no
honest agent does. *What is occupied*: a box of the ego's own result, well scored, with its own points in it. *The
limit*: conflicts that 3 % of honest teammates exceed. A teammate's boxes are those of its single with the ego, so
that the idea applies to features and boxes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.boxes import iou_bev
from robosac.calibration import Calibration
from robosac.defenses.rivals.frame import Choice, Look, Peer, asked, check_shares, known, of_each, scores_of_singles
from robosac.gate import Gate
from robosac.poses import FreeGround
from robosac.poses.objects import Objects
from robosac.types import Array, BevGrid, Detections, Float32, Float64, Session, Subset, Trial, View


@dataclass(frozen=True)
class Conflicts:
    """A `robosac.calibration.Statistic` of singles: minus the scores in conflict with what the ego's rays show.

    Attributes:
        score: from which a box counts.
        iou: from which two boxes are at one place.
        points: of the ego's, that make a surface.
    """

    score: float = 0.3
    iou: float = 0.3
    points: int = 8

    @property
    def name(self) -> str:
        return f"occupancy-conflicts(score={self.score:g},iou={self.iou:g},points={self.points})"

    def of(self, ego: View, own: Detections, results: Sequence[Detections]) -> list[float]:
        """Conflicts of each result, in summed scores: boxes on free ground, and own boxes on surfaces that are gone."""
        free = FreeGround.of(ego.points)
        solid = own.scores >= self.score
        solid &= points_inside(ego.points, own.boxes) >= self.points
        found = []
        for r in results:
            objects = Objects.of(r, min_score=self.score)
            on_free = free.refuted(objects, np.zeros((1, 3)), np.zeros(2))[0] if len(objects) else np.zeros(0, np.bool_)
            kept = iou_bev(own.boxes[solid], r.boxes[r.scores >= self.score / 2]).max(axis=1, initial=0.0) >= self.iou
            found.append(float(objects.weight[on_free].sum() + own.scores[solid][~kept].sum()))
        return found

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        return scores_of_singles(session, subsets, lambda own, results: [-c for c in self.of(ego, own, results)])


def points_inside(points: Float32, boxes: Array) -> Float64:
    """`(N,)` how many points `(P, >=3)` are inside each box `(N, 7)` seen from above, above its lower fifth."""
    counts = np.zeros(len(boxes))
    for k, (x, y, z, length, width, height, yaw) in enumerate(np.asarray(boxes, np.float64)):
        dx, dy = points[:, 0] - x, points[:, 1] - y
        along, across = np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx
        inside = (2 * np.abs(along) <= length) & (2 * np.abs(across) <= width) & (points[:, 2] > z - 0.3 * height)
        counts[k] = np.count_nonzero(inside)
    return counts


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Whoever is in more conflict than honest teammates are is left out.

    Attributes:
        conflicts: how they are counted.
        alpha: share of honest teammates that may be refused, as published.
        stated: conflicts that are allowed where nothing is calibrated.
    """

    conflicts: Conflicts = field(default_factory=Conflicts)
    alpha: float = 0.03
    stated: float = 1.0
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "alpha")

    def statistics(self) -> tuple[Conflicts]:
        """The conflicts of honest singles."""
        return (self.conflicts,)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        def decide(look: Look) -> Choice:
            held = known(calibration, look.detector.name, [self.conflicts.name], "occupancy")
            limit = asked(held.get(self.conflicts.name), 1, self.alpha, -self.stated)
            singles = look.singles()
            found = self.conflicts.of(look.ego, look.own, list(singles.values()))
            return of_each(Trial.judged(frozenset({i}), -c, limit) for i, c in zip(singles, found, strict=True))

        return Peer(self.gate, decide)
