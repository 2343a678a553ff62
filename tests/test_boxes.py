"""Rotated boxes: hand-computed cases, agreement with shapely, laws of suppression and transforms."""

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
    nms_bev_batch,
    pairs_touch,
    pose_xyz_rpy,
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


def test_a_batch_of_nms_is_each_alone():
    rng = np.random.default_rng(0)
    sets = [
        np.c_[rng.uniform(-8, 8, (n, 2)), np.zeros(n), np.full((n, 3), 3.0), rng.uniform(-3, 3, n)] for n in (0, 9, 30)
    ]
    scores = [rng.random(len(s)) for s in sets]
    for together, boxes, score in zip(nms_bev_batch(sets, scores, 0.2), sets, scores, strict=True):
        np.testing.assert_array_equal(together, nms_bev(boxes, score, 0.2))


def test_a_long_chain_of_overlaps_keeps_every_second():
    chain = np.stack([box(x=3.0 * i) for i in range(100)])  # each overlaps only its neighbours
    assert nms_bev(chain, np.linspace(1, 0, 100), 0.05).tolist() == list(range(0, 100, 2))


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
