"""V2X-Sim as parsed and by pickled infos: what was simulated comes back; what is broken is named."""

import pickle

import numpy as np
import pytest

from robosac.boxes import invert_pose, iou_bev, transform_boxes
from robosac.data.dataset import DataSet
from robosac.data.recording import DataError, Recording
from robosac.data.v2xsim_npy import HEIGHT_M, V2XSimNpy, decode
from robosac.data.v2xsim_pkl import V2XSimPkl
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError
from tests.data.v2xsim import LOW, VOXEL, agent_numbers, encode, own_boxes, write_npy, write_pkl

CONFIG = SimConfig(n_vehicles=2, n_frames=3, beams=16, columns=512, max_grade=0.0, sensor_tilt_deg=0.0)


@pytest.fixture(scope="module")
def snapshots():
    first, second = (scenario("val", i, config=CONFIG) for i in range(2))
    return {(5, 0): first.snapshot(0), (5, 1): first.snapshot(1), (12, 7): second.snapshot(0)}


@pytest.fixture(scope="module")
def npy(snapshots, tmp_path_factory):
    return write_npy(tmp_path_factory.mktemp("npy") / "test", snapshots)


@pytest.fixture(scope="module")
def pkl(snapshots, tmp_path_factory):
    return write_pkl(tmp_path_factory.mktemp("pkl"), snapshots)


# --------------------------------------------------------------------------------------------------------- parsed
def test_npy_lists_scenes_frames_and_agents(npy):
    recording = V2XSimNpy(npy)
    assert isinstance(recording, Recording)
    assert recording.scenarios() == ["scene_5", "scene_12"] and recording.ticks("scene_5") == ["5_0", "5_1"]
    # the field's ego is agent 1, the road-side unit comes last, absent agents do not come at all
    assert [(a.id, a.kind) for a in recording.agents("scene_5")] == [
        ("agent1", "vehicle"), ("agent2", "vehicle"), ("agent0", "roadside"),
    ]  # fmt: skip
    assert recording.present("scene_12", "12_7") == ["agent1", "agent2", "agent0"]


def test_npy_points_are_the_centres_of_occupied_voxels(npy, snapshots):
    recording = V2XSimNpy(npy)
    for (scene, index), snapshot in snapshots.items():
        for name, number in agent_numbers(snapshot).items():
            truth, view = snapshot.view(name), recording.view(f"scene_{scene}", f"{scene}_{index}", f"agent{number}")
            assert view.t_ns == index * 200_000_000
            low = np.floor(LOW[truth.kind] / VOXEL) * VOXEL
            inside = ((truth.points[:, :3] >= low) & (truth.points[:, :3] < low + VOXEL * [256, 256, 13])).all(axis=1)
            scan = truth.points[inside, :3].astype(np.float64)
            cells = {tuple(c) for c in np.floor(scan / VOXEL).astype(int)}
            assert {tuple(c) for c in np.floor(view.points[:, :3].astype(np.float64) / VOXEL).astype(int)} == cells
            np.testing.assert_allclose(np.abs(view.points[:, :3] / VOXEL % 1), 0.5, atol=1e-3)


def test_npy_poses_are_those_of_the_roadside_units_world(npy, snapshots):
    data = DataSet(V2XSimNpy(npy), comm_range_m=100, delay_frames=1)
    assert len(data) == 1  # scene 5, frame 1: the world stands still, so delay can be had
    frame, truth = data[0]
    now, then = snapshots[5, 1], snapshots[5, 0]
    by_number = {f"agent{n}": a for a, n in agent_numbers(now).items()}
    unit = invert_pose(now.world_T_sensor["rsu-1"])
    np.testing.assert_allclose(frame.ego.world_T_sensor, unit @ now.world_T_sensor[by_number["agent1"]], atol=1e-9)
    expected = unit @ then.world_T_sensor[by_number["agent2"]]
    np.testing.assert_allclose(frame.others["agent2"].world_T_sensor, expected, atol=1e-9)
    np.testing.assert_allclose(truth.world_T_sensor["agent2"], expected, atol=1e-9)


