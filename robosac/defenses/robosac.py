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

import numpy as np

from robosac.agreement import Agreement, SeenScoreMap
from robosac.budget import pass_frames
from robosac.calibration import Calibration, Statistic, WithEgo
from robosac.capabilities import OfBoxes, Solo
from robosac.certificates import Overlap, Witnesses
from robosac.consensus import Consensus, search
from robosac.defenses.audit import Audit, Expected, Rotation, for_some, unranked
from robosac.defenses.by_agreement import RobosacAgreement
from robosac.defenses.claimed_poses import ClaimedPoses, PosesSoFar
from robosac.defenses.groups import GroupTests, Units, dealt, sorted_out
from robosac.defenses.joint import JointResults, clearly, in_words, nearly, second_look
from robosac.defenses.limits import Limits
from robosac.defenses.memory import Memory
from robosac.defenses.opening import Decoding, Heard, OpenFrame, opened
from robosac.defenses.ranking import Ranking
from robosac.defenses.singles import Singles
from robosac.defenses.stages import Stages
from robosac.defenses.surrogate import EvidenceSurrogate
from robosac.evidence import Consistency, Showing, SoleClaims, Votes, WithMembers, pooled
from robosac.gate import Gate, Inbox
from robosac.poses import FreeGround
from robosac.probing import Downwards, FirstThen, tries_per_size
from robosac.trust import Belief
from robosac.types import (
    EGO_ALONE,
    Detections,
    Detector,
    InputError,
    Received,
    Request,
    Subset,
    Trial,
    Verdict,
    View,
)


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
        alone: of more teammates, groups are decoded (`robosac.defenses.groups`) unless `attackers` is given.
        group: teammates of a group at most.
        audit: share of the teammates checked a frame while nothing is odd (`robosac.defenses.audit`); 1: all of them.
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
    alone: int = 14
    group: int = 5
    audit: float = 1.0

    def __post_init__(self) -> None:
        if self.attackers is not None and self.attackers < 0:
            raise InputError(f"expected attackers >= 0 or None (unknown), got {self.attackers}")
        for name, least in (("budget", 0), ("pool", 1), ("batch", 1), ("accuse_beyond", 1), ("alone", 0), ("group", 1)):
            if not getattr(self, name) >= least:
                raise InputError(f"expected {name} >= {least}, got {getattr(self, name)}")
        pass_frames(self.audit)  # raises where that is no rate
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


