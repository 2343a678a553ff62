"""What a message shows by itself: it rests on that message alone, and is what its sender would see as the ego."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from robosac.boxes import invert_pose, iou_bev, nudge_pose, transform_boxes, yaw_of
from robosac.capabilities import Solo
from robosac.detectors.adapters.coperception import CoperceptionDetector
from robosac.detectors.fusion.callables import own_body
from robosac.evaluation.conformance import tamper
from robosac.types import EGO_ALONE, Detections, InputError, Message, Request, keyed_rng
from tests.detectors import fake_coperception as fake
from tests.detectors.test_contributions import CASES, opened


def same(a: Detections, b: Detections) -> bool:
    return a.boxes.tobytes() == b.boxes.tobytes() and a.scores.tobytes() == b.scores.tobytes()


def close(a: Detections, b: Detections) -> bool:
    """But for rounding, which depends on how many are decoded at once."""
    return len(a) == len(b) and np.allclose(a.boxes, b.boxes, atol=1e-3) and np.allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_it_depends_on_its_own_message_alone(case: str) -> None:
    detector, frame, to, messages = opened(case)
    attacker = messages[1].sender
    malicious = [tamper(m, detector.codec, keyed_rng(1)) if m.sender == attacker else m for m in messages]
    before, after = (detector.open(frame.ego, to, sent) for sent in (messages, malicious))
    assert isinstance(before, Solo)
    after.detect([frozenset(after.ids)])
    for one, other, name in zip(before.solo(before.ids), after.solo(before.ids), before.ids, strict=True):
        assert name == attacker or same(one, other)
    alone = detector.open(frame.ego, to, messages[:1])
    assert close(alone.solo([messages[0].sender])[0], before.solo([messages[0].sender])[0])
    assert any(len(found) for found in before.solo(before.ids))


@pytest.mark.parametrize("case", ["mean", "max", "attention", "late", "late-wbf", "early"])
def test_it_is_what_the_sender_would_see_as_the_ego_brought_over_by_the_pose_it_claims(case: str) -> None:
    detector, frame, to, messages = opened(case)
    along = [_along_the_egos(m, to) for m in messages]
    shown = detector.open(frame.ego, to, along).solo([m.sender for m in messages])
    for found, view in zip(
        shown, (replace(frame.others[m.sender], world_T_sensor=m.world_T_payload) for m in along), strict=True
    ):
        itself = detector.open(view, Request.of(view), []).detect([EGO_ALONE])[0]
        moved = transform_boxes(invert_pose(to.world_T_ego) @ view.world_T_sensor, itself.boxes)
        kept = ~own_body(moved)
        np.testing.assert_allclose(found.boxes[:, [0, 1, 3, 4, 5, 6]], moved[kept][:, [0, 1, 3, 4, 5, 6]], atol=1e-4)
        np.testing.assert_allclose(found.scores, itself.scores[kept], atol=1e-5)


def _along_the_egos(message: Message, to: Request) -> Message:
    """With axes at a right angle to the ego's, or nearly."""
    yaw = yaw_of(invert_pose(to.world_T_ego) @ message.world_T_payload)
    odd = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return replace(message, world_T_payload=nudge_pose(message.world_T_payload, 0.0, 0.0, 0.1 - odd))


def test_a_sender_at_an_odd_angle_is_decoded_along_the_egos_axes() -> None:
    """What reaches the head is the message as an ego on the sender's place sees it, whose axes are this ego's, modulo a
    quarter; of a sender along the ego's axes it is what was sent."""
    detector, frame, to, messages = opened("mean")
    kinds = set()
    for message in messages:
        read: list[torch.Tensor] = []
        handle = detector.network.head.register_forward_pre_hook(lambda _m, given, read=read: read.append(given[0]))
        detector.open(frame.ego, to, [message]).solo([message.sender])
        handle.remove()
        (head_input,) = read[-1].numpy()
        yaw = yaw_of(invert_pose(to.world_T_ego) @ message.world_T_payload)
        off = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        expected, valid = message.payload["features"], np.ones(head_input.shape[1:], bool)
        if abs(off) > 0.2:  # warped by another path: the sender stands on the ego's place, turned by as much
            there = replace(message, world_T_payload=nudge_pose(to.world_T_ego, 0.0, 0.0, off))
            shown = detector.open(frame.ego, to, [there]).contribution(message.sender)
            expected, valid = shown.features["features"], shown.valid
        kinds.add(abs(off) > 0.2)
        np.testing.assert_allclose(head_input[:, valid], expected[:, valid], atol=1e-3)
    assert kinds == {True, False}


