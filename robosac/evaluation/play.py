"""Play scenarios: frames in, attacked messages, verdicts of every policy, records out.

Evaluation holds the truth and chooses the attackers; nobody else does. Messages are encoded once a frame, attacked once
for each number of attackers, and replayed to every policy; an attack that knows the defence is held against each policy
by itself. Randomness is keyed by (seed, scenario, role), so scenarios can run in any order and in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from robosac.agreement import DEFAULT_GRID
from robosac.air import Air, Attack, Attacker, Knowledge, World, received
from robosac.calibration import Calibration
from robosac.defenses import NoDefense, Oracle
from robosac.defenses.protocol import Adaptable, Defender, Defense, Surrogate
from robosac.evaluation.ap import Region, found_objects, match_truth
from robosac.evaluation.finite import check_honest, judged_result
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.ranges import match_bands
from robosac.gate import for_clocks
from robosac.types import (
    EGO_ALONE,
    Detections,
    Detector,
    Frame,
    Id,
    InputError,
    Message,
    Received,
    Request,
    Subset,
    Truth,
    Verdict,
    View,
    keyed_rng,
)


@dataclass(frozen=True)
class Policy:
    """A row of the table: a name, how its defence is made, and whether its teammates are all left honest."""

    name: str
    make: Callable[[int], Defense]  # from the number of attackers, for those that are told it
    told_attackers: bool = False  # the oracle
    honest_air: bool = False  # all-honest: the same frame without an attack
    foreign: bool = False  # somebody's own code, which is handed copies: what it writes into is nobody else's

    def defense(self, attackers: Subset) -> Any:
        """The defence of a scenario, before it starts."""
        return Oracle(attackers=attackers) if self.told_attackers else self.make(len(attackers))


def oracle() -> Policy:
    """Told who attacks."""
    return Policy("oracle", lambda m: NoDefense(), told_attackers=True)


def all_honest() -> Policy:
    """Nobody attacks and everybody is fused: what collaboration is worth."""
    return Policy("all-honest", lambda m: NoDefense(), honest_air=True)


class Moment(NamedTuple):
    """A frame with its truth, and the place where rays can be cast again; None on recorded data."""

    frame: Frame
    truth: Truth
    world: World | None = None


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A moment with what everybody honestly sends, encoded once for all that is played on it."""

    frame: Frame
    truth: Truth
    world: World | None
    request: Request
    honest: Mapping[Id, Message]


Playable: TypeAlias = tuple[Frame, Truth] | Moment | EncodedFrame


def encode_frames(frames: Iterable[Playable], detector: Detector) -> Iterator[EncodedFrame]:
    """Encode the frames of a scenario, one after another as they are asked for; those that are encoded stay."""
    for made in frames:
        if isinstance(made, EncodedFrame):
            yield made
            continue
        moment = Moment(*made)
        request = Request.of(moment.frame.ego)
        honest = {i: detector.encode(v, request) for i, v in moment.frame.others.items()}
        check_honest(detector.name, honest.values())
        yield EncodedFrame(*moment, request, honest)


@dataclass(frozen=True, eq=False)
class Played:
    """One policy's verdict on one frame of one cell, with what it received and everything a picture of it needs;
    `judged` is the verdict's result as it was scored, finite in any case."""

    policy: str
    n_attackers: int
    frame: Frame
    truth: Truth
    verdict: Verdict
    judged: Detections
    record: FrameRecord
    inbox: Sequence[Received]


def honest_result(detector: Detector, s: EncodedFrame, subset: Subset) -> Detections:
    """What the ego makes of honest messages of those of a subset that are teammates."""
    members = [i for i in s.honest if i in subset]
    session = detector.open(s.frame.ego, s.request, [s.honest[i] for i in members])
    return session.detect([frozenset(members)])[0]


def choose_attackers(seed: int, scenario: str, teammates: Sequence[Id], n_attackers: int) -> Subset:
    """The attackers of a scenario: uniform among its teammates, nested (those of m - 1 are among those of m).

    Raises:
        InputError: there are fewer teammates than attackers.
    """
    if n_attackers > len(teammates):
        raise InputError(f"expected at most {len(teammates)} attackers in {scenario}, got {n_attackers}")
    order = keyed_rng(seed, scenario, "attackers").permutation(sorted(teammates))
    return frozenset(str(i) for i in order[:n_attackers])


def region_of(detector: Detector) -> Region:
    """Where a detector's results are judged: on its grid, or on `DEFAULT_GRID` where it gives boxes and has none."""
    return detector.grid or DEFAULT_GRID


def play(
    frames: Iterable[Playable],
    detector: Detector,
    attack: Attack | None,
    attacker_counts: Sequence[int],
    policies: Sequence[Policy],
    *,
    seed: int,
    calibration: Calibration | None = None,
    opener: Callable[[str], Detector] | None = None,
    teammates: Sequence[Id] | None = None,
) -> Iterator[Played]:
    """Play the frames of one scenario, in order, for each number of attackers and each policy.

    Args:
        frames: encoded when they are asked for, or already.
        opener: makes a detector of a name, for attackers that bring one of their own.
        teammates: that appear in any of the frames. The attackers are drawn from them; where one is out of range, it
            does not attack. Left out, those of the first frame.

    Raises:
        InputError: there are fewer teammates than attackers, or something that is not finite comes out of the
            detector without an attack.
    """
    region = region_of(detector)
    cells: dict[int, _Cell] = {}
    for s in encode_frames(frames, detector):
        if not cells:
            for m in attacker_counts:
                among = list(s.frame.others) if teammates is None else teammates
                attackers = choose_attackers(seed, s.frame.scenario, among, m)
                cells[m] = _Cell(s.frame, detector, attack, attackers, policies, seed, calibration, opener)
        for m, cell in cells.items():
            for p in policies:
                inbox, attacking, notes = cell.inbox(s, p)
                ego, handed = (_copied(s.frame.ego, inbox)) if p.foreign else (s.frame.ego, inbox)
                verdict = cell.defenders[p.name].step(detector, ego, s.request, handed)
                agents = (s.frame.ego.id, *s.frame.others)
                honest = frozenset(s.frame.others) - attacking
                judged = judged_result(detector.name, verdict, honest, partial(honest_result, detector, s))
                record = FrameRecord.of(
                    s.frame.scenario,
                    s.frame.index,
                    frozenset(s.frame.others),
                    attacking,
                    verdict,
                    match_truth(judged, s.truth, region, agents=agents),
                    bands=match_bands(judged, s.truth, region, agents=agents),
                    bytes_received=sum(received.message.bytes for received in inbox),
                    notes=notes,
                    found=found_objects(judged, s.truth, region, agents=agents),
                )
                truth = replace(s.truth, attackers=attacking)
                yield Played(p.name, m, s.frame, truth, verdict, judged, record, inbox)


