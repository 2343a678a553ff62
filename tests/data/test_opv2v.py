"""OPV2V's layout: the samples (bar 1), and every peculiarity of folders and files on a small one of our own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from robosac import pcd
from robosac.boxes import invert_pose
from robosac.data.dataset import EACH, DataSet
from robosac.data.excerpt import excerpt
from robosac.data.opv2v import OPV2V
from robosac.data.opv2v_files import said, said_in
from robosac.data.recording import DataError, Objects, Recording
from robosac.data.truth import points_in_boxes
from robosac.types import InputError
from tests.data import samples
from tests.data.samples import needs

SCENARIO = "2021_08_21_17_30_41"


# ------------------------------------------------------------------------------------------- the samples (bar 1)
@needs(samples.OPV2V)
def test_agents_of_the_sample_agree_in_the_world() -> None:
    reader = OPV2V(samples.OPV2V)
    lists = {a: reader.labels(SCENARIO, "000069", [a]) for a in ("4279", "4288", "4297")}
    assert [len(o) for o in lists.values()] == [21, 22, 15]
    union = reader.labels(SCENARIO, "000069", list(lists))
    assert len(union) == len({name for objects in lists.values() for name in objects.ids}) == 27
    compared = 0
    for objects in lists.values():
        for k, name in enumerate(objects.ids):
            at = union.ids.index(name)
            assert np.abs(corners(objects)[k] - corners(union)[at]).max() < 1e-3
            compared += 1
    assert compared == 58


def corners(objects: Objects) -> np.ndarray:
    """In the world, `(G, 8, 3)`."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T / 2
    local = signs[None] * objects.size[:, None].astype(np.float64)
    turned = np.einsum("gij,gkj->gki", objects.world_T_box[:, :3, :3], local)
    return np.asarray(turned + objects.world_T_box[:, None, :3, 3])


@needs(samples.OPV2V)
@pytest.mark.parametrize(("margin_m", "expected"), [(0.0, [19, 18, 15]), (0.1, [19, 19, 15])])
def test_boxes_of_the_sample_hold_points(margin_m: float, expected: list[int]) -> None:
    """The samples' page says 19 of 21, 19 of 22 and 15 of 15: one of 4288's has its fifth point 3 cm beside it."""
    reader, found = OPV2V(samples.OPV2V), []
    for agent in ("4279", "4288", "4297"):
        objects, view = reader.labels(SCENARIO, "000069", [agent]), reader.view(SCENARIO, "000069", agent)
        grown = replace(objects, size=objects.size + np.float32(2 * margin_m))
        found.append(int((points_in_boxes(view.points, view.world_T_sensor, grown) >= 5).sum()))
    assert found == expected


@needs(samples.OPV2V)
def test_every_agent_of_the_sample_as_the_ego() -> None:
    frames = DataSet(OPV2V(samples.OPV2V), ego=EACH)
    assert [(f.scenario, f.ego.id, len(f.others)) for f in frames.frames] == [
        (f"{SCENARIO}/{a}", a, 2) for a in ("4279", "4288", "4297")
    ]
    assert [len(truth.boxes) for _, truth in frames] == [26, 27, 27]  # only 4279 is on another's list
    for frame, truth in frames:
        assert 4279 not in truth.track_ids or frame.ego.id != "4279"
        # the road is 1.9 m below every LiDAR, and boxes stand on it
        low = truth.boxes[:, 2] - truth.boxes[:, 5] / 2
        assert np.abs(np.median(low) + 1.93) < 0.15
        for view in (frame.ego, *frame.others.values()):
            assert len(view.points) > 39_000 and np.ptp(view.points[:, 3]) > 0.3
            assert view.points[:, 3].min() > 0 and view.points[:, 3].max() < 1


