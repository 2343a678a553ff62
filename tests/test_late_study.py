"""The study of late and early fusion measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.late_study import (
    COUNTS,
    EDITS,
    MOVED,
    PROFILES,
    TABLES,
    auc,
    drawn,
    grid_of,
    redrawn,
    weighted,
)
from robosac.agreement import SeenScoreMap
from robosac.air import Knowledge
from robosac.boxes import iou_bev
from robosac.detectors.fusion.late import LateFusion
from robosac.evaluation.play import attacked_air
from robosac.experiments.runner import open_experiment
from robosac.gate import Gate
from robosac.registry.attacks import open_attack
from robosac.score_maps import rasterise_boxes
from robosac.types import BevGrid, Detections, Float32, Received, keyed_rng
from tests.detectors.plain import SCENE, cars, sent

GRID = BevGrid(-30.0, -30.0, 1.0, 60, 60)


def boxes_about(rng: np.random.Generator, count: int) -> Float32:
    """Cars `(count, 7)` within 28 m of the ego, turned anyhow."""
    places = rng.uniform(-28, 28, (count, 2))
    rest = np.tile([-1.2, 4.5, 1.9, 1.6], (count, 1))
    return np.column_stack([places, rest, rng.uniform(-np.pi, np.pi, count)]).astype(np.float32)


def test_the_area_under_roc_by_hand() -> None:
    assert auc([3.0, 4.0], [1.0, 2.0]) == 1.0 and auc([1.0], [2.0]) == 0.0 and auc([1.0], [1.0]) == 0.5
    assert auc([1.0, 3.0], [2.0, 2.0]) == 0.5 and auc([1.0, 3.0, 4.0], [2.0]) == pytest.approx(2 / 3)


def test_the_chosen_profile_is_the_one_that_is_shipped() -> None:
    """Drawn the long way, but for the tail that `rasterise_boxes` cuts off at a hundredth of the score."""
    rng = np.random.default_rng(0)
    boxes, scores = boxes_about(rng, 12), rng.random(12).astype(np.float32)
    long_way = drawn(boxes, scores, GRID, kind="bump", width_m=0.4)
    np.testing.assert_allclose(rasterise_boxes(boxes, scores, GRID), long_way, atol=0.0112)
    assert PROFILES["bump of the box, blur 0.4 m"] is rasterise_boxes


def test_agreement_by_the_shipped_profile_is_that_of_the_shipped_measure() -> None:
    rng = np.random.default_rng(0)
    a, b = (Detections(boxes_about(rng, 12), rng.random(12).astype(np.float32)) for _ in range(2))
    compare = redrawn(a, SCENE.ego, GRID, profile=rasterise_boxes)
    assert compare(b) == SeenScoreMap().against(a, SCENE.ego, GRID)(b) < compare(a)


@pytest.mark.parametrize("kind", ["filled", "ramp", "bump", "round"])
def test_every_profile_peaks_at_its_box(kind: str) -> None:
    box = np.array([[5.5, -3.5, 0, 4.5, 1.9, 1.6, 0.7]], np.float32)
    shown = drawn(box, np.array([0.8], np.float32), GRID, kind=kind, width_m=1.0)
    assert shown[26, 35] == shown.max() == pytest.approx(0.8)
    assert drawn(box[:0], np.zeros(0, np.float32), GRID, kind=kind, width_m=1.0).max() == 0.0


@pytest.mark.parametrize("edit", EDITS)
def test_the_attacks_of_the_first_table_change_boxes_and_pass_the_gate(edit: str) -> None:
    attack = open_attack(EDITS[edit])
    detector = LateFusion(cars, name="late")
    to, inbox = sent(detector, SCENE)
    honest = {m.sender: m for m in inbox}
    air = attacked_air(SCENE, detector, to, honest, frozenset("ab"), attack.knowledge)
    changed = attack.start("plain", frozenset("ab"), keyed_rng(0)).send(air)
    assert [m.sender for m in changed] == ["a", "b"] and attack.knowledge == Knowledge.NONE
    for m in changed:
        assert Gate().refusal(to, detector.codec, Received.honest(m, to)) is None
        assert not np.array_equal(m.payload["boxes"], honest[m.sender].payload["boxes"])


def test_moved_boxes_suppress_and_do_not_match() -> None:
    """What makes them removals: they overlap the real ones enough for NMS and too little to count as found."""
    metres = open_attack(MOVED).metres
    boxes = boxes_about(np.random.default_rng(0), 50)
    moved = boxes.copy()
    moved[:, 0] += metres * np.cos(boxes[:, 6])
    moved[:, 1] += metres * np.sin(boxes[:, 6])
    overlap = np.diag(iou_bev(boxes, moved))
    assert (overlap > LateFusion(cars, name="late").iou).all() and (overlap < 0.5).all()


def test_every_table_can_be_planned(tmp_path: Path) -> None:
    for detector, strikes in TABLES.values():
        experiment = open_experiment(grid_of(detector, strikes, "test", 1), tmp_path)
        assert len(experiment.blocks) == 1 + (len(COUNTS) - 1) * len(strikes)
    assert weighted().merge == "wbf"
