"""Late fusion box by box: who stands first, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.boxes import iou_bev
from robosac.evidence import Showing, Votes
from robosac.evidence.votes import middle
from robosac.types import EGO_ALONE, Detections
from tests.evidence.written import places, result


def votes(own: Detections, /, **sent: Detections) -> Votes:
    return Votes.of(own, sent, Showing())


def middle_of(boxes: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Of one car that everybody shows."""
    return np.asarray(middle(boxes[None], np.ones((1, len(boxes)), np.bool_), like[None])[0])


def test_the_ego_alone_has_its_own() -> None:
    own = result((0, 0, 0.9), (20, 0, 0.2))
    found = votes(own, a=result((0.5, 0))).result(EGO_ALONE)
    assert found.boxes.tobytes() == own.boxes.tobytes() and found.scores.tobytes() == own.scores.tobytes()
    assert len(votes(result()).result(EGO_ALONE)) == 0


def test_what_anybody_shows_is_there_once_with_the_best_score() -> None:
    found = votes(result((0, 0, 0.5)), a=result((0.2, 0, 0.8), (20, 0, 0.6)), b=result((20.4, 0, 0.7)))
    assert places(found.result(frozenset("a"))) == [(0, 0), (20, 0)]
    both = found.result(frozenset("ab"))
    assert both.scores.tolist() == pytest.approx([0.8, 0.7])
    assert both.boxes[:, 0].tolist() == pytest.approx([0, 20.2])  # of two, the ego's; of two teammates the middle


def test_who_is_surest_does_not_own_the_place() -> None:
    """Suppression would give it to the one who says 1."""
    found = votes(result((0, 0, 0.5)), a=result((0.2, 0, 0.6)), b=result((1.0, 0.5, 1.0))).result(frozenset("ab"))
    assert places(found)[0][0] == pytest.approx(0.2) and abs(places(found)[0][1]) <= 0.01


def test_one_who_covers_two_cars_hides_neither_of_them() -> None:
    """Suppression by the surer box would leave one where there are two."""
    between = Detections(np.array([[0, 0, 0, 6, 5, 1.5, 0]], np.float32), np.ones(1, np.float32))
    cars = result((0, -2, 0.6), (0, 2, 0.6))
    found = votes(cars, a=between, b=cars).result(frozenset("ab"))
    assert places(found)[:2] == [(0, -2), (0, 2)]


@pytest.mark.parametrize("score", [0.1, 0.24, 0.3, 0.9, 1.0])
def test_one_who_spans_two_cars_that_different_agents_show_has_the_votes_of_one(score: float) -> None:
    """Fainter than all it spans it loses every suppression, so that no joint result and no single shows it."""
    span = Detections(np.array([[0, 1.75, 0, 4, 5.5, 1.5, 0]], np.float32), np.array([score], np.float32))
    one, other = result((0, 0, 0.8)), result((0, 3.5, 0.8))
    found = votes(one, a=one, b=other, c=other, z=span).result(frozenset("abcz"))
    assert places(found) == [(0, 0), (0, 3.5)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 2))
def test_m_of_2m_and_1_who_show_a_car_cannot_move_it_beyond_the_others(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    honest, moved = rng.uniform(-0.3, 0.3, (m + 1, 2)), rng.uniform(-1, 1, (m, 2))
    sent = {f"h{k}": result((*xy, 0.6)) for k, xy in enumerate(honest[1:])}
    sent |= {f"z{k}": result((*xy, 1.0)) for k, xy in enumerate(moved)}
    together = votes(result((*honest[0], 0.6)), **sent)
    if (together.partner < 0).any():  # not everybody takes it for the same car
        return
    found = together.result(frozenset(sent))
    low, high = honest.min(axis=0) - 1e-6, honest.max(axis=0) + 1e-6
    assert len(found) == 1 and ((found.boxes[0, :2] >= low) & (found.boxes[0, :2] <= high)).all()


@given(st.integers(0, 2**32 - 1), st.floats(-np.pi, np.pi))
def test_one_of_five_cannot_turn_a_car(seed: int, turned: float) -> None:
    """Neither who is surest nor who stands between two ways to write the others' rectangles."""
    rng = np.random.default_rng(seed)
    box = np.array([0, 0, 0, 4.5, 1.9, 1.5, 0], np.float32)
    honest = np.repeat(box[None], 4, axis=0)
    honest[:, 6] = rng.uniform(-0.05, 0.05, 4)
    sent = box.copy()
    sent[6] = turned
    found = middle_of(np.concatenate([honest, sent[None]]), sent)
    assert iou_bev(found[None], box[None])[0, 0] > 0.9


def test_numbers_that_are_none_count_for_nothing() -> None:
    broken: Any = result((0, 0), (10, 0))
    broken.boxes[1] = np.nan
    found = votes(result((0, 0, 0.5)), a=broken, b=result((30, 0))).result(frozenset("ab"))
    assert places(found) == [(0, 0), (30, 0)] and found.scores.max() == pytest.approx(0.9)


def test_each_car_has_the_middle_of_who_shows_it() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.normal(0, 0.2, (5, 4, 7)).astype(np.float32) + np.array([0, 0, 0, 4.5, 1.9, 1.5, 0], np.float32)
    there = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]], np.bool_)
    found = middle(boxes, there, boxes[:, 3])
    for k in range(4):
        assert found[k] == pytest.approx(middle_of(boxes[k][there[k]], boxes[k, 3]))
        assert found[k, :3] == pytest.approx(np.median(boxes[k][there[k]], axis=0)[:3])
    assert found[4] == pytest.approx(boxes[4, 3])


def test_a_box_without_sides_counts_for_nothing() -> None:
    flat = Detections(np.array([[0, 0, 0, 0, 2, 1.5, 0], [9, 9, 0, 0, 0, 0, 0]], np.float32), np.ones(2, np.float32))
    found = votes(result((0, 0, 0.5)), a=flat).result(frozenset("a"))
    assert places(found) == [(0, 0)]


@given(st.floats(-3, 3), st.lists(st.integers(-3, 3), min_size=1, max_size=4))
def test_rectangles_written_another_way_are_the_same(yaw: float, quarters: list[int]) -> None:
    box = np.array([3, -2, 0.5, 4.4, 1.9, 1.5, yaw])
    ways = np.array([[*box[:3], *(box[[4, 3]] if q % 2 else box[3:5]), 1.5, yaw + q * np.pi / 2] for q in quarters])
    found = middle_of(ways.astype(np.float32), box.astype(np.float32))
    assert iou_bev(found[None], box[None])[0, 0] > 0.999
    assert abs(np.sin((found[6] - yaw) / 2)) < 1e-5  # it looks the same way
