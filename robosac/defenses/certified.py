"""A result that so many attackers can do only so much to: boxes ranked by what is proved of them.

Every subset of the teammates is decoded, or a sample of them in larger teams. A box's score is its certified score:
what an attacker-free subset gives it at least, whoever the attackers are. What they could have invented is left out.
Nobody is judged, excluded or accused; docs/certificates.md has the theorems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from robosac.boxes import iou_bev, nms_bev, pairs_reaching, reaches
from robosac.calibration import Calibration
from robosac.certificates import Overlap, Tolerance, Witnesses, withstands
from robosac.defenses.opening import opened
from robosac.defenses.stages import Stages
from robosac.gate import Gate
from robosac.types import (
    EGO_ALONE,
    BevGrid,
    Bool,
    Detections,
    Detector,
    Float32,
    Float64,
    Id,
    InputError,
    Received,
    Request,
    Subset,
    Verdict,
    View,
)


@dataclass(frozen=True, kw_only=True)
class Certified:
    """Ranks by certified score against a number of attackers.

    Attributes:
        attackers: m, against which is certified; not how many there are.
        tolerance: what counts as a match of a box in another result.
        shown_score: score from which a result shows a box, for `Verdict.certificates`.
        decodes: subsets decoded a frame at most. Up to 2^A of them are all; else the ego alone, every teammate alone
            and random disjoint groups of two and more, as far as they reach.
        overlap: a box that overlaps a better one by more is the same object.
        gate: what may enter at all.
    """

    attackers: int = 1
    tolerance: Tolerance = field(default_factory=Overlap)
    shown_score: float = 0.3
    decodes: int = 64
    overlap: float = 0.1
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        for name in ("shown_score", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} in [0, 1], got {getattr(self, name)}")
        for name, least in (("attackers", 0), ("decodes", 1)):
            if getattr(self, name) < least:
                raise InputError(f"expected {name} >= {least}, got {getattr(self, name)}")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> CertifiedDefender:
        return CertifiedDefender(self, rng)

    def surrogate(self, calibration: Calibration | None, detector: str) -> CertifiedSurrogate:
        """What an attacker who knows these settings knows of the defence."""
        return CertifiedSurrogate(self)


@dataclass(frozen=True, eq=False)
class CertifiedSurrogate:
    """Implements `robosac.defenses.protocol.Surrogate`: nothing is refused, and every subset that is decoded counts."""

    defense: Certified

    def against(self, reference: Any, ego: View, grid: BevGrid | None) -> Callable[[Any], Any]:
        """Class logits `(S, H, W)` -> full agreement `(S,)`."""
        return lambda logits: 1.0 + 0.0 * logits.sum(dim=(-2, -1))

    def threshold(self, size: int) -> float:
        """Agreement that a subset of `size` teammates must reach: none."""
        return 0.0

    def draw(self, ids: Sequence[Id], count: int, rng: np.random.Generator) -> list[Subset]:
        """`count` of the subsets that a frame decodes, without the ego alone; fewer where there are fewer."""
        decoded = subsets_of(ids, self.defense.decodes, self.defense.attackers, rng)
        others = [s for s in decoded if s]
        return [others[k] for k in rng.permutation(len(others))[:count]]


class CertifiedDefender:
    """Decides about frame after frame; it remembers nothing."""

    def __init__(self, defense: Certified, rng: np.random.Generator) -> None:
        self._defense, self._rng = defense, rng

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Bad messages are left out and reported; nothing a teammate sends raises."""
        defense, stages = self._defense, Stages()
        admitted, session = opened(defense.gate, stages, detector, ego, to, inbox)
        ids = tuple(session.ids)
        subsets = subsets_of(ids, defense.decodes, defense.attackers, self._rng.spawn(1)[0])
        with stages.measure("decode"):
            decodes = dict(zip(subsets, session.detect(subsets), strict=True))
        with stages.measure("certify"):
            result, found = certified_result(decodes, ids, defense)
            certificates = found.inventors(defense.shown_score)
            support = tuple(tuple(subsets[s] for s in np.flatnonzero(row)) for row in found.shown())
            sources = tuple(frozenset().union(*shown) for shown in support)
        holds = int(withstands(certificates, defense.attackers).sum())
        return Verdict(
            result=result,
            used=frozenset().union(*sources),
            accused=EGO_ALONE,
            suspicion=dict.fromkeys(ids, 0.0),
            trials=(),
            decodes=len(decodes),
            ms=stages.done(),
            reason=admitted.nobody
            or f"{holds} of {len(result)} boxes are shown whichever {defense.attackers} of {len(ids)} attack",
            rejected=admitted.rejected,
            sources=sources,
            support=support,
            certificates=certificates,
        )


