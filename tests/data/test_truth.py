"""Truth: points in boxes counted right, own bodies left out, ids that stay."""

import subprocess
import sys

import numpy as np
import pytest

from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.data.recording import Objects
from robosac.data.truth import boxes_in, points_in_boxes, stands_on, track_ids, truth_of
from tests.data.memory import at, cars


def objects(rng, n, *, spread=40.0, tilt=0.2):
    poses = np.stack(
        [
            pose_xyz_rpy(*rng.uniform(-spread, spread, 2), rng.uniform(-2, 2), *rng.uniform(-tilt, tilt, 2), yaw)
            for yaw in rng.uniform(-np.pi, np.pi, n)
        ]
    )
    return Objects(tuple(map(str, range(n))), poses, rng.uniform(0.5, 12, (n, 3)).astype(np.float32))


def one_by_one(points, world_T_sensor, boxes):
    """The definition, box by box and in the world."""
    world = points[:, :3].astype(np.float64) @ world_T_sensor[:3, :3].T + world_T_sensor[:3, 3]
    return [
        int((np.abs((world - pose[:3, 3]) @ pose[:3, :3]) <= size / 2 + 1e-4).all(axis=1).sum())
        for pose, size in zip(boxes.world_T_box, boxes.size, strict=True)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_every_box_on_its_own(seed):
    rng = np.random.default_rng(seed)
    boxes = objects(rng, int(rng.integers(10, 40)))
    pose = pose_xyz_rpy(*rng.uniform(-20, 20, 2), rng.uniform(-1, 1), *rng.uniform(-0.1, 0.1, 2), rng.uniform(-3, 3))
    points = rng.normal(0, [30, 30, 2, 1], (int(rng.integers(1000, 6000)), 4)).astype(np.float32)
    counted = points_in_boxes(points, pose, boxes)
    assert counted.dtype == np.int64 and counted.tolist() == one_by_one(points, pose, boxes)
    assert counted.sum() > 0


def test_the_surface_belongs_to_the_box_and_a_hair_beyond_does_not():
    box = cars(a=(10, 0))  # x 8..12, y -1..1, z 0..1.5
    on = [[8, 0, 1, 0], [12, 1, 1.5, 0], [10, -1, 0, 0]]
    off = [[7.999, 0, 1, 0], [12.001, 0, 1, 0], [10, 1.001, 1, 0], [10, 0, -0.001, 0], [10, 0, 1.501, 0]]
    assert points_in_boxes(np.array(on + off, np.float32), np.eye(4), box).tolist() == [3]


def test_points_that_are_not_finite_or_very_far_lie_nowhere():
    bad = np.array([[np.nan, 0, 1, 0], [np.inf, 0, 1, 0], [10, 0, np.nan, 0], [3e38, -3e38, 1, 0]], np.float32)
    good = np.array([[10, 0, 1, 0]], np.float32)
    assert points_in_boxes(np.concatenate([bad, good]), np.eye(4), cars(a=(10, 0))).tolist() == [1]
    huge = Objects(("a",), np.eye(4)[None], np.full((1, 3), 1e30, np.float32))
    assert points_in_boxes(np.concatenate([bad, good]), np.eye(4), huge).tolist() == [1]


def test_nothing_to_count():
    assert points_in_boxes(np.zeros((0, 4), np.float32), np.eye(4), cars(a=(0, 0))).tolist() == [0]
    assert points_in_boxes(np.zeros((5, 4), np.float32), np.eye(4), Objects.none()).tolist() == []


def test_boxes_come_into_the_ego_frame():
    ego = pose_xyz_rpy(3, 4, 2, yaw_rad=np.pi / 2)
    [box] = boxes_in(cars(a=(3, 14)), invert_pose(ego))
    np.testing.assert_allclose(box, [10, 0, -1.25, 4, 2, 1.5, -np.pi / 2], atol=1e-6)


def test_the_vehicle_that_carries_the_sensor():
    others = cars(own=(0, 0), ahead=(6, 0), beside=(0, 2.5), bridge=(0, 0))
    others.world_T_box[3, 2, 3] = 9.0  # drives on a bridge above
    assert stands_on(others, at(0.5)).tolist() == [True, False, False, False]


def truth(listed, *, body=None, roadside=False, poses=None, points=None):
    poses = {"ego": at(0), "b": at(20)} if poses is None else poses
    points = {name: np.zeros((0, 4), np.float32) for name in poses} if points is None else points
    return truth_of(
        listed, ego="ego", world_T_sensor=poses, sent_from=poses, points=points, body=body, roadside=roadside
    )


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"body": "1"}, [2, 3]),  # by name
        ({"body": None}, [2, 3]),  # by where it stands
        ({"body": "7"}, [2, 3]),  # a name nobody lists: by where it stands
        ({"body": "2"}, [1, 3]),  # the name is believed where it is listed
        ({"body": None, "roadside": True}, [1, 2, 3]),  # what drives under a road-side unit is no body of its
    ],
)
def test_the_egos_own_body_is_left_out(options, left):
    found = truth(cars(n1=(0, 0), n2=(20, 0), n3=(9, 9)), **options)
    assert found.track_ids.tolist() == left and len(found.boxes) == len(left)


def test_hits_are_counted_for_each_agent_from_where_it_stands():
    world = np.array([[9, 9, 0.5, 0]] * 3 + [[20, 0, 1.0, 0]] * 2, np.float32)
    poses = {"ego": at(0), "b": at(20, yaw_deg=90)}
    points = {
        "ego": transform_points(invert_pose(poses["ego"]), world),
        "b": transform_points(invert_pose(poses["b"]), world[2:]),
    }
    found = truth(cars(n3=(9, 9), n2=(20, 0), n4=(-30, 0)), poses=poses, points=points)
    assert found.hits["ego"].tolist() == [3, 2, 0] and found.hits["b"].tolist() == [1, 2, 0]
    assert found.visible(min_points=4).tolist() == [True, True, False]
    assert found.visible(["ego"], min_points=3).tolist() == [True, False, False]


def test_track_ids_are_numbers_where_names_are_and_the_same_in_any_process():
    names = ["12", "-3", "0", "007", "car1", "1" * 30, "٣", ""]
    ids = track_ids(names)
    assert ids.dtype == np.int64 and ids[:3].tolist() == [12, -3, 0]
    assert len(set(ids.tolist())) == len(names) and (ids[3:] >= 1 << 62).all()
    code = f"from robosac.data.truth import track_ids; print(*track_ids({names!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.split() == [str(i) for i in ids]
