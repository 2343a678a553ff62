"""ROBOSAC around any detector: what each teammate shows alone is verified, then what subsets of them show together.

Hypothesize and verify (arXiv 2303.09495), but a subset is verified by more than its agreement with the ego, since
whoever knows one number keeps that one up:

1. *Poses* that teammates claim are held against what the ego sees (`robosac.poses`), where a session can tell.
2. *Singles.* Every teammate is decoded alone with the ego. It is left out where that contradicts what the ego sees, or
   shows more that nobody else shows than honest teammates do.
3. *Joint results* of those who are left, the largest subsets first: each must agree with the ego, and must be what its
   members show (`robosac.evidence`).
4. *Pooling.* Of equally large consistent subsets none is chosen: all of them make the result.
5. *Ranks.* A box is ranked by who shows it. What the ego's rays prove to be free ground is dropped.

Every limit is what honest frames, exact and disturbed ones, stay within (`robosac calibrate`). Nobody is accused by
what others sent: only a teammate's own single speaks against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TypeAlias

import numpy as np

from robosac.agreement import Agreement, Compare, SeenScoreMap
from robosac.calibration import Calibration, Statistic, WithEgo
from robosac.capabilities import Solo
from robosac.certificates import Overlap, Witnesses
from robosac.consensus import Consensus, search
from robosac.defenses.by_agreement import RobosacAgreement
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.defenses.joint import STRAIN, JointResults, second_look
from robosac.defenses.limits import Limits
from robosac.defenses.opening import opened
from robosac.defenses.ranking import Ranking
from robosac.defenses.singles import Singles
from robosac.defenses.stages import Stages
from robosac.defenses.surrogate import EvidenceSurrogate
from robosac.evidence import Consistency, Showing, SoleClaims, WithMembers, pooled
from robosac.gate import Gate
from robosac.poses import FreeGround, PoseVerdict
from robosac.probing import Downwards, tries_per_size
from robosac.trust import Belief
from robosac.types import (
    EGO_ALONE,
    Detections,
    Detector,
    Id,
    InputError,
    Received,
    Request,
    Session,
    Subset,
    Verdict,
    View,
)

Detect: TypeAlias = Callable[[Sequence[Subset]], list[Detections]]


@dataclass(frozen=True, kw_only=True)
class Robosac:
    """The consensus defence, number of attackers unknown unless it is given.

    Attributes:
        attackers: so many attack at most, so that no more than all others are tried together; None: unknown.
        budget: joint results judged a frame at most.
        poses: how claimed poses are verified first; None leaves them unverified. Passed over where a session tells
            nothing of them (`robosac.capabilities.Solo`).
        agreement: how a result is compared with the ego's own.
        showing: what counts as showing a box.
        consistency: how far a joint result may be from what its members show.
        alpha: share of honest results that may be refused for what they agree in, or for what they claim.
        strain_alpha: share of honest joint results of two and more that may be refused for not being what their members
            show. It costs little: smaller ones are pooled in their place. Where none of two and more is left, those
            within the calibration's own limit are taken.
        sure: everybody together stands alone where its strain is at most this share of its limit, which three of four
            honest frames keep; else it is one voice beside `pool` sizes below.
        pool: sizes of consistent subsets that are pooled, from the largest down.
        ranking: how boxes are ranked by who shows them.
        gate: what may enter at all.
        belief: error rates behind suspicion.
        accuse_beyond: a teammate is accused where its own single is so many times further off than is allowed.
        batch: joint results decoded at once; more than one pays on a GPU.
    """

    attackers: int | None = None
    budget: int = 32
    poses: ClaimedPoses | None = field(default_factory=ClaimedPoses)
    agreement: Agreement = field(default_factory=SeenScoreMap)
    showing: Showing = field(default_factory=Showing)
    consistency: Consistency = field(default_factory=Consistency)
    alpha: float = 0.01
    strain_alpha: float = 0.2
    sure: float = 0.75
    pool: int = 2
    ranking: Ranking = field(default_factory=Ranking)
    gate: Gate = field(default_factory=Gate)
    belief: Belief = field(default_factory=Belief)
    accuse_beyond: float = 1.5
    batch: int = 1

    def __post_init__(self) -> None:
        if self.attackers is not None and self.attackers < 0:
            raise InputError(f"expected attackers >= 0 or None (unknown), got {self.attackers}")
        for name, least in (("budget", 0), ("pool", 1), ("batch", 1), ("accuse_beyond", 1)):
            if not getattr(self, name) >= least:
                raise InputError(f"expected {name} >= {least}, got {getattr(self, name)}")
        if not 0 <= self.sure <= 1:
            raise InputError(f"expected sure in [0, 1], got {self.sure}")
        for name in ("alpha", "strain_alpha"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"expected {name} inside (0, 1), got {getattr(self, name)}")

    @staticmethod
    def paper(attackers: int, *, size: int | None = None, budget: int | None = None) -> RobosacAgreement:
        """The paper's settings, number of attackers given: uniform draws, box Jaccard >= 0.3, p = 0.99."""
        return RobosacAgreement.paper(attackers, size=size, budget=budget)

    @staticmethod
    def paper_probing(budget: int = 5) -> RobosacAgreement:
        """The paper's settings, number of attackers unknown (A2CP)."""
        return RobosacAgreement.paper_probing(budget)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> RobosacDefender:
        return RobosacDefender(self, calibration, rng)

    def statistics(self) -> tuple[Statistic, ...]:
        """What honest frames are asked: agreement, claims of one and of two, strain, and gains of other poses."""
        gains = () if self.poses is None else self.poses.gains
        return (self._with_ego, *self._claims, self._with_members, *gains)

    def surrogate(self, calibration: Calibration | None, detector: str) -> EvidenceSurrogate:
        """What an attacker who knows these settings and the calibration knows of the defence of this detector."""
        return EvidenceSurrogate(self.agreement, self.limits(calibration, detector), self.showing, self.consistency)

    def limits(self, calibration: Calibration | None, detector: str) -> Limits:
        """What honest frames of this detector allow."""
        levels = self.alpha, self.strain_alpha
        return Limits.of(self._with_ego, *self._claims, self._with_members, *levels, calibration, detector)

    @property
    def _with_ego(self) -> WithEgo:
        return WithEgo(self.agreement, disturbed=True)

    @property
    def _claims(self) -> tuple[SoleClaims, SoleClaims]:
        return SoleClaims(showing=self.showing), SoleClaims(together=2, showing=self.showing)

    @property
    def _with_members(self) -> WithMembers:
        return WithMembers(consistency=self.consistency, showing=self.showing)


