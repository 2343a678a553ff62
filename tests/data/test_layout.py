"""Which layout a folder has; data sets by name for every detector; frameworks' readers where asked."""

import json
from pathlib import Path

import pytest

from robosac.data.dataset import Frames
from robosac.data.layout import UnknownLayoutError, open_recording, recognise
from robosac.data.recording import DataError, Recording
from robosac.registry.frames import open_frames
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError
from tests.data.dair import write_dair
from tests.data.samples import DAIR, OPV2V, SAMPLES, TWO_CARS, needs
from tests.data.v2xsim import write_npy, write_pkl
from tests.toy import ToyDetector, frame


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """All layouts that are written here, each in a folder of its own."""
    root = tmp_path_factory.mktemp("layouts")
    config = SimConfig(n_vehicles=2, n_frames=2, beams=8, columns=256)
    simulated = scenario("val", 0, config=config)
    snapshots = [simulated.snapshot(k) for k in range(2)]
    write_dair(root / "dair/cooperative-vehicle-infrastructure", snapshots)
    (root / "dair/cooperative-vehicle-infrastructure/val.json").write_text(json.dumps(["015373"]))
    write_npy(root / "npy/test", {(5, k): s for k, s in enumerate(snapshots)})
    write_pkl(root / "pkl", {(5, k): s for k, s in enumerate(snapshots)})
    write_pkl(root / "pkl", {(8, k): s for k, s in enumerate(snapshots)}, split="val")
    return root


FOUND = [
    ("dair/cooperative-vehicle-infrastructure", "dair-v2x-c", 2),
    ("dair", "dair-v2x-c", 2),
    ("dair/cooperative-vehicle-infrastructure/val.json", "dair-v2x-c", 1),
    ("npy/test", "v2xsim-npy", 2),
    ("npy", "v2xsim-npy", 2),
    ("pkl", "v2xsim-pkl", 4),
    ("pkl/v2xsim_infos_val.pkl", "v2xsim-pkl", 2),
]


@pytest.mark.parametrize(("path", "layout", "frames"), FOUND)
def test_a_layout_is_recognised_by_what_lies_there(path, layout, frames, home):
    recording = recognise(home / path)
    assert isinstance(recording, Recording) and recording.layout == layout
    assert sum(len(recording.ticks(s)) for s in recording.scenarios()) == frames
    assert open_recording(home / path, layout).root == recording.root
    other = {"dair-v2x-c": "v2xsim-npy"}.get(layout, "dair-v2x-c")
    with pytest.raises(InputError, match=f"to be laid out as {other}"):
        open_recording(home / path, other)


def test_what_was_looked_for_is_told(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(UnknownLayoutError) as error:
        recognise(tmp_path)
    for sign in ("cooperative/data_info.json", "v2xsim_infos_*.pkl", "agent1/SCENE_FRAME/0.npy", "AGENT/TIME.yaml"):
        assert sign in str(error.value)
    assert "it holds readme.txt" in str(error.value)
    with pytest.raises(UnknownLayoutError):
        recognise(tmp_path / "readme.txt")
    with pytest.raises(InputError, match="which does not exist"):
        recognise(tmp_path / "none")
    with pytest.raises(InputError, match="a layout among dair-v2x-c, v2xsim-pkl, v2xsim-npy, opv2v, got 'kitti'"):
        open_recording(tmp_path, "kitti")


def test_one_of_several_is_to_be_named(tmp_path):
    for split in ("test", "train"):
        folder = tmp_path / split / "agent1" / "5_0"
        folder.mkdir(parents=True)
        (folder / "0.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"got several: name one of .*test, .*train"):
        recognise(tmp_path)
    assert recognise(tmp_path / "test").root == tmp_path / "test"


def test_a_split_of_something_else_is_told(home, tmp_path):
    root = home / "dair/cooperative-vehicle-infrastructure"
    for content in ({}, [], [3]):
        wrong = root / "wrong.json"
        wrong.write_text(json.dumps(content))
        with pytest.raises(DataError, match="a list of ids of the vehicle's scans"):
            recognise(wrong)
        wrong.unlink()


@pytest.mark.parametrize(
    ("path", "layout"),
    [(DAIR, "dair-v2x-c"), (DAIR.parent, "dair-v2x-c"), (OPV2V, "opv2v"), (OPV2V.parent, "opv2v"), (TWO_CARS, "opv2v")],
    ids=lambda p: Path(p).name,
)
@needs(SAMPLES)
def test_the_samples_are_recognised(path, layout):
    assert recognise(path).layout == layout


@needs(OPV2V)
def test_a_scenario_alone_may_be_named():
    [one] = OPV2V.iterdir()
    recording = recognise(one)
    assert recording.scenarios() == [one.name] and recording.layout == "opv2v"


# ------------------------------------------------------------------------------------------------- frames by name
class Reading(ToyDetector):
    """Of a framework that reads data sets itself."""

    def frames(self, folder):
        return [frame({"ego": []}, scenario=str(folder))]


def test_a_data_sets_folder_gives_frames_to_every_detector(home):
    for detector in (ToyDetector(), Reading()):
        frames = open_frames(str(home / "dair"), detector)
        assert isinstance(frames, Frames) and len(frames) == 2 and frames[0].ego.id == "vehicle"


def test_the_frameworks_reader_is_asked_by_name_and_for_what_nobody_knows(home, tmp_path):
    [found] = open_frames(f"framework:{home / 'dair'}", Reading())
    assert found.scenario == str(home / "dair")
    [found] = open_frames(str(tmp_path), Reading())
    assert found.scenario == str(tmp_path)
    with pytest.raises(InputError, match="expected a detector whose framework has a reader"):
        open_frames(f"framework:{home / 'dair'}", ToyDetector())
    with pytest.raises(InputError, match="which is no folder"):
        open_frames("framework:nowhere", Reading())


def test_a_broken_data_set_is_not_handed_on(home, tmp_path):
    (tmp_path / "cooperative").mkdir()
    (tmp_path / "cooperative/data_info.json").write_text("{")
    with pytest.raises(DataError, match=r"data_info\.json"):
        open_frames(str(tmp_path), Reading())


def test_a_data_set_without_frames_is_told(tmp_path):
    (tmp_path / "cooperative").mkdir()
    (tmp_path / "cooperative/data_info.json").write_text("[]")
    with pytest.raises(InputError, match="robosac inspect"):
        open_frames(str(tmp_path), ToyDetector())
