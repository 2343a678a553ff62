"""What edits of boxes are for, on a street of three cars."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.air import Air
from robosac.attacks import BoxConfidence, BoxFlood, BoxRemove, BoxResize, BoxShift, BoxSpoof, BoxTurn
from robosac.attacks.base import Budgeted
from robosac.boxes import invert_pose, transform_boxes
from robosac.gate import Gate
from robosac.types import InputError, Message, Received
from tests.attacks.toy import make_air
from tests.attacks.toy_points import late_air

EVERY = [BoxSpoof(), BoxFlood(), BoxRemove(), BoxShift(), BoxResize(), BoxTurn(), BoxConfidence()]


def altered(attack: Budgeted, air: Air) -> Message:
    return attack.start("street", frozenset(air.own), np.random.default_rng(0)).send(air)[0]  # type: ignore[attr-defined, no-any-return]


def in_ego_frame(air: Air, message: Message) -> np.ndarray:
    return transform_boxes(invert_pose(air.to.world_T_ego) @ message.world_T_payload, message.payload["boxes"])


def seen(air: Air, messages: list[Message]) -> np.ndarray:
    session = air._detector.open(air._ego, air.to, messages)
    return session.detect([frozenset(session.ids)])[0].boxes


@pytest.mark.parametrize("attack", [*EVERY, BoxSpoof(boxes=50), BoxFlood(boxes=999)], ids=repr)
def test_what_is_sent_fits_the_codec_and_is_best_first(attack: Budgeted) -> None:
    air = late_air(["a"])
    sent = altered(attack, air)
    assert Gate().refusal(air.to, air.codec, Received.honest(sent, air.to)) is None
    air._detector.open(air._ego, air.to, [sent])  # raises where it does not fit
    scores = sent.payload["scores"]
    assert len(scores) <= 12 and (np.diff(scores) <= 0).all() and sent.payload["boxes"].dtype == np.float32


def test_invented_cars_are_believed() -> None:
    air = late_air(["a"])
    sent = altered(BoxSpoof(boxes=3, nearest_m=15.0, furthest_m=25.0), air)
    named = in_ego_frame(air, sent)[sent.payload["scores"] == np.float32(0.9)]
    assert (
        len(named) == 3 and ((np.hypot(*named[:, :2].T) >= 15.0 - 1e-3) & (np.hypot(*named[:, :2].T) <= 25.001)).all()
    )
    shown = seen(air, [sent])
    for car in named:
        assert np.hypot(*(shown[:, :2] - car[:2]).T).min() < 0.01


def test_colluding_attackers_invent_the_same_cars() -> None:
    air = late_air(["a", "b"])
    sent = BoxSpoof().start("street", frozenset("ab"), np.random.default_rng(1)).send(air)
    first, second = (in_ego_frame(air, m)[m.payload["scores"] == np.float32(0.9)] for m in sent)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_worst_of_ones_own_make_room() -> None:
    air = late_air(["a"])
    own = len(air.honest["a"].payload["scores"])
    sent = altered(BoxSpoof(boxes=11), air)
    assert len(sent.payload["scores"]) == 12 and own >= 2
    assert BoxSpoof().perturbation_size(air.honest["a"], [sent]) == 11
    assert sent.payload["scores"][0] == air.honest["a"].payload["scores"].max()


def test_a_flood_keeps_ones_own_and_fills_the_rest() -> None:
    air = late_air(["a"])
    honest = air.honest["a"]
    sent = altered(BoxFlood(), air)
    assert len(sent.payload["scores"]) == 12
    assert BoxFlood().perturbation_size(honest, [sent]) == 12 - len(honest.payload["scores"])
    assert len(seen(air, [sent])) > len(seen(air, [honest])) + 5


def test_the_nearest_are_removed() -> None:
    air = late_air(["a"])
    honest = air.honest["a"]
    distance = np.sort(np.hypot(*in_ego_frame(air, honest)[:, :2].T))
    left = np.sort(np.hypot(*in_ego_frame(air, altered(BoxRemove(boxes=1), air))[:, :2].T))
    np.testing.assert_array_equal(left, distance[1:])


def test_shift_resize_and_confidence_by_hand() -> None:
    air = late_air(["a"])
    honest = air.honest["a"]
    moved = altered(BoxShift(metres=2.0), air).payload["boxes"] - honest.payload["boxes"]
    np.testing.assert_allclose(np.hypot(moved[:, 0], moved[:, 1]), 2.0, atol=1e-4)
    assert not moved[:, 2:].any()
    grown = altered(BoxResize(share=0.5), air).payload["boxes"][:, 3:6] / honest.payload["boxes"][:, 3:6]
    np.testing.assert_allclose(grown, 1.5, atol=1e-5)
    small = altered(BoxResize(share=1.0, shrink=True), air).payload["boxes"][:, 3:6] / honest.payload["boxes"][:, 3:6]
    np.testing.assert_allclose(small, 0.5, atol=1e-5)
    turned = altered(BoxTurn(degrees=30.0), air).payload["boxes"] - honest.payload["boxes"]
    np.testing.assert_allclose(turned, np.radians(30.0) * (np.arange(7) == 6) * np.ones_like(turned), atol=1e-4)
    sure = altered(BoxConfidence(added=0.3), air).payload["scores"]
    np.testing.assert_allclose(sure, np.minimum(honest.payload["scores"] + 0.3, 1.0), atol=1e-6)


def test_boxes_move_along_across_or_all_attackers_together() -> None:
    air = late_air(["a", "b"])

    def moved(attack: BoxShift, who: str) -> np.ndarray:
        sent = attack.start("scene", frozenset("ab"), np.random.default_rng(0)).send(air)
        (mine,) = [m for m in sent if m.sender == who]
        apart = in_ego_frame(air, mine)[:, :2] - in_ego_frame(air, air.honest[who])[:, :2]
        return np.asarray(apart)

    for way, off in (("along", 0.0), ("across", np.pi / 2)):
        heading = in_ego_frame(air, air.honest["a"])[:, 6] + off
        step = moved(BoxShift(metres=1.5, way=way), "a")
        side = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        np.testing.assert_allclose(np.abs((step * side).sum(axis=1)), 1.5, atol=1e-3)
    together = [moved(BoxShift(metres=1.5, way="together"), who) for who in "ab"]
    np.testing.assert_allclose(
        np.concatenate(together), np.ones((sum(map(len, together)), 1)) * together[0][:1], atol=1e-3
    )
    assert np.hypot(*together[0][0]) == pytest.approx(1.5, abs=1e-3)


def test_what_another_lie_does_no_budget_of_this_one_pays() -> None:
    air = late_air(["a"])
    honest = air.honest["a"]
    sent = {type(a): altered(a, air) for a in EVERY}
    for attack, others in [
        (BoxRemove(), [BoxSpoof, BoxFlood, BoxShift]),
        (BoxShift(), [BoxSpoof, BoxRemove, BoxResize, BoxConfidence]),
        (BoxResize(), [BoxSpoof, BoxShift, BoxTurn, BoxConfidence]),
        (BoxTurn(), [BoxSpoof, BoxShift, BoxResize, BoxConfidence]),
        (BoxConfidence(), [BoxSpoof, BoxShift, BoxResize]),
        (BoxFlood(), [BoxRemove, BoxShift]),
        (BoxSpoof(), [BoxRemove]),
    ]:
        assert [attack.perturbation_size(honest, [sent[kind]]) for kind in others] == [np.inf] * len(others), attack  # type: ignore[attr-defined]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_a_detector_without_boxes_is_told(attack: Budgeted) -> None:
    with pytest.raises(InputError, match=r"expected a codec of boxes and scores \(late fusion\), got 'toy' with feat"):
        altered(attack, make_air(["a"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoxSpoof(boxes=-1), "boxes of BoxSpoof to be an integer >= 0"),
        (lambda: BoxSpoof(nearest_m=9.0, furthest_m=8.0), "furthest_m of BoxSpoof to be a finite number >= 9"),
        (lambda: BoxFlood(spacing_m=0.0), "spacing_m of BoxFlood"),
        (lambda: BoxRemove(boxes=0.5), "boxes of BoxRemove to be an integer"),  # type: ignore[arg-type]
        (lambda: BoxShift(metres=-1.0), "metres of BoxShift"),
        (lambda: BoxResize(shrink=1), "shrink of BoxResize to be a bool, got 1"),  # type: ignore[arg-type]
        (lambda: BoxConfidence(added=float("nan")), "added of BoxConfidence"),
    ],
)
def test_settings_are_checked(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
