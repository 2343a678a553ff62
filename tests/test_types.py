"""What the containers promise: a verdict's boxes and their sources, a trial, a message and its link."""

from dataclasses import replace

import numpy as np
import pytest

from robosac.air import Air, Knowledge, attacker_of, invented, received
from robosac.types import Detections, InputError, Message, Received, Request, Trial, Verdict, View
from tests.toy import ToyDetector, detections


def verdict(boxes=2, used="ab", **changes):
    result = detections(np.arange(2.0 * boxes).reshape(boxes, 2))
    return Verdict(
        result=result, used=frozenset(used), accused=frozenset(), suspicion={}, trials=(), decodes=1, ms={}, reason="",
        **changes,
    )  # fmt: skip


def test_left_out_every_box_rests_on_all_that_were_used():
    assert verdict().sources == (frozenset("ab"),) * 2 and verdict(boxes=0).sources == ()
    assert verdict(used="").sources == (frozenset(),) * 2


def test_a_result_of_several_decodes_says_whose_messages_each_box_rests_on():
    made = verdict(used="abc", sources=(frozenset("ab"), frozenset()), support=((frozenset("c"),), ()))
    assert made.sources == (frozenset("ab"), frozenset()) and made.support[0] == (frozenset("c"),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sources": (frozenset("a"),)}, "sources to be one for each of 2 boxes, got 1"),
        ({"sources": (frozenset("a"), frozenset("z"))}, r"among the teammates used \['a', 'b'\], got \['z'\]"),
        ({"support": ((),)}, "support to be one for each of 2 boxes, got 1"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        verdict(**changes)


@pytest.mark.parametrize(("agreement", "accepted"), [(0.49, False), (0.5, True), (0.51, True), (float("nan"), False)])
def test_a_trial_is_accepted_where_its_agreement_reaches_the_threshold(agreement, accepted):
    made = Trial.judged(frozenset("a"), agreement, 0.5)
    assert made.accepted is accepted and made.threshold == 0.5 and made.scores == {}


def test_an_honest_message_claims_its_sender_s_own_place_and_time():
    pose = np.diag([1.0, 1.0, 1.0, 1.0])
    view, to = View("a", "vehicle", 7, np.zeros((0, 4), np.float32), pose), Request("ego", 9, np.eye(4))
    made = Message.of(view, to, "toy", {"x": np.zeros(3)})
    assert (made.sender, made.to, made.sensed_ns, made.codec, made.bytes) == ("a", "ego", 7, "toy", 24)
    assert made.world_T_payload is pose and Received.honest(made, to).link == "a"
    assert Message.of(view, to, "toy", {}, world_T_payload=to.world_T_ego).world_T_payload is to.world_T_ego


def air(attackers=("b", "a"), others=("x",)):
    detector, to = ToyDetector(), Request("ego", 9, np.eye(4))
    views = {n: View(n, "vehicle", 9, np.zeros((0, 4), np.float32), np.eye(4)) for n in ("ego", *attackers, *others)}
    honest = {n: detector.encode(views[n], to) for n in (*attackers, *others)}
    return Air(
        scenario="s", index=0, to=to, own={n: views[n] for n in attackers}, honest={n: honest[n] for n in attackers},
        knowledge=Knowledge.NONE, _detector=detector, _others={n: honest[n] for n in others}, _ego=views["ego"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("claimed", "link"),
    [("a", "a"), ("b", "b"), (invented("b", 2), "b#2"), ("x", "a"), ("ego", "a"), ("nobody", "a"), ("x#0", "a")],
)
def test_nobody_sends_on_a_link_of_somebody_else(claimed, link):
    made = air()
    inbox = received(made, [replace(made.honest["a"], sender=claimed)])
    assert [r.link for r in inbox] == ["x", link]
    assert inbox[1].message.sender == claimed and inbox[1].received_ns == made.to.t_ns


def test_an_invented_name_tells_who_invented_it():
    assert attacker_of(invented("v1", 3)) == "v1" and attacker_of("v1") == "v1"


def test_detections_are_as_many_as_their_scores():
    with pytest.raises(InputError, match=r"scores to be \(2,\), got \(3,\)"):
        Detections(np.zeros((2, 7), np.float32), np.zeros(3, np.float32))
