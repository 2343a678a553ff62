"""Simulated, written, read again: boxes, poses and points as the stored precision allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from robosac import pcd
from robosac.boxes import pose_xyz_rpy, wrap_angle
from robosac.cli.simulate import agent_names, members, object_names
from robosac.data import carla
from robosac.data.dataset import DataSet
from robosac.data.opv2v import OPV2V
from robosac.data.recording import Objects
from robosac.data.write_opv2v import Member, description, in_order, is_written, scan, write_frame
from robosac.simulation import Scenario, SimConfig, scenario
from robosac.types import Frame, InputError, Truth, View
from tests.data.members import members_of

CONFIG = SimConfig(n_vehicles=3, n_frames=2, beams=24, columns=512, max_grade=0.05, sensor_tilt_deg=2.0)


@pytest.fixture(scope="module")
def made() -> Scenario:
    return scenario("val", 3, config=CONFIG)


@pytest.fixture(scope="module")
def split(made: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opv2v")
    for k in range(made.n_frames):
        write_frame(folder / made.name, f"{k:06d}", members(made.snapshot(k)))
    return folder


def member(name: str, *objects: str) -> Member:
    view = View("a", "vehicle", 0, np.zeros((1, 4), np.float32), np.eye(4))
    poses = np.tile(np.eye(4), (len(objects), 1, 1))
    return Member(name, view, Objects(objects, poses, np.ones((len(objects), 3), np.float32)))


# ---------------------------------------------------------------------------------------------------- round trips
@pytest.mark.parametrize("ego", ["car-1", "car-2", "rsu-1"])
def test_truth_is_the_simulator_s(made: Scenario, split: Path, ego: str) -> None:
    names = agent_names(made)
    for k, (read, truth) in enumerate(DataSet(OPV2V(split), ego=names[ego], comm_range_m=1000.0)):
        simulated, known = made.snapshot(k).frame(ego)
        by_name = {v: int(n) for v, n in enumerate(object_names(made))}
        row = {int(t): i for i, t in enumerate(truth.track_ids)}
        hit = np.sum(list(known.hits.values()), axis=0) > 0
        assert hit.sum() >= 20
        at = [row[by_name[int(t)]] for t in known.track_ids[hit]]  # every object with a point is there, under its name
        boxes = known.boxes[hit]
        np.testing.assert_allclose(truth.boxes[at][:, :6], boxes[:, :6], atol=1e-4)
        assert np.abs(wrap_angle(truth.boxes[at][:, 6] - boxes[:, 6])).max() < 1e-5
        far = np.delete(truth.boxes, at, axis=0)  # what is further away than the simulator's truth goes
        assert (np.hypot(far[:, 0], far[:, 1]) > CONFIG.truth_range_m - 1e-3).all()
        assert read.ego.id == names[ego]
        for agent, view in {simulated.ego.id: simulated.ego, **simulated.others}.items():
            np.testing.assert_allclose(truth.world_T_sensor[names[agent]], known.world_T_sensor[agent], atol=1e-12)
            found = read.ego if agent == ego else read.others[names[agent]]
            np.testing.assert_array_equal(found.points[:, :3], view.points[:, :3])
            np.testing.assert_allclose(found.points[:, 3], view.points[:, 3], atol=0.5 / 255 + 1e-6)
            assert (found.kind, found.t_ns) == (view.kind, view.t_ns)


def test_points_in_boxes_are_those_that_the_rays_hit(made: Scenario, split: Path) -> None:
    """Most of them: noise of 2 cm puts points on either side of a box's faces, and boxes are upright on a slope."""
    [(_, truth), _] = DataSet(OPV2V(split), comm_range_m=1000.0)
    _, known = made.snapshot(0).frame()
    row = {int(t): i for i, t in enumerate(truth.track_ids)}
    at = [row.get(int(object_names(made)[t]), -1) for t in known.track_ids]
    for agent, name in agent_names(made).items():
        counted = np.where(np.array(at) >= 0, truth.hits[name][at], 0)
        assert np.abs(counted - known.hits[agent]).sum() < 0.2 * known.hits[agent].sum()


def test_an_agent_lists_what_its_rays_hit_and_never_itself(made: Scenario, split: Path) -> None:
    recording, snapshot = OPV2V(split), made.snapshot(1)
    objects = np.array(object_names(made))
    for agent, name in agent_names(made).items():
        listed = recording.labels(made.name, "000001", [name]).ids
        assert set(listed) == set(objects[snapshot.hits(agent) > 0])
        assert name not in listed
    others = recording.labels(made.name, "000001", ["1001", "1002", "-1"]).ids
    assert "1000" in others  # under the name that the reader takes for its body
    assert [a.body for a in recording.agents(made.name)] == ["1000", "1001", "1002", None]


