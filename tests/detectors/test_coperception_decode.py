from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robosac.boxes import corners_bev
from robosac.detectors.adapters.coperception import DecodeConfig, Layout, their_corners, their_predictions
from robosac.detectors.adapters.coperception.decode import anchors, class_logits, decode
from robosac.types import Detections

LAYOUT = Layout(extent_m=8.0)  # 64 x 64 cells
N = 64 * 64 * 6


def empty() -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs without a box: every code is 'the anchor itself', every anchor is background."""
    loc = torch.zeros(64, 64, 6, 1, 6)
    loc[..., 5] = 1.0
    cls = torch.zeros(N, 2)
    cls[:, 0] = 20.0
    return loc, cls


def found(loc: torch.Tensor, cls: torch.Tensor, **settings: float) -> Detections:
    return decode(loc, cls, LAYOUT, DecodeConfig(**settings), floor_m=-3.0)  # type: ignore[arg-type]


def at(row: int, col: int, anchor: int) -> int:
    return (row * 64 + col) * 6 + anchor


# An anchor at row i, column j is at y = -8 + 0.25 (i + 0.5) and, mirrored, at x = 8 - 0.25 (j + 0.5).
BY_HAND = [
    ("length across x", 0, (0, 0, 0, 0, 0, 1), (4.875, -5.375, 4.0, 2.0, -np.pi / 2)),
    ("turned by the anchor", 1, (0, 0, 0, 0, 0, 1), (4.875, -5.375, 4.0, 2.0, 0.0)),
    ("turned by the code", 0, (0, 0, 0, 0, 1, 0), (4.875, -5.375, 4.0, 2.0, 0.0)),
    ("a lorry's anchor", 3, (0, 0, 0, 0, 0, 1), (4.875, -5.375, 12.0, 3.0, -np.pi / 2)),
    ("half as wide, twice as long", 0, (0, 0, np.log(2), -np.log(2), 0, 1), (4.875, -5.375, 8.0, 1.0, -np.pi / 2)),
    ("moved by its own size", 0, (0.5, 0.25, 0, 0, 0, 1), (5.875, -6.375, 4.0, 2.0, -np.pi / 2)),
    ("a long pair of sine and cosine", 0, (0, 0, 0, 0, 0, 1.5), (4.875, -5.375, 6.0, 3.0, -np.pi / 2)),
]


@pytest.mark.parametrize(("anchor", "code", "expected"), [row[1:] for row in BY_HAND], ids=[r[0] for r in BY_HAND])
def test_a_code_is_read_as_the_box_it_stands_for(anchor: int, code: tuple[float], expected: tuple[float]) -> None:
    loc, cls = empty()
    loc[10, 12, anchor, 0] = torch.tensor(code)
    cls[at(10, 12, anchor)] = torch.tensor([0.0, 3.0])
    result = found(loc, cls, height_m=1.5, centre_above_floor_m=2.0)
    x, y, length, width, yaw = expected
    np.testing.assert_allclose(result.boxes, [[x, y, -1.0, length, width, 1.5, yaw]], atol=1e-5)
    np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(-3.0)), atol=1e-6)


def test_the_score_map_has_its_cells_where_the_boxes_are() -> None:
    loc, cls = empty()
    cls[at(10, 12, 2)] = torch.tensor([0.0, 3.0])
    result = found(loc, cls)
    assert result.score_map is not None
    row, col = LAYOUT.grid.cells(result.boxes)
    assert (int(row[0]), int(col[0])) == np.unravel_index(result.score_map.argmax(), result.score_map.shape)
    logits = class_logits(cls, LAYOUT)
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), result.score_map, atol=1e-7)


def test_thresholds_and_suppression() -> None:
    loc, cls = empty()
    for col, logit in ((12, 3.0), (13, 2.0), (50, 1.0), (30, 0.8)):  # the second overlaps the first
        cls[at(10, col, 0)] = torch.tensor([0.0, logit])
    assert len(found(loc, cls)) == 2  # 0.8 is a score of 0.69
    assert len(found(loc, cls, score_threshold=0.6)) == 3
    assert len(found(loc, cls, nms_iou=1.0)) == 3
    assert found(loc, cls, nms_iou=1.0, max_boxes=2).scores.tolist() == pytest.approx([0.9526, 0.8808], abs=1e-4)
    assert len(found(*empty())) == 0


def test_nonsense_gives_no_box_and_what_is_not_finite_is_marked() -> None:
    loc, cls = empty()
    cls[at(1, 1, 0)] = torch.tensor([0.0, float("nan")])
    cls[at(20, 20, 0)] = torch.tensor([0.0, 5.0])
    loc[20, 20, 0, 0, 0] = float("nan")
    cls[at(40, 40, 0)] = torch.tensor([0.0, 5.0])
    loc[40, 40, 0, 0] = torch.tensor([1e30, -1e30, -1e30, -1e30, 1e30, 1e30])
    result = found(loc, cls)
    assert len(result) == 1 and np.isfinite(result.boxes).all()
    assert result.score_map is not None and np.isnan(result.score_map).sum() == 2 and not result.finite


def test_anchors_lie_in_the_order_of_the_outputs() -> None:
    flat = anchors(LAYOUT)
    assert flat.shape == (N, 5)
    np.testing.assert_allclose(flat[at(10, 12, 5)], [-8 + 12.5 * 0.25, -8 + 10.5 * 0.25, 3.0, 12.0, -np.pi / 4])


coordinate = st.floats(-30, 30)


@given(coordinate, coordinate, st.floats(0.5, 10), st.floats(0.5, 4), st.floats(-3.1, 3.1))
def test_their_corners_are_ours_mirrored(x: float, y: float, length: float, width: float, yaw: float) -> None:
    boxes = np.array([[x, y, 0, length, width, 1.5, yaw]], np.float32)
    theirs = their_corners(boxes)[0] * [-1, 1]
    gap = np.linalg.norm(theirs[:, None] - corners_bev(boxes)[0][None], axis=2)
    assert (gap.min(axis=0) < 1e-3).all() and (gap.min(axis=1) < 1e-3).all()


def test_predictions_have_their_shapes() -> None:
    boxes = np.tile(np.array([[1, 2, 0, 4, 2, 1.5, 0]], np.float32), (3, 1))
    (entry,) = their_predictions(Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32)))
    assert entry["pred"].shape == (3, 1, 4, 2) and entry["score"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert entry["selected_idx"].tolist() == [0, 1, 2]
