"""The default on late fusion: what agents sent is merged box by box, by votes and not by who is surest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import robosac
from robosac.capabilities import OfBoxes
from robosac.defenses import Robosac
from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.types import Message, Verdict
from tests.defenses.honest import allowing
from tests.detectors.plain import cars, frame, on_open_ground, sent
from tests.toy import received

LATE = LateFusion(cars, name="late")
SEEN = [(15.0, 0.0, 0.6), (-15.0, 3.0, 0.6), (3.0, 15.0, 0.6)]
SCENE = on_open_ground(frame(ego=SEEN, a=SEEN, b=SEEN, c=[*SEEN, (-38.0, -38.0, 0.6)]))


def moved(honest: Message, metres: float) -> Message:
    """All boxes along their own heading, and sure of it."""
    boxes = honest.payload["boxes"].copy()
    for k, along in ((0, np.cos(boxes[:, 6])), (1, np.sin(boxes[:, 6]))):
        boxes[:, k] += metres * along
    return honest.with_payload(boxes=boxes, scores=np.ones_like(honest.payload["scores"]))


def verdict(*attackers: str, metres: float = 1.2) -> Verdict:
    """Everything that is finite passes: nobody is left out, the boxes have to hold by themselves."""
    to, honest = sent(LATE, SCENE)
    messages = [moved(m, metres) if m.sender in attackers else m for m in honest]
    defended = robosac.wrap(LATE, Robosac(poses=None), calibration=allowing(detector="late"))
    return defended.receive(SCENE.ego, received(messages, to), to=to)


def off(found: Verdict) -> list[float]:
    """How far the boxes nearest to what everybody sees are from it, by distance along the ground in the ego's frame."""
    places = np.array([s[:2] for s in SEEN])
    apart = np.linalg.norm(found.result.boxes[:, None, :2] - places[None], axis=2)
    return [float(d) for d in apart.min(axis=0)]


@pytest.mark.parametrize("attackers", [(), ("a",), ("a", "b")], ids=["nobody", "one", "two"])
def test_who_moves_its_boxes_moves_nobodys_car(attackers: tuple[str, ...]) -> None:
    found = verdict(*attackers)
    assert found.used == {"a", "b", "c"}
    assert max(off(found)) < (0.65 if len(attackers) > 1 else 0.02)  # with two of four the middle is between


def test_undefended_the_surest_one_moves_them_all() -> None:
    to, honest = sent(LATE, SCENE)
    messages = [moved(m, 1.2) if m.sender == "a" else m for m in honest]
    found = robosac.wrap(LATE, "none").receive(SCENE.ego, received(messages, to), to=to)
    assert min(off(found)) == pytest.approx(1.2, abs=0.01)


def test_what_one_alone_shows_stands_below_what_all_show() -> None:
    found = verdict()
    scores = {tuple(np.round(b[:2])): float(s) for b, s in zip(found.result.boxes, found.result.scores, strict=True)}
    assert scores[-38, -38] == pytest.approx(0.5 * 0.6) and scores[15, 0] == pytest.approx(0.6)


def test_only_sessions_of_boxes_are_merged_so() -> None:
    early = EarlyFusion(cars, name="early")
    to, messages = sent(LATE, SCENE)
    session = LATE.open(SCENE.ego, to, messages)
    assert isinstance(session, OfBoxes)
    (shown,) = session.sent(["a"])
    assert len(shown) == len(SEEN)
    assert not isinstance(early.open(SCENE.ego, to, []), OfBoxes)


def test_where_everybody_is_left_out_the_ego_stands_as_it_is() -> None:
    nobody = allowing(detector="late", agreement=2.0)
    to, messages = sent(LATE, SCENE)
    defended = robosac.wrap(LATE, replace(Robosac(), poses=None), calibration=nobody)
    found = defended.receive(SCENE.ego, received(messages, to), to=to)
    alone = LATE.open(SCENE.ego, to, []).detect([frozenset()])[0]
    assert found.used == frozenset() and found.result.boxes.tobytes() == alone.boxes.tobytes()
