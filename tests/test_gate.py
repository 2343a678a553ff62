"""The gate: each reason once, and that nothing a teammate sends can raise."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.boxes import pose_xyz_rpy
from robosac.gate import Gate
from robosac.types import Codec, Message, Received, Request
from tests.toy import CODEC

MS = 1_000_000
TO = Request("ego", 100 * MS, np.eye(4))


def message(link="a", *, received_ns=90 * MS, **changes):
    good = Message(
        sender=link,
        to="ego",
        sensed_ns=50 * MS,
        world_T_payload=pose_xyz_rpy(20, 5, 0, yaw_rad=1.0),
        codec="toy",
        payload={"centres": np.zeros((3, 2), np.float32)},
    )
    return Received(link, received_ns, replace(good, **changes))


def centres(value, shape=(3, 2), dtype=np.float32):
    return {"centres": np.full(shape, value, dtype)}


def test_a_good_message_passes():
    inbox = Gate().admit(TO, CODEC, [message("b"), message("a")])
    assert [m.sender for m in inbox.messages] == ["a", "b"] and inbox.rejected == {}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (message("ego"), "ego's own link"),
        (message(sender="b"), "claims to be 'b'"),
        (message(to="other"), "addressed to 'other'"),
        (message(codec="x"), "codec 'x', expected 'toy'"),
        (message(sensed_ns=-200 * MS), "sensed 300 ms ago"),
        (message(sensed_ns=200 * MS), "sensed -100 ms ago"),
        (message(world_T_payload=np.eye(3)), r"not a finite \(4, 4\)"),
        (message(world_T_payload=np.full((4, 4), np.nan)), r"not a finite \(4, 4\)"),
        (message(world_T_payload=2 * np.eye(4)), "not rigid"),
        (message(world_T_payload=np.diag([1.0, 1.0, -1.0, 1.0])), "not rigid"),
        (message(world_T_payload=pose_xyz_rpy(500, 0, 0)), "500 m away, allowed 150"),
        (message(world_T_payload=pose_xyz_rpy(0, 0, 1e9)), "m away"),
        (message(world_T_payload=np.diag([1.0, -1.0, -1.0, 1.0])), "tilted by more than 45"),
        (message(received_ns=5000 * MS), "came 4900 ms late"),
        (message(payload={"centres": np.ma.masked_invalid(np.full((3, 2), np.nan, np.float32))}), "not an array"),
        (message(payload={}), "payload holds"),
        (message(payload={**centres(0), "more": np.zeros(1)}), "payload holds"),
        (message(payload=centres(0, dtype=np.float64)), "not an array of float32"),
        (message(payload={"centres": [[0, 0]]}), "not an array of float32"),
        (message(payload=centres(0, shape=(3, 3))), "has shape"),
        (message(payload=centres(0, shape=(3,))), "has shape"),
        (message(payload=centres(np.nan)), "outside"),
        (message(payload=centres(np.inf)), "outside"),
        (message(payload=centres(201.0)), r"outside \[-200, 200\]"),
        (message(payload=None), "malformed message"),
        (message(world_T_payload="here"), "malformed message"),
        (message(sensed_ns=None), "malformed message"),
    ],
)
def test_each_reason(bad, why):
    inbox = Gate().admit(TO, CODEC, [bad, message("good")])
    assert [m.sender for m in inbox.messages] == ["good"]
    assert list(inbox.rejected) == [bad.link]
    assert re.search(why, inbox.rejected[bad.link])


NARROW = Gate(max_age_ms=30, max_ahead_ms=10, max_distance_m=50, max_tilt_deg=20)


@pytest.mark.parametrize(
    ("within", "beyond", "why"),
    [
        ({"sensed_ns": 70 * MS}, {"sensed_ns": 70 * MS - MS}, "sensed 31 ms ago, allowed -10 to 30"),
        ({"sensed_ns": 110 * MS}, {"sensed_ns": 111 * MS}, "sensed -11 ms ago, allowed -10 to 30"),
        ({"received_ns": 130 * MS}, {"received_ns": 131 * MS}, "came 31 ms late, allowed 30"),
        ({"pose": (30, 40, 0)}, {"pose": (30, 40, 9)}, "51 m away, allowed 50"),
        ({"pose": (0, 0, 0, 0, 0.34)}, {"pose": (0, 0, 0, 0, 0.36)}, "tilted by more than 20 degrees"),
        ({"pose": (0, 0, 0, -0.34)}, {"pose": (0, 0, 0, -0.36)}, "tilted by more than 20 degrees"),
        ({"payload": centres(-200)}, {"payload": centres(-200.1)}, r"outside \[-200, 200\]"),
        ({"payload": centres(200)}, {"payload": centres(200.1)}, r"outside \[-200, 200\]"),
    ],
    ids=["old", "ahead", "late", "far", "pitched", "rolled", "low", "high"],
)
def test_each_limit_is_inclusive_and_just_beyond_it_is_refused(within, beyond, why):
    def refused(changes):
        pose = changes.get("pose", (0, 0, 0))
        rest = {k: v for k, v in changes.items() if k != "pose"}
        return NARROW.refusal(
            TO, CODEC, message(**{"sensed_ns": 90 * MS, "world_T_payload": pose_xyz_rpy(*pose), **rest})
        )

    assert refused(within) is None
    assert re.search(why, refused(beyond))


def test_the_distance_is_from_the_ego_and_a_level_sensor_passes_any_tilt():
    far = Request("ego", 100 * MS, pose_xyz_rpy(1000, -1000, 5))
    sent = message(world_T_payload=pose_xyz_rpy(1030, -960, 5, yaw_rad=2.0))
    strict = Gate(max_distance_m=50, max_tilt_deg=0)
    assert strict.refusal(far, CODEC, sent) is None
    assert "2000 m away" in str(strict.refusal(far, CODEC, message(world_T_payload=pose_xyz_rpy(1000, 1000, 5))))


@pytest.mark.parametrize(("scale", "rigid"), [(1 + 1e-4, True), (1 - 1e-4, True), (1.01, False), (0.99, False)])
def test_rotations_may_be_rounded_but_not_scaled(scale, rigid):
    pose = np.diag([scale, scale, scale, 1.0])
    assert (Gate().refusal(TO, CODEC, message(world_T_payload=pose)) is None) == rigid


def test_what_is_no_message_is_reported():
    inbox = Gate().admit(TO, CODEC, [None, message("a"), message(7)])
    assert [m.sender for m in inbox.messages] == ["a"] and set(inbox.rejected) == {"inbox[0]", "inbox[2]"}
    assert "NoneType" in inbox.rejected["inbox[0]"]
    assert "str" in Gate().admit(TO, CODEC, ["a"]).rejected["inbox[0]"]


def test_two_messages_on_one_link_are_both_refused():
    inbox = Gate().admit(TO, CODEC, [message("a"), message("b"), message("a")])
    assert [m.sender for m in inbox.messages] == ["b"] and "2 messages" in inbox.rejected["a"]


def test_a_flood_of_links_is_bounded():
    inbox = Gate(max_messages=3).admit(TO, CODEC, [message(f"t{i}") for i in range(10)])
    assert len(inbox.messages) == 3 and len(inbox.rejected) == 7


anything = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(), max_size=3),
)


@given(st.dictionaries(st.sampled_from(list(Message.__dataclass_fields__)), anything))
def test_nothing_a_teammate_sends_raises(changes):
    inbox = Gate().admit(TO, CODEC, [message(**changes)])
    assert len(inbox.messages) + len(inbox.rejected) == 1


BOXES = Codec(
    "toy", {"boxes": (("n", 7), "float32", -200.0, 200.0), "scores": (("n",), "float32", 0.0, 1.0)}, {"n": 5}, 2
)


def found(boxes, scores):
    return {"boxes": np.zeros((boxes, 7), np.float32), "scores": np.zeros(scores, np.float32)}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (found(0, 0), None),
        (found(5, 5), None),
        (found(3, 4), r"scores has shape \(4,\)"),
        (found(6, 6), r"longer than \{'n': 5\}, got \{'n': 6\}"),
    ],
)
def test_arrays_that_share_a_length(payload, why):
    rejected = Gate().admit(TO, BOXES, [message(payload=payload)]).rejected
    assert not rejected if why is None else re.search(why, rejected["a"])


def test_a_shared_length_need_not_be_bounded():
    unbounded = replace(BOXES, longest={})
    assert Gate().refusal(TO, unbounded, message(payload=found(600, 600))) is None


def test_a_detector_may_take_fewer_messages_than_the_gate():
    inbox = Gate().admit(TO, BOXES, [message(f"t{i}", payload=found(1, 1)) for i in range(4)])
    assert [m.sender for m in inbox.messages] == ["t0", "t1"] and "more than 2 teammates" in inbox.rejected["t2"]
