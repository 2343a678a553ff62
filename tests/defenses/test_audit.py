"""Audited frames: whose turn it is follows the law that is printed; what is odd is checked in the same frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from robosac.agreement import ScoreMapOverlap
from robosac.budget import AuditLaw, audit_frames, pass_frames, unchecked
from robosac.defenses import Robosac
from robosac.defenses.audit import FASTEST_MPS, Expected, Rotation
from robosac.types import Detections, Id, InputError, Request, Subset, Verdict, keyed_rng
from tests.defenses.honest import allowing
from tests.defenses.scripted import BLIND, TO, ByScript, sent
from tests.evidence.written import places, result

SEEN = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0), (20.0, -10.0)]
HIDDEN = {"a": (-30.0, 20.0), "b": (30.0, 20.0), "c": (30.0, -30.0), "d": (0.0, -30.0), "e": (-30.0, -30.0)}
INVENTED = [(x, y) for x in (-35.0, -25.0, 5.0, 15.0) for y in (30.0, 35.0, -20.0)]
AUDITED = Robosac(agreement=ScoreMapOverlap(slack=0.0), audit=0.2)
Script = Callable[[int, Subset], Detections]


def union(subset: Subset) -> list[tuple[float, float]]:
    return [*SEEN, *(HIDDEN[i] for i in sorted(subset))]


def honest(frame: int, subset: Subset) -> Detections:
    return result(*union(subset))


def play(script: Script, frames: int, *, ids: Callable[[int], str] = lambda k: "abcde", defense: Robosac = AUDITED,
         seed: int = 0, claims: float = 3) -> list[Verdict]:  # fmt: skip
    """Frames of one scenario, by a script of frame and subset; the ego's own scan proves nothing."""
    allowed = allowing(defense, detector="scripted", agreement=0.3, claims=claims, together=2, strain=1.0)
    defender = defense.start("s", allowed, keyed_rng(seed))
    detector = ByScript(honest.__get__(0))
    verdicts = []
    for k in range(frames):
        detector.script = lambda s, k=k: script(k, s)  # type: ignore[misc]
        verdicts.append(defender.step(detector, BLIND, TO, sent(ids(k))))
    return verdicts


def audited(verdict: Verdict) -> bool:
    return verdict.reason.startswith("audited")


def alone(verdict: Verdict) -> set[Id]:
    return {i for t in verdict.trials if len(t.subset) == 1 for i in t.subset}


# -------------------------------------------------------------------------------------------------------- the rotation
@pytest.mark.parametrize(("teammates", "rate"), [(5, 0.2), (5, 0.3), (7, 0.5), (3, 0.1), (20, 0.06), (2, 1.0)])
def test_a_pass_checks_everybody_once_and_as_evenly_as_can_be(teammates: int, rate: float) -> None:
    ids, length = [str(k) for k in range(teammates)], pass_frames(rate)
    rotation = Rotation(rate, keyed_rng(1))
    for _ in range(5):
        turns = [rotation.turn(ids) for _ in range(length)]
        assert sorted(i for t in turns for i in t) == sorted(ids)
        assert {len(t) for t in turns} <= {teammates // length, -(-teammates // length)}


@pytest.mark.parametrize("law", [AuditLaw.ROTATION, AuditLaw.ROTATION_WORST])
@pytest.mark.parametrize(("teammates", "attackers", "rate"), [(5, 1, 0.2), (5, 2, 0.2), (5, 2, 0.3), (9, 3, 0.1)])
def test_an_attacker_is_checked_as_soon_as_the_law_says(
    teammates: int, attackers: int, rate: float, law: AuditLaw
) -> None:
    """Frames from the start of the attack to the first check of an attacker, over seeds, against the exact law: for the
    worst start, of each start the law's probability is a bound and of one of them it is met."""
    ids, length, seeds = [str(k) for k in range(teammates)], pass_frames(rate), 600
    starts = [0] if law is AuditLaw.ROTATION else range(length)
    missed = np.zeros((len(starts), 2 * length + 1))
    for seed in range(seeds):
        rotation = Rotation(rate, keyed_rng(seed))
        turns = [bool(rotation.turn(ids) & frozenset(ids[:attackers])) for _ in range(3 * length)]
        for row, start in enumerate(starts):
            first = next(k for k in count() if turns[start + k])
            missed[row, : first + 1] += 1
    exact = np.array([float(unchecked(teammates, attackers, rate, k, law=law)) for k in range(2 * length + 1)])
    slack = 4.5 * np.sqrt(exact * (1 - exact) / seeds) + 1e-9
    assert (missed.max(axis=0) / seeds <= exact + slack).all()
    assert (missed.max(axis=0) / seeds >= exact - slack).all()
    sure = audit_frames(teammates, attackers, rate, 1, law=law).count
    assert sure is not None and not missed[:, sure:].any()


def test_a_newcomer_is_dealt_to_what_is_left_of_a_pass() -> None:
    rotation = Rotation(0.2, keyed_rng(3))
    turns = [rotation.turn("ab" if k < 3 else "abz") for k in range(5)]
    assert sum("z" in t for t in turns) == 1 and not any("z" in t for t in turns[:3])


def test_turns_cannot_be_foreseen() -> None:
    def of(seed: int) -> list[Subset]:
        rotation = Rotation(0.2, keyed_rng(seed))
        return [rotation.turn("abcde") for _ in range(10)]

    assert of(1) == of(1) != of(2) and of(1)[:5] != of(1)[5:]


# ---------------------------------------------------------------------------------------------------------- the frames
def test_honest_frames_cost_the_ego_the_joint_result_and_whose_turn_it_is() -> None:
    first, *rest = play(honest, 21)
    assert first.decodes == 7 and not audited(first)
    assert all(audited(v) and v.decodes == 3 and v.used == frozenset("abcde") for v in rest)
    for p in range(4):  # the first frame took its own turn
        assert (
            sorted(i for v in rest[5 * p + 4 : 5 * p + 9] for i in alone(v)) == (list("abcde") if p < 3 else [])[:5]
            or p == 3
        )
    assert all(places(v.result) == places(first.result) for v in rest)


def test_checking_everybody_is_what_there_was_without_an_audit() -> None:
    whole = replace(AUDITED, audit=1.0)
    assert all(v.decodes == 7 and not audited(v) for v in play(honest, 5, defense=whole))


def spoils_its_single(frame: int, subset: Subset) -> Detections:
    """From frame 7 on `c` invents cars that nobody's joint result shows: only its own single tells."""
    return result(*union(subset), *(INVENTED if frame >= 7 and subset == {"c"} else []))


def test_what_only_a_single_tells_is_caught_when_its_turn_comes_and_not_before() -> None:
    frames = []
    for seed in range(25):
        verdicts = play(spoils_its_single, 16, seed=seed)
        caught = next(k for k, v in enumerate(verdicts) if "c" in v.accused)
        assert all("c" not in v.used for v in verdicts[caught:]) and not any(v.accused - {"c"} for v in verdicts)
        assert all(("c" in alone(v)) == (k >= caught) for k, v in enumerate(verdicts[7:], 7))
        frames.append(caught - 6)
    # frame 7 is the third of a pass of five: three frames of it are left, and all of the next
    assert set(frames) <= set(range(1, 9)) and {1, 2, 3} < set(frames) and max(frames) > 3


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ([], "hides all that the ego shows"),
        ([*SEEN, *HIDDEN.values(), *INVENTED], "invents cars"),
        (SEEN, "hides all that only teammates show"),
    ],
)
def test_a_joint_result_that_is_odd_is_checked_in_the_same_frame(harm: list[tuple[float, float]], what: str) -> None:
    """A sleeper that wakes when it is not its turn, with a single that stays clean."""

    def script(frame: int, subset: Subset) -> Detections:
        return result(*(harm if frame >= 4 and "c" in subset and len(subset) > 1 else union(subset)))

    for seed in range(5):
        verdicts = play(script, 8, seed=seed)
        assert all(audited(v) for v in verdicts[1:4]) and not audited(verdicts[4])
        assert all("c" not in v.used and not v.accused for v in verdicts[4:])


