"""What holds in every reader alike: classes, records that cannot be, names, intensities, odd neighbours."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from robosac import cli, pcd
from robosac.cli.data import inspect
from robosac.data import safe
from robosac.data.dataset import DataSet
from robosac.data.labels import VEHICLES, spelled, wanted
from robosac.data.layout import UnknownLayoutError, open_recording, recognise
from robosac.data.points import unit_intensity
from robosac.types import InputError
from tests.data.dair import corners
from tests.data.v2xsim import encode

SCAN = np.tile(np.array([[10, 0, 0, 0.5]], np.float32), (6, 1))
CAR = [10.0, 0.0, 0.8, 4.4, 1.8, 1.6, 0.0]
FAR = [30.0, 5.0, 0.8, 4.4, 1.8, 1.6, 1.0]


def cloud(intensity=SCAN[:, 3], x=SCAN[:, 0]):
    n = len(intensity)
    columns = {"x": np.resize(x, n), "y": np.zeros(n), "z": np.zeros(n), "intensity": intensity}
    return pcd.encode({c: v.astype(np.float32) if c != "intensity" else v for c, v in columns.items()})


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


# ------------------------------------------------------------------ one frame, in each layout: boxes with a class each
def opv2v(root, lists, *, matrix=False, scans=None):
    for a, listed in enumerate(lists):
        vehicles = {}
        for k, (box, kind) in enumerate(listed):
            x, y, z, length, width, height, yaw = map(float, box)
            vehicles[100 * (a + 1) + k] = {
                "angle": [0, float(np.degrees(yaw)), 0], "center": [0, 0, 0], "location": [x, y, z],
                "extent": [length / 2, width / 2, height / 2], **({} if kind is None else {"obj_type": kind}),
            }  # fmt: skip
        pose = np.eye(4).tolist() if matrix else [0, 0, 0, 0, 0, 0]
        put(root / f"s/{a + 1}/000001.yaml", yaml.safe_dump({"lidar_pose": pose, "vehicles": vehicles}).encode())
        put(root / f"s/{a + 1}/000001.pcd", cloud() if scans is None else scans[a])


def v2v4real(root, lists):
    opv2v(root, lists, matrix=True)


def pickled(root, lists, names=None):
    info = {"agent_num": len(lists), "scene_token": "a"}
    for a, listed in enumerate(lists, 1):
        put(root / f"{a}.pcd.bin", np.c_[SCAN, np.zeros(6, np.float32)].astype("<f4").tobytes())
        boxes = np.array([[*b[:6], np.cos(b[6] / 2), 0, 0, np.sin(b[6] / 2)] for b, _ in listed]).reshape(-1, 10)
        labels = {"gt_boxes_global": boxes, "gt_object_ids": [None] * len(listed) if names is None else names[a - 1]}
        if any(kind is not None for _, kind in listed):
            labels["gt_names"] = np.array([kind for _, kind in listed])
        info |= {f"lidar_path_{a}": f"/x/{a}.pcd.bin", f"lidar_pose_{a}": np.eye(4), f"labels_{a}": labels}
    put(root / "v2xsim_infos_test.pkl", pickle.dumps([info]))


def dair(root, lists):
    eye = {"rotation": np.eye(3).tolist(), "translation": [[0], [0], [0]]}
    put(root / "vehicle-side/velodyne/000001.pcd", cloud())
    put(root / "infrastructure-side/velodyne/000009.pcd", cloud())
    put(root / "vehicle-side/calib/lidar_to_novatel/000001.json", {"transform": eye})
    put(root / "vehicle-side/calib/novatel_to_world/000001.json", eye)
    put(root / "infrastructure-side/calib/virtuallidar_to_world/000009.json", eye)
    listed = [{"type": kind or "car", "world_8_points": corners(np.array(box))} for one in lists for box, kind in one]
    put(root / "cooperative/label_world/000001.json", listed)
    sides = {"vehicle": "000001", "infrastructure": "000009"}
    put(
        root / "cooperative/data_info.json",
        [{f"{s}_pointcloud_path": f"{s}-side/velodyne/{n}.pcd" for s, n in sides.items()}],
    )


def parsed(root, lists):
    for a, listed in enumerate(lists, 1):
        made = encode(np.array([box for box, _ in listed]).reshape(-1, 7))
        for row, (_, kind) in zip(made["gt_max_iou"], listed, strict=True):
            row[3] = 1 if kind in (None, "car") else int(kind)
        trans = np.tile(np.eye(4), (6, 1, 1))
        content = {**made, "voxel_indices_0": np.full((9, 3), 7, np.int32), "trans_matrices": trans}
        (root / f"agent{a}/5_0").mkdir(parents=True)
        np.save(root / f"agent{a}/5_0/0.npy", content, allow_pickle=True)


ALL = [opv2v, v2v4real, pickled, dair, parsed]
SPELLED = [opv2v, v2v4real, pickled, dair]


def truth_of(root, **options):
    [(_, truth)] = DataSet(recognise(root), **options)
    return truth


# ----------------------------------------------------------------------------------------------------------- classes
@pytest.mark.parametrize("write", SPELLED)
def test_only_vehicles_count_in_every_reader(write, tmp_path, capsys):
    kinds = [
        "Car",
        "pedestrian",
        "BicycleRider",
        "van",
        "TrashCan",
        "Semi-Truck",
        "Motorcycle",
        "BUS",
        "vehicle.bus.rigid",
    ]
    placed = [([10.0 + 12 * k, 0, 0.8, 4, 2, 1.6, 0], kind) for k, kind in enumerate(kinds)]
    write(tmp_path, [placed])
    assert truth_of(tmp_path).boxes[:, 0].round().tolist() == [10, 46, 70, 94, 106]
    found = inspect(recognise(tmp_path))
    assert found["classes"] == {"Car": 1, "van": 1, "Semi-Truck": 1, "BUS": 1, "vehicle.bus.rigid": 1}
    assert found["classes_left_out"] == {"pedestrian": 1, "BicycleRider": 1, "TrashCan": 1, "Motorcycle": 1}
    with pytest.raises(SystemExit):
        cli.main(["data", "inspect", str(tmp_path), "--classes", "PEDESTRIAN", "--classes", "bicycle rider", "--json"])
    assert json.loads(capsys.readouterr().out)["classes"] == {"pedestrian": 1, "BicycleRider": 1}
    people = open_recording(tmp_path, classes=("PEDESTRIAN", "bicycle rider"))
    [(_, truth)] = DataSet(people)
    assert truth.boxes[:, 0].round().tolist() == [22, 34]


def test_categories_of_parsed_labels_are_classes(tmp_path):
    parsed(tmp_path, [[(CAR, None), ([20.0, 5.0, 0.8, 4.4, 1.8, 1.6, 1.0], "2")]])
    assert len(truth_of(tmp_path).boxes) == 1
    assert inspect(recognise(tmp_path))["classes_left_out"] == {"category 2": 1}
    [(_, truth)] = DataSet(open_recording(tmp_path, classes=("car", "category 2")))
    assert len(truth.boxes) == 2


@pytest.mark.parametrize("classes", ["car", [], [""], [7]])
def test_classes_are_names(classes, tmp_path):
    opv2v(tmp_path, [[(CAR, None)]])
    with pytest.raises(InputError, match="expected names of classes"):
        open_recording(tmp_path, classes=classes)


def test_names_of_classes_by_hand():
    assert all(
        wanted(n, VEHICLES) for n in ("Car", "PoliceCar", "vehicle.emergency.ambulance", "Pickup Truck", "vehicle")
    )
    assert not any(
        wanted(n, VEHICLES) for n in ("Motorcycle", "vehicle.motorcycle", "human.car", "cart", "carpet", "Pedestrian")
    )
    assert wanted("vehicle.motorcycle", {spelled("Vehicle.Motorcycle")})


# ----------------------------------------------------------------------------------------------------------- records
@pytest.mark.parametrize("column", [3, 4, 5])
@pytest.mark.parametrize("write", SPELLED)
def test_a_record_without_a_size_is_left_out_and_told(write, column, tmp_path):
    flat = list(FAR)
    flat[column] = 0.0
    write(tmp_path, [[(CAR, None), (flat, None)]])
    data = DataSet(recognise(tmp_path))
    [(_, truth)] = data
    assert truth.boxes[:, 0].round().tolist() == [10]
    [(where, told)] = data.left_out.items()
    assert "000001" in where or "000000" in where
    assert len(told) == 1 and "not between 0 and 100 m" in told[0]
    found = inspect(recognise(tmp_path))
    assert found["left_out"][0]["problem"] == told[0] and not found["broken"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
@pytest.mark.parametrize("column", [0, 2, 3, 6])
@pytest.mark.parametrize("write", [opv2v, v2v4real, pickled])
def test_a_record_that_is_nowhere_is_left_out_and_told(write, column, value, tmp_path):
    broken = list(FAR)
    broken[column] = value
    write(tmp_path, [[(CAR, None), (broken, None)]])
    data = DataSet(recognise(tmp_path))
    [(_, truth)] = data
    turned = value == 1e12 and column == 6  # an angle is an angle
    assert len(truth.boxes) == 1 + turned and bool(data.left_out) is not turned


def test_a_code_that_makes_no_box_is_left_out(tmp_path):
    parsed(tmp_path, [[(CAR, None), ([20.0, 5.0, 0.8, 4.4, 1.8, 1.6, 1.0], None)]])
    file = tmp_path / "agent1/5_0/0.npy"
    content = np.load(file, allow_pickle=True).item()
    content["reg_target_sparse"][0, 0, 2] = 7.0  # a width of its anchor's over 1097
    np.save(file, content, allow_pickle=True)
    data = DataSet(recognise(tmp_path))
    assert len(data[0][1].boxes) == 1 and data.left_out


# ------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize("write", [v2v4real, pickled, dair, parsed])
def test_objects_without_a_name_are_one_where_they_overlap(write, tmp_path):
    near = [*CAR]
    near[0] += 0.3
    beside = [*CAR]
    beside[1] += 2.2
    far = [20.0, 9.0, 0.8, 4.4, 1.8, 1.6, 0.0]
    write(tmp_path, [[(CAR, None), (far, None), (far, None)], [(near, None), (beside, None)]])
    truth = truth_of(tmp_path)
    assert sorted(zip(truth.boxes[:, 0].round().tolist(), truth.boxes[:, 1].round().tolist(), strict=True)) == [
        (10, 0), (10, 2), (20, 9),
    ]  # fmt: skip


def test_a_name_holds_and_is_given_to_who_has_none(tmp_path):
    near = [*CAR]
    near[0] += 0.3
    pickled(tmp_path, [[(CAR, None)], [(near, None), (FAR, None)]], names=[[None], [7, 8]])
    assert truth_of(tmp_path).track_ids.tolist() == [7, 8]


def test_a_name_that_stands_twice_loses_no_object(tmp_path):
    third = [50.0, 0, 0.8, 4.4, 1.8, 1.6, 0]
    pickled(tmp_path, [[(CAR, None), (FAR, None), (CAR, None), (third, None)]], names=[[3, 3, 3, 4]])
    data = DataSet(recognise(tmp_path))
    [(_, truth)] = data
    assert truth.boxes[:, 0].round().tolist() == [10, 30, 50]
    assert [told.count("stands twice") for told in data.left_out.popitem()[1]] == [1, 1]


def test_two_names_at_one_place_are_one_object(tmp_path):
    near = [*CAR]
    near[0] += 0.2
    opv2v(tmp_path, [[(CAR, None), (near, None)], [(near, None), (FAR, None)]])
    assert truth_of(tmp_path).track_ids.tolist() == [100, 201]


def test_a_voxel_that_stands_twice_is_one_point(tmp_path):
    parsed(tmp_path, [[(CAR, None)]])  # nine times the same voxel
    assert len(recognise(tmp_path).view("scene_5", "5_0", "agent1").points) == 1


def test_outlines_over_one_another_on_a_bridge_are_two(tmp_path):
    above = [*CAR]
    above[2] += 6
    dair(tmp_path, [[(CAR, None), (above, None)]])
    assert len(truth_of(tmp_path).boxes) == 2


# ------------------------------------------------------------------------------------------------------- intensities
def test_a_reading_means_the_same_in_every_scan(tmp_path):
    bright, dark = np.array([1, 200], np.float32), np.array([1, 0], np.float32)
    opv2v(tmp_path, [[], []], scans=[cloud(dark), cloud(bright)])
    for order in (("1", "2"), ("2", "1")):  # whichever is read first
        recording = recognise(tmp_path)
        read = {a: recording.view("s", "000001", a).points[:, 3] for a in order}
        assert read["1"][0] == read["2"][0] == np.float32(1) / np.float32(255)
    assert "255 is 1" in inspect(recording)["intensity"]["vehicle"]["scale"]


@pytest.mark.parametrize(
    ("raw", "scale"),
    [
        (np.array([0, 51, 255], np.uint8), 255),
        (np.array([300, 3300, 65535], np.uint16), 65535),
        (np.array([0, 7, 100], np.uint16), 65535),
        (np.array([255, 500, 5600], np.float32), 65535),
        (np.array([0, 7, 200], np.int32), 255),
        (np.array([0.5, 1.0000001], np.float32), 1),
        (np.array([0, 0.2, 1], np.float64), 1),
    ],
)
def test_scales(raw, scale, tmp_path):
    opv2v(tmp_path, [[]], scans=[cloud(raw)])
    read = recognise(tmp_path).view("s", "000001", "1").points[:, 3]
    np.testing.assert_allclose(read, raw / scale, rtol=1e-6)


def test_bytes_in_one_scan_say_nothing_of_others(tmp_path):
    opv2v(tmp_path, [[], []], scans=[cloud(np.array([0, 51, 255], np.uint8)), cloud(np.array([0.5, 1], np.float32))])
    recording = recognise(tmp_path)
    read = {a: recording.view("s", "000001", a).points[:, 3].tolist() for a in ("2", "1")}
    assert read == {"1": [0, np.float32(0.2), 1], "2": [0.5, 1]}
    assert inspect(recording)["intensity"]["vehicle"]["scale"] == (
        "1 is 1 (up to 1 in 32 scans or fewer); 255 is 1 (8-bit numbers)"
    )


def test_nothing_is_cut_off():
    assert unit_intensity(np.array([-1, 0.5, 300], np.float32)).tolist() == [-1, 0.5, 300]
    assert unit_intensity(np.array([np.nan, np.inf, 1], np.float32)).tolist() == [0, 0, 1]


def test_a_broken_scan_says_nothing_of_the_scale(tmp_path):
    opv2v(tmp_path, [[], []], scans=[cloud(np.array([1, 200], np.float32)), b"no cloud"])
    assert recognise(tmp_path).view("s", "000001", "1").points[1, 3] == np.float32(200) / np.float32(255)


# ------------------------------------------------------------------------------------------------- odd neighbours
@pytest.mark.parametrize("write", ALL)
def test_what_cannot_be_read_beside_the_data_is_no_matter(write, tmp_path, monkeypatch):
    write(tmp_path, [[(CAR, None)]])
    (tmp_path / "lost+found").mkdir()
    before = Path.iterdir

    def iterdir(self):
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return before(self)

    is_file = Path.is_file

    def looked_at(self):
        if "lost+found" in self.parts:
            raise PermissionError(13, "Permission denied")
        return is_file(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "is_file", looked_at)
    assert len(truth_of(tmp_path).boxes) == 1
    assert inspect(recognise(tmp_path))["frames_read"] == 1


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff\xfe"), "[red]x", "[bold]", ":smile:", "a\x1b[31mb", "a\nb"])
def test_names_may_be_anything(name, tmp_path, capsys):
    opv2v(tmp_path / "data", [[(CAR, None), (FAR, None)]])
    (tmp_path / "data/s").rename(tmp_path / "data" / name)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "inspect", str(tmp_path / "data")])
    out, err = capsys.readouterr()
    assert not stopped.value.code and not err and "\x1b[31m" not in out
    if name.isprintable():
        assert name in out
    frame, _ = DataSet(recognise(tmp_path / "data"), ego="each")[0]
    assert frame.scenario == f"{name}/1"


def test_a_folder_of_many_others_is_searched_to_its_end(tmp_path):
    for k in range(1200):
        (tmp_path / f"a{k}").mkdir()
    opv2v(tmp_path / "z", [[(CAR, None)]])
    assert recognise(tmp_path).layout == "opv2v" and len(DataSet(recognise(tmp_path))) == 1


# ----------------------------------------------------------------------------------------------- grammars, and nothing
@pytest.mark.parametrize(
    ("stamps", "step_ns"),
    [
        (("000069", "000071"), 100_000_000),
        (("1653526432123", "1653526432223"), 100_000_000),
        (("1653526432123456", "1653526432173456"), 50_000_000),
        (("1653526432123456789", "1653526432203456789"), 80_000_000),
    ],
)
def test_long_times_are_times(stamps, step_ns, tmp_path):
    opv2v(tmp_path, [[(CAR, None)]])
    for stamp in stamps:
        for end in ("yaml", "pcd"):
            put(tmp_path / f"t/1/{stamp}.{end}", (tmp_path / f"s/1/000001.{end}").read_bytes())
    recording = recognise(tmp_path)
    assert recording.ticks("t") == list(stamps)
    first, second = (recording.view("t", tick, "1").t_ns for tick in stamps)
    assert second - first == step_ns


@pytest.mark.parametrize("stamp", ["1" * 20, "frame_1", "1.5", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_who_recognises_and_who_reads_agree(stamp, tmp_path):
    put(tmp_path / f"s/1/{stamp}.yaml", b"lidar_pose: [0, 0, 0, 0, 0, 0]\nvehicles: {}\n")
    put(tmp_path / f"s/1/{stamp}.pcd", cloud())
    with pytest.raises(UnknownLayoutError):
        recognise(tmp_path)


def ends(capsys, *args):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "inspect", *map(str, args)])
    return stopped.value.code, capsys.readouterr().err


def test_labels_without_clouds_are_said_to_be_so(tmp_path, capsys):
    opv2v(tmp_path / "a", [[(CAR, None)], [(CAR, None)]])
    for path in (tmp_path / "a").rglob("*.pcd"):
        path.unlink()
    code, err = ends(capsys, tmp_path / "a")
    assert code == 1 and "labels without clouds, 2 of them" in err
    dair(tmp_path / "b", [[(CAR, None)]])
    for path in (tmp_path / "b").rglob("*.pcd"):
        path.unlink()
    code, err = ends(capsys, tmp_path / "b", "--skip-bad")
    assert code == 1 and "labels without clouds, 2 of them" in err


def test_no_frames_are_a_failure_with_a_reason(tmp_path, capsys):
    put(tmp_path / "a/v2xsim_infos_test.pkl", pickle.dumps([]))
    code, err = ends(capsys, tmp_path / "a")
    assert code == 1 and "got none: what lies there" in err
    pickled(tmp_path / "b", [[(CAR, None)]])
    (tmp_path / "b/1.pcd.bin").unlink()
    code, err = ends(capsys, tmp_path / "b", "--skip-bad")
    assert code == 1 and "none of 1 that were tried can be read" in err


# ------------------------------------------------------------------------------------------------- what nobody needs
NEEDED = (
    "lidar_pose: [0, 0, 0, 0, 0, 0]\n"
    "vehicles: {7: {location: [10, 0, 0], center: [0, 0, 1], angle: [0, 0, 0], extent: [2, 1, 0.8]%s}}\n"
)
BESIDE = [
    "plan: !!python/tuple [1, 2]",
    "plan: !!python/object/apply:os.system ['exit 1']",
    "plan: !mine {a: 1}",
    "plan: 2021-99-99",
    f"plan: {10**40}",
    "plan: {<<: {a: 1}}",
    "plan: {a: 1, a: 2}",
    "plan: !!int x",
    "plan: 1\nplan: 2",
    "plan: \udcff\udcfe",
    "plan: 'a\x07'",
]


@pytest.mark.parametrize("beside", BESIDE)
def test_what_is_under_other_keys_is_not_judged(beside, tmp_path):
    opv2v(tmp_path, [[]])
    file = tmp_path / "s/1/000001.yaml"
    file.write_bytes(f"{beside}\n{NEEDED % ''}".encode(errors="surrogateescape"))
    assert len(truth_of(tmp_path).boxes) == 1
    if "\n" not in beside:
        file.write_bytes((NEEDED % f", {beside.replace('plan', 'speed')}").encode(errors="surrogateescape"))
        assert len(truth_of(tmp_path).boxes) == 1


@pytest.mark.parametrize("number", ["1e1", "1E+1", "10", "10.0", "1_0", "0xa"])
def test_numbers_as_yaml_writes_them(number, tmp_path):
    opv2v(tmp_path, [[]])
    (tmp_path / "s/1/000001.yaml").write_text((NEEDED % "").replace("[10, 0, 0]", f"[{number}, 0, 0]"))
    assert truth_of(tmp_path).boxes[0, 0] == 10


# ---------------------------------------------------------------------------------------------- relatives of OPV2V
def test_a_unit_that_says_so_is_a_roadside_unit(tmp_path):
    opv2v(tmp_path, [[(CAR, None)], [(CAR, None)]])
    for rsu, kinds in (("true", ["vehicle", "roadside"]), ("false", ["vehicle", "vehicle"]), ("1", ["vehicle"] * 2)):
        file = tmp_path / "s/1/000001.yaml"
        plain = "".join(line for line in file.read_text().splitlines(True) if not line.startswith("RSU"))
        file.write_text(f"RSU: {rsu}\n" + plain)
        agents = recognise(tmp_path).agents("s")
        assert [a.kind for a in agents] == kinds
        assert [a.id for a in agents] == (["2", "1"] if rsu == "true" else ["1", "2"])
    assert DataSet(recognise(tmp_path))[0][0].ego.kind == "vehicle"


def test_clouds_of_plain_floats(tmp_path):
    opv2v(tmp_path, [[([10, 0, 0, 4, 2, 2, 0], "Car"), (FAR, "Pedestrian")]])
    (tmp_path / "s/1/000001.pcd").unlink()
    table = np.array([[10, 0, 0, 51], [np.nan, 0, 0, 1], [10, 0.5, 0, 255]], "<f4")
    put(tmp_path / "s/1/000001.bin", table.tobytes())
    [(frame, truth)] = DataSet(recognise(tmp_path))
    np.testing.assert_allclose(frame.ego.points, [[10, 0, 0, 0.2], [10, 0.5, 0, 1]])
    assert truth.hits["1"].tolist() == [2]
    put(tmp_path / "s/1/000001.bin", table.tobytes()[:-3])
    with pytest.raises(InputError, match="points of 16 bytes, float32 x y z intensity"):
        DataSet(recognise(tmp_path))[0]


def test_radar_and_weather_are_named_and_left_alone(tmp_path, capsys):
    opv2v(tmp_path, [[(CAR, None)], [(CAR, None)]])
    for agent in "12":
        for end in ("_radar", "_fog_0.060"):
            put(tmp_path / f"s/{agent}/000001{end}.pcd", cloud())
    found = inspect(recognise(tmp_path))
    assert (
        found["left_alone"] == {"_fog_0.060.pcd": 2, "_radar.pcd": 2} and not found["missing"] and found["frames"] == 1
    )
    with pytest.raises(SystemExit):
        cli.main(["data", "inspect", str(tmp_path)])
    assert "Left alone: 2 TIME_fog_0.060.pcd, 2 TIME_radar.pcd" in capsys.readouterr().out


def test_an_agents_folder_alone_is_a_scenario_of_one(tmp_path):
    opv2v(tmp_path, [[(CAR, None)], [(CAR, None)]])
    [(frame, truth)] = DataSet(recognise(tmp_path / "s/1"))
    assert (frame.scenario, frame.ego.id, dict(frame.others), len(truth.boxes)) == ("1", "1", {}, 1)


# ------------------------------------------------------------------------------------------------------------- splits
def test_official_split_files_hold_several_lists(tmp_path):
    root = tmp_path / "cooperative-vehicle-infrastructure"
    dair(root, [[(CAR, None)]])
    official = {"vehicle_split": {}, "cooperative_split": {"train": ["000001"], "val": ["000002"], "test": []}}
    put(root / "split_datas/cooperative-split-data.json", official)
    file = root / "split_datas/cooperative-split-data.json"
    with pytest.raises(
        InputError, match=r"expected one split to be named as .*:NAME, got ''; it holds train, val, test"
    ):
        recognise(file)
    assert len(DataSet(recognise(Path(f"{file}:train")))) == 1
    assert len(DataSet(recognise(Path(f"{file}:val")))) == 0
    for name in ("test", "none"):
        with pytest.raises(InputError):
            recognise(Path(f"{file}:{name}"))
    put(root / "one.json", {"train": ["000001"]})
    assert len(DataSet(recognise(root / "one.json"))) == 1


# ------------------------------------------------------------------------------------------- who is ever in range
def test_all_who_are_ever_in_range(tmp_path):
    dair(tmp_path, [[(CAR, None)]])
    scans = sorted(tmp_path.rglob("*.pcd"))
    assert DataSet(recognise(tmp_path)).teammates("000001") == ("infrastructure",)
    assert DataSet(recognise(tmp_path), comm_range_m=0.1, ego="infrastructure").teammates("000001") == ("vehicle",)
    assert DataSet(recognise(tmp_path), ego="each").teammates("000001/vehicle") == ("infrastructure",)
    assert DataSet(recognise(tmp_path)).teammates("none") == ()
    for scan in scans:
        scan.write_bytes(b"")  # no scan is opened for it
    assert DataSet(recognise(tmp_path)).teammates("000001") == ("infrastructure",)


def test_looking_never_fails(tmp_path):
    for path in (tmp_path / "none", tmp_path / ("x" * 300), Path("a\0b")):
        assert not safe.is_file(path) and not safe.is_dir(path) and not safe.names(path) and not safe.folders(path)


@pytest.mark.parametrize(("classes", "objects"), [(None, 2), (["Car"], 2), (["Truck", "Child"], 2), (["Child"], 0)])
def test_a_record_without_a_class_is_a_vehicle_and_nothing_else(classes, objects, tmp_path):
    opv2v(tmp_path, [[(CAR, None), (FAR, None)]])
    [(_, truth)] = DataSet(open_recording(tmp_path, classes=classes))
    assert len(truth.boxes) == objects
