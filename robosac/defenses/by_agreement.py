"""ROBOSAC by agreement alone: gate, one session, the search, the verdict, what is remembered.

The paper's defence, and a walk of our own with memory (preset `robosac-agreement`). A subset is accepted by one number:
how much its result agrees with the ego's own. Who knows that number keeps it up; `robosac.defenses.robosac` asks more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from robosac.agreement import Agreement, BoxJaccard, Compare, SeenScoreMap
from robosac.boxes import iou_bev, reaches
from robosac.calibration import Calibration, WithEgo
from robosac.consensus import Consensus, search
from robosac.defenses.opening import opened
from robosac.defenses.plans import PaperKnown, PaperUnknown, Plan, Unknown
from robosac.defenses.protocol import FINITE
from robosac.defenses.stages import Stages
from robosac.defenses.surrogate import RobosacSurrogate
from robosac.errors import warn
from robosac.gate import Gate
from robosac.trust import Belief
from robosac.types import EGO_ALONE, Detections, Detector, InputError, Received, Request, Subset, Trial, Verdict, View


@dataclass(frozen=True, kw_only=True)
class RobosacAgreement:
    """The consensus defence by agreement; `paper` and `paper_probing` are the paper's own settings.

    Attributes:
        plan: which subsets, how many trials (see `plans`).
        agreement: how two results are compared (see `agreement`).
        threshold: agreement asked for; None takes the calibrated one of the detector, by subset size.
        gate: what may enter at all.
        belief: error rates behind suspicion and accusation.
        accuse_above: a teammate left out with at least this suspicion is accused.
        support_iou: a box of another trial with at least this IoU supports a box of the result.
        batch: subsets decoded at once; more than one pays on a GPU.
    """

    plan: Plan = field(default_factory=Unknown)
    agreement: Agreement = field(default_factory=SeenScoreMap)
    threshold: float | None = None
    gate: Gate = field(default_factory=Gate)
    belief: Belief = field(default_factory=Belief)
    accuse_above: float = 0.8
    support_iou: float = 0.3
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("accuse_above", "support_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {name} in [0, 1], got {getattr(self, name)}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"expected threshold to be a finite agreement or None (calibrated), got {self.threshold}")
        if self.batch < 1:
            raise InputError(f"expected batch >= 1, got {self.batch}")

    @staticmethod
    def paper(attackers: int, *, size: int | None = None, budget: int | None = None) -> RobosacAgreement:
        """The paper's settings, number of attackers given: uniform draws, box Jaccard >= 0.3, p = 0.99."""
        plan = PaperKnown(attackers=attackers, size=size, budget=budget)
        return RobosacAgreement(plan=plan, agreement=BoxJaccard(), threshold=0.3)

    @staticmethod
    def paper_probing(budget: int = 5) -> RobosacAgreement:
        """The paper's settings, number of attackers unknown (A2CP)."""
        return RobosacAgreement(plan=PaperUnknown(budget=budget), agreement=BoxJaccard(), threshold=0.3)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> AgreementDefender:
        return AgreementDefender(self, calibration, rng)

    def statistics(self) -> tuple[WithEgo]:
        """The agreement, whose thresholds honest frames tell."""
        return (WithEgo(self.agreement),)

    def surrogate(self, calibration: Calibration | None, detector: str) -> RobosacSurrogate:
        """What an attacker who knows these settings and the calibration knows of the defence of this detector."""
        return RobosacSurrogate(self.agreement, self.plan, partial(self.required, calibration, detector))

    def required(self, calibration: Calibration | None, detector: str, size: int) -> float:
        """Agreement a subset of `size` must reach."""
        if self.threshold is not None:
            return self.threshold
        if calibration is not None and self.agreement.name in calibration.measures:
            if calibration.detector == detector:
                return calibration.measures[self.agreement.name].threshold(size)
            why = f"the calibration is for {calibration.detector!r}, a model of other weights or another name"
        else:
            why = "it is not calibrated"
        warn(
            f"{self.agreement.name} on detector {detector!r} uses its default threshold "
            f"{self.agreement.default_threshold}: {why}; run `robosac calibrate`, or name the file that it wrote: "
            "wrap(detector, calibration=FILE)"
        )
        return self.agreement.default_threshold


class AgreementDefender:
    """Defends the frames of one scenario, in order."""

    def __init__(self, defense: RobosacAgreement, calibration: Calibration | None, rng: np.random.Generator) -> None:
        self._defense, self._calibration, self._rng = defense, calibration, rng
        self._memory = defense.plan.start()

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Bad messages are left out and reported; nothing a teammate sends raises."""
        defense, stages = self._defense, Stages()
        admitted, session = opened(defense.gate, stages, detector, ego, to, inbox)
        ids = session.ids
        orders = self._memory.frame(ids)

        compare: Compare | None = None

        def judge(reference: Detections, subset: Subset, result: Detections) -> Trial:
            nonlocal compare
            if compare is None:
                compare = defense.agreement.against(reference, ego, detector.grid)
            required = defense.required(self._calibration, detector.name, len(subset))
            trial = Trial.judged(subset, compare(result), required)
            return trial if result.finite else replace(trial, scores={FINITE: 0.0})

        found = search(
            ids,
            stages.timed("decode", session.detect),
            stages.timed("agree", judge),
            orders.proposer,
            orders.budget,
            self._rng.spawn(1)[0],  # a generator a frame: what one frame draws moves no other frame's draws
            batch=defense.batch,
        )
        self._memory.learn(ids, found.used, found.trials)
        with stages.measure("report"):
            suspicion = defense.belief.suspicion(ids, found.trials, at_most=orders.at_most)
            held = any(t.accepted for t in found.trials)  # a frame that refuses everything accuses nobody
            accused = frozenset(i for i in ids if held and i not in found.used and suspicion[i] >= defense.accuse_above)
            support = supporters(found, defense.support_iou)
        return Verdict(
            result=found.result,
            used=found.used,
            accused=accused,
            suspicion=suspicion,
            trials=found.trials,
            decodes=found.decodes,
            ms=stages.done(),
            reason=_reason(found, len(ids), admitted.nobody, orders.budget),
            rejected=admitted.rejected,
            support=support,
        )


def supporters(found: Consensus[Detections], iou: float) -> tuple[tuple[Subset, ...], ...]:
    """For each box of the result, the other subsets tried (the ego alone included) that show a box there too."""
    shown = {EGO_ALONE: found.reference} | {t.subset: r for t, r in zip(found.trials, found.results, strict=True)}
    others = [(subset, result) for subset, result in shown.items() if subset != found.used]
    support: list[list[Subset]] = [[] for _ in range(len(found.result))]
    every = np.concatenate([r.boxes for _, r in others] or [np.zeros((0, 7), np.float32)])
    owner = np.repeat(np.arange(len(others)), [len(r) for _, r in others])
    box, shower = np.nonzero(reaches(iou_bev(found.result.boxes, every), iou))
    for b, o in np.unique(np.stack([box, owner[shower]], axis=1), axis=0):
        support[b].append(others[o][0])
    return tuple(tuple(s) for s in support)


def _reason(found: Consensus[Detections], n_ids: int, nobody: str | None, budget: int) -> str:
    if not found.reference.finite:
        return "the ego's own result is not finite: the detector's weights or its code are broken"
    if nobody is not None:
        return nobody
    if found.used:
        return f"{len(found.used)} of {n_ids} teammates agree with the ego after {len(found.trials)} trials"
    return (
        f"no subset agreed with the ego in {len(found.trials)} of at most {budget} trials; the ego's own result stands"
    )