@needs(samples.TWO_CARS)
def test_two_cars_whose_folders_are_no_numbers() -> None:
    reader = OPV2V(samples.TWO_CARS)
    assert [(a.id, a.kind, a.body) for a in reader.agents("TwoCars_1")] == [
        ("car1", "vehicle", None),
        ("car2", "vehicle", None),
    ]
    frames = DataSet(reader)
    assert [f.ego.t_ns for f in frames.frames] == [k * 100_000_000 for k in range(11)]
    for k, (frame, truth) in enumerate(frames):
        lists = [reader.labels("TwoCars_1", reader.ticks("TwoCars_1")[k], [a]) for a in ("car1", "car2")]
        both = set(lists[0].ids) & set(lists[1].ids)
        assert len(both) >= 17
        for name in both:
            first, second = (corners(o)[o.ids.index(name)] for o in lists)
            assert np.abs(first - second).max() < 1e-3
        # car1 is on car2's list under a number: it is found by where it stands, and left out
        assert len(truth.boxes) == len(set(lists[0].ids) | set(lists[1].ids)) - 1
        assert np.hypot(*truth.boxes[:, :2].T).min() > 2
        assert (truth.hits["car1"] >= 5).sum() >= 17 and (truth.hits["car2"] >= 5).sum() >= 17
        assert len(frame.ego.points) > 55_000


