"""Rotated boxes: hand-computed cases, agreement with shapely, laws of suppression and transforms."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robosac.boxes import (
    corners_bev,
    invert_pose,
    iou_bev,
    nms_bev,
    pairs_exceeding,
    pairs_touch,
    pose_xyz_rpy,
    reaches,
    transform_boxes,
    transform_points,
    upright_poses,
    wrap_angle,
    yaw_of,
)


def box(x=0.0, y=0.0, length=4.0, width=2.0, yaw=0.0):
    return np.array([x, y, 0.0, length, width, 1.5, yaw])


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        (box(), box(), 1.0),
        (box(), box(x=2.0), 4.0 / 12.0),
        (box(), box(x=4.0), 0.0),
        (box(), box(yaw=np.pi), 1.0),
        (box(), box(yaw=np.pi / 2), 4.0 / 12.0),
        (box(length=2.0), box(length=2.0, yaw=np.pi / 4), 8 * (np.sqrt(2) - 1) / (8 - 8 * (np.sqrt(2) - 1))),
        (box(), box(length=0.0, width=0.0), 0.0),
        (box(length=4.0, width=4.0), box(length=1.0, width=1.0, yaw=0.3), 1.0 / 16.0),
    ],
    ids=["same", "half", "touching", "turned round", "crossed", "octagon", "no area", "inside"],
)
def test_iou_by_hand(a, b, iou):
    assert iou_bev(a[None], b[None])[0, 0] == pytest.approx(iou, abs=1e-12)


@pytest.mark.parametrize(
    ("other", "touch"),
    [
        (box(x=4.0), True),
        (box(x=4.01), False),
        (box(x=4.0, y=2.0), True),
        (box(y=2.01), False),
        (box(x=2.6, y=1.6, length=2.0, width=2.0, yaw=np.pi / 4), True),
        (box(x=2.8, y=1.8, length=2.0, width=2.0, yaw=np.pi / 4), False),  # apart along the other's side only
        (box(length=1.0, width=1.0, yaw=0.3), True),
    ],
    ids=["end to end", "behind", "corner to corner", "beside", "corner in", "corner off", "inside"],
)
def test_touch_by_hand(other, touch):
    assert pairs_touch(box()[None], other[None])[0] == touch == pairs_touch(other[None], box()[None])[0]


def boxes_of(n):
    columns = [(-12, 12), (-12, 12), (-1, 1), (0.25, 12), (0.25, 4), (1, 2), (-7, 7)]
    row = st.tuples(*(st.floats(low, high, width=32) for low, high in columns))
    return st.lists(row, max_size=n).map(lambda rows: np.array(rows, np.float64).reshape(-1, 7))


@settings(max_examples=150, deadline=None)
@given(boxes_of(8), boxes_of(8))
def test_iou_agrees_with_shapely(a, b):
    iou = iou_bev(a, b)
    assert iou.shape == (len(a), len(b))
    pa, pb = shapely.polygons(corners_bev(a)), shapely.polygons(corners_bev(b))
    shared = shapely.area(shapely.intersection(pa[:, None], pb[None]))
    i, j = np.indices(iou.shape).reshape(2, -1)
    touch = pairs_touch(a[i], b[j]).reshape(iou.shape)
    assert touch[shared > 1e-9].all() and not touch[shapely.distance(pa[:, None], pb[None]) > 1e-9].any()
    union = shapely.area(pa)[:, None] + shapely.area(pb)[None] - shared
    np.testing.assert_allclose(iou, shared / union, atol=1e-7)
    np.testing.assert_allclose(iou, iou_bev(b, a).T, atol=1e-9)


def greedy(boxes, scores, threshold):
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(iou_bev(boxes[[i]], boxes[[k]])[0, 0] <= threshold for k in kept):
            kept.append(i)
    return kept


@settings(max_examples=100, deadline=None)
@given(boxes_of(20), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5]))
def test_nms_is_the_greedy_one(boxes, seed, threshold):
    scores = np.random.default_rng(seed).integers(0, 6, len(boxes)) / 5  # ties happen
    assert nms_bev(boxes, scores, threshold).tolist() == greedy(boxes, scores, threshold)


def pair_iou(a, b):
    return np.array([iou_bev(one[None], other[None])[0, 0] for one, other in zip(a, b, strict=True)])


def test_sides_on_one_line_are_counted_once():
    rng = np.random.default_rng(1)

    def half_metres(n):
        columns = [rng.integers(-4, 5, (n, 2)) / 2, np.zeros((n, 1)), rng.integers(1, 7, (n, 2)) / 2, np.ones((n, 1))]
        return np.hstack([*columns, rng.integers(-4, 5, (n, 1)) * np.pi / 4])

    a, b = half_metres(3000), half_metres(3000)
    turn = rng.uniform(-7, 7, 3000)
    for boxes in (a, b):  # both of a pair, far from the origin and turned alike
        x, y = boxes[:, 0].copy(), boxes[:, 1].copy()
        boxes[:, 0], boxes[:, 1] = np.cos(turn) * x - np.sin(turn) * y + 90, np.sin(turn) * x + np.cos(turn) * y - 40
        boxes[:, 6] += turn
    pa, pb = shapely.polygons(corners_bev(a)), shapely.polygons(corners_bev(b))
    shared = shapely.area(shapely.intersection(pa, pb))
    wanted = shared / (shapely.area(pa) + shapely.area(pb) - shared)
    np.testing.assert_allclose(pair_iou(a, b), wanted, atol=1e-6)
    a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_allclose(pair_iou(a, b), wanted, atol=3e-5)  # what rounding to float32 does
    np.testing.assert_allclose(pair_iou(a, a), 1, atol=1e-6)


@pytest.mark.parametrize("column", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_overlaps_nothing(column, value):
    broken = np.stack([box(), box()])
    broken[0, column] = value
    assert iou_bev(broken, broken).tolist() == [[0, 0], [0, 1]]
    assert nms_bev(broken, np.array([0.9, 0.8]), 0.0).tolist() == [0, 1]
    assert len(pairs_exceeding(broken, 0.0)[0]) == 0


@pytest.mark.parametrize("size", [(0, 2), (4, 0), (-4, 2), (-4, -2)])
def test_a_box_without_a_size_overlaps_nothing(size):
    assert iou_bev(box(length=size[0], width=size[1])[None], box()[None])[0, 0] == 0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("away_m", [0, 20, 100])
def test_a_pair_at_the_threshold_is_one_at_every_heading(threshold, away_m):
    yaw = np.linspace(-np.pi, np.pi, 500)
    at = np.tile(box(x=away_m, y=-away_m / 2), (500, 1))
    at[:, 6] = yaw
    moved = at.copy()  # along its length, until IoU is the threshold
    step = 4 * (1 - threshold) / (1 + threshold)
    moved[:, 0] += step * np.cos(yaw)
    moved[:, 1] += step * np.sin(yaw)
    iou = pair_iou(at.astype(np.float32), moved.astype(np.float32))
    assert reaches(iou, threshold).all()
    assert not reaches(iou, threshold + 3e-5).any()
    for a, b in zip(at[::50], moved[::50], strict=True):  # and "more than" is the other side of the same rule
        both = np.stack([a, b]).astype(np.float32)
        assert len(nms_bev(both, np.array([0.9, 0.8]), threshold)) == 2
        assert len(nms_bev(both, np.array([0.9, 0.8]), threshold - 3e-5)) == 1


def test_pairs_are_those_of_the_matrix():
    rng = np.random.default_rng(0)
    sizes = rng.uniform(1, 6, (300, 2))
    boxes = np.c_[rng.normal(0, 9, (300, 2)), np.zeros(300), sizes, np.ones(300), rng.uniform(-3, 3, 300)]
    i, j, iou = pairs_exceeding(boxes, 0.1)
    matrix = iou_bev(boxes, boxes)
    np.testing.assert_array_equal(np.stack([i, j]), np.nonzero(np.triu(matrix > 0.1, 1)))
    np.testing.assert_array_equal(iou, matrix[i, j])


def test_a_flood_of_boxes_takes_no_array_of_all_pairs():
    rng = np.random.default_rng(0)
    boxes = np.c_[
        rng.normal(0, 20, (20_000, 2)), np.zeros(20_000), np.tile([4.5, 2, 1.5], (20_000, 1)), rng.random(20_000)
    ]
    nms_bev(boxes[:9], np.ones(9), 0.15)
    tracemalloc.start()
    kept = nms_bev(boxes, rng.random(20_000), 0.15)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 100 < len(kept) < 5000
    assert peak < 20 * 2**20  # all pairs are 3.2 GB of float64


def test_the_same_figures_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np; from robosac.boxes import iou_bev, nms_bev, pairs_exceeding\n"
        "rng = np.random.default_rng(0)\n"
        "b = np.c_[rng.normal(0, 3, (40, 2)), np.zeros(40), rng.uniform(1, 6, (40, 3)), rng.uniform(-3, 3, 40)]\n"
        "print(iou_bev(b, b).tobytes().hex(), nms_bev(b, rng.random(40), .2))\n"
        "print(pairs_exceeding(b, .2)[2].tobytes().hex())"
    )
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    compiled = code.replace("sys.modules['numba'] = None", "")
    fast = subprocess.run([sys.executable, "-c", compiled], capture_output=True, text=True, check=True)
    assert plain.stdout == fast.stdout


def test_a_long_chain_of_overlaps_keeps_every_second():
    chain = np.stack([box(x=3.0 * i) for i in range(100)])  # each overlaps only its neighbours
    assert nms_bev(chain, np.linspace(1, 0, 100), 0.05).tolist() == list(range(0, 100, 2))


def test_nothing_is_compiled_before_boxes_are_compared_and_all_before_the_first_frame():
    code = (
        "import sys; import robosac, robosac.boxes, robosac.data.layout; before = 'numba' in sys.modules\n"
        "from tests.toy import ToyDetector; robosac.wrap(ToyDetector()); print(before, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


angles = st.floats(-3.1, 3.1)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-2, 2), angles)
def test_transforms_compose_and_invert(x, y, z, yaw):
    pose = pose_xyz_rpy(x, y, z, 0.02, -0.03, yaw)
    np.testing.assert_allclose(invert_pose(pose) @ pose, np.eye(4), atol=1e-12)
    points = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    back = transform_points(invert_pose(pose), transform_points(pose, points))
    np.testing.assert_allclose(back, points, atol=1e-4)
    assert (transform_points(pose, points)[:, 3] == points[:, 3]).all()


def test_a_box_is_carried_along_by_hand():
    pose = pose_xyz_rpy(10, 0, 1, yaw_rad=np.pi / 2)  # 10 m ahead, turned left
    moved = transform_boxes(pose, box(x=3.0, yaw=0.5)[None])[0]
    np.testing.assert_allclose(moved, [10, 3, 1, 4, 2, 1.5, 0.5 + np.pi / 2], atol=1e-6)
    assert yaw_of(pose) == pytest.approx(np.pi / 2)


@pytest.mark.parametrize(
    ("pose", "centre", "heading"),
    [
        (pose_xyz_rpy(0, 0, 0, pitch_rad=np.pi / 3), [1.5, 0, -1.5 * np.sqrt(3)], np.arctan2(1, 1 / 2)),
        (pose_xyz_rpy(0, 0, 0, roll_rad=np.pi / 3), [3, 0, 0], np.arctan2(1 / 2, 1)),
        (pose_xyz_rpy(0, 0, 5, roll_rad=np.pi), [3, 0, 5], -np.pi / 4),
    ],
    ids=["pitched", "rolled", "upside down"],
)
def test_a_box_in_a_tilted_frame_is_carried_along_by_hand(pose, centre, heading):
    moved = transform_boxes(pose, box(x=3.0, yaw=np.pi / 4)[None])[0]
    np.testing.assert_allclose(moved, [*centre, 4, 2, 1.5, heading], atol=1e-6)


@given(st.floats(-1, 1), st.floats(-1, 1), angles, angles)
def test_a_box_is_carried_along_as_its_axis_is(roll, pitch, yaw, heading):
    pose = pose_xyz_rpy(1, 2, 3, roll, pitch, yaw)
    ends = np.array([[3.0, 1, 0], [3 + np.cos(heading), 1 + np.sin(heading), 0]])
    back, front = transform_points(pose, ends).astype(np.float64)
    moved = transform_boxes(pose, box(x=3.0, y=1.0, yaw=heading)[None])[0]
    np.testing.assert_allclose(moved[:3], back, atol=1e-5)
    assert abs(wrap_angle(moved[6] - np.arctan2(*(front - back)[1::-1]))) < 1e-4


@given(arrays(np.float64, 5, elements=st.floats(-100, 100)))
def test_wrapped_angles_point_the_same_way(angle):
    wrapped = wrap_angle(angle)
    assert ((wrapped >= -np.pi) & (wrapped < np.pi + 1e-12)).all()
    np.testing.assert_allclose(np.cos(wrapped), np.cos(angle), atol=1e-9)
    np.testing.assert_allclose(np.sin(wrapped), np.sin(angle), atol=1e-9)


def test_upright_poses_are_those_of_each_box():
    boxes = np.random.default_rng(0).uniform(-3, 3, (40, 7))
    expected = [pose_xyz_rpy(x, y, z, yaw_rad=yaw) for x, y, z, *_, yaw in boxes]
    np.testing.assert_array_equal(upright_poses(boxes), expected)
    assert upright_poses(np.zeros((0, 7))).shape == (0, 4, 4)
