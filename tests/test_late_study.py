"""The study of late and early fusion measures what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.late_attacks import BoxLies, PointLies, invented, shifted, surface
from benchmarks.late_study import LIES, PROFILES, auc, drawn
from robosac.air import Attack, Knowledge
from robosac.boxes import iou_bev
from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.evaluation.play import attacked_air
from robosac.gate import Gate
from robosac.score_maps import rasterise_boxes
from robosac.types import BevGrid, Detector, Message, Received, Request, keyed_rng
from tests.detectors.plain import SCENE, cars, sent

GRID = BevGrid(-30.0, -30.0, 1.0, 60, 60)


def test_the_area_under_roc_by_hand() -> None:
    assert auc([3.0, 4.0], [1.0, 2.0]) == 1.0 and auc([1.0], [2.0]) == 0.0 and auc([1.0], [1.0]) == 0.5
    assert auc([1.0, 3.0], [2.0, 2.0]) == 0.5 and auc([1.0, 3.0, 4.0], [2.0]) == pytest.approx(2 / 3)


def test_the_chosen_profile_is_the_one_that_is_shipped() -> None:
    """Drawn the long way, but for the tail that `rasterise_boxes` cuts off at a hundredth of the score."""
    rng = np.random.default_rng(0)
    boxes, scores = invented(rng, 12, 28.0), rng.random(12).astype(np.float32)
    long_way = drawn(boxes, scores, GRID, kind="bump", width_m=0.4)
    np.testing.assert_allclose(rasterise_boxes(boxes, scores, GRID), long_way, atol=0.0112)
    assert PROFILES["bump of the box, blur 0.4 m"] is rasterise_boxes


@pytest.mark.parametrize("kind", ["filled", "ramp", "bump", "round"])
def test_every_profile_peaks_at_its_box(kind: str) -> None:
    box = np.array([[5.5, -3.5, 0, 4.5, 1.9, 1.6, 0.7]], np.float32)
    shown = drawn(box, np.array([0.8], np.float32), GRID, kind=kind, width_m=1.0)
    assert shown[26, 35] == shown.max() == pytest.approx(0.8)
    assert drawn(box[:0], np.zeros(0, np.float32), GRID, kind=kind, width_m=1.0).max() == 0.0


def attacked(detector: Detector, attack: Attack) -> tuple[Sequence[Message], dict[str, Message]]:
    to, inbox = sent(detector, SCENE)
    honest = {m.sender: m for m in inbox}
    air = attacked_air(SCENE, detector, to, honest, frozenset("ab"), attack.knowledge)
    return attack.start("plain", frozenset("ab"), keyed_rng(0)).send(air), honest


@pytest.mark.parametrize("kind", ["late", "early"])
def test_the_lies_pass_the_gate_and_need_no_knowledge(kind: str) -> None:
    detector: Detector = LateFusion(cars, name="late") if kind == "late" else EarlyFusion(cars, name="early")
    attack: Attack = BoxLies() if kind == "late" else PointLies(detect=cars, points=50)
    lies, honest = attacked(detector, attack)
    gate, to = Gate(), Request.of(SCENE.ego)
    assert [m.sender for m in lies] == ["a", "b"] and attack.knowledge == Knowledge.NONE
    assert all(gate.refusal(to, detector.codec, Received.honest(m, to)) is None for m in lies)
    (array, *_) = detector.codec.arrays
    for lie in lies:
        assert not np.array_equal(lie.payload[array], honest[lie.sender].payload[array])
    if kind == "early":
        assert [len(m.payload["points"]) for m in lies] == [250, 250]  # five cars of 50; its own points are gone


@pytest.mark.parametrize("lie", LIES)
def test_the_lies_of_the_first_table_pass_the_gate(lie: str) -> None:
    detector = LateFusion(cars, name="late")
    to, inbox = sent(detector, SCENE)
    changed = LIES[lie](inbox[0], to.world_T_ego, keyed_rng(0))
    assert Gate().refusal(to, detector.codec, Received.honest(changed, to)) is None


def test_moved_boxes_suppress_and_do_not_match() -> None:
    """What makes them removals: they overlap the real ones enough for NMS and too little to count as found."""
    boxes = invented(np.random.default_rng(0), 50, 25.0)
    overlap = np.diag(iou_bev(boxes, shifted(boxes, np.random.default_rng(1), BoxLies().shift_m)))
    assert (overlap > LateFusion(cars, name="late").iou).all() and (overlap < 0.5).all()


def test_points_of_an_invented_car_lie_on_it() -> None:
    box = np.array([3.0, 4.0, 0.0, 4.5, 1.9, 1.6, 0.4], np.float32)
    points = surface(box, 500, -2.0, np.random.default_rng(0))
    dx, dy = points[:, 0] - 3.0, points[:, 1] - 4.0
    u, v = np.cos(0.4) * dx + np.sin(0.4) * dy, np.cos(0.4) * dy - np.sin(0.4) * dx
    assert np.abs(u).max() <= 2.251 and np.abs(v).max() <= 0.951
    assert points[:, 2].min() >= -2.0 and points[:, 2].max() <= -0.399