# ----------------------------------------------------------------------------------------------- a small data set
def content(x: float = 0.0, vehicles: Mapping[Any, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {"lidar_pose": [x, 0, 1.9, 0, 0, 0], "ego_speed": 0.0, "vehicles": vehicles or {}, **changes}


def car(x: float, y: float, **changes: Any) -> dict[str, Any]:
    return {"angle": [0, 90, 0], "center": [0, 0, 0.8], "extent": [2, 1, 0.8], "location": [x, y, 0], **changes}


def put(agent: Path, stamp: str, said: Any, columns: Mapping[str, np.ndarray] | None = None) -> None:
    agent.mkdir(parents=True, exist_ok=True)
    (agent / f"{stamp}.yaml").write_text(yaml.safe_dump(said))
    ones = np.ones(3, np.float32)
    (agent / f"{stamp}.pcd").write_bytes(pcd.encode(columns or {"x": ones, "y": ones, "z": ones}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Splits a and b; a road-side unit; car 12 lacks 000004."""
    for split, stamps in (("a", ("000002", "000004", "000008")), ("b", ("10",))):
        for agent in ("12", "7", "-1"):
            for stamp in stamps:
                if (agent, stamp) != ("12", "000004"):
                    put(tmp_path / split / "s" / agent, stamp, content(vehicles={7: car(0, 0), 9: car(10, 5)}))
    (tmp_path / "a" / "s" / "data_protocol.yaml").write_text("x: 1\n")
    (tmp_path / "a" / "s" / "7" / "000002_camera0.png").touch()
    (tmp_path / "a" / "s" / "7" / "000002_additional.yaml").write_text("not: read\n")
    (tmp_path / "a" / "s" / "7" / "000002_view.yaml").write_text("not: read\n")
    return tmp_path


def test_a_split_a_scenario_or_the_folder_above(root: Path) -> None:
    names = [
        list(OPV2V(p, only).scenarios())
        for p, only in ((root, None), (root / "a", None), (root / "a" / "s", None), (root / "a", ("s",)))
    ]
    assert names == [["a/s", "b/s"], ["s"], ["s"], ["s"]]
    assert isinstance(OPV2V(root), Recording)
    for reader, name in ((OPV2V(root), "a/s"), (OPV2V(root / "a" / "s"), "s"), (OPV2V(root / "a", ("s",)), "s")):
        assert reader.view(name, "000002", "7").points.shape == (3, 4)
        with pytest.raises(InputError, match="expected a scenario of"):
            reader.ticks("none")


def test_agents_ticks_and_who_is_there(root: Path) -> None:
    reader = OPV2V(root / "a")
    agents = [(a.id, a.kind, a.body) for a in reader.agents("s")]
    assert agents == [("12", "vehicle", "12"), ("7", "vehicle", "7"), ("-1", "roadside", None)]  # as text; units last
    assert reader.ticks("s") == ["000002", "000004", "000008"]
    assert reader.present("s", "000004") == ["7", "-1"]
    assert [reader.view("s", t, "7").t_ns for t in reader.ticks("s")] == [0, 100_000_000, 300_000_000]
    [missing] = reader.problems()
    assert missing.path == root / "a" / "s" / "12" / "000004.yaml" and "other agents have" in missing.problem
    assert [f.index for f in DataSet(reader).frames] == [0, 2]  # the ego is 12
    assert [f.index for f in DataSet(reader, ego="7").frames] == [0, 1, 2]


def test_a_file_without_its_other_half_is_not_there_and_told(root: Path) -> None:
    (root / "a" / "s" / "7" / "000004.pcd").unlink()
    (root / "a" / "s" / "-1" / "000008.yaml").unlink()
    reader = OPV2V(root / "a")
    assert reader.present("s", "000004") == ["-1"] and reader.present("s", "000008") == ["12", "7"]
    told = {p.path.relative_to(root / "a" / "s").as_posix(): p.problem for p in reader.problems()}
    assert set(told) == {"12/000004.yaml", "7/000004.pcd", "-1/000008.yaml"}
    assert told["7/000004.pcd"] == "expected it beside 000004.yaml, got none"


def test_listing_opens_no_file(root: Path) -> None:
    for path in [*root.rglob("*.yaml"), *root.rglob("*.pcd")]:
        path.write_bytes(b"")
    reader = OPV2V(root)
    assert len(DataSet(reader).entries) == 3
    assert len(list(reader.problems())) == 1


def test_a_box_by_hand(tmp_path: Path) -> None:
    """A LiDAR at (100, 50), looking along +y, sees a car 10 m ahead that looks the other way."""
    said = content(vehicles={3: car(100, 60, angle=[0, -90, 0])}, lidar_pose=[100, 50, 1.9, 0, 90, 0])
    put(tmp_path / "s" / "1", "0", said)
    reader = OPV2V(tmp_path)
    [(_, truth)] = DataSet(reader)
    np.testing.assert_allclose(truth.boxes[0, :6], [10, 0, -1.1, 4, 2, 1.6], atol=1e-6)
    assert abs(truth.boxes[0, 6]) == pytest.approx(np.pi)
    assert truth.track_ids.tolist() == [3]


def test_the_first_lister_of_an_object_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "s" / "1", "0", content(vehicles={5: car(0, 10), 6: car(0, 20)}))
    put(tmp_path / "s" / "2", "0", content(vehicles={6: car(0, 99), 8: car(0, 30)}))
    reader = OPV2V(tmp_path)
    for agents, y in ((["1", "2"], [10, 20, 30]), (["2", "1"], [99, 30, 10]), ([], [])):
        objects = reader.labels("s", "0", agents)
        assert objects.world_T_box[:, 1, 3].tolist() == y


def test_an_infrastructure_s_matrix_brings_its_boxes_along(tmp_path: Path) -> None:
    """V2V4Real: the pose is a matrix, boxes are in the agent's frame, `ass_id` joins them across agents."""
    pose = np.eye(4)
    pose[:3, 3] = 5, 6, 0
    first = {0: car(10, 0, ass_id=4), 1: car(20, 0, ass_id=-1), 2: car(0, 0, ass_id=9, obj_type="Pedestrian")}
    put(tmp_path / "s" / "0", "0", content(vehicles=first, lidar_pose=pose.tolist()))
    second = {0: car(15, 6, ass_id=4), 1: car(70, 0)}
    put(tmp_path / "s" / "1", "0", content(vehicles=second, lidar_pose=np.eye(4).tolist()))
    reader = OPV2V(tmp_path)
    objects = reader.labels("s", "0", ["0", "1"])
    assert objects.ids == ("ass-4", "0-1", "1-1")
    np.testing.assert_allclose(objects.world_T_box[:, :2, 3], [[15, 6], [25, 6], [70, 0]])
    np.testing.assert_allclose(reader.labels("s", "0", ["1"]).world_T_box[0, :2, 3], [15, 6])
    np.testing.assert_allclose(invert_pose(reader.pose("s", "0", "0"))[:3, 3], [-5, -6, 0])
    [(_, truth)] = DataSet(reader)
    assert len(truth.boxes) == 3  # no object is taken for agent 0's body because of its name


# ------------------------------------------------------------------------------------------------------ intensity
PACKED = np.array([0, 255 << 16, (128 << 16) | 0xFFFF], np.uint32)
INTENSITIES: dict[str, tuple[dict[str, Any], list[float]]] = {
    "unsigned": ({"rgb": PACKED}, [0, 1, 128 / 255]),
    "as a float": ({"rgb": PACKED.view(np.float32)}, [0, 1, 128 / 255]),
    "with alpha": ({"rgba": PACKED | np.uint32(0xFF000000)}, [0, 1, 128 / 255]),
    "a field": ({"intensity": np.array([0, 0.25, 1], np.float32)}, [0, 0.25, 1]),
    "a field of bytes": ({"intensity": np.array([0, 51, 255], np.uint8)}, [0, 0.2, 1]),
    "a field before colours": ({"rgb": PACKED, "intensity": np.array([0, 0, 0.5], np.float32)}, [0, 0, 0.5]),
    "none": ({}, [0, 0, 0]),
}


@pytest.mark.parametrize("case", INTENSITIES)
def test_intensity(case: str, tmp_path: Path) -> None:
    extra, expected = INTENSITIES[case]
    xyz = {c: np.array([1, 2, 3], dtype) for c, dtype in zip("xyz", (np.float32, np.float64, np.int16), strict=True)}
    put(tmp_path / "s" / "1", "0", content(), {**xyz, **extra})
    points = OPV2V(tmp_path).view("s", "0", "1").points
    np.testing.assert_allclose(points[:, 3], expected, atol=1e-6)
    np.testing.assert_array_equal(points[:, :3], [[1, 1, 1], [2, 2, 2], [3, 3, 3]])
    assert points.dtype == np.float32


def test_an_ascii_file_with_colours_written_as_floats(tmp_path: Path) -> None:
    put(tmp_path / "s" / "1", "0", content())
    head = "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\n"
    rows = [f"1.5 -2 3e-1 {c.view(np.float32):.10g}" for c in PACKED[1:]]  # some are denormal
    (tmp_path / "s" / "1" / "0.pcd").write_text(head + "DATA ascii\n" + "\n".join(rows) + "\n")
    points = OPV2V(tmp_path).view("s", "0", "1").points
    np.testing.assert_allclose(points, [[1.5, -2, 0.3, 1], [1.5, -2, 0.3, 128 / 255]], atol=1e-6)


def test_points_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    x = np.array([1, np.nan, np.inf, 1e300, 2])
    ones = np.ones(5, np.float32)
    put(tmp_path / "s" / "1", "0", content(), {"x": x, "y": ones, "z": ones})
    assert OPV2V(tmp_path).view("s", "0", "1").points[:, 0].tolist() == [1, 2]


# --------------------------------------------------------------------------------------------------- broken files
BROKEN: dict[str, tuple[Any, str]] = {
    "nothing": (None, "expected lidar_pose and vehicles, got NoneType"),
    "a list": ([1], "got list"),
    "no pose": ({"vehicles": {}}, "got no lidar_pose"),
    "cut before the vehicles": ({"lidar_pose": [0] * 6}, "got no vehicles; is the file whole"),
    "cut at the vehicles": (content() | {"vehicles": None}, "expected vehicles to be entries"),
    "a short pose": (content(lidar_pose=[0] * 5), r"lidar_pose to be numbers of shape \(6,\)"),
    "words in the pose": (content(lidar_pose=["x"] * 6), "lidar_pose to be numbers"),
    "not a number": (content(lidar_pose=[float("nan")] * 6), "lidar_pose to be finite"),
    "a matrix that skews": (content(lidar_pose=[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "rotation"),
    "a vehicle cut short": (content(vehicles={1: {"angle": [0, 0, 0]}}), "vehicle 1 to have location"),
    "a box of two numbers": (content(vehicles={1: car(0, 0, extent=[1, 2])}), r"extent of the vehicles .*\(1, 3\)"),
    "uneven boxes": (content(vehicles={1: car(0, 0), 2: car(0, 0, extent=[1])}), "extent of the vehicles"),
    "a box of nothing": (content(vehicles={1: car(0, 0, extent=[None, 2, 2])}), "extent of the vehicles"),
    "a box of truths": (content(vehicles={1: car(0, 0, extent=[True, 2, 2])}), "extent of the vehicles"),
    "a vehicle that is a number": (content(vehicles={1: 2}), "expected vehicles to be entries"),
    "an odd name": (content(vehicles={1.5: car(0, 0)}), "by a number or a short name"),
    "a long name": (content(vehicles={"n" * 101: car(0, 0)}), "by a number or a short name"),
    "a great number": (content(vehicles={10**18: car(0, 0)}), "by a number or a short name"),
    "an endless number": (content(vehicles={10**40: car(0, 0)}), "no whole number of 64 bits"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_descriptions_are_named(case: str, tmp_path: Path) -> None:
    said, message = BROKEN[case]
    put(tmp_path / "s" / "1", "0", said)
    with pytest.raises(DataError, match=message) as caught:
        OPV2V(tmp_path).pose("s", "0", "1")
    assert caught.value.path == tmp_path / "s" / "1" / "0.yaml"


def test_a_description_made_to_take_for_ever_is_refused_at_once(tmp_path: Path) -> None:
    equal_hashes = "".join(f"  {k * (2**61 - 1)}:\n" for k in range(1, 30_000))
    path = tmp_path / "000000.yaml"
    path.write_text("lidar_pose:\n- 0\nvehicles:\n" + equal_hashes)
    start = time.process_time()
    with pytest.raises(DataError, match="64 bits"):
        said(path, tmp_path, "1")
    assert time.process_time() - start < 5  # an idle machine takes half a second
    path.write_text("lidar_pose:\n- 0\nvehicles:\n" + "  a:\n" * 200_000)
    with pytest.raises(DataError, match="more than 100000 values"):
        said(path, tmp_path, "1")


def test_too_many_vehicles() -> None:
    with pytest.raises(DataError, match="at most 10000 vehicles, got 10001"):
        said_in(content(vehicles=dict.fromkeys(range(10_001), car(0, 0))), "1", Path("x.yaml"))


def test_a_scan_without_coordinates(tmp_path: Path) -> None:
    ones = np.ones(3, np.float32)
    put(tmp_path / "s" / "1", "0", content(), {"x": ones, "y": ones, "height": ones})
    with pytest.raises(DataError, match=r"0\.pcd: expected fields x y z, got x y height: no z"):
        OPV2V(tmp_path).view("s", "0", "1")


def test_one_broken_frame_is_skipped_where_asked(root: Path) -> None:
    (root / "a" / "s" / "-1" / "000004.yaml").write_text("lidar_pose: [0, 0")
    frames = DataSet(OPV2V(root / "a"), ego="7", skip_bad=True)
    assert [f.index for f, _ in frames] == [0, 2]
    [error] = frames.skipped.values()
    assert error.path == root / "a" / "s" / "-1" / "000004.yaml"


def test_names_cannot_lead_out_of_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "3", "000002", content())
    (root / "a" / "s" / "3").symlink_to(elsewhere / "3")
    reader = OPV2V(root / "a")
    with pytest.raises(DataError, match="leads out of the data set"):
        reader.pose("s", "000002", "3")
    with pytest.raises(DataError, match="leads out of the data set"):
        reader.view("s", "000002", "3")
    for agent, tick in (("../../b/s/7", "10"), ("7", "../12/000002")):
        with pytest.raises(InputError, match="expected an agent and a time of s"):
            reader.pose("s", tick, agent)
    with pytest.raises(DataError):
        OPV2V(root / "a", ("../b/s",)).scenarios()


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_values = st.recursive(
    _scalars, lambda v: st.lists(v, max_size=6) | st.dictionaries(st.text(max_size=3), v, max_size=3)
)
_entry = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("location", "center", "angle", "extent", "ass_id", "obj_type"), _values)
)
_said = st.fixed_dictionaries(
    {},
    optional={
        "lidar_pose": _values | st.lists(st.floats(), min_size=6, max_size=6) | st.just(np.eye(4).tolist()),
        "vehicles": _values | st.dictionaries(st.integers() | st.text(max_size=3), _entry | _values, max_size=3),
    },
)


@given(_said | _values)
def test_whatever_a_description_holds_it_is_read_or_named(said: Any) -> None:
    try:
        found = said_in(said, "1", Path("x.yaml"))
    except DataError as error:
        assert str(error).startswith("x.yaml: expected ")
    else:
        assert np.isfinite(found.world_T_sensor).all() and np.isfinite(found.objects.world_T_box).all()


# ------------------------------------------------------------------------------------------------------- excerpts
_block = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.none() | st.text("abc019._- :\n", max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.integers() | st.text("ab_1", max_size=4), v, max_size=3),
)
_top = st.dictionaries(st.sampled_from(["lidar_pose", "vehicles", "camera0", "plan", "RSU", "a b", "-x", "1"]), _block)


@given(_top, st.booleans())
def test_an_excerpt_holds_the_same_values(said: dict[str, Any], flow: bool) -> None:
    data = yaml.safe_dump(said, default_flow_style=None if flow else False, sort_keys=False).encode()
    cut = excerpt(data, ("lidar_pose", "vehicles"))
    if cut is not None:
        wanted = {k: v for k, v in said.items() if k in ("lidar_pose", "vehicles")}
        np.testing.assert_equal(yaml.safe_load(cut) or {}, wanted)


def test_what_the_data_sets_write_is_cut() -> None:
    data = yaml.safe_dump({"camera0": {"cords": [1.5] * 3}, **content(vehicles={-7: car(1e-7, -2)})}).encode()
    cut = excerpt(data, ("lidar_pose", "vehicles"))
    assert cut is not None and b"camera0" not in cut and b"cords" not in cut
    assert set(yaml.safe_load(cut)) == {"lidar_pose", "vehicles"}


UNCUT = {
    "a tag": b"vehicles: !!python/none\n",
    "an anchor": b"a: &b 1\nvehicles: *b\n",
    "a flow": b"vehicles: {a:\nlidar_pose: 1}\n",
    "a quote": b'a: "\nvehicles: 1"\n',
    "a comment": b"vehicles: 1 # one\n",
    "a literal": b"a: |\n vehicles\n",
    "a document's start": b"---\nvehicles: 1\n",
    "a document's end": b"vehicles: 1\n...\n",
    "a second document": b"vehicles: 1\n---\nvehicles: 2\n",
    "a merge": b"vehicles:\n  <<: 1\n",
    "a list": b"- vehicles: 1\n",
    "words": b"vehicles\nvehicles: 1\n",
    "a key with a colon": b"a:b: 1\nvehicles: 1\n",
    "a tab": b"vehicles:\t1\n",
    "a carriage return": b"vehicles: 1\r\n",
    "indented from the first line on": b" vehicles: 1\n",
    "deep": b"vehicles:\n  " + b"- " * 300 + b"1\n",
    "another tongue": "véhicules: 1\nvehicles: 1\n".encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("case", UNCUT)
def test_where_more_may_be_meant_nothing_is_cut(case: str) -> None:
    assert excerpt(UNCUT[case], ("vehicles",)) is None