def test_a_claimed_pose_moves_what_is_shown_and_nothing_else() -> None:
    detector, frame, to, messages = opened("mean")
    pose = nudge_pose(messages[0].world_T_payload, 3.0, -2.0, 0.0)
    moved = replace(messages[0], world_T_payload=pose)
    (a,), (b,) = (detector.open(frame.ego, to, [m]).solo([m.sender]) for m in (messages[0], moved))
    step = invert_pose(to.world_T_ego)[:2, :2] @ np.array([3.0, -2.0])
    assert len(a) > 3
    np.testing.assert_allclose(a.boxes[:, :2] + step, b.boxes[:, :2], atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("value", [3e38, -3e38, 0.0], ids=["huge", "negative", "zero"])
@pytest.mark.filterwarnings("ignore")
def test_no_payload_and_no_pose_makes_it_raise(case: str, value: float) -> None:
    detector, frame, to, messages = opened(case)
    bad = messages[0]
    payload = {k: np.full_like(a, value) if a.dtype.kind == "f" else a for k, a in bad.payload.items()}
    pose = bad.world_T_payload.copy() if case == "ego-frame" else 1e300 * np.ones((4, 4)) * np.sign(value + 0.5)
    hostile = replace(bad, payload=payload, world_T_payload=pose)
    try:
        session = detector.open(frame.ego, to, [hostile, messages[1]])
    except InputError:  # what does not fit the codec enters nowhere
        return
    first, second = session.solo([bad.sender, messages[1].sender])
    assert first.finite and second.finite
    assert close(second, detector.open(frame.ego, to, [messages[1]]).solo([messages[1].sender])[0])


def test_strangers_are_refused() -> None:
    detector, frame, to, messages = opened("mean")
    with pytest.raises(InputError, match=r"expected subsets of .* got \['nobody'\]"):
        detector.open(frame.ego, to, messages).solo(["nobody"])


def test_the_score_map_comes_with_the_boxes() -> None:
    detector, frame, to, messages = opened("mean")
    found = detector.open(frame.ego, to, messages).solo([messages[0].sender])[0]
    inside = detector.grid.contains(found.boxes) & (found.scores > 0.2)
    row, col = detector.grid.cells(found.boxes[inside])
    near = functional.max_pool2d(torch.from_numpy(found.score_map)[None, None], 3, 1, 1)[0, 0].numpy()[row, col]
    assert inside.sum() > 2 and (near > 0.3 * found.scores[inside]).all()


def test_a_model_of_coperception_sees_one_layer_and_an_empty_scan_for_the_rest() -> None:
    detector = CoperceptionDetector(fake.model(), layout=fake.LAYOUT)
    frame = fake.frame()
    to = Request.of(frame.ego)
    message: Message = detector.encode(next(iter(frame.others.values())), to)
    session: Any = detector.open(frame.ego, to, [message])
    nothing = replace(frame.ego, points=np.zeros((0, 4), np.float32))
    features = torch.from_numpy(message.payload["features"])

    def hook(_m: Any, _i: Any, layers: list[torch.Tensor]) -> list[torch.Tensor]:
        return [features.expand_as(x) if k == 3 else x for k, x in enumerate(layers)]

    handle = detector.model.module.u_encoder.register_forward_hook(hook)
    by_hand = detector.full(nothing, [], to)
    handle.remove()
    outputs = session._forward.alone(session._sent[message.sender]["features"], session._empty)
    for name, array in by_hand.items():
        np.testing.assert_allclose(array, outputs[name].detach().numpy(), atol=1e-5)


def test_two_maps_of_one_scan_show_the_same_objects() -> None:
    """A teammate that stands where the ego stands shows what the ego shows."""
    detector, frame, to, _ = opened("mean")
    twin = replace(frame.ego, id="twin")
    session = detector.open(frame.ego, to, [detector.encode(twin, to)])
    (shown,), (own,) = session.solo(["twin"]), session.detect([EGO_ALONE])
    assert len(own) > 3 and np.diag(iou_bev(shown.boxes, own.boxes[: len(shown)])).min() > 0.99
