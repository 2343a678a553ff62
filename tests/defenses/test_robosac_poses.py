"""Poses first: who is asked when, and what becomes of what is fine, mended, refused or not to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from robosac.agreement import ScoreMapOverlap
from robosac.boxes import nudge_pose
from robosac.capabilities import Claim, Solo
from robosac.defenses import Robosac
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.poses import Offset, PoseCheck, PoseVerdict
from robosac.types import (
    EGO_ALONE,
    Detections,
    Id,
    InputError,
    Message,
    Received,
    Request,
    Subset,
    Verdict,
    View,
    keyed_rng,
)
from tests.defenses import test_pose_checked as cars
from tests.defenses.honest import allowing
from tests.defenses.scripted import EGO, TO, ByScript, Scripted, sent
from tests.evidence.written import result

SEEN = [(0.0, 12.0 * k) for k in range(5)]
ASIDE = Offset(2.0, 0.0, 0.0)


@dataclass
class SoloScripted(Scripted):
    """Implements Solo: what a message shows by itself does not matter here."""

    def solo(self, teammates: Sequence[Id]) -> list[Detections]:
        return [result(*SEEN) for _ in teammates]

    def claim(self, teammate: Id) -> Claim:
        return Claim(np.eye(4), 0.0)


@dataclass
class Posed(ByScript):
    """Keeps the messages of every session."""

    opened: list[Mapping[Id, Message]] = field(default_factory=list)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Scripted:
        self.opened.append({m.sender: m for m in messages})
        return SoloScripted([m.sender for m in messages], self.script)


@dataclass
class Judge:
    """Verdicts that are written down, a mapping a frame; who is not named is fine. It notes who was asked."""

    frames: list[Mapping[Id, PoseVerdict]]
    asked: list[list[frozenset[Id]]] = field(default_factory=list)
    alone: PoseCheck = field(default_factory=PoseCheck)

    def judge(self, own: Detections, shown: Mapping[Id, Detections], *_: Any) -> dict[Id, PoseVerdict]:
        self.asked[-1].append(frozenset(shown))
        now = self.frames[min(len(self.asked), len(self.frames)) - 1]
        return {i: now.get(i, PoseVerdict("fine", 5, "fits")) for i in shown}


def said(kind: Any, offset: Offset = ASIDE, witnesses: Subset = EGO_ALONE) -> PoseVerdict:
    return PoseVerdict(kind, 5, "as written", offset if kind == "corrected" else Offset(), witnesses=witnesses)


def same(subset: Subset) -> Detections:
    return result(*SEEN)


def play(
    *frames: Mapping[Id, PoseVerdict],
    n: int = 1,
    ids: str = "abc",
    script: Any = same,
    seed: int = 0,
    attackers: int | None = None,
    **settings: Any,
) -> tuple[list[Verdict], Judge, Posed]:
    """`n` frames of one scenario."""
    judge, detector = Judge(list(frames) or [{}]), Posed(script)
    poses = ClaimedPoses(check=judge, shift_limit=1.0, elsewhere_limit=1.0, **settings)  # type: ignore[arg-type]
    defense = Robosac(agreement=ScoreMapOverlap(), poses=poses, attackers=attackers)
    allowed = allowing(defense, detector="scripted", agreement=0.5, claims=2, together=2, strain=1)
    defender = defense.start("s", allowed, keyed_rng(seed))
    verdicts = []
    for _ in range(n):
        judge.asked.append([])
        verdicts.append(defender.step(detector, EGO, TO, sent(ids)))
    return verdicts, judge, detector


# ---------------------------------------------------------------------------------------------------- what is done
def test_fine_poses_open_no_second_session() -> None:
    (verdict,), judge, detector = play()
    assert verdict.used == frozenset("abc") and not verdict.rejected and len(detector.opened) == 1
    assert judge.asked == [[frozenset("abc")]]
    assert verdict.decodes == 3 + 1 + 3 + 1 and verdict.ms["poses"] > 0  # solo, the ego, singles, all


def test_a_refused_pose_is_left_out_and_accuses_nobody() -> None:
    (verdict,), _, detector = play({"b": said("refused")})
    assert verdict.rejected == {"b": "pose refused: as written"} and verdict.used == frozenset("ac")
    assert not verdict.accused and set(verdict.suspicion) == {"a", "c"}
    assert [sorted(m) for m in detector.opened] == [["a", "b", "c"], ["a", "c"]]
    assert verdict.reason.startswith("poses: b refused (as written); 2 of 2 teammates")


@pytest.mark.parametrize(("refused", "largest"), [("", 3), ("b", 3), ("bc", 3), ("bcd", 2)])
def test_who_is_refused_counts_among_the_attackers_that_are_told(refused: str, largest: int) -> None:
    """Of five at most two attack: three are tried together, whoever of the five was left out for its pose."""
    (verdict,), _, _ = play({i: said("refused") for i in refused}, ids="abcde", attackers=2)
    assert max(len(t.subset) for t in verdict.trials) == largest


def test_a_corrected_pose_goes_on_mended() -> None:
    (verdict,), _, detector = play({"b": said("corrected")})
    assert verdict.used == frozenset("abc") and not verdict.rejected
    came, went = detector.opened
    assert {i: m.world_T_payload[0, 3] for i, m in came.items()} == {"a": 0, "b": 0, "c": 0}
    assert {i: m.world_T_payload[0, 3] for i, m in went.items()} == {"a": 0, "b": 2, "c": 0}
    assert verdict.decodes == 3 + 1 + 1 + 3 + 1


@pytest.mark.parametrize(("unknown", "used"), [("keep", "abc"), ("leave out", "ac")])
def test_of_whom_there_is_no_telling(unknown: str, used: str) -> None:
    (verdict,), _, _ = play({"b": said("unknown")}, unknown=unknown)
    assert verdict.used == frozenset(used) and ("b" in verdict.rejected) == (unknown == "leave out")
    assert "poses" not in verdict.reason


def test_all_refused() -> None:
    (verdict,), _, _ = play(dict.fromkeys("abc", said("refused")))
    assert verdict.used == EGO_ALONE and set(verdict.rejected) == set("abc") and len(verdict.result) == 5
    assert verdict.fell_back and not verdict.accused


def test_nobody_is_accused_for_a_pose_that_others_moved() -> None:
    """Mended by what the ego sees, a single that is far off speaks against its sender; on the word of others not."""

    def far(subset: Subset) -> Detections:
        return result((50, 50)) if subset == frozenset("b") else result(*SEEN)

    for witnesses, accused in ((EGO_ALONE, "b"), (frozenset("ac"), "")):
        (verdict,), _, _ = play({"b": said("corrected", witnesses=witnesses)}, script=far)
        assert verdict.used == frozenset("ac") and verdict.accused == frozenset(accused)
        assert (verdict.suspicion["b"] == 1) == bool(accused)


def test_a_session_that_tells_nothing_of_poses_is_passed_over() -> None:
    defense = Robosac(agreement=ScoreMapOverlap())
    detector = ByScript(same)
    assert not isinstance(detector.open(EGO, TO, []), Solo)
    allowed = allowing(defense, detector="scripted", agreement=0.5)
    verdict = defense.start("s", allowed, keyed_rng(0)).step(detector, EGO, TO, sent("abc"))
    assert verdict.used == frozenset("abc") and "poses" not in verdict.ms


@pytest.mark.parametrize("off", [None, "nobody"])
def test_without_the_stage_or_a_teammate_nobody_is_asked(off: str | None) -> None:
    if off is None:
        defense = Robosac(agreement=ScoreMapOverlap(), poses=None)
        allowed = allowing(defense, detector="scripted", agreement=0.5)
        verdict = defense.start("s", allowed, keyed_rng(0)).step(Posed(same), EGO, TO, sent("abc"))
        assert verdict.used == frozenset("abc")
    else:
        (verdict,), judge, _ = play(ids="")
        assert judge.asked == [[]]
    assert "poses" not in verdict.ms


# -------------------------------------------------------------------------------------------------- who is asked
def test_of_those_who_were_fine_one_is_asked_again() -> None:
    _, judge, _ = play(n=40, ids="abcd")
    first, *later = judge.asked
    assert first == [frozenset("abcd")]
    assert all(len(asked) == 1 and len(asked[0]) == 1 for asked in later)
    assert frozenset().union(*(a[0] for a in later)) == frozenset("abcd")  # everybody's turn comes


def test_who_comes_next_is_not_foreseeable() -> None:
    runs = [play(n=12, ids="abcd", seed=seed)[1].asked for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("kind", ["refused", "corrected", "unknown"])
def test_who_was_not_fine_is_asked_in_every_frame(kind: str) -> None:
    _, judge, _ = play({"b": said(kind)}, n=6)
    assert all("b" in asked[0] for asked in judge.asked)
    assert all(len(asked) == 1 and len(asked[0]) == 2 for asked in judge.asked[1:])  # and one who was


def test_where_one_is_odd_all_are_asked() -> None:
    """Fine at first, then all are off: whoever is asked shows it, and the rest is asked in the same frame."""
    off = dict.fromkeys("abcd", said("refused"))
    verdicts, judge, _ = play({}, off, n=3, ids="abcd")
    assert [len(a) for a in judge.asked[1]] == [1, 4] and set(verdicts[1].rejected) == set("abcd")
    assert judge.asked[2] == [frozenset("abcd")]  # nobody is fine any more


def test_who_is_fine_again_is_believed_again() -> None:
    _, judge, _ = play({"b": said("refused")}, {}, n=4)
    assert judge.asked[1] and len(judge.asked[1][0]) == 2
    assert [len(a[0]) for a in judge.asked[2:]] == [1, 1]


def test_who_was_off_by_hearsay_alone_is_not_refused_for_it_later() -> None:
    for hearsay, rejected in ((False, {"b"}), (True, set())):
        first = replace(said("corrected", witnesses=frozenset("ac")), hearsay=hearsay)
        verdicts, _, _ = play({"b": first}, {"b": said("unknown")}, n=2)
        assert set(verdicts[1].rejected) == rejected


# ------------------------------------------------------------------------------------------------- on real poses
def heard(messages: list[Received], **settings: Any) -> Verdict:
    defense = Robosac(poses=ClaimedPoses(shift_limit=12.0, elsewhere_limit=20.0), **settings)
    allowed = allowing(defense, detector="cars", agreement=0.3, claims=5, together=4, strain=1)
    found: Verdict = defense.start("cars", allowed, keyed_rng(0)).step(cars.DETECTOR, cars.FRAME.ego, cars.TO, messages)
    return found


@pytest.mark.parametrize(
    ("move", "rejected"), [((0.0, 0.0, 0.0), ""), ((3.0, -2.0, 0.05), ""), ((10.5, 0.0, 0.0), "b")]
)
def test_poses_of_cars(move: tuple[float, float, float], rejected: str) -> None:
    verdict = heard(cars.inbox(b=move))
    assert verdict.used == frozenset("abc") - set(rejected) and set(verdict.rejected) == set(rejected)
    assert not verdict.accused and len(verdict.result) == 14
    away = np.hypot(*(verdict.result.boxes[:, None, :2] - cars.BOXES[None, :, :2]).transpose(2, 0, 1)).min(axis=1)
    assert away.max() < 0.1
    assert ("b corrected" in verdict.reason) == (move[0] == 3.0)


def test_nothing_on_the_air_raises() -> None:
    good = cars.inbox()
    message = good[0].message
    huge = message.with_payload(boxes=np.full((5, 7), 250.0, np.float32), scores=np.ones(5, np.float32))
    nothing = message.with_payload(boxes=np.zeros((0, 7), np.float32), scores=np.zeros(0, np.float32))
    tilted = replace(message, world_T_payload=nudge_pose(np.eye(4), 140.0, 0.0, 3.0))
    for first in (huge, nothing, tilted, replace(message, world_T_payload=np.full((4, 4), np.nan))):
        verdict = heard([replace(good[0], message=first), *good[1:], "noise"])  # type: ignore[list-item]
        assert {"b", "c"} <= verdict.used and verdict.accused <= {"a"}


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="expected unknown to be 'keep' or 'leave out', got 'guess'"):
        ClaimedPoses(unknown="guess")  # type: ignore[arg-type]
