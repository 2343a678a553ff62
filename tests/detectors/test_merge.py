"""Weighted box fusion and suppression of rotated boxes: hand-computed cases and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.boxes import nms_bev, wrap_angle
from robosac.detectors.fusion.merge import Overlaps, rank, survivors, wbf_bev
from robosac.types import Array, Float32


def box(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, size: tuple[float, float, float] = (4, 2, 1.5)) -> Float32:
    return np.array([[x, y, 0.5, *size, yaw]], np.float32)


def several(seed: int, n: int, spread_m: float = 6.0) -> tuple[Float32, Float32]:
    rng = np.random.default_rng(seed)
    boxes = np.concatenate(
        [rng.normal(0, spread_m, (n, 2)), np.zeros((n, 1)), rng.uniform(1, 5, (n, 3)), rng.uniform(-4, 4, (n, 1))],
        axis=1,
    )
    return boxes.astype(np.float32), np.round(rng.random(n), 1).astype(np.float32)  # rounded: ties happen


def wbf(*boxes: Array, scores: list[float], iou: float = 0.3) -> tuple[Float32, Float32]:
    return wbf_bev(np.concatenate(boxes), np.array(scores, np.float32), iou)


def test_a_weighted_mean_by_hand() -> None:
    fused, scores = wbf(box(0), box(1, yaw=0.2, size=(5, 2, 2)), scores=[0.6, 0.3])
    assert scores.tolist() == pytest.approx([0.6])  # the best one's
    np.testing.assert_allclose(fused[0, :6], [1 / 3, 0, 0.5, 13 / 3, 2, 5 / 3], rtol=1e-6)
    # mean of the doubled angles 0 and 0.4 with weights 2 : 1
    assert fused[0, 6] == pytest.approx(np.arctan2(np.sin(0.4), 2 + np.cos(0.4)) / 2)


@given(st.floats(-3.14, 3.14), st.floats(0.1, 1.0), st.floats(-50, 50))
def test_two_identical_boxes_are_that_box(yaw: float, score: float, x: float) -> None:
    fused, scores = wbf(box(x, yaw=yaw), box(x, yaw=yaw), scores=[score, score])
    assert len(scores) == 1 and scores[0] == np.float32(score)
    np.testing.assert_allclose(fused, box(x, yaw=yaw), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("best", "other", "expected"),
    [
        (0.1, 0.1 + np.pi, 0.1),  # the same rectangle, pointing the other way: the best says where to
        (0.1 + np.pi, 0.1, 0.1 - np.pi),
        (0.0, 0.2 - np.pi, 0.1),
        (3.1, -3.1, np.pi),  # across the wrap
        (-3.1, 3.1, -np.pi),
        (0.2, -0.2, 0.0),
    ],
)
def test_headings_are_averaged_modulo_half_a_turn(best: float, other: float, expected: float) -> None:
    fused, _ = wbf(box(yaw=best), box(yaw=other), scores=[0.5 + 1e-6, 0.5])
    assert wrap_angle(fused[0, 6] - expected) == pytest.approx(0.0, abs=1e-5)


def test_a_rectangle_written_across_is_the_same_rectangle() -> None:
    fused, _ = wbf(box(yaw=0.3), box(yaw=0.3 - np.pi / 2, size=(2, 4, 1.5)), scores=[0.9, 0.9])
    np.testing.assert_allclose(fused, box(yaw=0.3), atol=1e-6)


def test_boxes_that_do_not_overlap_enough_stay_apart() -> None:
    fused, scores = wbf(box(0), box(3), scores=[0.4, 0.8])  # IoU 1/7
    np.testing.assert_array_equal(fused, np.concatenate([box(3), box(0)]))
    assert scores.tolist() == pytest.approx([0.8, 0.4])


def test_a_box_joins_the_one_it_overlaps_most() -> None:
    # the third overlaps both; a running mean over scores would give it to the first
    fused, _ = wbf(box(0), box(3), box(2), scores=[0.9, 0.8, 0.4], iou=0.2)
    assert fused[:, 0].tolist() == pytest.approx([0.0, (0.8 * 3 + 0.4 * 2) / 1.2])


def test_of_equal_overlaps_the_better_one_is_joined() -> None:
    fused, _ = wbf(box(0), box(4), box(2), scores=[0.9, 0.8, 0.4], iou=0.2)
    assert fused[:, 0].tolist() == pytest.approx([0.8 / 1.3, 4.0])


def test_no_boxes_are_no_boxes() -> None:
    fused, scores = wbf_bev(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), 0.3)
    assert fused.shape == (0, 7) and scores.shape == (0,)


def test_boxes_of_no_score_are_averaged_evenly() -> None:
    fused, _ = wbf(box(0), box(1), scores=[0.0, 0.0])
    assert fused[0, 0] == pytest.approx(0.5)


@given(st.integers(0, 200), st.integers(0, 40), st.sampled_from([0.0, 0.15, 0.5, 1.0]))
def test_survivors_are_those_of_greedy_suppression(seed: int, n: int, iou: float) -> None:
    """Of any subset, from the overlaps of all; against the package's other implementation."""
    boxes, scores = several(seed, n)
    order = rank(scores)
    member = np.random.default_rng(seed).random(n) < 0.6
    overlaps = Overlaps.of(boxes[order], iou).among(member)
    kept = survivors(member, overlaps)
    here = order[member]
    expected = here[nms_bev(boxes[here], scores[here], iou)]
    np.testing.assert_array_equal(order[kept], expected)


@given(st.integers(0, 200), st.integers(1, 40))
def test_fusion_laws(seed: int, n: int) -> None:
    """As many as survive, best first, each near its seed; and the order of distinct boxes does not matter."""
    boxes, _ = several(seed, n)
    scores = np.random.default_rng(seed).permutation(np.linspace(0.1, 1, n)).astype(np.float32)
    fused, best = wbf_bev(boxes, scores, 0.3)
    kept = nms_bev(boxes, scores, 0.3)
    np.testing.assert_array_equal(best, scores[kept])
    assert (np.hypot(*(fused[:, :2] - boxes[kept, :2]).T) <= np.hypot(boxes[:, 3], boxes[:, 4]).max()).all()
    mixed = np.random.default_rng(seed + 1).permutation(n)
    again, _ = wbf_bev(boxes[mixed], scores[mixed], 0.3)
    np.testing.assert_array_equal(again, fused)