def test_npy_truth_is_the_union_without_doubles(npy, snapshots):
    for (frame, truth), snapshot in zip(DataSet(V2XSimNpy(npy), comm_range_m=100), snapshots.values(), strict=True):
        agents = agent_numbers(snapshot)
        ego = next(a for a, n in agents.items() if n == 1)
        listed = [
            transform_boxes(snapshot.world_T_sensor[a], own_boxes(snapshot, a)) for a in agents
        ]  # each in the world
        ego_T_world = invert_pose(snapshot.world_T_sensor[ego])
        union = np.unique(np.round(transform_boxes(ego_T_world, np.concatenate(listed))[:, :2], 2), axis=0)
        own = np.abs(union).max(axis=1) < 2.5  # the ego's own body, which the others list
        assert own.sum() == 1 and len(truth.boxes) == len(union) - 1
        exact = transform_boxes(ego_T_world, snapshot.boxes)
        assert (iou_bev(truth.boxes, exact).max(axis=1) > 0.99).all()
        assert np.allclose(truth.boxes[:, 5], HEIGHT_M) and len(set(truth.track_ids.tolist())) == len(truth.boxes)
        assert truth.visible().sum() > 3 and set(truth.hits) == {frame.ego.id, *frame.others}


def test_decode_undoes_encode():
    rng = np.random.default_rng(0)
    boxes = np.zeros((60, 7))
    boxes[:, :2], boxes[:, 6] = rng.uniform(-31, 31, (60, 2)), rng.uniform(-np.pi, np.pi, 60)
    boxes[:, 3], boxes[:, 4], boxes[:, 5] = rng.uniform(3, 13, 60), rng.uniform(1.5, 3, 60), HEIGHT_M
    for box in boxes:  # one by one: boxes of one cell would share an anchor
        made = encode(box[None])
        [found] = decode(made["gt_max_iou"][:, :3], made["reg_target_sparse"][:, 0])
        np.testing.assert_allclose(found[[0, 1, 3, 4]], box[[0, 1, 3, 4]], atol=1e-5)
        assert abs((found[6] - box[6] + np.pi) % (2 * np.pi) - np.pi) < 1e-5


def test_npy_without_a_roadside_unit_knows_no_delay(snapshots, tmp_path):
    root = write_npy(tmp_path, {k: s for k, s in snapshots.items() if k[0] == 5})
    for tick in ("5_0", "5_1"):
        np.save(root / "agent0" / tick / "0.npy", 0)
    frame, _ = DataSet(V2XSimNpy(root), comm_range_m=100)[0]
    assert np.array_equal(frame.ego.world_T_sensor, np.eye(4)) and list(frame.others) == ["agent2"]
    with pytest.raises(InputError, match="expected delay_frames=0"):
        DataSet(V2XSimNpy(root), delay_frames=1)[0]


BROKEN_NPY = [
    ({"voxel_indices_0": np.full((3, 3), 256, np.int32)}, r"voxels within"),
    ({"voxel_indices_0": np.zeros((3, 2), np.int32)}, r"whole numbers of shape \(N, 3\)"),
    ({"voxel_indices_0": np.zeros((3, 3))}, r"whole numbers of shape \(N, 3\)"),
    ({"allocation_mask": np.zeros((256, 256, 5), bool)}, r"flags of shape \(256, 256, 6\)"),
    ({"allocation_mask": np.zeros((256, 256, 6), bool), "reg_target_sparse": np.zeros((0, 1, 6))}, "to name anchors"),
    ({"reg_target_sparse": np.zeros((1, 1, 6))}, "reg_target_sparse to be numbers of shape"),
    ({"gt_max_iou": np.array([[400, 0, 0, 1]])}, "to name anchors"),
    ({"gt_max_iou": np.zeros((2, 3), int)}, "gt_max_iou to be whole numbers"),
    ({"trans_matrices": np.zeros((6, 4, 4))}, "got zeros"),
    ({"trans_matrices": np.full((6, 4, 4), np.nan)}, "to be finite"),
    ({"trans_matrices": np.tile(2 * np.eye(4), (6, 1, 1))}, "to end in 0 0 0 1"),
    ({"trans_matrices": np.zeros((1, 4, 4))}, "trans_matrices of"),
    ({"trans_matrices": None}, "got NoneType"),
]


