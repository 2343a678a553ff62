"""DAIR-V2X-C: the calibration chain, the offset, times, what is missing; on simulated frames and on the sample."""

import json

import numpy as np
import pytest

from robosac.boxes import iou_bev, wrap_angle
from robosac.data.dair import DairV2XC
from robosac.data.dataset import DataSet
from robosac.data.recording import DataError, Recording
from robosac.data.truth import boxes_in, invert_pose, points_in_boxes
from robosac.simulation import SimConfig, scenario
from tests.data.dair import OFFSET_M, write_dair
from tests.data.samples import DAIR, needs


@pytest.fixture(scope="module")
def snapshots():
    config = SimConfig(n_vehicles=2, n_frames=3, beams=16, columns=512)
    simulated = scenario("val", 0, config=config)
    return [simulated.snapshot(k) for k in range(3)]


@pytest.fixture(scope="module")
def root(snapshots, tmp_path_factory):
    return write_dair(tmp_path_factory.mktemp("dair"), snapshots)


def test_what_was_simulated_comes_back(root, snapshots):
    recording = DairV2XC(root)
    assert isinstance(recording, Recording) and recording.layout == "dair-v2x-c"
    assert recording.scenarios() == ["015372"] and recording.ticks("015372") == ["015372", "015373", "015374"]
    assert [(a.id, a.kind) for a in recording.agents("015372")] == [
        ("vehicle", "vehicle"), ("infrastructure", "roadside"),
    ]  # fmt: skip
    assert list(recording.problems()) == []
    data = DataSet(recording, comm_range_m=200)
    for (frame, truth), snapshot in zip(data, snapshots, strict=True):
        ego, unit = frame.ego, frame.others["infrastructure"]
        names = {"vehicle": snapshot.agents[0], "infrastructure": "rsu-1"}
        for view in (ego, unit):
            expected = snapshot.view(names[view.id])
            np.testing.assert_allclose(view.world_T_sensor, snapshot.world_T_sensor[names[view.id]], atol=1e-9)
            np.testing.assert_array_equal(view.points[:, :3], expected.points[:, :3])
            np.testing.assert_allclose(view.points[:, 3], expected.points[:, 3], atol=0.5 / 255 + 1e-6)
            assert view.points[:, 3].max() > 0.1
        assert unit.t_ns - ego.t_ns == 28_000_000 and ego.t_ns // 10**15 == 1626
        exact = boxes_in_ego(snapshot)
        assert len(truth.boxes) == len(exact) - 1  # without the ego's own body; the pedestrian is no vehicle
        assert (iou_bev(truth.boxes, exact).max(axis=1) > 0.99).all()
    ids = [set(t.track_ids.tolist()) for _, t in data]
    assert not ids[0] & ids[1]  # objects have no names here: nothing is tracked


def boxes_in_ego(snapshot):
    from robosac.boxes import transform_boxes

    return transform_boxes(invert_pose(snapshot.world_T_sensor[snapshot.agents[0]]), snapshot.boxes)


def test_a_scenario_ends_where_seconds_are_missing(snapshots, tmp_path):
    recording = DairV2XC(write_dair(tmp_path, snapshots, gap_after=0))
    assert recording.scenarios() == ["015372", "015393"] and recording.ticks("015393") == ["015393", "015394"]


def test_without_times_an_id_is_a_tenth_of_a_second(snapshots, tmp_path):
    frames = DataSet(DairV2XC(write_dair(tmp_path, snapshots, times=False)), comm_range_m=200).frames
    first, second = frames[0], frames[1]
    assert second.ego.t_ns - first.ego.t_ns == 100_000_000
    assert first.others["infrastructure"].t_ns == first.ego.t_ns


@pytest.mark.parametrize("digits", [13, 16, 19])
def test_times_are_milli_micro_or_nanoseconds(digits, snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots)
    for side in ("vehicle", "infrastructure"):
        path = root / f"{side}-side/data_info.json"
        infos = json.loads(path.read_text())
        for info in infos:
            info["pointcloud_timestamp"] = info["pointcloud_timestamp"].ljust(19, "0")[:digits]
        path.write_text(json.dumps(infos))
    recording = DairV2XC(root)
    scenario = recording.scenarios()[0]
    ticks = recording.ticks(scenario)
    times = [recording.view(scenario, tick, "vehicle").t_ns for tick in ticks]
    assert times[0] == 1_626_240_241 * 10**9 and np.diff(times).tolist() == [100_000_000] * (len(times) - 1)


