"""ROBOSAC over several frames: the frame before as reference, and attackers that stay the same.

Source: arXiv 2303.09495, sections 3.4 and 5 (temporal reference; fixed attackers). Both are told the number of
attackers, draw as the paper does and accept at a Jaccard index of 0.3.

Left open there, and chosen here. *What the reference is after a frame without consensus*: the ego's own result of
the next frame, since nothing was accepted. *When an accepted subset is verified again*: never, as in the published
code, where a member of it that begins to attack later is fused for good; it is dropped once one of its members is
out of range.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import BoxJaccard
from robosac.calibration import Calibration
from robosac.defenses.plans import PaperKnown
from robosac.defenses.rivals.before import Before
from robosac.defenses.rivals.frame import Choice, Look, Peer, check_shares
from robosac.defenses.surrogate import RobosacSurrogate
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detections, Subset, Trial


@dataclass(frozen=True, kw_only=True)
class TemporalReference:
    """Subsets are compared with what the frame before accepted, moved by the ego's motion; this saves the ego's pass.

    Attributes:
        attackers: how many there are.
        agreement, threshold: as published.
        confidence: of the trial budget.
        longest_s: how old a reference may be.
    """

    attackers: int
    agreement: BoxJaccard = field(default_factory=BoxJaccard)
    threshold: float = 0.3
    confidence: float = 0.99
    longest_s: float = 1.0
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "threshold")
        _ = self.plan  # checks its settings

    @property
    def plan(self) -> PaperKnown:
        """How many subsets of which size."""
        return PaperKnown(attackers=self.attackers, confidence=self.confidence)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Carried(self, rng, Before(self.longest_s)).decide)

    def surrogate(self, calibration: Calibration | None, detector: str) -> RobosacSurrogate:
        """As of ROBOSAC: the reference of the first frame, later ones are close to it."""
        return RobosacSurrogate(self.agreement, self.plan, lambda size: self.threshold)


@dataclass
class _Carried:
    """One scenario of `TemporalReference`."""

    of: TemporalReference
    rng: np.random.Generator
    before: Before

    def decide(self, look: Look) -> Choice:
        reference = self.before.seen_now(look)
        found = _drawn(look, self.of, look.own if reference is None else reference, self.rng)
        if found.used:
            self.before.keep(look, look.result(found.used))
        else:
            self.before.result = None
        return found


@dataclass(frozen=True, kw_only=True)
class FixedAttackers:
    """The subset that is accepted first is kept, unverified, while all its members send.

    Attributes: as of `TemporalReference`; the reference is the ego's own result.
    """

    attackers: int
    agreement: BoxJaccard = field(default_factory=BoxJaccard)
    threshold: float = 0.3
    confidence: float = 0.99
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "threshold")
        _ = self.plan

    @property
    def plan(self) -> PaperKnown:
        """How many subsets of which size."""
        return PaperKnown(attackers=self.attackers, confidence=self.confidence)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Kept(self, rng).decide)

    def surrogate(self, calibration: Calibration | None, detector: str) -> RobosacSurrogate:
        """As of ROBOSAC."""
        return RobosacSurrogate(self.agreement, self.plan, lambda size: self.threshold)


@dataclass
class _Kept:
    """One scenario of `FixedAttackers`."""

    of: FixedAttackers
    rng: np.random.Generator
    subset: Subset = EGO_ALONE

    def decide(self, look: Look) -> Choice:
        if self.subset and self.subset <= frozenset(look.ids):
            return Choice(self.subset, "the subset that was accepted before")
        found = _drawn(look, self.of, look.own, self.rng)
        self.subset = found.used
        return found


def _drawn(
    look: Look, of: TemporalReference | FixedAttackers, reference: Detections, rng: np.random.Generator
) -> Choice:
    """The first drawn subset that passes; as in the paper nobody is accused."""
    compare, orders = of.agreement.against(reference, look.ego, look.grid), of.plan.start().frame(look.ids)
    trials: list[Trial] = []
    while len(trials) < orders.budget and not (trials and trials[-1].accepted):
        subsets = orders.proposer.propose(look.ids, tuple(trials), rng, 1)
        if not subsets:
            break
        trials.append(Trial.judged(subsets[0], compare(look.result(subsets[0])), of.threshold))
    used = trials[-1].subset if trials and trials[-1].accepted else EGO_ALONE
    said = f"{len(used)} of {len(look.ids)} teammates agree" if used else "no subset agreed"
    return Choice(used, f"{said} after {len(trials)} trials", trials=tuple(trials))