def _copied(ego: View, inbox: Sequence[Received]) -> tuple[View, list[Received]]:
    """A scan and messages with arrays of their own."""

    def own(value: Any) -> Any:
        return value.copy() if isinstance(value, np.ndarray) else value

    def message(m: Any) -> Any:
        if not (isinstance(m, Message) and isinstance(m.payload, Mapping)):
            return m  # whatever an attacker sent in place of one
        return replace(m, payload={k: own(v) for k, v in m.payload.items()}, world_T_payload=own(m.world_T_payload))

    return replace(ego, points=ego.points.copy()), [replace(r, message=message(r.message)) for r in inbox]


class _Cell:
    """One number of attackers in one scenario: who attacks, what is sent to whom, and who defends."""

    def __init__(
        self,
        first: Frame,
        detector: Detector,
        attack: Attack | None,
        attackers: Subset,
        policies: Sequence[Policy],
        seed: int,
        calibration: Calibration | None,
        opener: Callable[[str], Detector] | None,
    ) -> None:
        m, scenario = len(attackers), first.scenario
        self.attack, self.attackers = attack if m else None, attackers
        self.adaptive = self.attack is not None and Knowledge.DEFENSE in self.attack.knowledge
        self.detector, self.opener = detector, opener
        self.defenders: dict[str, Defender] = {}
        self.surrogates: dict[str, Surrogate | None] = {}
        for p in policies:
            defense = for_clocks(p.defense(attackers), first.clocks_ahead_ms)
            rng = keyed_rng(seed, scenario, "defense", m, p.name)
            self.defenders[p.name] = defense.start(scenario, calibration, rng)
            known = self.adaptive and isinstance(defense, Adaptable)  # who does not ask for one needs none
            self.surrogates[p.name] = defense.surrogate(calibration, detector.name) if known else None
        self.attacking: dict[str, Attacker] = {}  # one for all policies, or one each for an attack that knows them
        if self.attack is not None:
            for name in [p.name for p in policies] if self.adaptive else [""]:
                self.attacking[name] = self.attack.start(scenario, attackers, keyed_rng(seed, scenario, "attack", m))
        # the last frame's, for policies that share it: what was sent, and what the attack said of it
        self._sent: tuple[EncodedFrame, list[Received], tuple[str, ...]] | None = None

    def inbox(self, s: EncodedFrame, policy: Policy) -> tuple[list[Received], Subset, tuple[str, ...]]:
        """What the ego of a policy receives in a frame, who attacked in it, and what of that came to nothing."""
        present = self.attackers & set(s.frame.others)
        if policy.honest_air or self.attack is None:
            honest = [Received.honest(m, s.request) for m in s.honest.values()]
            return honest, EGO_ALONE if policy.honest_air else present, ()
        if self.adaptive:
            sent, notes = self._attacked(s, present, policy.name, policy.name)
            return sent, present, notes
        if self._sent is None or self._sent[0] is not s:
            self._sent = (s, *self._attacked(s, present, "", None))
        return self._sent[1], present, self._sent[2]

    def _attacked(
        self, s: EncodedFrame, present: Subset, attacker: str, against: str | None
    ) -> tuple[list[Received], tuple[str, ...]]:
        notes: dict[str, None] = {}  # each once
        assert self.attack is not None
        air = attacked_air(
            s.frame,
            self.detector,
            s.request,
            s.honest,
            present,
            self.attack.knowledge,
            world=s.world,
            defense=None if against is None else self.surrogates[against],
            defender=None if against is None else self.defenders[against],
            opener=self.opener,
            note=lambda text: notes.update({text: None}),
        )
        return received(air, self.attacking[attacker].send(air)), tuple(notes)


def attacked_air(
    frame: Frame,
    detector: Detector,
    request: Request,
    honest: Mapping[Id, Message],
    attackers: Subset,
    knowledge: Knowledge,
    *,
    world: World | None = None,
    defense: Surrogate | None = None,
    defender: Defender | None = None,
    opener: Callable[[str], Detector] | None = None,
    note: Callable[[str], None] | None = None,
) -> Air:
    """One frame as the attackers see it; what `knowledge` excludes raises when it is read. `note` is told what of the
    attack comes to nothing; without it that is a warning.
    """
    return Air(
        scenario=frame.scenario,
        index=frame.index,
        to=request,
        own={i: frame.others[i] for i in sorted(attackers)},
        honest={i: honest[i] for i in sorted(attackers)},
        knowledge=knowledge,
        _detector=detector,
        _others={i: m for i, m in honest.items() if i not in attackers},
        _ego=frame.ego,
        _defense=defense,
        _defender=defender,
        _world=world,
        _open=opener,
        _note=note,
    )
