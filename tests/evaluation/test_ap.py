"""AP: hand-computed tables, a slow second implementation, and laws."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate, translate
from shapely.geometry import box as shapely_box

from robosac.evaluation.ap import (
    FP,
    IGNORED,
    THRESHOLDS,
    TP,
    FrameMatches,
    average_precision,
    counted,
    in_region,
    match_frame,
    match_truth,
    recall,
)
from robosac.evaluation.roc import roc_of
from robosac.types import BevGrid, Detections, InputError, Truth


def car(x: float, y: float = 0.0, yaw: float = 0.0) -> list[float]:
    return [x, y, 0.0, 4.0, 2.0, 1.5, yaw]


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 7)


def found(*scored: tuple[float, list[float]]) -> Detections:
    return Detections(boxes(*[b for _, b in scored]), np.array([s for s, _ in scored], np.float32))


def frame(scores: list[float], outcome: list[int], n_gt: int) -> FrameMatches:
    return FrameMatches((0.5,), np.array(scores, np.float32), np.array([outcome], np.int8), n_gt)


def ap50(*frames: FrameMatches) -> float | None:
    return average_precision(frames)[0.5]


# ------------------------------------------------------------------------------------------ hand-computed
def test_two_frames_three_detections_by_hand() -> None:
    """Sorted over both frames: TP .9, FP .8, TP .7 of 3 objects: 1/3 * 1 + 1/3 * 2/3."""
    a = match_frame(found((0.9, car(0)), (0.8, car(30))), boxes(car(0), car(10)))
    b = match_frame(found((0.7, car(5))), boxes(car(5)))
    assert average_precision([a, b])[0.5] == pytest.approx(1 / 3 + 2 / 9)
    assert recall([a, b])[0.5] == pytest.approx(2 / 3)
    assert recall([frame([0.9], [TP], 2)]) == {0.5: 0.5} and recall([]) == dict.fromkeys(THRESHOLDS)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([frame([0.9], [TP], 1)], 1.0, id="perfect"),
        pytest.param([frame([], [], 2)], 0.0, id="nothing found"),
        pytest.param([frame([0.9], [FP], 0)], None, id="no truth: undefined"),
        pytest.param([], None, id="no frames: undefined"),
        pytest.param([frame([], [], 0)], None, id="an empty frame"),
        pytest.param([frame([0.9], [TP], 1), frame([], [], 1)], 0.5, id="a frame without detections counts"),
        pytest.param([frame([0.9], [TP], 1), frame([0.95], [FP], 0)], 0.5, id="an FP where nothing is counts"),
        pytest.param([frame([0.9, 0.5], [TP, FP], 1)], 1.0, id="an FP below the last TP is free"),
        pytest.param([frame([0.9, 0.5], [FP, TP], 1)], 0.5, id="an FP above costs"),
        pytest.param([frame([0.9, 0.8, 0.7], [FP, TP, TP], 2)], 2 / 3, id="interpolated: the later, higher precision"),
        pytest.param([frame([0.9, 0.9], [TP, FP], 1)], 0.5, id="equal scores enter together, TP first"),
        pytest.param([frame([0.9, 0.9], [FP, TP], 1)], 0.5, id="equal scores enter together, FP first"),
        pytest.param([frame([0.9, 0.8], [IGNORED, TP], 1)], 1.0, id="ignored is neither"),
    ],
)
def test_area_by_hand(frames: list[FrameMatches], expected: float | None) -> None:
    got = average_precision(frames)
    value = got[0.5]
    assert value == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_iou_thresholds_are_inclusive_and_separate() -> None:
    """A 4 m car moved by 1 m along itself: IoU 3 / 5 = 0.6."""
    shifted = match_frame(found((0.9, car(1.0))), boxes(car(0.0)))
    assert shifted.outcome[:, 0].tolist() == [TP, TP, FP]
    exact = match_frame(found((0.9, car(1.0))), boxes(car(0.0)), thresholds=(0.6, 1.0))
    assert exact.outcome[:, 0].tolist() == [TP, FP]


def test_a_second_box_on_one_car_is_an_fp_and_the_better_score_goes_first() -> None:
    m = match_frame(found((0.5, car(0.0)), (0.9, car(0.2))), boxes(car(0.0)))
    assert m.hits(0.5).tolist() == m.hits().tolist() == [FP, TP]  # in the order given, although matched by score
    assert m.outcome.dtype == np.int8


def test_of_equal_scores_the_first_given_is_matched_first() -> None:
    once = [((0.9, 0.5, 0.7)[k % 3], car(5.0 * k)) for k in range(45)]
    m = match_frame(found(*once, *once), boxes(*[c for _, c in once]))
    assert m.hits().tolist() == [TP] * 45 + [FP] * 45


def test_a_detection_takes_the_best_free_object() -> None:
    """The first is nearest to car 0, takes it; the second prefers car 0 too, but only car 1 is free."""
    truth = boxes(car(0.0), car(0.8))
    m = match_frame(found((0.9, car(0.1)), (0.8, car(0.2))), truth, thresholds=(0.5,))
    assert m.hits(0.5).tolist() == [TP, TP]


def test_ignorable_objects_absorb_one_detection_each() -> None:
    m = match_frame(found((0.9, car(0)), (0.8, car(0.1)), (0.7, car(20))), boxes(), boxes(car(0)))
    assert m.hits(0.5).tolist() == [IGNORED, FP, FP]
    assert m.n_gt == 0


def test_ignorable_objects_are_matched_at_the_same_iou_as_counted_ones() -> None:
    """A 4 m car moved by 1 m: IoU 0.6; by 1.8 m: IoU 0.38."""
    m = match_frame(found((0.9, car(1.0)), (0.8, car(31.8))), boxes(), boxes(car(0), car(30)))
    assert m.outcome.tolist() == [[IGNORED, IGNORED], [IGNORED, FP], [FP, FP]]


def test_counted_objects_go_before_ignorable_ones() -> None:
    m = match_frame(found((0.9, car(0.5))), boxes(car(0.0)), boxes(car(0.5)))
    assert m.hits(0.5).tolist() == [TP]


def test_a_hit_leaves_the_ignorable_object_beside_it_to_others() -> None:
    m = match_frame(found((0.9, car(0.0)), (0.8, car(0.6))), boxes(car(0.0)), boxes(car(0.4)))
    assert m.hits(0.5).tolist() == [TP, IGNORED]


# ---------------------------------------------------------------------------------------- truth and region
def truth_of_four() -> Truth:
    """Car 0: 5 points together; car 1: 4 points; car 2: outside; car 3: seen by the teammate alone."""
    hits = {"ego": np.array([3, 4, 90, 0]), "a": np.array([2, 0, 0, 9])}
    poses = {k: np.eye(4) for k in hits}
    return Truth(boxes(car(0), car(10), car(45), car(-15)), np.arange(4), hits, poses)


def test_truth_counts_by_region_and_by_points_of_all_taking_part() -> None:
    truth = truth_of_four()
    assert counted(truth, 40.0).tolist() == [True, False, False, True]
    assert counted(truth, 40.0, agents=["ego"]).tolist() == [False, False, False, False]
    assert counted(truth, 50.0).tolist() == [True, False, True, True]
    assert counted(truth, 40.0, min_points=4).tolist() == [True, True, False, True]
    grid = BevGrid(-12.0, -40.0, 0.5, 160, 160)  # x from -12 to 68
    assert counted(truth, grid).tolist() == [True, False, True, False]


def test_hardly_seen_objects_and_all_beyond_the_region_are_left_out() -> None:
    detections = found((0.9, car(0)), (0.8, car(10)), (0.7, car(45)), (0.6, car(60)), (0.5, car(25)))
    m = match_truth(detections, truth_of_four(), 40.0)
    assert m.hits(0.5).tolist() == [TP, IGNORED, IGNORED, IGNORED, FP]
    assert m.n_gt == 2
    alone = match_truth(detections, truth_of_four(), 50.0, agents=["ego"], thresholds=(0.5,))
    assert alone.outcome.tolist() == [[IGNORED, IGNORED, TP, IGNORED, FP]] and alone.n_gt == 1


def test_a_square_region_is_open_and_has_no_height() -> None:
    xy = np.array([[39.9, -39.9, 90], [40, 0, 0], [0, -40, 0], [0, 0, -90]])
    assert in_region(40.0, xy).tolist() == [True, False, False, True]


def test_a_box_just_inside_on_a_car_just_outside_is_no_mistake() -> None:
    truth = Truth(boxes(car(40.2)), np.arange(1), {"ego": np.array([50])}, {"ego": np.eye(4)})
    assert match_truth(found((0.9, car(39.9))), truth, 40.0).hits(0.5).tolist() == [IGNORED]


# ----------------------------------------------------------------------------------- second implementation
def slow_ap(frames: list[tuple[Detections, np.ndarray]], threshold: float) -> float:
    """Loops, shapely polygons, and the definition of precision and recall at every score, read literally."""

    def polygon(b: np.ndarray):
        flat = shapely_box(-b[3] / 2, -b[4] / 2, b[3] / 2, b[4] / 2)
        return translate(rotate(flat, b[6], origin=(0, 0), use_radians=True), b[0], b[1])

    verdicts: list[tuple[float, bool]] = []
    for detections, truth in frames:
        free = [polygon(b.astype(np.float64)) for b in truth]
        for k in sorted(range(len(detections)), key=lambda k: -detections.scores[k]):
            mine = polygon(detections.boxes[k].astype(np.float64))
            overlaps = [mine.intersection(g).area / mine.union(g).area for g in free]
            best = max(range(len(free)), key=overlaps.__getitem__, default=None)
            hit = best is not None and overlaps[best] >= threshold
            if hit:
                free.pop(best)
            verdicts.append((float(detections.scores[k]), hit))
    n_gt = sum(len(truth) for _, truth in frames)
    points = []
    for s in sorted({s for s, _ in verdicts}, reverse=True):
        above = [hit for score, hit in verdicts if score >= s]
        points.append((sum(above) / n_gt, sum(above) / len(above)))
    area, before = 0.0, 0.0
    for k, (r, _) in enumerate(points):
        area += (r - before) * max(p for _, p in points[k:])
        before = r
    return area


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_slow_second_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(6):
        truth = np.zeros((rng.integers(1, 9), 7), np.float32)
        truth[:, :2] = rng.uniform(-20, 20, (len(truth), 2))
        truth[:, 3:6], truth[:, 6] = [4.2, 1.9, 1.6], rng.uniform(-3, 3, len(truth))
        guess = truth[rng.integers(0, len(truth), 12)] + rng.normal(0, [0.4, 0.4, 0, 0.2, 0.1, 0, 0.1], (12, 7))
        scores = np.round(rng.uniform(0, 1, 12), 1)  # many ties
        frames.append((Detections(guess.astype(np.float32), scores.astype(np.float32)), truth))
    got = average_precision([match_frame(d, t) for d, t in frames])
    for threshold in THRESHOLDS:
        assert got[threshold] == pytest.approx(slow_ap(frames, threshold), abs=1e-9)
    assert 0.05 < got[0.5] < 0.95  # the comparison is about something


# ------------------------------------------------------------------------------------------------- laws
@st.composite
def frame_matches(draw: st.DrawFn) -> FrameMatches:
    outcome = draw(st.lists(st.sampled_from([TP, FP, IGNORED]), max_size=8))
    scores = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=len(outcome), max_size=len(outcome)))
    return frame(scores, outcome, outcome.count(TP) + draw(st.integers(0, 3)))


many_frames = st.lists(frame_matches(), min_size=1, max_size=5)


@given(many_frames, st.randoms())
@settings(max_examples=150, deadline=None)
def test_order_of_frames_and_copies_of_everything_change_nothing(frames: list[FrameMatches], random: object) -> None:
    shuffled = list(frames)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = ap50(*frames)
    assert ap50(*shuffled) == expected
    assert ap50(*frames, *frames) == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(many_frames)
@settings(max_examples=150, deadline=None)
def test_ap_is_between_zero_and_recall(frames: list[FrameMatches]) -> None:
    value = ap50(*frames)
    if value is None:
        assert sum(f.n_gt for f in frames) == 0
    else:
        assert 0.0 <= value <= recall(frames)[0.5] + 1e-12 <= 1.0 + 2e-12


@given(many_frames)
@settings(max_examples=150, deadline=None)
def test_finding_a_missed_object_above_all_never_lowers(frames: list[FrameMatches]) -> None:
    more = frame([1.0], [TP], 1)
    missed = frame([], [], 1)
    assert ap50(*frames, missed) <= ap50(*frames, more) + 1e-12


@given(many_frames, st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_erasing_detections_never_raises_recall(frames: list[FrameMatches], keep: int) -> None:
    cut = [FrameMatches(f.thresholds, f.scores[:keep], f.outcome[:, :keep], f.n_gt) for f in frames]
    before, after = recall(frames)[0.5], recall(cut)[0.5]
    assert (before is None) == (after is None)
    if before is not None:
        assert after <= before


@given(many_frames)
@settings(max_examples=100, deadline=None)
def test_more_false_positives_above_all_never_help(frames: list[FrameMatches]) -> None:
    value = ap50(*frames)
    if value is not None:
        assert ap50(*frames, frame([1.0, 1.0], [FP, FP], 0)) <= value + 1e-12


# ---------------------------------------------------------------------------------- storage, errors
def test_json_round_trip_is_exact() -> None:
    rng = np.random.default_rng(3)
    m = FrameMatches(THRESHOLDS, rng.random(5).astype(np.float32), rng.integers(-1, 2, (3, 5)).astype(np.int8), 4)
    for original in (m, match_frame(Detections.empty(), boxes())):
        back = FrameMatches.from_dict(json.loads(json.dumps(original.to_dict())))
        assert back.thresholds == original.thresholds and back.n_gt == original.n_gt
        assert np.array_equal(back.scores, original.scores) and back.scores.dtype == np.float32
        assert np.array_equal(back.outcome, original.outcome) and back.outcome.dtype == np.int8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match_frame(Detections.empty(), boxes(), thresholds=()), "IoU thresholds in"),
        (lambda: match_frame(Detections.empty(), boxes(), thresholds=(0.0,)), "IoU thresholds in"),
        (lambda: match_frame(Detections.empty(), boxes(), thresholds=(0.5, 1.5)), "IoU thresholds in"),
        (lambda: match_frame(found((np.nan, car(0))), boxes()), "finite scores"),
        (lambda: frame([0.5], [TP], 1).hits(0.7), "IoU threshold among"),
        (lambda: FrameMatches((0.5,), np.zeros(2, np.float32), np.zeros((1, 3), np.int8), 0), "outcome to be"),
        (lambda: FrameMatches((0.5,), np.zeros(0, np.float32), np.zeros((1, 0), np.int8), -1), "n_gt >= 0"),
        (lambda: average_precision([frame([], [], 1), match_frame(Detections.empty(), boxes())]), "in every frame"),
    ],
)
def test_errors_say_what_was_expected(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


# ------------------------------------------------------------------------------------- figures of broken numbers
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(7))
def test_a_detection_that_is_not_finite_is_an_error_and_never_left_out(column: int, value: float) -> None:
    broken = car(0)
    broken[column] = value
    with pytest.raises(InputError, match="expected finite boxes, got NaN or inf; the detector's output is broken"):
        match_frame(found((0.9, broken), (0.8, car(0))), boxes(car(0)), region=38.4)


@pytest.mark.parametrize("column", [3, 4])
@pytest.mark.parametrize("size", [0.0, -4.0])
def test_a_detection_without_a_size_is_a_false_positive(column: int, size: float) -> None:
    flat = car(0)
    flat[column] = size
    match = match_frame(found((0.9, flat), (0.8, car(0))), boxes(car(0)), region=38.4)
    assert match.hits().tolist() == [FP, TP]


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("where", ["truth", "ignored"])
def test_truth_that_is_not_finite_is_an_error(column: int, where: str) -> None:
    broken = car(0)
    broken[column] = np.nan
    truth, ignored = (boxes(broken), boxes()) if where == "truth" else (boxes(), boxes(broken))
    with pytest.raises(InputError, match="expected objects of the truth to be finite and larger than 0"):
        match_frame(found((0.9, car(0))), truth, ignored)


def test_truth_that_is_not_finite_does_not_become_ignorable() -> None:
    truth = Truth(boxes([np.nan, *car(0)[1:]]), np.zeros(1, np.int64), {"ego": np.full(1, 9)}, {"ego": np.eye(4)})
    with pytest.raises(InputError, match="objects of the truth"):
        match_truth(found((0.9, car(0))), truth, 38.4)


@pytest.mark.parametrize("region", [float("nan"), 0.0, -1.0])
def test_a_region_without_a_size_is_an_error(region: float) -> None:
    with pytest.raises(InputError, match="expected a region of more than 0 m"):
        match_frame(found((0.9, car(0))), boxes(car(0)), region=region)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_iou_at_the_threshold_is_a_hit_at_every_heading(threshold: float) -> None:
    hits = 0
    for yaw in np.linspace(-np.pi, np.pi, 500):
        step = 4 * (1 - threshold) / (1 + threshold)
        moved = car(20 + step * np.cos(yaw), 9 + step * np.sin(yaw), yaw)
        hits += int(
            match_frame(found((0.9, moved)), boxes(car(20, 9, yaw)), thresholds=(threshold,)).hits(threshold)[0] == TP
        )
    assert hits == 500


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stored_scores_and_suspicions_are_finite(value: float) -> None:
    with pytest.raises(InputError, match="expected finite scores"):
        FrameMatches((0.5,), np.array([value], np.float32), np.zeros((1, 1), np.int8), 1)
    with pytest.raises(InputError, match="expected finite suspicions"):
        roc_of(np.array([0.5, value]), np.array([True, False]))
