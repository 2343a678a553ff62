"""What lies about boxes are for, on the street seen by late fusion. Laws: `test_every_attack`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attacks import BoxConfidence, BoxFlood, BoxRemove, BoxResize, BoxShift, BoxSpoof
from robosac.air import Air
from robosac.boxes import invert_pose, transform_boxes
from robosac.gate import Gate
from robosac.types import InputError, Message
from tests.attacks.toy import make_air
from tests.attacks.toy_points import LATE, late_air

EVERY = [BoxSpoof(), BoxSpoof(boxes=40), BoxFlood(), BoxRemove(), BoxShift(), BoxResize(share=9.0), BoxConfidence()]
MADE = np.array(  # in the sender's frame
    [[10, 2, 0, 4, 2, 1.5, 0.0], [-6, 1, 0, 4, 2, 1.5, np.pi / 2], [30, -4, 0, 4, 2, 1.5, np.pi]], np.float32
)
SURE = np.array([0.8, 0.6, 0.3], np.float32)


def street(boxes=MADE, scores=SURE) -> Air:
    """Frames in which `a` honestly sends these boxes."""
    air = late_air(["a"])
    return replace(air, honest={"a": air.honest["a"].with_payload(boxes=boxes, scores=scores)})


def lie(attack, air: Air) -> Message:
    (message,) = attack.start("street", frozenset("a"), np.random.default_rng(0)).send(air)
    return message


def seen_by_ego(air: Air, message: Message) -> np.ndarray:
    return transform_boxes(invert_pose(air.to.world_T_ego) @ message.world_T_payload, message.payload["boxes"])


@pytest.mark.parametrize("attack", EVERY, ids=repr)
@pytest.mark.parametrize("count", [0, 3, 12])
def test_what_is_sent_fits_the_codec_and_is_best_first(attack, count):
    rng = np.random.default_rng(count)
    boxes, scores = np.resize(MADE, (count, 7)), np.sort(rng.random(count).astype(np.float32))[::-1].copy()
    air = street(boxes, scores)
    message = lie(attack, air)
    assert Gate().refusal(air.to, LATE.codec, message) is None
    assert (np.diff(message.payload["scores"]) <= 0).all()
    assert len(message.payload["boxes"]) <= 12


def test_spoofed_cars_stand_around_the_ego_and_all_attackers_name_the_same():
    air = late_air(["a", "b"])
    sent = BoxSpoof(boxes=3).start("street", frozenset("ab"), np.random.default_rng(0)).send(air)
    spoofed = [seen_by_ego(air, m)[np.isclose(m.payload["scores"], 0.9)] for m in sent]
    assert [len(s) for s in spoofed] == [3, 3]
    np.testing.assert_allclose(spoofed[0], spoofed[1], atol=1e-3)
    away = np.hypot(*spoofed[0][:, :2].T)
    assert (away >= 6 - 1e-3).all() and (away <= 25 + 1e-3).all()


def test_a_spoof_takes_the_place_of_the_worst_of_ones_own():
    scores = np.linspace(0.8, 0.25, 12, dtype=np.float32)
    message = lie(BoxSpoof(boxes=2), street(np.resize(MADE, (12, 7)), scores))
    np.testing.assert_array_equal(message.payload["scores"], np.array([0.9, 0.9, *scores[:10]], np.float32))


def test_the_nearest_to_the_ego_is_removed_and_the_rest_stays():
    air = street()
    nearest = np.argmin(np.hypot(*seen_by_ego(air, air.honest["a"])[:, :2].T))
    kept = np.delete(np.arange(3), nearest)
    message = lie(BoxRemove(boxes=1), air)
    np.testing.assert_array_equal(message.payload["boxes"], MADE[kept])
    np.testing.assert_array_equal(message.payload["scores"], SURE[kept])
    assert len(lie(BoxRemove(boxes=9), air).payload["boxes"]) == 0


def test_a_shift_moves_every_box_along_its_heading_and_nothing_else():
    moved = lie(BoxShift(metres=2.0), street()).payload["boxes"] - MADE
    np.testing.assert_allclose(np.abs(moved[:, :2]), [[2, 0], [0, 2], [2, 0]], atol=1e-4)
    assert not moved[:, 2:].any()


@pytest.mark.parametrize(("attack", "factor"), [(BoxResize(share=0.5), 1.5), (BoxResize(share=1.0, shrink=True), 0.5)])
def test_sizes_grow_or_shrink_by_the_factor(attack, factor):
    boxes = lie(attack, street()).payload["boxes"]
    np.testing.assert_allclose(boxes[:, 3:6], MADE[:, 3:6] * factor, rtol=1e-5)
    np.testing.assert_array_equal(boxes[:, [0, 1, 2, 6]], MADE[:, [0, 1, 2, 6]])


def test_confidence_grows_up_to_certainty():
    message = lie(BoxConfidence(added=0.3), street())
    np.testing.assert_allclose(message.payload["scores"], [1.0, 0.9, 0.6], atol=1e-6)
    np.testing.assert_array_equal(message.payload["boxes"], MADE)


def test_a_flood_fills_the_message_and_survives_suppression():
    air = street()
    message = lie(BoxFlood(), air)
    assert len(message.payload["boxes"]) == 12  # all that fits: 9 beside the 3 that are one's own
    session = LATE.open(air._ego, air.to, [message])
    alone, flooded = session.detect([frozenset(), frozenset("a")])
    assert len(flooded) >= len(alone) + 5


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_a_detector_without_boxes_is_told(attack):
    with pytest.raises(InputError, match=r"codec of boxes and scores \(late fusion\), got 'toy'"):
        lie(attack, make_air(["a"]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BoxSpoof(boxes=-1),
        lambda: BoxSpoof(nearest_m=9.0, furthest_m=8.0),
        lambda: BoxFlood(spacing_m=0.0),
        lambda: BoxRemove(boxes=1.5),
        lambda: BoxShift(metres=float("nan")),
        lambda: BoxResize(shrink=1),
        lambda: BoxConfidence(added=-0.1),
    ],
)
def test_settings_out_of_range_are_told(wrong):
    with pytest.raises(InputError, match="expected"):
        wrong()