def test_a_side_may_be_missing(snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots)
    (root / "infrastructure-side/velodyne/000017.pcd").unlink()
    (root / "vehicle-side/velodyne/015374.pcd").unlink()
    recording = DairV2XC(root)
    assert [list(recording.present("015372", t)) for t in recording.ticks("015372")] == [
        ["vehicle", "infrastructure"], ["vehicle"], ["infrastructure"],
    ]  # fmt: skip
    assert sorted(p.path.name for p in recording.problems()) == ["000017.pcd", "015374.pcd"]
    assert [(f.index, len(f.others)) for f in DataSet(recording, comm_range_m=200).frames] == [(0, 1), (1, 0)]
    assert [f.index for f in DataSet(recording, comm_range_m=200, ego="infrastructure").frames] == [0, 2]


def test_a_split_takes_some_pairs(root):
    assert DairV2XC(root, frozenset({"015373", "000000"})).ticks("015373") == ["015373"]


def edited(root, relative, change):
    path = root / relative
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


PAIRS, LABELS = "cooperative/data_info.json", "cooperative/label_world/015372.json"
UNIT = "infrastructure-side/calib/virtuallidar_to_world/000016.json"


def first(**changes):
    """The entry of the first pair, changed; the list is not in order."""
    return lambda pairs: [{**p, **(changes if "015372" in p["vehicle_pointcloud_path"] else {})} for p in pairs]


BROKEN = [
    (PAIRS, lambda p: {}, "expected a list of pairs, got dict"),
    (PAIRS, lambda p: [3], "expected pair 0 to be an object, got int"),
    (PAIRS, lambda p: [{}], "expected pair 0 to name its vehicle_pointcloud_path"),
    (PAIRS, first(system_error_offset={"delta_x": "far"}), "expected the offset of pair"),
    (PAIRS, first(system_error_offset={"delta_x": 1e999}), "Infinity is no JSON"),
    ("vehicle-side/data_info.json", lambda p: 7, "expected a list of scans"),
    (UNIT, lambda c: [], "expected rotation and translation"),
    (UNIT, lambda c: {**c, "rotation": [[1, 0], [0, 1]]}, "rotation to be numbers of shape"),
    (UNIT, lambda c: {**c, "rotation": np.diag([1, 1, -1]).tolist()}, "skews, scales or mirrors"),
    (UNIT, lambda c: {**c, "translation": [[1], [2], ["x"]]}, "translation to be numbers"),
    (UNIT, lambda c: {**c, "translation": [[1], [2], [float("nan")]]}, "NaN is no JSON"),
    (LABELS, lambda c: {"a": 1}, "expected a list of objects"),
    (LABELS, lambda c: [{"type": "car"}], "world_8_points to be numbers of shape"),
    (
        LABELS,
        lambda c: [*c, {"type": "car", "world_8_points": [[1, 2, 3], [4]]}],
        "world_8_points to be numbers of shape",
    ),
    (
        LABELS,
        lambda c: [*c, {"type": "car", "world_8_points": [[None] * 3] * 8}],
        "world_8_points to be numbers of shape",
    ),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("relative", "change", "said"), BROKEN)
def test_what_is_broken_is_named(relative, change, said, snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots[:1])
    edited(root, relative, change)
    with pytest.raises(DataError, match=said) as error:
        DataSet(DairV2XC(root), comm_range_m=200)[0]
    assert error.value.path == root / relative


def test_a_cloud_of_other_fields_is_named(snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots[:1])
    path = root / "vehicle-side/velodyne/015372.pcd"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"FIELDS x y z", b"FIELDS x y q"))
    with pytest.raises(DataError, match="expected fields x y z, got x y q intensity: no z"):
        DataSet(DairV2XC(root), comm_range_m=200)[0]
    path.write_bytes(whole.replace(b"intensity", b"amplitude"))
    assert not DataSet(DairV2XC(root), comm_range_m=200)[0][0].ego.points[:, 3].any()


def test_braces_in_a_name_are_a_name(snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots[:1])
    edited(root, PAIRS, first(vehicle_pointcloud_path="vehicle-side/velodyne/{0.__class__}{}.pcd"))
    (root / "vehicle-side/velodyne/015372.pcd").rename(root / "vehicle-side/velodyne/{0.__class__}{}.pcd")
    with pytest.raises(DataError, match="cannot be read") as error:
        DataSet(DairV2XC(root), comm_range_m=200)[0]
    assert error.value.path.name == "{0.__class__}{}.json"


