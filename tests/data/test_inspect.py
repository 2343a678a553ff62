"""`robosac data inspect`: what it says, what it draws, and how it ends."""

import json

import numpy as np
import pytest

from robosac import cli
from robosac.cli.data import inspect, nothing_in
from robosac.data.dair import DairV2XC
from robosac.simulation import SimConfig, scenario
from tests.data.dair import write_dair
from tests.data.memory import Simulated
from tests.data.samples import DAIR, OPV2V, TWO_CARS, needs
from tests.data.v2xsim import write_npy


@pytest.fixture(scope="module")
def snapshots():
    simulated = scenario("val", 0, config=SimConfig(n_vehicles=2, n_frames=3, beams=8, columns=256))
    return [simulated.snapshot(k) for k in range(3)]


@pytest.fixture
def root(snapshots, tmp_path):
    return write_dair(tmp_path / "dair", snapshots)


def run(capsys, *args):
    code = 0
    try:
        cli.main([*map(str, args)])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_it_says_what_lies_there(root, snapshots, capsys):
    code, out, err = run(capsys, "data", "inspect", root)
    assert code == 0 and err == ""
    assert "dair-v2x-c, 3 frames" in out and "vehicle (3), infrastructure roadside (3)" in out and "10" in out
    assert "In 3 frames that were read whole" in out and "broken" not in out and "missing" not in out
    found = json.loads(run(capsys, "data", "inspect", root, "--json")[1])
    assert found["layout"] == "dair-v2x-c" and found["frames"] == found["frames_read"] == 3
    [one] = found["scenarios"]
    assert one["rate_hz"] == 10.0 and one["frames"] == 3
    assert one["agents"] == [
        {"id": "vehicle", "kind": "vehicle", "frames": 3}, {"id": "infrastructure", "kind": "roadside", "frames": 3},
    ]  # fmt: skip
    counts = [len(s.view(s.agents[0]).points) for s in snapshots]
    assert found["points"]["vehicle"] == {
        "min": min(counts), "mean": round(float(np.mean(counts)), 1), "max": max(counts),
    }  # fmt: skip
    objects = found["objects"]
    assert objects["listed"]["max"] == len(snapshots[0].boxes)
    assert 0 < objects["with 5 points or more"]["min"] <= objects["with any point"]["min"] <= objects["listed"]["min"]


def test_broken_and_missing_files_are_named(root, capsys):
    scan = root / "vehicle-side/velodyne/015373.pcd"
    scan.write_bytes(scan.read_bytes()[:400])
    (root / "cooperative/label_world/015374.json").write_text("[{]")
    (root / "infrastructure-side/velodyne/000016.pcd").unlink()
    code, out, err = run(capsys, "data", "inspect", root)
    assert code == 1 and "2 files are broken" in err and "--skip-bad" in err
    assert "vehicle-side/velodyne/015373.pcd: " in out and "cooperative/label_world/015374.json: " in out
    assert "1 missing" in out and "infrastructure-side/velodyne/000016.pcd: " in out
    assert "In 1 frames that were read whole" in out
    code, again, err = run(capsys, "data", "inspect", root, "--skip-bad")
    assert code == 0 and again == out and err == ""
    found = json.loads(run(capsys, "data", "inspect", root, "--skip-bad", "--json")[1])
    assert {p["file"] for p in found["broken"]} == {str(scan), str(root / "cooperative/label_world/015374.json")}


def test_what_cannot_even_be_listed_is_told(root, capsys):
    (root / "cooperative/data_info.json").write_text("[")
    code, _, err = run(capsys, "data", "inspect", root)
    assert code == 2 and "data_info.json" in err and "Traceback" not in err
    code, _, err = run(capsys, "data", "inspect", root / "vehicle-side")
    assert code == 2 and "expected a data set in" in err


def test_few_frames_are_spread_over_all():
    config = SimConfig(n_vehicles=2, n_frames=5, beams=8, columns=256)
    opened = []

    class Counting(Simulated):
        def labels(self, name, tick, agents):
            opened.append(tick)
            return super().labels(name, tick, agents)

    found = inspect(Counting(1, config), frames=3)
    assert opened == ["000000", "000002", "000004"] and found["frames"] == 5 and found["frames_read"] == 3
    opened.clear()
    inspect(Counting(1, config), frames=0)
    assert len(opened) == 5


def test_a_frame_is_drawn(root, tmp_path, capsys):
    from matplotlib.image import imread

    file = tmp_path / "made" / "frame.png"
    code, out, err = run(capsys, "data", "inspect", root, "--plot", file, "--frame", 2)
    assert (code, err) == (0, "") and f"Picture: {file}" in out
    image = imread(file)
    assert image.shape[0] > 1000 and 0.005 < (image[..., :3] < 0.9).any(axis=2).mean() < 0.5
    code, _, err = run(capsys, "data", "inspect", root, "--plot", file, "--frame", 3)
    assert code == 2 and "--frame below 3" in err
    code, _, err = run(capsys, "data", "inspect", root, "--plot", tmp_path)
    assert code == 2


def test_the_next_readable_frame_is_drawn_where_bad_ones_are_skipped(root, tmp_path, capsys):
    scan = root / "vehicle-side/velodyne/015372.pcd"
    scan.write_bytes(scan.read_bytes()[:400])
    file = tmp_path / "frame.png"
    code, _, err = run(capsys, "data", "inspect", root, "--plot", file)
    assert code == 2 and "015372.pcd" in err and not file.exists()
    assert run(capsys, "data", "inspect", root, "--plot", file, "--skip-bad")[0] == 0 and file.exists()


def test_parsed_v2xsim_says_5_hz(snapshots, tmp_path, capsys):
    write_npy(tmp_path, {(5, k): s for k, s in enumerate(snapshots)})
    found = json.loads(run(capsys, "data", "inspect", tmp_path, "--json")[1])
    [one] = found["scenarios"]
    assert one["rate_hz"] == 5.0 and [a["id"] for a in one["agents"]] == ["agent1", "agent2", "agent0"]


@needs(DAIR)
def test_the_sample_of_dair_is_inspected(capsys):
    found = inspect(DairV2XC(DAIR), frames=0)
    assert found["frames"] == found["frames_read"] == 29 and len(found["missing"]) == 34 and not found["broken"]
    assert found["objects"]["with any point"] == found["objects"]["listed"]
    assert [s["rate_hz"] for s in found["scenarios"]] == pytest.approx([10, 10], abs=0.02)


@needs(OPV2V)
def test_the_sample_of_opv2v_is_inspected(capsys):
    found = json.loads(run(capsys, "data", "inspect", OPV2V, "--json")[1])
    assert found["frames"] == 1 and found["objects"]["listed"]["max"] == 27 and not found["broken"]
    assert {a["id"] for a in found["scenarios"][0]["agents"]} == {"4279", "4288", "4297"}


@needs(TWO_CARS)
def test_the_sample_of_two_cars_is_inspected(capsys):
    found = json.loads(run(capsys, "data", "inspect", TWO_CARS, "--json")[1])
    assert found["frames"] == 11 and {a["id"] for a in found["scenarios"][0]["agents"]} == {"car1", "car2"}


@pytest.mark.parametrize(("read", "said"), [(0, "none of 20 that were tried can be read; f: torn"), (1, None)])
def test_one_file_that_breaks_every_frame_leaves_nothing(read, said):
    broken = [{"file": "f", "problem": "torn"}]
    assert nothing_in({"frames": 40, "frames_tried": 20, "frames_read": read, "broken": broken, "missing": []}) == said
