"""Frames of a ROS 2 bag are the frames that were written into it; what is missing in one is named."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from robosac.cli import main
from robosac.data.bag import BagFrames, points_of
from robosac.data.bag_poses import Track
from robosac.errors import InputError
from robosac.simulation import SimConfig, scenario
from robosac.types import Frame, View

STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
CLOUD, ODOMETRY, TF = "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
START_NS = 1_700_000_000_000_000_000
SETTINGS = """
bag: drive
ego: EGO
world: map
agents:
"""


def header(t_ns: int, frame: str) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](sec=t_ns // 10**9, nanosec=t_ns % 10**9)
    return T["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def cloud(view: View, t_ns: int) -> Any:
    """With a gap after z, intensity as a byte, and one point that is not there."""
    layout = np.dtype(
        {"names": list("xyzi"), "formats": ["<f4"] * 3 + ["u1"], "offsets": [0, 4, 8, 16], "itemsize": 24}
    )
    table = np.zeros(len(view.points) + 1, layout)
    for k, name in enumerate("xyz"):
        table[name][:-1] = view.points[:, k]
    table["i"][:-1] = np.round(255 * view.points[:, 3])
    table["x"][-1] = np.nan
    field = T["sensor_msgs/msg/PointField"]
    fields = [field(name=n, offset=4 * k, datatype=7, count=1) for k, n in enumerate("xyz")]
    fields.append(field(name="intensity", offset=16, datatype=2, count=1))
    data = np.frombuffer(table.tobytes(), np.uint8)
    return T[CLOUD](
        header=header(t_ns, f"{view.id}/lidar"), height=1, width=len(table), fields=fields, is_bigendian=False,
        point_step=24, row_step=24 * len(table), data=data, is_dense=False,
    )  # fmt: skip


def placed(pose: np.ndarray) -> tuple[Any, Any, Any]:
    x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
    at = dict(zip("xyz", map(float, pose[:3, 3]), strict=True))
    turn = T["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)
    return T["geometry_msgs/msg/Point"](**at), T["geometry_msgs/msg/Vector3"](**at), turn


def odometry(pose: np.ndarray, t_ns: int) -> Any:
    point, _, turn = placed(pose)
    zero = T["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0)
    with_pose = T["geometry_msgs/msg/PoseWithCovariance"]
    with_twist = T["geometry_msgs/msg/TwistWithCovariance"]
    held = with_pose(pose=T["geometry_msgs/msg/Pose"](position=point, orientation=turn), covariance=np.zeros(36))
    twist = with_twist(twist=T["geometry_msgs/msg/Twist"](linear=zero, angular=zero), covariance=np.zeros(36))
    return T[ODOMETRY](header=header(t_ns, "map"), child_frame_id="base", pose=held, twist=twist)


def transforms(t_ns: int, *links: tuple[str, str, np.ndarray]) -> Any:
    made = []
    for parent, child, pose in links:
        _, vector, turn = placed(pose)
        held = T["geometry_msgs/msg/Transform"](translation=vector, rotation=turn)
        kind = T["geometry_msgs/msg/TransformStamped"]
        made.append(kind(header=header(t_ns, parent), child_frame_id=child, transform=held))
    return T[TF](transforms=made)


def lifted(by: float) -> np.ndarray:
    pose = np.eye(4)
    pose[2, 3] = by
    return pose


@pytest.fixture(scope="module")
def drive() -> list[Frame]:
    config = SimConfig(n_vehicles=3, n_frames=3, beams=8, columns=64)
    made = scenario("val", 0, config=config)
    return [made.snapshot(k).frame()[0] for k in range(3)]


def write(folder: Path, drive: list[Frame], plugin: Any, *, without: str = "") -> Path:
    """The ego by odometry of its roof less two metres, everybody else by /tf: map, base, lidar."""
    ego, *others = (v.id for v in (drive[0].ego, *drive[0].others.values()))
    with Writer(folder / "drive", version=9, storage_plugin=plugin) as writer:
        topics = {f"/{n}/points": CLOUD for n in (ego, *others)} | {"/odom": ODOMETRY, "/tf": TF, "/tf_static": TF}
        links = {t: writer.add_connection(t, kind, typestore=STORE) for t, kind in topics.items() if t != without}

        def put(topic: str, t_ns: int, message: Any) -> None:
            if topic in links:
                writer.write(links[topic], t_ns, STORE.serialize_cdr(message, topics[topic]))

        static = [(f"{n}/base", f"{n}/lidar", lifted(2.0)) for n in others]
        put("/tf_static", START_NS, transforms(START_NS, *static))
        for k, frame in enumerate(drive):
            t_ns = START_NS + k * 100_000_000
            put("/odom", t_ns, odometry(frame.ego.world_T_sensor @ lifted(-2.0), t_ns))
            bases = [("map", f"{n}/base", frame.others[n].world_T_sensor @ lifted(-2.0)) for n in others]
            put("/tf", t_ns, transforms(t_ns, *bases))
            for view in (frame.ego, *frame.others.values()):
                put(f"/{view.id}/points", t_ns + 7, cloud(view, t_ns))  # logged later than measured
    agents = [f"  {ego}: {{points: /{ego}/points, pose: /odom, mount: [0, 0, 2, 0, 0, 0]}}"]
    kinds = {n: ", roadside: true" if drive[0].others[n].kind == "roadside" else "" for n in others}
    agents += [f"  {n}: {{points: /{n}/points{kinds[n]}}}" for n in others]
    (folder / "drive.yaml").write_text(SETTINGS.replace("EGO", ego) + "\n".join(agents))
    return folder / "drive.yaml"


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_frames_are_those_that_were_written(plugin: Any, drive: list[Frame], tmp_path: Path) -> None:
    found = BagFrames(write(tmp_path, drive, plugin))
    assert len(found) == 3 and [f.index for f in found] == [0, 1, 2] and found[-1].scenario == "drive"
    for k, (made, was) in enumerate(zip(found, drive, strict=True)):
        assert made.ego.id == was.ego.id and set(made.others) == set(was.others)
        for one in (made.ego, *made.others.values()):
            view = was.ego if one.id == was.ego.id else was.others[one.id]
            assert (one.kind, one.t_ns) == (view.kind, START_NS + k * 100_000_000)
            np.testing.assert_array_equal(one.points[:, :3], view.points[:, :3])
            np.testing.assert_allclose(one.points[:, 3], view.points[:, 3], atol=0.5 / 255 + 1e-6)
            np.testing.assert_allclose(one.world_T_sensor, view.world_T_sensor, atol=1e-6)


def test_a_bag_is_defended_like_any_data(
    drive: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, drive, StoragePlugin.MCAP)
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--data", f"bag:{path}", "--detector", "tests.test_evaluate:Sparse", "--defense", "none"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2] and lines[0]["used"] == sorted(drive[0].others)


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("bag: drive", "bag: nowhere", "which does not exist"),
        ("bag: drive", "bag: drive.yaml", "expected a ROS 2 bag"),
        ("/odom", "/odmo", "did you mean '/odom'"),
        ("pose: /odom", "pose: /tf", "to hold nav_msgs/msg/Odometry or"),
        ("world: map", "world: earth", "expected /tf in"),
        ("mount", "mounted", "Extra inputs"),
        ("ego: ", "ego: not-", "expected ego in"),
        ("bag: drive", "every: 3", "Extra inputs"),
    ],
)
def test_what_is_missing_is_named(was: str, becomes: str, said: str, drive: list[Frame], tmp_path: Path) -> None:
    path = write(tmp_path, drive[:1], StoragePlugin.SQLITE3)
    path.write_text(path.read_text().replace(was, becomes, 1))
    with pytest.raises(InputError, match=said):
        BagFrames(path)


def test_without_poses_at_its_time_a_scan_is_refused(drive: list[Frame], tmp_path: Path) -> None:
    found = BagFrames(write(tmp_path, drive[:1], StoragePlugin.SQLITE3, without="/points"))
    found._poses[drive[0].ego.id].tracks[0].stamps[:] = [START_NS - 600_000_000]
    with pytest.raises(InputError, match="s of the scan"):
        found[0]


def test_a_pose_between_two_is_between_them() -> None:
    track, half = Track("x"), Rotation.from_euler("z", 90, degrees=True).as_quat()
    quaternion = T["geometry_msgs/msg/Quaternion"]
    for stamp, x, turn in ((0, 0.0, (0, 0, 0, 1)), (100, 10.0, half)):
        track.add(stamp, T["geometry_msgs/msg/Point"](x=x, y=0.0, z=0.0), quaternion(*map(float, turn)))
    pose = track.at(25)
    assert pose[0, 3] == pytest.approx(2.5) and np.degrees(np.arctan2(pose[1, 0], pose[0, 0])) == pytest.approx(22.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 10**9}, "bytes"),
        ({"point_step": 10, "row_step": 0}, "a field inside 10 bytes"),
        ({"fields": []}, "expected fields x, y and z"),
        ({"data": np.zeros(3, np.uint8)}, "got 3 bytes"),
    ],
)
def test_a_damaged_cloud_is_told(changes: dict[str, Any], said: str, drive: list[Frame]) -> None:
    with pytest.raises(InputError, match=said):
        points_of(replace(cloud(drive[0].ego, 0), **changes))


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_damaged_bag_is_told_and_nothing_else(plugin: Any, drive: list[Frame], tmp_path: Path) -> None:
    path, rng = write(tmp_path, drive[:1], plugin), np.random.default_rng(0)
    files = [p for p in (tmp_path / "drive").iterdir() if p.suffix in (".db3", ".mcap", ".yaml")]
    for n in range(20):
        whole = (file := files[n % len(files)]).read_bytes()
        edited = bytearray(whole[: rng.integers(len(whole))] if n % 3 == 0 else whole)
        for at in rng.integers(0, max(1, len(edited)), 5 * bool(edited)):
            edited[at] = rng.integers(256)
        file.write_bytes(edited)
        with suppress(InputError):
            list(BagFrames(path))
        file.write_bytes(whole)
    assert len(BagFrames(path)) == 1


def test_points_that_are_not_finite_in_single_precision_are_left_out(drive: list[Frame]) -> None:
    field = T["sensor_msgs/msg/PointField"]
    fields = [field(name=n, offset=8 * k, datatype=8, count=1) for k, n in enumerate("xyz")]
    rows = np.array([[1, 2, 3], [1e39, 0, 0], [np.nan, 0, 0]], np.float64)
    size = {"width": 3, "height": 1, "point_step": 24, "row_step": 72}
    data = np.frombuffer(rows.tobytes(), np.uint8)
    found = points_of(replace(cloud(drive[0].ego, 0), fields=fields, data=data, **size))
    assert found.tolist() == [[1, 2, 3, 0]]
