"""Targets and decoding are each other's inverse; both against boxes made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robosac.boxes import wrap_angle
from robosac.detectors.bev.config import DecodeConfig, ModelConfig
from robosac.detectors.bev.decode import decode
from robosac.detectors.bev.network import FORWARD, HEADING, HEAT, OUTPUTS
from robosac.detectors.bev.training.targets import Targets, draw_targets, loss
from robosac.types import Array

SMALL = ModelConfig()
MAP = SMALL.map
WIDE = ModelConfig(half_x_m=76.8, half_y_m=38.4, heading="vector")
GROUND = np.array([-2.0, 0.01, -0.02])
BOXES = np.array(
    [
        [10.1, 5.3, -1.1, 4.4, 1.8, 1.5, 0.3],
        [-20.0, 7.7, -1.0, 12.0, 2.5, 3.2, -2.0],
        [3.0, -30.2, -1.2, 3.8, 1.7, 1.4, 3.0],
        [31.0, 31.0, -0.9, 5.2, 2.1, 2.0, 1.2],
    ],
    np.float32,
)


def output_of(targets: Targets) -> torch.Tensor:
    """What a perfect head says."""
    output = targets.values.clone()
    output[HEAT] = torch.logit(targets.heat.clamp(1e-4, 0.98))
    if len(output) == OUTPUTS["side"]:
        output[FORWARD] = 2 * output[FORWARD] - 1
    return output[None]


def by_position(boxes: Array) -> Array:
    return boxes[np.lexsort((boxes[:, 1], boxes[:, 0]))]


@pytest.mark.parametrize("model", [SMALL, WIDE], ids=["small", "wide"])
def test_decoding_inverts_the_targets(model: ModelConfig) -> None:
    targets = draw_targets(BOXES, np.ones(4, bool), GROUND, model)
    (found,) = decode(output_of(targets), model.map, GROUND, DecodeConfig())
    assert found.boxes.dtype == np.float32
    a, b = by_position(found.boxes), by_position(BOXES)
    np.testing.assert_allclose(a[:, :6], b[:, :6], atol=1e-4)
    np.testing.assert_allclose(wrap_angle(a[:, 6] - b[:, 6]), 0, atol=1e-4)
    np.testing.assert_allclose(found.scores, 0.98, atol=1e-6)
    assert found.score_map is not None and found.score_map.shape == (model.map.rows, model.map.cols)


def test_one_cell_by_hand() -> None:
    output = torch.full((1, 10, 64, 64), 0.0)
    output[:, HEAT] = -10
    row, col = 40, 10  # centre at y = -38.4 + 40.5 * 1.2 = 10.2, x = -38.4 + 10.5 * 1.2 = -25.8
    output[0, :, row, col] = torch.tensor([2.0, 0.25, -0.5, np.log(2), 0, 0, 1.0, 1.0, 0.0, -3.0])
    (found,) = decode(output, MAP, np.array([-2.0, 0, 0]), DecodeConfig())
    expected = [-25.8 + 0.3, 10.2 - 0.6, -1.0, 9.0, 1.9, 1.6, np.pi / 4 - np.pi]
    np.testing.assert_allclose(found.boxes, [expected], atol=1e-5)
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert found.score_map is not None and found.score_map.argmax() == row * MAP.cols + col


@pytest.mark.parametrize(("threshold", "count"), [(0.1, 2), (0.4, 1), (0.9, 0)])
def test_the_score_threshold(threshold: float, count: int) -> None:
    output = torch.zeros(1, 10, 64, 64)
    output[:, HEAT] = -10
    output[0, HEAT, 5, 5], output[0, HEAT, 50, 50] = 0.0, -1.0  # .5 and .27
    (found,) = decode(output, MAP, GROUND, DecodeConfig(score_threshold=threshold))
    assert len(found) == count


def test_neighbouring_peaks_of_one_object_are_suppressed_and_candidates_bounded() -> None:
    output = torch.zeros(1, 10, 64, 64)
    output[:, HEAT] = -10
    output[0, HEAT, 20, 20], output[0, HEAT, 20, 22] = 1.0, 0.5  # 2.4 m apart, both 4.5 m long along x
    output[0, 8] = 1.0
    (found,) = decode(output, MAP, GROUND, DecodeConfig())
    assert len(found) == 1
    (both,) = decode(output, MAP, GROUND, DecodeConfig(nms_iou=0.9))
    assert len(both) == 2
    (best,) = decode(output, MAP, GROUND, DecodeConfig(nms_iou=0.9, max_candidates=1))
    assert best.scores == pytest.approx([1 / (1 + np.exp(-1.0))])


@pytest.mark.parametrize("channel", [HEAT, *range(10)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_gives_no_box_and_is_marked(channel: int, value: float) -> None:
    output = torch.zeros(1, 10, 64, 64)
    output[:, HEAT] = -10
    output[0, HEAT, 5, 5] = output[0, HEAT, 50, 50] = 2.0
    output[0, channel, 5, 5] = value
    (found,) = decode(output, MAP, GROUND, DecodeConfig())
    assert len(found) == 1 and np.isfinite(found.boxes).all() and not found.finite
    assert found.score_map is not None and np.argwhere(np.isnan(found.score_map)).tolist() == [[5, 5]]


def test_unseen_objects_are_neither_wanted_nor_punished() -> None:
    visible = np.array([True, True, False, True])
    targets = draw_targets(BOXES, visible, GROUND, SMALL)
    row, col = MAP.cells(BOXES)
    assert targets.heat[row, col].tolist() == [1, 1, 0, 1]
    assert targets.care[row, col].tolist() == [1, 1, 0, 1]
    assert targets.weight[row[2], col[2]] == 0

    output = output_of(targets).requires_grad_()
    loss(output, Targets.stack([targets]))["total"].backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert not output.grad[0, :, row[2], col[2]].any()
    assert output.grad[0, HEAT, row[0], col[0]] < 0  # a seen one is wanted more


def test_boxes_off_the_map_and_empty_scenes() -> None:
    off = BOXES.copy()
    off[:, 0] += 100
    for boxes in (off, BOXES[:0]):
        targets = draw_targets(boxes, np.ones(len(boxes), bool), GROUND, SMALL)
        assert not targets.heat.any()
        assert targets.care.all()
        assert torch.isfinite(loss(torch.zeros(1, 10, 64, 64), Targets.stack([targets]))["total"])


def test_a_perfect_head_has_less_loss_than_a_shifted_one() -> None:
    targets = draw_targets(BOXES, np.ones(4, bool), GROUND, SMALL)
    perfect = output_of(targets)
    batch = Targets.stack([targets])
    assert loss(perfect, batch)["total"] < 0.2 * loss(perfect.roll(3, dims=3), batch)["total"]


@pytest.mark.parametrize("yaw", np.linspace(-np.pi, np.pi, 13)[1:] + 0.02)
def test_a_heading_keeps_its_sign_where_the_axis_is_a_little_off(yaw: float) -> None:
    """Across x the axis jumps by half a turn; a sign that is relative to it must jump along."""
    car = np.array([[10.0, 5.0, -1.1, 4.4, 1.8, 1.5, yaw]], np.float32)
    output = output_of(draw_targets(car, np.ones(1, bool), GROUND, WIDE))
    for off in (-0.15, 0.15):
        turned = output.clone()
        turned[:, 7], turned[:, 8] = float(np.sin(2 * (yaw + off))), float(np.cos(2 * (yaw + off)))
        (found,) = decode(turned, WIDE.map, GROUND, DecodeConfig())
        assert wrap_angle(found.boxes[0, 6] - yaw) == pytest.approx(off, abs=1e-3)


def test_the_loss_of_a_heading_is_that_of_its_sign() -> None:
    targets = draw_targets(BOXES, np.ones(4, bool), GROUND, WIDE)
    right, wrong = output_of(targets), output_of(targets)
    wrong[:, HEADING] = -wrong[:, HEADING]
    forward = [float(loss(o, Targets.stack([targets]))["forward"]) for o in (right, wrong)]
    assert forward == pytest.approx([np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))], abs=1e-4)