@dataclass(frozen=True, eq=False)
class _Heard:
    """What is left of an inbox after the gate and the check of poses.

    Attributes:
        session: of the messages that go on.
        admitted: how many the gate let in.
        rejected: link -> why its message was left out.
        nobody: why nobody passed the gate; None where somebody did.
        told: what was mended and refused, in words.
        decodes: that the check of poses took.
        excused: whose pose was mended on the word of others, who may be wrong: what such a one shows is not its own.
    """

    session: Session
    admitted: int
    rejected: Mapping[Id, str]
    nobody: str | None
    told: str = ""
    decodes: int = 0
    excused: Subset = EGO_ALONE


class RobosacDefender:
    """Defends the frames of one scenario, in order."""

    def __init__(self, defense: Robosac, calibration: Calibration | None, rng: np.random.Generator) -> None:
        self._defense, self._calibration, self._rng = defense, calibration, rng
        self._fine: Subset = EGO_ALONE  # whose pose was fine when last asked
        self._off: Subset = EGO_ALONE  # whose pose was off when it could last be told

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Bad messages are left out and reported; nothing a teammate sends raises."""
        defense, stages = self._defense, Stages()
        admitted, session = opened(defense.gate, stages, detector, ego, to, inbox)
        rng = self._rng.spawn(1)[0]  # a generator a frame: what one frame draws moves no other frame's draws
        ground = cache(partial(FreeGround.of, ego.points))
        heard = _Heard(session, len(admitted.messages), admitted.rejected, admitted.nobody)
        if defense.poses is not None and isinstance(session, Solo) and session.ids:
            with stages.measure("poses"):
                verdicts = self._poses_judged(session, detector, ground(), rng)
                checked = defense.poses.sort(admitted.messages, verdicts, to)
                if checked.changed:
                    session = detector.open(ego, to, checked.messages)
            heard = replace(
                heard,
                session=session,
                rejected={**admitted.rejected, **checked.refused},
                told=checked.reason,
                decodes=len(verdicts) + checked.changed,  # opened again, the ego's own is decoded again
                excused=frozenset(i for i, v in verdicts.items() if v.kind == "corrected" and v.witnesses),
            )
        return self._verified(detector, ego, heard, ground, stages, rng)

    def _poses_judged(
        self, session: Solo, detector: Detector, ground: FreeGround, rng: np.random.Generator
    ) -> dict[Id, PoseVerdict]:
        """Verdicts on the poses of who was not fine when last asked, and of one more, drawn at random; of everybody
        where that one is not fine any more. Whose pose the ego saw to be off is not trusted again before it is fine."""
        assert self._defense.poses is not None
        asked = [i for i in session.ids if i not in self._fine]
        if fine := [i for i in session.ids if i in self._fine]:
            asked.append(fine[int(rng.integers(len(fine)))])
        # what is not calibrated is said once, of all limits together
        judge = partial(self._defense.poses.judged, session, detector.name, ground, self._calibration, quiet=True)
        found = judge(asked)
        if any(i in self._fine and v.kind != "fine" for i, v in found.items()):
            found = judge(session.ids)
        self._fine -= frozenset(found)
        self._fine |= {i for i, v in found.items() if v.kind == "fine"}
        doubted = {i: v for i, v in found.items() if v.kind == "unknown" and i in self._off}
        self._off -= self._fine
        self._off |= {i for i, v in found.items() if v.kind in ("corrected", "refused") and not v.hearsay}
        refused = {i: replace(v, kind="refused", why=f"{v.why}, and off before") for i, v in doubted.items()}
        return {**found, **refused}

    def _verified(
        self,
        detector: Detector,
        ego: View,
        heard: _Heard,
        ground: Callable[[], FreeGround],
        stages: Stages,
        rng: np.random.Generator,
    ) -> Verdict:
        """What is made of what was heard."""
        defense, session, ids = self._defense, heard.session, tuple(heard.session.ids)
        limits = defense.limits(self._calibration, detector.name)
        decoded_once: set[Subset] = set()

        def detect(subsets: Sequence[Subset]) -> list[Detections]:
            decoded_once.update(subsets)  # a batch may hold some that are never judged
            with stages.measure("decode"):
                return session.detect(subsets)

        own, *alone = detect([EGO_ALONE, *(frozenset({i}) for i in ids)])
        with stages.measure("agree"):
            compare = defense.agreement.against(own, ego, detector.grid)
            seen = Singles.of(
                own, dict(zip(ids, alone, strict=True)), compare, limits, defense.showing, defense.accuse_beyond
            )
        seen = replace(seen, accused=seen.accused - heard.excused)
        found = self._search(seen, heard, compare, limits, detect, stages, rng)
        found = replace(found, trials=second_look(found.trials, limits, defense.pool))
        with stages.measure("report"):
            kept = {t.subset: r for t, r in zip(found.trials, found.results, strict=True) if t.accepted}
            used = EGO_ALONE.union(*kept)
            pool = pooled(kept or {EGO_ALONE: own})
            ranked = defense.ranking.of(pool, seen.shown, used, seen.apart, own, ground() if kept else None)
            decoded = {EGO_ALONE: own, **dict(zip((t.subset for t in seen.trials), alone, strict=True))}
            decoded |= {t.subset: r for t, r in zip(found.trials, found.results, strict=True)}
            witnesses = Witnesses.of(ranked.result.boxes, decoded, ids, Overlap(iou=defense.showing.same))
            suspicion = defense.belief.suspicion(ids, [*seen.trials, *found.trials], at_most=defense.attackers)
        return Verdict(
            result=ranked.result,
            used=used,
            accused=seen.accused,
            suspicion={i: max(suspicion[i], float(i in seen.accused)) for i in ids},
            trials=(*seen.trials, *(t for t in found.trials if len(t.subset) > 1)),
            decodes=heard.decodes + len(decoded_once),
            ms=stages.done(),
            reason="; ".join(filter(None, (heard.told, heard.nobody or _reason(own, found, seen, len(ids))))),
            rejected=heard.rejected,
            sources=ranked.sources,
            support=ranked.support,
            certificates=witnesses.inventors(defense.showing.score),
        )

    def _search(
        self,
        seen: Singles,
        heard: _Heard,
        compare: Compare,
        limits: Limits,
        detect: Detect,
        stages: Stages,
        rng: np.random.Generator,
    ) -> Consensus[Detections]:
        """Every subset of the trusted that was tried."""
        defense, trusted = self._defense, seen.trusted

        judge = JointResults(seen, compare, limits, defense.consistency)
        # of all who were let in, so that who was refused for its pose counts among the attackers that there may be
        honest = heard.admitted if defense.attackers is None else max(heard.admitted - defense.attackers, 0)
        most = min(len(trusted), honest)
        tries = tries_per_size(len(trusted), defense.budget, largest=most)
        return search(
            trusted,
            detect,
            stages.timed("agree", judge),
            Downwards(
                tries=tries,
                pool=defense.pool,
                everybody=len(heard.session.ids),
                sure=lambda trial: trial.scores.get(STRAIN, 1.0) <= defense.sure,
                seed=int(rng.integers(1 << 62)),
            ),
            sum(tries.values()),
            rng,
            batch=defense.batch,
        )


def _reason(own: Detections, found: Consensus[Detections], seen: Singles, n_ids: int) -> str:
    if not found.reference.finite:
        return "the ego's own result is not finite: the detector's weights or its code are broken"
    held = [t.subset for t in found.trials if t.accepted]
    left_out = n_ids - len(seen.trusted)
    if held:
        used = EGO_ALONE.union(*held)
        return (
            f"{len(used)} of {n_ids} teammates, in {len(held)} of {len(found.trials)} joint results that are what "
            f"their members show; {left_out} were left out for what they show alone"
        )
    if not seen.trusted:
        return f"none of {n_ids} teammates shows what honest ones do; the ego's own result stands"
    return (
        f"none of {len(found.trials)} joint results is what its members show, {left_out} of {n_ids} teammates were "
        "left out for what they show alone; the ego's own result stands"
    )