class RobosacDefender:
    """Defends the frames of one scenario, in order."""

    def __init__(self, defense: Robosac, calibration: Calibration | None, rng: np.random.Generator) -> None:
        self._defense, self._calibration, self._rng = defense, calibration, rng
        self._poses, self._memory = PosesSoFar(), Memory()
        self._audit = None if defense.audit >= 1 else Audit(Rotation(defense.audit, rng.spawn(1)[0]))

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Bad messages are left out and reported; nothing a teammate sends raises."""
        stages = Stages()
        admitted, session = opened(self._defense.gate, stages, detector, ego, to, inbox)
        rng = self._rng.spawn(1)[0]  # a generator a frame: what one frame draws moves no other frame's draws
        turn = EGO_ALONE if self._audit is None else self._audit.rotation.turn(session.ids)
        steady = self._audit is not None and self._memory.steady(session.ids)
        ground = cache(partial(FreeGround.of, ego.points))
        heard = Heard(session, frozenset(session.ids), admitted.rejected, admitted.nobody)
        if self._defense.poses is not None and isinstance(session, Solo) and session.ids:
            again = turn | self._poses.off if steady else self._poses.doubtful(session.ids, rng)
            with stages.measure("poses"):
                heard = self._posed(self._defense.poses, detector, ego, to, admitted, heard, again, ground)
            steady = steady and not self._poses.odd
        frame = OpenFrame(detector, ego, to, heard, Decoding(heard.session, stages), ground, stages, rng)
        return (self._audited(frame, turn) if steady else None) or self._verified(frame)

    def _posed(
        self,
        rules: ClaimedPoses,
        detector: Detector,
        ego: View,
        to: Request,
        admitted: Inbox,
        heard: Heard,
        again: Subset,
        ground: Callable[[], FreeGround],
    ) -> Heard:
        """What is left once poses are mended or refused."""
        session = heard.session
        assert isinstance(session, Solo)
        # what is not calibrated is said once, of all limits together
        judge = partial(rules.judged, session, detector.name, ground, self._calibration, quiet=True)
        verdicts = self._poses.ask(session.ids, again, judge)
        checked = rules.sort(admitted.messages, verdicts, to)
        return replace(
            heard,
            session=detector.open(ego, to, checked.messages) if checked.changed else session,
            rejected={**admitted.rejected, **checked.refused},
            told=checked.reason,
            decodes=len(verdicts) + checked.changed,  # opened again, the ego's own is decoded again
            leaning={i: v.witnesses for i, v in verdicts.items() if v.kind == "corrected" and v.witnesses},
        )

    def _audited(self, frame: OpenFrame, turn: Subset) -> Verdict | None:
        """What is made of a frame in which only some teammates are checked; None where anything is odd."""
        defense, audit, ids = self._defense, self._audit, frame.ids
        left_out = self._memory.left_out(ids)
        together = frozenset(ids) - left_out
        if audit is None or not together:
            return None
        asked = Units.alone(frozenset(ids) & (turn | left_out))
        own, joint, *alone = frame.detect([EGO_ALONE, together, *asked.of.values()])
        judge = self._judge(frame, own, asked, alone)
        with frame.stages.measure("agree"):
            trial = replace(judge, consistency=for_some(defense.consistency))(own, together, joint)
            trial = audit.judged(trial, joint, own, frame.to, defense.showing.score)
        waiting = self._memory.waiting(judge.seen.trusted)
        if not clearly(defense.sure, trial) or audit.odd(judge.seen, trial, left_out, waiting):
            return None
        audit.expected = Expected.of(joint, frame.to)
        self._memory.learn(frame.heard.admitted, together | frozenset(judge.seen.trusted), [trial])
        said = f"audited: {len(together)} of {len(ids)} teammates together, {len(alone)} checked alone"
        decoded = {EGO_ALONE: own, together: joint, **dict(zip(asked.of.values(), alone, strict=True))}
        return self._verdict(frame, judge.seen, [trial], decoded, unranked(defense.ranking), said, asked)

    def _verified(self, frame: OpenFrame) -> Verdict:
        """What is made of a frame in which everybody is checked."""
        units = self._units(frame)
        own, *shown = frame.detect([EGO_ALONE, *units.of.values()])
        judge = self._judge(frame, own, units, shown)
        found = self._search(frame, judge, units)
        found = replace(found, trials=second_look(found.trials, judge.limits, self._defense.pool))
        decoded = {EGO_ALONE: own, **dict(zip(units.of.values(), shown, strict=True))}
        decoded |= {t.subset: r for t, r in zip(found.trials, found.results, strict=True)}
        trusted = units.whole(judge.seen.trusted)
        spared = nearly(found.trials, judge.limits, self._defense.pool)
        together = self._memory.learn(frame.heard.admitted, trusted, found.trials, spared)
        if self._audit is not None and together is not None:
            self._audit.expected = Expected.of(decoded[together], frame.to)
        said = in_words(found, len(trusted), len(frame.ids))
        return self._verdict(frame, judge.seen, found.trials, decoded, self._defense.ranking, said, units)

    def _units(self, frame: OpenFrame) -> Units:
        """Everybody alone; or, where that were too many, those who need be, and the rest in groups."""
        defense, ids = self._defense, frame.ids
        if len(ids) <= defense.alone or defense.attackers is not None:
            return Units.alone(ids)
        (own,) = frame.detect([EGO_ALONE])
        compare = defense.agreement.against(own, frame.ego, frame.detector.grid)
        limits = defense.limits(self._calibration, frame.detector.name)
        test = GroupTests(own, compare, limits, for_some(defense.consistency), defense.showing, frame.detect)
        out = self._memory.left_out(ids)
        groups = dealt([i for i in ids if i not in out], defense.group, frame.rng)
        fine, odd = sorted_out([*groups, *(frozenset({i}) for i in sorted(out))], test, frame.rng)
        return Units.made([*fine, *odd])

    def _judge(self, frame: OpenFrame, own: Detections, units: Units, shown: Sequence[Detections]) -> JointResults:
        """What is shown alone says, and what joint results are held against."""
        defense, limits = self._defense, self._defense.limits(self._calibration, frame.detector.name)
        singles = dict(zip(units.of, shown, strict=True))
        with frame.stages.measure("agree"):
            compare = defense.agreement.against(own, frame.ego, frame.detector.grid)
            seen = Singles.of(own, singles, compare, limits, defense.showing, defense.accuse_beyond, units.of)
        seen = replace(seen, accused=seen.accused.difference(frame.heard.leaning))
        return JointResults(seen, compare, limits, defense.consistency)

    def _search(self, frame: OpenFrame, judge: JointResults, units: Units) -> Consensus[Detections]:
        """Every subset of the trusted that was tried, by units."""
        defense, trusted, admitted = self._defense, judge.seen.trusted, len(frame.heard.admitted)
        # of all who were let in, so that who was refused for its pose counts among the attackers that there may be
        honest = admitted if defense.attackers is None else max(admitted - defense.attackers, 0)
        most = min(len(trusted), honest)
        tries = tries_per_size(len(trusted), defense.budget, largest=most)
        seed = int(frame.rng.integers(1 << 62))
        sure = partial(clearly, defense.sure)
        walk = Downwards(tries=tries, pool=defense.pool, everybody=len(units.of), sure=sure, seed=seed)
        first = (units.within(s) & frozenset(trusted) for s in self._memory.first(units.whole(trusted)))

        def judged(reference: Detections, subset: Subset, result: Detections) -> Trial:
            return replace(judge(reference, units.whole(subset), result), subset=subset)

        found = search(
            trusted,
            lambda subsets: frame.detect([units.whole(s) for s in subsets]),
            frame.stages.timed("agree", judged),
            FirstThen(first=tuple(s for s in dict.fromkeys(first) if 0 < len(s) <= most), then=walk, sure=sure),
            sum(tries.values()),
            frame.rng,
            batch=defense.batch,
        )
        return replace(found, trials=tuple(replace(t, subset=units.whole(t.subset)) for t in found.trials))

    def _verdict(
        self,
        frame: OpenFrame,
        seen: Singles,
        joint: Sequence[Trial],
        decoded: Mapping[Subset, Detections],
        ranking: Ranking,
        said: str,
        units: Units,
    ) -> Verdict:
        """The accepted of the joint results, pooled and ranked."""
        defense, heard, ids, own = self._defense, frame.heard, frame.ids, decoded[EGO_ALONE]
        with frame.stages.measure("report"):
            kept = {t.subset: decoded[t.subset] for t in joint if t.accepted}
            used = EGO_ALONE.union(*kept)
            if isinstance(heard.session, OfBoxes) and kept:  # box by box: no source says alone where a car is
                sent = dict(zip(sorted(used), heard.session.sent(sorted(used)), strict=True))
                votes = Votes.of(own, sent, defense.showing)
                kept = {subset: votes.result(subset) for subset in kept}
            pool = pooled(kept or {EGO_ALONE: own})
            ranked = ranking.of(pool, seen.shown, used, seen.apart, own, frame.ground() if kept else None)
            anybody = sorted(heard.answering(frozenset(ids)))
            witnesses = Witnesses.of(ranked.result.boxes, decoded, anybody, Overlap(iou=defense.showing.same))
            witnesses = replace(witnesses, subsets=tuple(map(heard.answering, witnesses.subsets)))
            alone = {t.subset for t in seen.trials}
            suspicion = defense.belief.suspicion(ids, [*seen.trials, *joint], at_most=defense.attackers)
        return Verdict(
            result=ranked.result,
            used=used,
            accused=seen.accused,
            suspicion={i: max(suspicion[i], float(i in seen.accused)) for i in ids},
            trials=(*seen.trials, *(t for t in joint if t.subset not in alone)),
            decodes=heard.decodes + len(frame.detect.done),
            ms=frame.stages.done(),
            reason="; ".join(filter(None, (heard.told, heard.nobody or said))),
            rejected=heard.rejected,
            sources=tuple(map(units.named, ranked.sources)),
            support=tuple(tuple(map(units.named, by)) for by in ranked.support),
            certificates=witnesses.inventors(defense.showing.score),
        )
