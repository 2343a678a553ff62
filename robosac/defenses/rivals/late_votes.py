"""Gated late fusion: boxes of all agents, kept where two agents show them.

Source: the baseline in GCP's own repository (arXiv 2501.02450): late fusion, clusters at IoU 0.3, two votes; by its
table it is flat at 70 to 71 AP@0.5 under every attack.

Left open there, and chosen here. *The ego's own boxes* need no second vote: without them the result would be worse
than the ego alone. *A cluster's box*: the ego's where it is in it, else the coordinate-wise median of its voters'
boxes, so that of three voters one cannot move it; *its score*: the second highest of the votes, and the ego's own
where that is higher. Each agent has one vote in a cluster. Voters are what messages show by themselves
(`robosac.capabilities.Solo`); where a detector does not tell, the singles with the ego.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.boxes import iou_bev, nms_bev, reaches
from robosac.calibration import Calibration
from robosac.defenses.rivals.frame import Choice, Look, Peer, check_shares
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detections, Float64, InputError, Subset


@dataclass(frozen=True, kw_only=True)
class LateVotes:
    """Boxes with enough votes.

    Attributes:
        iou: from which boxes are of one cluster.
        votes: agents that must show a box, the ego counted.
        score: from which a box is a vote.
    """

    iou: float = 0.3
    votes: int = 2
    score: float = 0.1
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "iou", "score")
        if self.votes < 1:
            raise InputError(f"expected votes of LateVotes to be at least 1, got {self.votes}")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, self.decide)

    def decide(self, look: Look) -> Choice:
        """One frame; there is no memory."""
        shown = [look.own, *look.each().values()]
        names = [None, *look.ids]
        kept = [r.scores >= self.score for r in shown]
        boxes = np.concatenate([r.boxes[k] for r, k in zip(shown, kept, strict=True)])
        scores = np.concatenate([r.scores[k] for r, k in zip(shown, kept, strict=True)])
        source = np.repeat(np.arange(len(shown)), [int(k.sum()) for k in kept])
        # the ego's boxes lead their clusters, whatever others claim
        seeds = nms_bev(boxes, scores + 2.0 * (source == 0), self.iou)
        together = reaches(iou_bev(boxes[seeds], boxes), self.iou)
        found, values, sources = [], [], []
        for seed, members in zip(seeds, together, strict=True):
            best = {
                int(s): max(float(scores[k]) for k in np.flatnonzero(members & (source == s))) for s in source[members]
            }
            if 0 not in best and len(best) < self.votes:
                continue
            found.append(boxes[seed] if 0 in best else middle(boxes[members], source[members], scores[members]))
            second = sorted(best.values())[-min(self.votes, len(best))]
            values.append(max(best.get(0, 0.0), second if len(best) >= self.votes else 0.0))
            sources.append(frozenset(str(names[s]) for s in best if s))
        order = np.argsort(-np.array(values), kind="stable")
        result = Detections(
            np.array([found[k] for k in order], np.float32).reshape(-1, 7),
            np.array([values[k] for k in order], np.float32),
        )
        rests: tuple[Subset, ...] = tuple(sources[k] for k in order)
        used = frozenset().union(*rests) if rests else EGO_ALONE
        silent = frozenset(look.ids) - used
        return Choice(
            used,
            f"{len(result)} boxes with {self.votes} votes or the ego's",
            EGO_ALONE,
            dict.fromkeys(silent, 0.5),
            (),
            result,
            rests,
        )


def middle(boxes: np.ndarray, source: np.ndarray, scores: np.ndarray) -> Float64:
    """The coordinate-wise median of each voter's best box; headings are those of the best box, which says the way."""
    best = [max(np.flatnonzero(source == s), key=lambda k: scores[k]) for s in np.unique(source)]
    found = np.median(np.asarray(boxes[best], np.float64), axis=0)
    found[6] = boxes[max(best, key=lambda k: scores[k])][6]
    return np.asarray(found)