@pytest.mark.parametrize("way", ["../out.pcd", "/etc/hostname", "vehicle-side/../../out.pcd"])
@pytest.mark.parametrize("key", ["vehicle_pointcloud_path", "cooperative_label_path"])
def test_no_path_leads_out_of_the_root(way, key, snapshots, tmp_path):
    root = write_dair(tmp_path / "data", snapshots[:1])
    (tmp_path / "out.pcd").write_bytes((root / "vehicle-side/velodyne/015372.pcd").read_bytes())
    edited(root, PAIRS, first(**{key: way}))
    with pytest.raises(DataError):
        list(DataSet(DairV2XC(root), comm_range_m=200))


def test_a_broken_frame_is_skipped_and_listed(snapshots, tmp_path):
    root = write_dair(tmp_path, snapshots)
    path = root / "vehicle-side/velodyne/015373.pcd"
    path.write_bytes(path.read_bytes()[:500])
    data = DataSet(DairV2XC(root), comm_range_m=200, skip_bad=True)
    assert [f.index for f, _ in data] == [0, 2] and [e.path for e in data.skipped.values()] == [path]


# ------------------------------------------------------------------------------------------------------ the sample
@needs(DAIR)
def test_every_world_label_of_the_sample_was_seen():
    """Two drives of 14 and 15 pairs whose scans are there; of one pair, one label holds 3 points."""
    recording = DairV2XC(DAIR)
    drives = {name: recording.ticks(name) for name in recording.scenarios()}
    assert {name: len(ticks) for name, ticks in drives.items()} == {"015372": 14, "015400": 15}
    assert len(recording.pairs) == 46 and len(list(recording.problems())) == 2 * (46 - 14 - 15)
    few = {}
    for name, tick in ((name, tick) for name, ticks in drives.items() for tick in ticks):
        objects = recording.labels(name, tick, [])
        assert 22 <= len(objects) <= 31
        views = [recording.view(name, tick, a) for a in recording.present(name, tick)]
        hits = [points_in_boxes(v.points, v.world_T_sensor, objects) for v in views]
        few[tick] = int(np.max(hits, axis=0).min())
        if name == "015372":  # the offset is needed: without it there are boxes that nobody sees
            unit = views[1].world_T_sensor.copy()
            unit[:2, 3] -= recording.pairs[tick].offset_m
            assert (hits[0] + points_in_boxes(views[1].points, unit, objects)).min() == 0
    assert {tick: n for tick, n in few.items() if n < 5} == {"015405": 3}


@needs(DAIR)
def test_boxes_of_the_sample_are_the_files_own_in_the_vehicles_frame():
    recording = DairV2XC(DAIR)
    for name, tick in ((drive, tick) for drive in recording.scenarios() for tick in recording.ticks(drive)):
        listed = json.loads((DAIR / recording.pairs[tick].labels).read_text())
        objects = recording.labels(name, tick, [])
        size = [[o["3d_dimensions"][k] for k in "lwh"] for o in listed]
        np.testing.assert_allclose(objects.size, size, atol=1e-5)
        place = [[o["3d_location"][k] for k in "xyz"] for o in listed]
        np.testing.assert_allclose(objects.world_T_box[:, :3, 3], place, atol=1e-3)
        turned = [k for k, o in enumerate(listed) if "rotation" in o]  # in the vehicle's lidar frame
        found = boxes_in(objects, invert_pose(recording.pose(name, tick, "vehicle")))[turned, 6]
        assert np.abs(wrap_angle(found - [listed[k]["rotation"] for k in turned])).max() < 1e-5


@needs(DAIR)
def test_the_sides_of_the_sample_are_not_taken_at_one_moment():
    frame = DataSet(DairV2XC(DAIR)).frames[0]
    assert frame.others["infrastructure"].t_ns - frame.ego.t_ns == 28_098_000
    assert {round(float(v.points[:, 3].max()), 3) for v in (frame.ego, frame.others["infrastructure"])} == {0.996, 1.0}


def test_the_offset_is_applied_to_the_unit_alone(root, snapshots):
    recording = DairV2XC(root)
    assert recording.pairs["015372"].offset_m == OFFSET_M
    np.testing.assert_allclose(recording.pose("015372", "015372", "infrastructure")[:2, 3],
                               snapshots[0].world_T_sensor["rsu-1"][:2, 3], atol=1e-9)  # fmt: skip
