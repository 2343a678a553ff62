"""PRBI: two groups a frame, each held against the frame before, and a Bayesian memory of who attacks.

Source: "All Vehicles Can Lie", arXiv 2603.08498: no trust in the ego's present view; the reliable result of the
frame before is the reference; a pseudo-random grouping takes two checks a frame, 2.5 on average; Bayes estimates
how many attack and who.

Left open, and chosen here. *Reference*: boxes of the result before, moved by the ego's motion; in a first frame, or
after none for a second, the ego's own result, since there is nothing else. *Agreement*: Jaccard index at IoU 0.3
(boxes of moving cars are a frame old), asked is 0.3. *Grouping*: the teammates in an order drawn anew in each
frame, those suspected of more than one half all in the second group. *Memory*: a posterior of each teammate; a
check passes an honest group with 1 - `false_reject`, another with `false_accept`; from frame to frame it is mixed
with the prior by `forget`, so that who begins to attack late is found. *Fusion*: everybody if both groups passed,
else whoever is suspected of less than one half, checked once more where that is a new set; the reference's own
boxes are never a result: with nobody left the ego stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import BoxJaccard
from robosac.calibration import Calibration
from robosac.defenses.plans import Unknown
from robosac.defenses.rivals.before import Before
from robosac.defenses.rivals.frame import Choice, Look, Peer, check_shares
from robosac.defenses.surrogate import RobosacSurrogate
from robosac.gate import Gate
from robosac.trust import Belief
from robosac.types import EGO_ALONE, Id, Subset, Trial


@dataclass(frozen=True, kw_only=True)
class TwoGroups:
    """PRBI.

    Attributes:
        agreement, threshold: how a group is held against the reference.
        attack_rate, false_accept, false_reject: prior and error rates of a check.
        forget: share of the prior that is mixed in from frame to frame.
        longest_s: how old a reference may be.
    """

    agreement: BoxJaccard = field(default_factory=lambda: BoxJaccard(iou=0.3, min_score=0.3))
    threshold: float = 0.3
    attack_rate: float = 0.2
    false_accept: float = 0.1
    false_reject: float = 0.1
    forget: float = 0.05
    longest_s: float = 1.0
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "threshold", "forget")
        Belief(attack_rate=self.attack_rate, false_accept=self.false_accept, false_reject=self.false_reject)  # checks

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Remembering(self, rng, Before(self.longest_s), Posterior(self)).decide)

    def surrogate(self, calibration: Calibration | None, detector: str) -> RobosacSurrogate:
        """Score maps against the ego's own in place of boxes against the frame before."""
        return RobosacSurrogate(self.agreement, Unknown(), lambda size: self.threshold)


class Posterior:
    """How probable it is that each teammate attacks; one of whom nothing was heard has the prior.

    Kept as a product of marginals, for any number of teammates: the sets of attackers double
    with each.
    """

    def __init__(self, settings: TwoGroups) -> None:
        self._of = settings
        self._held: dict[Id, float] = {}

    def fade(self) -> None:
        """Mix in the prior, once a frame."""
        of = self._of
        self._held = {i: (1 - of.forget) * p + of.forget * of.attack_rate for i, p in self._held.items()}

    def suspicion(self, ids: Sequence[Id]) -> dict[Id, float]:
        """Of each of these."""
        return {i: self._held.get(i, self._of.attack_rate) for i in ids}

    def learn(self, trial: Trial) -> None:
        """Bayes, for each member of a group that was checked, the others taken as they are believed to be."""
        of, now = self._of, self.suspicion(sorted(trial.subset))
        for i, p in now.items():
            clean = float(np.prod([1.0 - q for j, q in now.items() if j != i]))
            passes_honest = clean * (1.0 - of.false_reject) + (1.0 - clean) * of.false_accept
            passes = (of.false_accept, passes_honest)
            attacks, honest = passes if trial.accepted else (1.0 - passes[0], 1.0 - passes[1])
            self._held[i] = p * attacks / (p * attacks + (1.0 - p) * honest)


@dataclass
class _Remembering:
    """One scenario of `TwoGroups`."""

    of: TwoGroups
    rng: np.random.Generator
    before: Before
    belief: Posterior

    def decide(self, look: Look) -> Choice:
        reference, belief = self.before.seen_now(look), self.belief
        belief.fade()
        compare = self.of.agreement.against(look.own if reference is None else reference, look.ego, look.grid)
        suspicion, trials = belief.suspicion(look.ids), list[Trial]()

        def check(group: Subset) -> bool:
            trials.append(Trial.judged(group, compare(look.result(group)), self.of.threshold))
            belief.learn(trials[-1])
            return trials[-1].accepted

        order = sorted((look.ids[k] for k in self.rng.permutation(len(look.ids))), key=lambda i: suspicion[i] > 0.5)
        half = (len(order) + 1) // 2
        passed = [check(frozenset(g)) for g in (order[:half], order[half:]) if g]  # both, whatever the first says
        suspicion = belief.suspicion(look.ids)
        used = frozenset(i for i in look.ids if all(passed) or suspicion[i] < 0.5)
        if used and not all(passed) and used not in {t.subset for t in trials if t.accepted} and not check(used):
            used = max((t.subset for t in trials if t.accepted), key=len, default=EGO_ALONE)
        self.before.keep(look, look.result(used))
        suspicion = belief.suspicion(look.ids)
        accused = frozenset(i for i in look.ids if suspicion[i] > 0.8 and i not in used)
        return Choice(used, f"{len(used)} teammates after {len(trials)} checks", accused, suspicion, tuple(trials))