def test_any_frame_with_its_truth_can_be_written(made: Scenario, tmp_path: Path) -> None:
    frame, truth = made.snapshot(0).frame()
    names = agent_names(made)
    write_frame(tmp_path / "any", "000000", members_of(frame, truth, names))
    [(again, read)] = DataSet(OPV2V(tmp_path))
    assert isinstance(again, Frame) and isinstance(read, Truth)
    row = {int(t): i for i, t in enumerate(read.track_ids)}
    hit = np.sum(list(truth.hits.values()), axis=0) > 0
    assert len(read.boxes) == hit.sum()
    np.testing.assert_allclose(read.boxes[[row[int(t)] for t in truth.track_ids[hit]]], truth.boxes[hit], atol=1e-5)


def test_angles_and_matrices_are_each_other_s_inverse() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform([-180, -180, -89], [180, 180, 89], (200, 3))  # roll, yaw, pitch
    poses = carla.matrices(rng.normal(size=(200, 3)), angles)
    np.testing.assert_allclose(
        poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (200, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    np.testing.assert_allclose(carla.roll_yaw_pitch_deg(poses), angles, atol=1e-9)
    for pose, (roll, yaw, pitch) in zip(poses[:5], np.radians(angles[:5]), strict=True):
        x, y, z = pose[:3, 3].tolist()
        np.testing.assert_allclose(pose, pose_xyz_rpy(x, y, z, -roll, -pitch, yaw), atol=1e-12)


# ------------------------------------------------------------------------------------------------------- the files
def test_a_description_by_hand() -> None:
    """A 4 x 2 x 1.6 m car at (10, 20, 0.8), turned left by 90 degrees."""
    pose = pose_xyz_rpy(10, 20, 0.8, yaw_rad=np.pi / 2)
    seen = Objects(("7",), pose[None], np.array([[4, 2, 1.6]], np.float32))
    view = View("x", "roadside", 0, np.zeros((0, 4), np.float32), pose_xyz_rpy(1, 2, 3, 0.1, 0.2, 0.3))
    content = yaml.safe_load(description(Member("-1", view, seen, 0.0, np.array([36.0]))))
    assert content["RSU"] is True
    assert content["lidar_pose"] == pytest.approx([1, 2, 3, *np.degrees([-0.1, 0.3, -0.2])])
    assert content["vehicles"] == {
        7: {
            "angle": pytest.approx([0, 90, 0]),
            "center": pytest.approx([0, 0, 0.8]),
            "extent": pytest.approx([2, 1, 0.8]),
            "location": pytest.approx([10, 20, 0], abs=1e-6),
            "speed": 36.0,
        }
    }


def test_intensity_is_the_red_byte() -> None:
    points = np.array([[1, 2, 3, 0], [4, 5, 6, 1], [7, 8, 9, 0.5], [0, 0, 0, 7]], np.float32)
    columns = pcd.decode(scan(points)).columns
    assert list(columns) == ["x", "y", "z", "rgb"]
    assert columns["rgb"].tolist() == [0, 255 << 16, 128 << 16, 255 << 16]


ORDERS = [
    (["1000", "1001"], ["1000", "1001"]),
    (["1000", "-1"], ["1000", "-1"]),
    (["100", "99"], ["100", "99"]),  # as text
    (["-1", "-2", "100"], ["-2", "100", "-1"]),  # the field's loader moves one
]


@pytest.mark.parametrize(("names", "ordered"), ORDERS)
def test_order_of_the_field(names: list[str], ordered: list[str]) -> None:
    assert in_order(names) == ordered


WRONG = [
    (["1001", "1000"], "expected the ego first"),
    (["1000", "-1", "-2"], "of several road-side units"),
    (["1000", "1000"], "expected the ego first"),
    ([], "got no agents"),
]


@pytest.mark.parametrize(("names", "message"), WRONG)
def test_agents_of_which_a_loader_would_take_another_for_the_ego(
    names: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_frame(tmp_path, "000000", [member(n) for n in names])
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"whole numbers.*'car1'"):
        member("car1")
    with pytest.raises(InputError, match=r"whole numbers.*'\.\./1'"):
        member("../1")
    with pytest.raises(InputError, match=r"whole numbers.*'x'"):
        member("1", "x")
    with pytest.raises(InputError, match="expected a time in digits"):
        write_frame(tmp_path, "../1", [member("1")])


def test_a_frame_is_written_once_all_of_its_files_are(tmp_path: Path) -> None:
    write_frame(tmp_path, "000000", [member("1"), member("2")])
    assert is_written(tmp_path, "000000", ["1", "2"])
    assert not is_written(tmp_path, "000000", ["1", "2", "3"])
    assert not is_written(tmp_path, "000001", ["1", "2"])
    (tmp_path / "2" / "000000.pcd").unlink()
    assert not is_written(tmp_path, "000000", ["1", "2"])