def test_two_attackers_who_stay_cost_six_decodes_at_most() -> None:
    def script(frame: int, subset: Subset) -> Detections:
        return result(
            *union(subset),
            *(INVENTED if len(subset & {"b", "d"}) == 1 else INVENTED[:6] if subset & {"b", "d"} else []),
        )

    verdicts = play(script, 12)
    assert all(v.used == frozenset("ace") and v.accused == frozenset("bd") for v in verdicts)
    assert not audited(verdicts[0])
    assert all(audited(v) and v.decodes <= 5 for v in verdicts[2:])


def test_a_newcomer_and_a_new_scenario_are_checked_in_full() -> None:
    verdicts = play(honest, 9, ids=lambda k: "abcd" if k < 4 else "abcde" if k < 7 else "abc")
    assert [audited(v) for v in verdicts] == [False, True, True, True, False, True, True, True, True]
    assert verdicts[4].used == frozenset("abcde") and verdicts[7].used == frozenset("abc")


def test_nothing_is_ranked_by_who_shows_it_where_not_all_were_asked() -> None:
    first, second = play(honest, 2)
    assert min(first.result.scores) == pytest.approx(0.45) and min(second.result.scores) == pytest.approx(0.9)
    assert first.certificates is not None and second.certificates is not None
    assert all(
        b is None or a is None or b <= a
        for a, b in zip(sorted(first.certificates, key=str), sorted(second.certificates, key=str), strict=True)
    )


@pytest.mark.parametrize("rate", [0, -0.1, 1.5, float("nan")])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(InputError, match="rate"):
        Robosac(audit=rate)


# ------------------------------------------------------------------------------------------- what frames lead to expect
def at(*centres: Sequence[float], t_ms: int = 0) -> Expected:
    return Expected.of(result(*centres), replace(TO, t_ns=TO.t_ns + t_ms * 1_000_000))


@pytest.mark.parametrize(
    ("before", "after", "own", "news"),
    [
        ([(0, 0), (20, 0)], [(0, 0), (20, 0)], [], 0),
        ([(0, 0)], [(0, 0), (20, 0)], [], 1),
        ([(0, 0), (20, 0)], [(0, 0)], [], 1),
        ([(0, 0), (20, 0)], [(0, 0), (40, 0)], [], 2),
        ([(0, 0)], [(0, 0), (20, 0)], [(20, 0)], 0),  # the ego sees it come
        ([(0, 0), (20, 0)], [(0, 0)], [(20, 0)], 0),  # and where the ego shows it, other rules speak
        ([(0, 0)], [(3.4, 0)], [], 0),  # 2 m in 100 ms, and what boxes jump
        ([(0, 0)], [(3.6, 0)], [], 2),
    ],
)
def test_news(
    before: list[Sequence[float]], after: list[Sequence[float]], own: list[Sequence[float]], news: int
) -> None:
    assert FASTEST_MPS == 20
    assert at(*before).news(at(*after, t_ms=100), at(*own, t_ms=100), 0.25) == news


def test_news_are_told_in_the_world() -> None:
    """The ego moves; what stands in the world is not new."""
    moved = np.eye(4)
    moved[0, 3] = 30.0
    now = Expected.of(result((-30, 0)), Request(TO.ego, TO.t_ns, moved))
    assert at((0, 0)).news(now, at(), 0.25) == 0
