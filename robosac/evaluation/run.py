"""Play scenarios: frames in, attacked messages, verdicts of every policy, records out.

Evaluation holds the truth and chooses the attackers; nobody else does. Messages are encoded once a frame, attacked
once for each number of attackers, and replayed to every policy. Randomness is keyed by (seed, scenario, role), so
scenarios can run in any order and in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from robosac.air import Air, Attack, Attacker, Knowledge
from robosac.calibration import Calibration
from robosac.defenses import NoDefense, Oracle
from robosac.evaluation.ap import match_truth
from robosac.evaluation.metrics import FrameRecord
from robosac.types import (
    EGO_ALONE,
    Defender,
    Defense,
    Detector,
    Frame,
    Id,
    InputError,
    Message,
    Request,
    Subset,
    Truth,
    Verdict,
    keyed_rng,
)


@dataclass(frozen=True)
class Policy:
    """A row of the table: a name, how its defence is made, and whether its teammates are all left honest."""

    name: str
    make: Callable[[int], Defense]  # from the number of attackers, for those that are told it
    told_attackers: bool = False  # the oracle
    honest_air: bool = False  # "all honest": the same frame without an attack


def oracle() -> Policy:
    """Told who attacks."""
    return Policy("oracle", lambda m: NoDefense(), told_attackers=True)


def all_honest() -> Policy:
    """Nobody attacks and everybody is fused: what collaboration is worth."""
    return Policy("all honest", lambda m: NoDefense(), honest_air=True)


@dataclass(frozen=True, eq=False)
class Played:
    """One policy's verdict on one frame of one cell, with everything a picture of it needs."""

    policy: str
    n_attackers: int
    frame: Frame
    truth: Truth
    verdict: Verdict
    record: FrameRecord


def choose_attackers(seed: int, scenario: str, teammates: Sequence[Id], n_attackers: int) -> Subset:
    """The attackers of a scenario: uniform among its teammates, nested (those of m - 1 are among those of m)."""
    if n_attackers > len(teammates):
        raise InputError(f"expected at most {len(teammates)} attackers in {scenario}, got {n_attackers}")
    order = keyed_rng(seed, scenario, "attackers").permutation(sorted(teammates))
    return frozenset(str(i) for i in order[:n_attackers])


def play(
    frames: Iterable[tuple[Frame, Truth]],
    detector: Detector,
    attack: Attack | None,
    attacker_counts: Sequence[int],
    policies: Sequence[Policy],
    *,
    seed: int,
    calibration: Calibration | None = None,
) -> Iterator[Played]:
    """Play the frames of one scenario, in order, for each number of attackers and each policy.

    Attackers are chosen among the teammates of the first frame; one that drives out of range attacks no more.
    """
    if detector.grid is None:
        raise InputError(f"expected a detector with a BEV grid to evaluate on, got {detector.name!r} without one")
    region = detector.grid
    defenders: dict[tuple[int, str], Defender] = {}
    attackers_of: dict[int, Subset] = {}
    attacking: dict[int, Attacker] = {}
    for frame, truth in frames:
        if not attackers_of:
            for m in attacker_counts:
                chosen = choose_attackers(seed, frame.scenario, list(frame.others), m)
                attackers_of[m] = chosen
                if attack is not None and m:
                    rng = keyed_rng(seed, frame.scenario, "attack", m)
                    attacking[m] = attack.start(frame.scenario, chosen, rng)
                for p in policies:
                    defense = Oracle(attackers=chosen) if p.told_attackers else p.make(m)
                    rng = keyed_rng(seed, frame.scenario, "defense", m, p.name)
                    defenders[m, p.name] = defense.start(frame.scenario, calibration, rng)
        request = detector.request(frame.ego)
        honest = {i: detector.encode(view, request) for i, view in frame.others.items()}
        for m in attacker_counts:
            present = attackers_of[m] & set(frame.others)
            inbox = list(honest.values())
            if attack is not None and m:
                air = attacked_air(frame, detector, request, honest, present, attack.knowledge)
                inbox = [*(honest[i] for i in honest if i not in present), *attacking[m].send(air)]
            for p in policies:
                heard, lying = (list(honest.values()), EGO_ALONE) if p.honest_air else (inbox, present)
                verdict = defenders[m, p.name].step(detector, frame.ego, request, heard)
                matches = match_truth(verdict.result, truth, region, agents=(frame.ego.id, *frame.others))
                teammates = frozenset(frame.others)
                record = FrameRecord.of(frame.scenario, frame.index, teammates, lying, verdict, matches)
                yield Played(p.name, m, frame, replace(truth, attackers=lying), verdict, record)


def attacked_air(
    frame: Frame,
    detector: Detector,
    request: Request,
    honest: Mapping[Id, Message],
    attackers: Subset,
    knowledge: Knowledge,
) -> Air:
    """One frame as the attackers see it; what `knowledge` excludes raises when it is read."""
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
    )