def subsets_of(ids: Sequence[Id], most: int, attackers: int, rng: np.random.Generator) -> list[Subset]:
    """Which subsets are decoded: all where they are no more than `most`, else a sample of so many.

    It starts with the ego alone. Then the teammates, in random order, are cut into groups of 1, of 2, ... up to the
    size at which `attackers + 1` disjoint groups fit, and again: disjoint supporters are what a certificate is made of.
    """
    if len(ids) < 30 and 1 << len(ids) <= most:
        return [frozenset(c) for size in range(len(ids) + 1) for c in combinations(ids, size)]
    largest = max(1, len(ids) // (attackers + 1))
    chosen = {EGO_ALONE: None}
    for _ in range(most):  # a round may bring nothing new
        for size in range(1, largest + 1):
            order = rng.permutation(len(ids))
            for start in range(0, len(ids) - size + 1, size):
                if len(chosen) == most:
                    return list(chosen)
                chosen[frozenset(ids[k] for k in order[start : start + size])] = None
    return list(chosen)


def certified_result(
    decodes: Mapping[Subset, Detections], ids: Sequence[Id], defense: Certified
) -> tuple[Detections, Witnesses]:
    """The boxes that so many attackers cannot have invented, best certified score first, and who shows each.

    Every box of every result is a candidate. Of boxes that overlap one stands for all: the ego's, else the one with the
    best score, among equals the one that most subsets show. It is put where the median rule says, unless it is shown
    less there, overlaps another, or leaves the ego's box. Scores and certificates are those of the boxes given.
    """
    own = decodes[EGO_ALONE].boxes
    boxes = np.concatenate([own, *(d.boxes for s, d in decodes.items() if s != EGO_ALONE)])
    found, scores = _certify(boxes, decodes, ids, defense)
    held = np.flatnonzero(np.isfinite(scores))
    order = held[np.lexsort((-found.shown()[held].sum(axis=1), -scores[held], held >= len(own)))]
    stand = order[nms_bev(boxes[order], -np.arange(len(order)), defense.overlap)]
    given, at_least = boxes[stand], scores[stand]
    places = found.take(stand).places(defense.attackers)[0].astype(np.float32)
    moves = _certify(places, decodes, ids, defense)[1] >= at_least
    moves &= ~_crowded(places, given, defense.overlap) & ~_crowded(places, places, defense.overlap)
    covers, would = (reaches(iou_bev(own, b), defense.overlap) for b in (given, places))
    moves &= ~(covers & ~would).any(axis=0)
    given[moves] = places[moves]
    found, scores = _certify(given, decodes, ids, defense)
    ranked = np.argsort(-scores, kind="stable")
    found = found.take(ranked)
    return Detections(found.references, scores[ranked].astype(np.float32)), found


def _certify(
    boxes: Float32, decodes: Mapping[Subset, Detections], ids: Sequence[Id], defense: Certified
) -> tuple[Witnesses, Float64]:
    found = Witnesses.of(boxes, decodes, ids, defense.tolerance)
    return found, found.certified_scores(defense.attackers)


def _crowded(boxes: Float32, others: Float32, overlap: float) -> Bool:
    """Which box `(N,)` overlaps one of the others `(N, 7)` but its own by more."""
    i, j, iou = pairs_reaching(boxes, others, max(overlap, 1e-3))
    out = np.zeros(len(boxes), np.bool_)
    out[i[(i != j) & (iou > overlap)]] = True
    return out
