"""What somebody hostile tries beside the boxes: odd messages, poses that rest on others' word, names and orders."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robosac.boxes import nudge_pose
from robosac.defenses import Robosac
from robosac.defenses.claimed_poses import ClaimedPoses, PosesSoFar
from robosac.defenses.memory import NAMES, Memory
from robosac.poses import PoseVerdict
from robosac.poses.joint import JointCheck
from robosac.types import EGO_ALONE, Detections, Received, Request, Subset, Trial, Verdict, View, keyed_rng
from tests.defenses import test_pose_checked as seen_by_all
from tests.defenses.honest import allowing
from tests.defenses.test_robosac_poses import heard, play, said
from tests.evidence.written import result
from tests.poses.scenes import LIMITS, cars, noisy, shown
from tests.poses.test_joint import team

DETECTOR = seen_by_all.DETECTOR


# ------------------------------------------------------------------------------------------------- odd messages
class Changing:
    """A pose that is another one each time it is read."""

    def __init__(self, first: np.ndarray) -> None:
        self.first: np.ndarray | None = first

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        now, self.first = self.first, None
        return np.full((4, 4), np.nan) if now is None else now


POSE = np.asarray(seen_by_all.inbox()[0].message.world_T_payload)
AS_NUMBERS = {
    "list": POSE.tolist(),
    "object": POSE.astype(object),
    "str": POSE.astype(str),
    "matrix": np.asmatrix(POSE),
    "masked": np.ma.masked_array(POSE, mask=POSE > 0),
    "float32": POSE.astype(np.float32),
    "big endian": POSE.astype(">f8"),
}
REFUSED = {
    "complex": POSE.astype(complex),
    "changing": Changing(POSE),
    "none": None,
    "dict": {},
    "ragged": [[1], [2, 3]],
}


@pytest.mark.parametrize("kind", [*AS_NUMBERS, *REFUSED])
def test_a_pose_of_any_type_ends_no_frame(kind: str) -> None:
    first, *rest = seen_by_all.inbox()
    odd: Any = {**AS_NUMBERS, **REFUSED}[kind]
    verdict = heard([replace(first, message=replace(first.message, world_T_payload=odd)), *rest])
    assert verdict.used == frozenset("abc" if kind in AS_NUMBERS else "bc")
    assert set(verdict.rejected) == set("" if kind in AS_NUMBERS else "a")
    if kind in AS_NUMBERS:
        np.testing.assert_allclose(verdict.result.boxes, heard([first, *rest]).result.boxes, atol=1e-5)


@pytest.mark.parametrize("sensed", [None, "0", np.zeros(1), 0j, Fraction(1, 2), np.int64(0), 0.0])
def test_a_time_of_any_type_ends_no_frame(sensed: Any) -> None:
    first, *rest = seen_by_all.inbox()
    verdict = heard([replace(first, message=replace(first.message, sensed_ns=sensed)), *rest])
    passes = isinstance(sensed, (Fraction, np.int64, float))
    assert verdict.used == frozenset("abc" if passes else "bc")


def test_what_only_looks_like_a_message_is_none() -> None:
    first, *rest = seen_by_all.inbox()
    alike: Any = SimpleNamespace(**vars(first.message))
    verdict = heard([replace(first, message=alike), *rest])
    assert verdict.used == frozenset("bc") and "malformed message (SimpleNamespace" in verdict.rejected["a"]


def test_the_order_of_messages_changes_nothing() -> None:
    messages = seen_by_all.inbox(b=(3.0, -2.0, 0.05))
    one, other = heard(messages), heard(messages[::-1])
    assert one.result.boxes.tobytes() == other.result.boxes.tobytes() and one.trials == other.trials
    assert (one.sources, one.support, one.certificates) == (other.sources, other.support, other.certificates)


# ------------------------------------------------------------------------------------------ poses on others' word
BOXES = cars(14, 3)
PLACES = {"ego": (0, 0, 0), "a": (8, 3, 0.6), "b": (-10, 6, -1.2), "c": (4, -12, 2.5), "d": (-6, -9, 0.3)}
SEEN = {"ego": slice(0, 6), "d": slice(6, 14)}  # d shares nothing with the ego, and four cars with a, b and c


def view(name: str) -> View:
    x, y, yaw = PLACES[name]
    pose, at = nudge_pose(np.eye(4), x, y, yaw), BOXES[SEEN.get(name, slice(0, 10))]
    v = (at[:, :2] - (x, y)) @ pose[:2, :2]
    points = np.stack([v[:, 0], v[:, 1], at[:, 6] - yaw, at[:, 3]], axis=1).astype(np.float32)
    return View(name, "vehicle", 0, points, pose)


def frames(count: int, **settings: Any) -> list[Verdict]:
    """`d` claims to be 2.8 m from where it is, in each of some frames."""
    ego = view("ego")
    to = Request.of(ego)
    messages = [DETECTOR.encode(view(i), to) for i in "abcd"]
    messages[3] = replace(messages[3], world_T_payload=nudge_pose(messages[3].world_T_payload, 2.0, -2.0, 0.0))
    defense = Robosac(poses=ClaimedPoses(shift_limit=12.0, elsewhere_limit=20.0), **settings)
    allowed = allowing(defense, detector=DETECTOR.name, agreement=0.3, claims=8, together=8, strain=1)
    defender = defense.start("s", allowed, keyed_rng(0))
    inbox = [Received.honest(m, to) for m in messages]
    return [defender.step(DETECTOR, ego, to, inbox) for _ in range(count)]


@pytest.mark.parametrize("audit", [1.0, 0.2])
def test_a_pose_that_others_mended_stays_mended(audit: float) -> None:
    """It cannot be told without them: who vouched for it is asked with it, in audited frames as well."""
    for verdict in frames(6, audit=audit):
        assert verdict.used == frozenset("abcd") and "d corrected (a, b, c agree" in verdict.reason
        away = np.hypot(*(verdict.result.boxes[:, None, :2] - BOXES[None, :, :2]).transpose(2, 0, 1))
        assert len(verdict.result) == 14 and away.min(axis=0).max() < 0.4


def test_who_leans_on_others_is_asked_with_them_and_all_are_where_they_no_longer_say_so() -> None:
    leans = replace(said("corrected", witnesses=frozenset("ac")), hearsay=True)
    _, judge, _ = play({"b": leans}, {"b": leans}, {"b": leans}, {"b": said("unknown")}, n=5, ids="abcdef")
    everybody = frozenset("abcdef")
    assert judge.asked[0] == [everybody]
    assert all(len(asked) == 1 and frozenset("abc") <= asked[0] < everybody for asked in judge.asked[1:3])
    assert [frozenset("abc") <= a for a in judge.asked[3]] == [True, True] and judge.asked[3][1] == everybody
    assert len(judge.asked[4]) == 1 and len(judge.asked[4][0]) == 2  # nobody leans on anybody now


def test_who_comes_back_is_asked_again_and_may_not_live_on_what_was_fine_before() -> None:
    poses, rng = PosesSoFar(), keyed_rng(0)

    def asked(ids: str) -> Subset:
        again = poses.doubtful(ids, rng)
        poses.ask(ids, again, lambda some: {i: PoseVerdict("fine", 5, "fits") for i in some})
        return again

    assert asked("abcdef") == frozenset("abcdef")
    assert all(len(asked("bcdef")) == 1 for _ in range(3))
    assert "a" in asked("abcdef") and len(asked("abcdef")) == 1


GHOST = (0.0, 30.0)


def a_ghost(subset: Subset) -> Detections:
    """Shown by `b` alone and by `c` alone, and by neither `a` nor `d`."""
    return result(*[(0.0, 12.0 * k) for k in range(2)], *([GHOST] if subset & set("bc") else []))


def test_what_a_teammate_shows_where_others_put_it_is_theirs_too() -> None:
    """`b` and `c` show a car: it takes two to invent it, unless it is `c` who says where `b` is."""
    found = []
    for mended in ({}, {"b": said("corrected")}, {"b": said("corrected", witnesses=frozenset("ac"))}):
        (verdict,), *_ = play(mended, ids="abcd", script=a_ghost)
        at = [k for k, box in enumerate(verdict.result.boxes) if tuple(box[:2]) == GHOST]
        assert len(at) == 1 and verdict.certificates is not None
        found.append(verdict.certificates[at[0]])
    assert found == [2, 2, 1]


def test_a_witness_that_was_refused_itself_counts_among_those_who_may_have_invented() -> None:
    """`z` is not in the frame any more; it moved `b` all the same."""
    mended = {"b": said("corrected", witnesses=frozenset("z")), "z": said("refused")}
    (verdict,), *_ = play(mended, ids="abcdz", script=a_ghost)
    assert verdict.certificates is not None and set(verdict.certificates) == {None, 2}


def test_whose_motion_the_graph_refined_leans_on_who_shares_objects_with_it() -> None:
    boxes = cars(14)
    found, claims, _ = team(boxes, {"a": (3.0, 1.0), "b": (0.0, 0.0)})
    own = shown(noisy(boxes, 1, 0.1, 1.0))
    alone = JointCheck().judge(own, {"a": found["a"]}, claims, None, *LIMITS)["a"]
    beside = JointCheck().judge(own, found, claims, None, *LIMITS)["a"]
    assert alone.kind == beside.kind == "corrected" and alone.witnesses == EGO_ALONE
    assert alone.offset != beside.offset and beside.witnesses == frozenset("b") and not beside.hearsay


# ---------------------------------------------------------------------------------------------------------- memory
def test_who_is_forgotten_does_not_depend_on_the_order_of_a_set() -> None:
    """Sets of names are ordered by a hash that differs from process to process."""

    class Reversed(frozenset):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(sorted(frozenset(self), reverse=True))

    kept = []
    for kind in (frozenset, Reversed):
        memory = Memory()
        crowd = kind(f"x{k:04d}" for k in range(NAMES + 50))
        memory.learn(crowd, [], [Trial(frozenset("a"), 1, True, 0.5)])
        memory.learn(frozenset("a"), "a", [Trial(frozenset("a"), 1, True, 0.5)])
        kept.append(set(memory._of))
    assert kept[0] == kept[1] and len(kept[0]) == NAMES


def test_messages_of_the_same_frame_give_the_same_verdict_in_every_scenario() -> None:
    """Nothing is left in a defence, or in a detector, of the scenario before."""
    defense = Robosac(poses=ClaimedPoses(shift_limit=12.0, elsewhere_limit=20.0), audit=0.2)
    allowed = allowing(defense, detector="cars", agreement=0.3, claims=5, together=4, strain=1)

    def first(**moves: Any) -> Verdict:
        inbox = seen_by_all.inbox(**moves)
        return defense.start("s", allowed, keyed_rng(0)).step(DETECTOR, seen_by_all.FRAME.ego, seen_by_all.TO, inbox)

    before = first()
    first(a=(10.5, 0.0, 0.0), b=(3.0, 1.0, 0.0))
    after = first()
    assert before.result.boxes.tobytes() == after.result.boxes.tobytes() and before.trials == after.trials
    assert before.reason == after.reason
