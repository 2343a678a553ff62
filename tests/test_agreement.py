"""Agreement: hand-computed cases and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robosac.agreement import DEFAULT_GRID, BoxJaccard, ScoreMapOverlap, SeenScoreMap, jaccard, overlap
from robosac.score_maps import rasterise_boxes
from robosac.types import BevGrid, Detections, InputError, View
from robosac.visibility import seen_cells

GRID = BevGrid(-20.0, -20.0, 1.0, 40, 40)


def at(*xs):
    """Boxes of 4 x 2 m along the x axis."""
    boxes = np.zeros((len(xs), 7), np.float32)
    boxes[:, 0], boxes[:, 3:6] = xs, (4.0, 2.0, 1.5)
    return boxes


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (at(), at(), 1.0),
        (at(0), at(), 0.0),
        (at(0, 10), at(0, 10), 1.0),
        (at(0, 10), at(0), 1 / 2),
        (at(0, 10, 20), at(10, 30), 1 / 4),
        (at(0), at(1), 1.0),  # IoU 3/5
        (at(0), at(2), 0.0),  # IoU 1/3
        (at(0, 2.5), at(1, -1.5), 1 / 3),  # IoU 3/5 counts; the two pairs at 5/11 would sum to more and do not
    ],
)
def test_jaccard_by_hand(a, b, expected):
    assert jaccard(a, b, iou=0.5) == expected == jaccard(b, a, iou=0.5)


def test_matching_is_one_to_one_and_best_overall():
    # the box at 0.6 overlaps both; greedy by IoU would take the nearer and strand the other
    a, b = at(0.0, 1.4), at(0.6, 1.3)
    assert jaccard(a, b, iou=0.5) == 1.0
    assert jaccard(at(0.0), at(0.0, 0.1), iou=0.5) == 1 / 2


def test_limits_of_iou_and_score_are_inclusive():
    assert jaccard(at(0), at(1), iou=0.6) == 1.0 and jaccard(at(0), at(1), iou=0.61) == 0.0
    both = Detections(at(0, 10), np.array([0.5, 0.5], np.float32))
    compare = BoxJaccard(min_score=0.5).against(both)
    assert compare(both) == 1.0 and compare(Detections(at(0), np.array([0.5], np.float32))) == 1 / 2


def test_boxes_below_the_score_are_not_compared():
    d = Detections(at(0, 10), np.array([0.9, 0.2], np.float32))
    compare = BoxJaccard(min_score=0.3).against(d)
    assert compare(Detections(at(0), np.array([0.5], np.float32))) == 1.0
    assert compare(Detections(at(0, 20), np.array([0.3, 0.29], np.float32))) == 1.0  # of the other side neither


maps = arrays(np.float32, (4, 4), elements=st.floats(0, 1, width=32))


@given(maps, maps, st.floats(0, 2))
def test_overlap_laws(a, b, slack):
    value = overlap(a, b, slack=slack)
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(overlap(b, a, slack=slack))
    assert overlap(a, a, slack=slack) == 1.0


def test_overlap_by_hand():
    a, b = np.array([[0.8, 0.0]]), np.array([[0.4, 0.4]])
    assert overlap(a, b) == pytest.approx(0.4 / 1.2)
    assert overlap(a, b, slack=1.0) == pytest.approx(1.4 / 2.2)
    assert overlap(a, b, weight=np.array([[1.0, 0.0]])) == pytest.approx(0.5)
    assert overlap(a, b, floor=0.5) == 0.0
    assert overlap(np.array([[0.5, 0.4]]), np.array([[0.5, 0.5]]), floor=0.5) == 0.5  # inclusive
    assert overlap(np.zeros((2, 2)), np.zeros((2, 2))) == 1.0


def test_maps_of_different_shape_are_refused():
    with pytest.raises(InputError, match="score maps of one shape"):
        overlap(np.zeros((2, 2)), np.zeros((2, 3)))


# ------------------------------------------------------------------------------- boxes without a score map
ONES = np.ones(9, np.float32)


def test_a_box_is_a_bump_of_its_score_by_hand():
    grid = BevGrid(-10.0, -10.0, 0.5, 40, 40)
    box = np.array([[0.25, 0.25, 0, 4, 2, 1.5, 0]], np.float32)  # on the centre of cell (20, 20)
    shown = rasterise_boxes(box, np.array([0.8]), grid)
    assert shown.shape == (40, 40) and shown.dtype == np.float32
    assert shown[20, 20] == shown.max() == pytest.approx(0.8)
    along, across = 1.0**2 + 0.4**2, 0.5**2 + 0.4**2  # variances: a quarter of the side, and the blur
    assert shown[20, 22] == pytest.approx(0.8 * np.exp(-0.5 / along))
    assert shown[22, 20] == pytest.approx(0.8 * np.exp(-0.5 / across))
    assert shown[22, 22] == pytest.approx(0.8 * np.exp(-0.5 / along - 0.5 / across))
    assert shown[20, 28] == pytest.approx(0.0, abs=0.01)  # 4 m ahead


@given(st.floats(-3.2, 3.2), st.floats(-8, 8), st.floats(-8, 8), st.floats(0.3, 2.0))
def test_a_score_map_of_a_box_laws(yaw, x, y, cell_m):
    """Half a turn changes nothing, a quarter with the sides exchanged neither; no cell beats the score."""
    n = int(24 / cell_m)
    grid = BevGrid(-n * cell_m / 2, -n * cell_m / 2, cell_m, n, n)
    boxes = np.array([[x, y, 0, 4.5, 1.9, 1.6, yaw + t] for t in (0, np.pi, np.pi / 2)])
    boxes[2, 3:5] = 1.9, 4.5
    first, half, quarter = (rasterise_boxes(boxes[k : k + 1], np.array([0.7]), grid) for k in range(3))
    np.testing.assert_allclose(half, first, atol=1e-6)
    np.testing.assert_allclose(quarter, first, atol=1e-6)
    assert 0.0 < first.max() <= np.float32(0.7)


def test_boxes_share_a_map_by_the_largest_and_in_any_order():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-25, 25, (9, 2)), np.tile([0, 4.5, 1.9, 1.6], (9, 1)), ONES[:, None]], axis=1)
    scores = rng.random(9)
    together = rasterise_boxes(boxes, scores, GRID)
    alone = [rasterise_boxes(boxes[k : k + 1], scores[k : k + 1], GRID) for k in range(9)]
    np.testing.assert_array_equal(together, np.max(alone, axis=0))
    np.testing.assert_array_equal(together, rasterise_boxes(boxes[::-1], scores[::-1], GRID))


def test_what_lies_off_the_grid_is_not_shown():
    outside = at(1e6, -400.0, 24.0)
    np.testing.assert_array_equal(rasterise_boxes(outside, ONES[:3], GRID), np.zeros((40, 40)))
    assert rasterise_boxes(at(20.5), ONES[:1], GRID).max() > 0.4  # its near half
    assert rasterise_boxes(at(), ONES[:0], GRID).max() == 0.0
    assert rasterise_boxes(at(np.nan, np.inf), ONES[:2], GRID).max() == 0.0


@pytest.mark.parametrize("grid", [GRID, None], ids=["grid", "default grid"])
def test_maps_are_made_of_boxes_where_there_are_none(grid):
    ego = View("ego", "vehicle", 0, ground_ring(15.0), np.eye(4))
    own, more = Detections(at(8), ONES[:1]), Detections(at(8, -8), ONES[:2])
    for measure in (ScoreMapOverlap(slack=0.0), SeenScoreMap(slack=0.0)):
        compare = measure.against(own, ego, grid)
        assert compare(own) == 1.0
        assert compare(more) == pytest.approx(0.5, abs=0.02)  # a second car, in plain view
        assert compare(Detections.empty()) == 0.0
        by_map = [
            Detections(d.boxes, d.scores, rasterise_boxes(d.boxes, d.scores, grid or DEFAULT_GRID)) for d in (own, more)
        ]
        assert measure.against(by_map[0], ego, grid or DEFAULT_GRID)(by_map[1]) == compare(more)


def test_a_map_without_its_grid_is_refused_with_advice():
    ego = View("ego", "vehicle", 0, ground_ring(15.0), np.eye(4))
    with pytest.raises(InputError, match="use ScoreMapOverlap"):
        SeenScoreMap().against(Detections(at(), ONES[:0], np.zeros((4, 4), np.float32)), ego, None)


# ----------------------------------------------------------------------------------------------- free space
def ground_ring(radius_m, *, height_m=-2.0, n=720, opening=(-np.pi, np.pi)):
    angle = np.linspace(*opening, n, endpoint=False)
    ring = np.stack([radius_m * np.cos(angle), radius_m * np.sin(angle), np.full(n, height_m), np.ones(n)], axis=1)
    return ring.astype(np.float32)


def test_a_ray_to_the_ground_clears_what_a_car_would_have_blocked():
    seen = seen_cells(ground_ring(15.0), GRID)
    centre = np.arange(40) - 19.5
    distance = np.hypot(*np.meshgrid(centre, centre))
    # sensor 2 m up, below 1.2 m from 0.4 of the way on: 6 m to 15 m
    assert seen[(distance > 7.5) & (distance < 14)].all()
    assert not seen[(distance < 4.5) | (distance > 16)].any()


def test_nothing_is_seen_behind_what_stops_the_rays():
    # to the left, a car's side at 8 m stops every ray 1 m above ground; to the right, the ground is hit at 15 m
    right, left = (-np.pi / 2, np.pi / 2), (np.pi / 2, 3 * np.pi / 2)
    points = np.concatenate([ground_ring(15.0, opening=right), ground_ring(8.0, height_m=-1.0, opening=left)])
    seen = seen_cells(points, GRID)
    assert seen[20, 20 + 12] == 1.0 and seen[20, 20 - 13] == 0.0
    assert seen[20, 20 - 8] == 1.0


def test_rays_that_end_high_prove_nothing():
    high = ground_ring(10.0, height_m=1.0)
    ground = ground_ring(3.0, n=4000)  # tells the sensor's height
    seen = seen_cells(np.concatenate([high, ground]), GRID)
    assert seen[20, 20 + 9] == 0.0


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((5, 4), np.nan)], ids=["none", "NaN"])
def test_no_points_see_nothing(points):
    assert seen_cells(points.astype(np.float32), GRID).sum() == 0.0


def test_what_teammates_add_out_of_sight_is_no_contradiction():
    ego = View(
        "ego", "vehicle", 0, ground_ring(15.0, opening=(-np.pi / 2, np.pi / 2)), np.eye(4)
    )  # sees the right only
    own, hidden, phantom = (np.zeros((40, 40), np.float32) for _ in range(3))
    own[20, 30] = hidden[20, 30] = phantom[20, 30] = 0.9
    hidden[20, 8] = 0.9  # on the left, unseen
    phantom[22, 31] = 0.9  # where the ego saw the road

    def result(score_map):
        return Detections(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), score_map)

    seen = SeenScoreMap(slack=0.0, unseen_weight=0.0).against(result(own), ego, GRID)
    partly = SeenScoreMap(slack=0.0, unseen_weight=0.25).against(result(own), ego, GRID)
    whole = ScoreMapOverlap(slack=0.0).against(result(own), ego, GRID)
    assert seen(result(hidden)) == pytest.approx(1.0) and whole(result(hidden)) == pytest.approx(0.5)
    assert seen(result(phantom)) == partly(result(phantom)) == pytest.approx(0.5)
    assert partly(result(hidden)) == pytest.approx(1 / 1.25)
    for measure in (SeenScoreMap, ScoreMapOverlap):
        assert measure(slack=0.0, floor=0.91).against(result(own), ego, GRID)(result(phantom)) == 1.0
        assert measure(slack=0.9).against(result(own), ego, GRID)(result(phantom)) == pytest.approx(2 / 3)


def test_an_ego_that_sees_nothing_vouches_for_nobody():
    blind = View("ego", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))
    nothing = Detections(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), np.zeros((40, 40), np.float32))
    assert SeenScoreMap().against(nothing, blind, GRID)(nothing) == 0.0


@pytest.mark.parametrize("measure", [BoxJaccard(), ScoreMapOverlap(), SeenScoreMap()], ids=lambda m: m.name)
@pytest.mark.parametrize("where", ["box", "score", "map"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_result_that_is_not_finite_agrees_with_nothing(measure, where, value):
    """Comparisons with NaN say "nothing there", and two results with nothing there agree fully."""
    ego = View("ego", "vehicle", 0, np.array([[5, 0, -1.8, 0]], np.float32), np.eye(4))
    empty_map = np.zeros((GRID.rows, GRID.cols), np.float32)
    good = Detections(at(), np.zeros(0, np.float32), empty_map)
    box, score, score_map = at(0), np.full(1, 0.9, np.float32), empty_map.copy()
    if where == "box":
        box[0, 0] = value
    elif where == "score":
        score[0] = value
    else:
        score_map[3, 3] = value
    broken = Detections(box, score, score_map)
    assert measure.against(good, ego, GRID)(good) == 1
    assert measure.against(good, ego, GRID)(broken) == 0
    assert measure.against(broken, ego, GRID)(good) == 0


def test_a_pair_at_the_threshold_counts_at_every_heading():
    a, b = at(0), at(0)
    for yaw in np.linspace(-3, 3, 300):
        a[0, [0, 1, 6]] = 30, 9, yaw
        b[0, [0, 1, 6]] = 30 + 4 / 3 * np.cos(yaw), 9 + 4 / 3 * np.sin(yaw), yaw
        assert jaccard(a, b, iou=0.5) == 1