@pytest.mark.parametrize(("changes", "said"), BROKEN_NPY)
def test_broken_npy_is_named(changes, said, snapshots, tmp_path):
    key = (5, 0)
    root = write_npy(tmp_path, {key: snapshots[key]}, **changes)
    with pytest.raises(DataError, match=said) as error:
        DataSet(V2XSimNpy(root), comm_range_m=100)[0]
    assert error.value.path.name == "0.npy"


def test_npy_that_holds_no_dictionary_or_lacks_a_key(snapshots, tmp_path):
    root = write_npy(tmp_path, {(5, 0): snapshots[5, 0]})
    path = root / "agent1/5_0/0.npy"
    content = np.load(path, allow_pickle=True).item()
    np.save(path, np.zeros(500))
    with pytest.raises(DataError, match="expected a dictionary, got ndarray"):
        V2XSimNpy(root).view("scene_5", "5_0", "agent1")
    np.save(path, {k: v for k, v in content.items() if k != "voxel_indices_0"}, allow_pickle=True)
    with pytest.raises(DataError, match="expected voxel_indices_0, got only"):
        V2XSimNpy(root).view("scene_5", "5_0", "agent1")


class Bomb:
    """What a pickle must never do."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_nothing_in_a_pickle_is_run(snapshots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = write_npy(tmp_path / "npy", {(5, 0): snapshots[5, 0]})
    np.save(root / "agent1/5_0/0.npy", np.array([Bomb()] * 40, dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        V2XSimNpy(root).view("scene_5", "5_0", "agent1")
    (tmp_path / "v2xsim_infos_test.pkl").write_bytes(pickle.dumps([{"agent_num": Bomb()}]))
    with pytest.raises(DataError):
        V2XSimPkl(tmp_path).scenarios()
    assert not (tmp_path / "exploded").exists()


# ------------------------------------------------------------------------------------------------------ the infos
def test_pkl_gives_back_what_was_simulated(pkl, snapshots):
    recording = V2XSimPkl(pkl)
    assert isinstance(recording, Recording)
    assert recording.scenarios() == ["test/scene_5", "test/scene_12"] and list(recording.problems()) == []
    assert [a.id for a in recording.agents("test/scene_5")] == ["1", "2"]
    data = DataSet(recording, comm_range_m=100)
    assert len(data) == 3
    for (frame, truth), snapshot in zip(data, snapshots.values(), strict=True):
        names = {str(n): a for a, n in agent_numbers(snapshot).items()}
        for name, view in {frame.ego.id: frame.ego, **frame.others}.items():
            np.testing.assert_array_equal(view.points, snapshot.view(names[name]).points)
            np.testing.assert_allclose(view.world_T_sensor, snapshot.world_T_sensor[names[name]], atol=1e-12)
            assert view.t_ns == 1_600_000_000_000_000_000 + snapshot.t_ns
        carrier = snapshot.scenario.agents[0].vehicle
        assert truth.track_ids.tolist() == [i for i in range(len(snapshot.boxes)) if i != carrier]
        exact = transform_boxes(invert_pose(snapshot.world_T_sensor[names["1"]]), snapshot.boxes)
        np.testing.assert_allclose(truth.boxes[:, :6], np.delete(exact, carrier, axis=0)[:, :6], atol=1e-4)
        assert (iou_bev(truth.boxes, exact).max(axis=1) > 0.999).all()
        assert truth.visible().sum() > 3


def test_one_pickle_may_be_named(snapshots, tmp_path):
    write_pkl(tmp_path, {(5, 0): snapshots[5, 0]}, split="val")
    write_pkl(tmp_path, {(12, 7): snapshots[12, 7]}, split="test")
    assert V2XSimPkl(tmp_path).scenarios() == ["test/scene_12", "val/scene_5"]
    assert V2XSimPkl(tmp_path, (tmp_path / "v2xsim_infos_val.pkl",)).scenarios() == ["val/scene_5"]


def test_a_missing_scan_is_listed_and_skipped(snapshots, tmp_path):
    root = write_pkl(tmp_path, snapshots)
    (root / "sweeps/LIDAR_TOP_id_2/scene_5_000001.pcd.bin").unlink()
    recording = V2XSimPkl(root)
    [missing] = recording.problems()
    assert missing.path.name == "scene_5_000001.pcd.bin"
    data = DataSet(recording, comm_range_m=100, skip_bad=True)
    assert len(list(data)) == 2 and list(data.skipped) == ["test/scene_5 000001 1"]


def test_a_path_that_leads_out_is_refused(snapshots, tmp_path):
    root = write_pkl(tmp_path / "data", {(5, 0): snapshots[5, 0]})
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(20))
    file = root / "v2xsim_infos_test.pkl"
    infos = pickle.loads(file.read_bytes())
    for wrong in ("../secret.bin", "/a/../../secret.bin", str(secret), "", "a\0b", 7):
        infos[0]["lidar_path_1"] = wrong
        file.write_bytes(pickle.dumps(infos))
        with pytest.raises(DataError):
            V2XSimPkl(root).view("test/scene_5", "000000", "1")
    (root / "link.bin").symlink_to(secret)
    infos[0]["lidar_path_1"] = "link.bin"
    file.write_bytes(pickle.dumps(infos))
    with pytest.raises(DataError):
        V2XSimPkl(root).view("test/scene_5", "000000", "1")


BROKEN_PKL = [
    (lambda i: "frames", "expected a list of frames, got str"),
    (lambda i: [3], "expected frame 0 to be a dictionary"),
    (lambda i: [{**i, "agent_num": 10**9}], "agent_num of frame 0 to be 0 to 64"),
    (lambda i: [{**i, "agent_num": 3}], "expected lidar_pose_3 in frame 0"),
    (lambda i: [{**i, "lidar_pose_1": np.eye(3)}], "lidar_pose_1 of frame 0 to be numbers of shape"),
    (lambda i: [{**i, "lidar_pose_1": np.diag([1, 1, -1, 1])}], "skews, scales or mirrors"),
    (lambda i: [{**i, "labels_1": {}}], "expected gt_boxes_global and gt_object_ids"),
    (
        lambda i: [{**i, "labels_1": {**i["labels_1"], "gt_object_ids": {1}}}],
        "gt_object_ids of labels_1, frame 0 to be a",
    ),
    (
        lambda i: [{**i, "labels_1": {**i["labels_1"], "gt_names": ["car"]}}],
        "expected gt_names of labels_1, frame 0 to be",
    ),
    (lambda i: [{**i, "labels_1": {**i["labels_1"], "gt_boxes_global": [[1.0], [2.0, 3.0]]}}], "numbers of shape"),
    (lambda i: [{**i, "scene_id": [1, [2]]}], "expected the scene of frame 0"),
    (lambda i: [{**i, "labels_1": {**i["labels_1"], "gt_object_ids": np.arange(3)}}], "numbers of shape"),
    (lambda i: [{**i, "labels_1": {**i["labels_1"], "gt_object_ids": []}}], "numbers of shape"),  # boxes, no names
]


def changed(info, **parts):
    return {**info, "labels_1": {**info["labels_1"], **parts}}


def labels(info, column, value):
    boxes = info["labels_1"]["gt_boxes_global"].copy()
    boxes[0, column] = value
    return {**info["labels_1"], "gt_boxes_global": boxes}


@pytest.mark.parametrize(("change", "said"), BROKEN_PKL)
def test_broken_infos_are_named(change, said, snapshots, tmp_path):
    root = write_pkl(tmp_path, {(5, 0): snapshots[5, 0]})
    file = root / "v2xsim_infos_test.pkl"
    file.write_bytes(pickle.dumps(change(pickle.loads(file.read_bytes())[0])))
    with pytest.raises(DataError, match=said) as error:
        DataSet(V2XSimPkl(root), comm_range_m=100)[0]
    assert error.value.path == file


def test_a_truncated_scan_is_named(snapshots, tmp_path):
    root = write_pkl(tmp_path, {(5, 0): snapshots[5, 0]})
    path = root / "sweeps/LIDAR_TOP_id_1/scene_5_000000.pcd.bin"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="points of 20 bytes"):
        DataSet(V2XSimPkl(root), comm_range_m=100)[0]
