"""Commands on an OpenCOOD model folder and data on disk, and the one line in a loop of one's own."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import robosac
from robosac.calibration import Calibration
from robosac.cli import main
from robosac.detectors.adapters.opencood import OpenCOODDetector, bridges
from robosac.detectors.adapters.opencood.folder import BridgedDataset
from robosac.facade import load_detector
from robosac.simulation import SimConfig, scenario
from tests.adapters.attacked import asked_as_a_default_does, defended_frame
from tests.adapters.hypes import point_pillar
from tests.adapters.opv2v import write_split
from tests.adapters.test_opencood_folder import ROOT, legacy, pytestmark, write_folder

__all__ = ["pytestmark"]  # skips where there is no OpenCOOD
CONFIG = SimConfig(n_vehicles=3, n_frames=1, beams=24, columns=512)
AT = [] if ROOT is None else ["--root", ROOT]
RANGE = [-25.6, -25.6, -3.0, 25.6, 25.6, 1.0]  # small; with 38.4 opencoodx rounds anchors to another grid than maps
FRAMES = 12


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MODEL_DIR, as training leaves it, and DATA_FOLDER, 12 drives of a frame as OPV2V lays them out."""
    place = tmp_path_factory.mktemp("user")
    write_folder(place / "MODEL_DIR", point_pillar("point_pillar_fcooper", lidar_range=RANGE))
    weights = next((place / "MODEL_DIR").glob("net_epoch*.pth"))
    state = torch.load(weights, weights_only=True)
    state["cls_head.bias"] -= 3.0  # random weights fire everywhere
    torch.save(state, weights)
    for i in range(FRAMES):
        taken = scenario("val", i, config=CONFIG).snapshot(0).frame()
        write_split(place / "DATA_FOLDER", [taken], negative_roadside=not legacy())
    return place


@pytest.fixture(autouse=True)
def there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)


def done(*args: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*args, *AT])
    assert stop.value.code == 0


@pytest.mark.parametrize("data", [[], ["--data", "DATA_FOLDER", "--frame", "3"]])
def test_check_detector(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    done("check-detector", "opencood:MODEL_DIR", "--json", *data)
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["compared"] == "full forward" and found["speed"] > 1
    assert all(check["passed"] for check in found["checks"])


def test_opencoods_own_dataset_as_frames() -> None:
    detector = load_detector("opencood:MODEL_DIR", root=ROOT)
    assert isinstance(detector, OpenCOODDetector)
    frames = detector.frames("DATA_FOLDER")
    assert len(frames) == FRAMES and len({f.scenario for f in frames[:]}) == FRAMES
    again = detector.frames("DATA_FOLDER")
    np.testing.assert_array_equal(frames[5].ego.points, again[5].ego.points)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    frames[1]
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.fixture(scope="module")
def calibrated(here: Path) -> Calibration:
    """The thresholds that the command leaves beside the model."""
    args = ["--data", str(here / "DATA_FOLDER"), "--frames", str(FRAMES), "--alpha", "0.1", "--jobs", "1"]
    done("calibrate", "--detector", f"opencood:{here / 'MODEL_DIR'}", *args)
    return Calibration.load(here / "MODEL_DIR" / "robosac.calibration.json")


def test_from_calibration_to_the_inference_loop(calibrated: Calibration) -> None:
    made = calibrated
    assert all(m.frames[1] == 12 for m in made.measures.values())

    detector = load_detector("opencood:MODEL_DIR", root=ROOT)
    assert isinstance(detector, OpenCOODDetector)
    frames = detector.frames("DATA_FOLDER")
    dataset: BridgedDataset = frames._dataset
    model, hypes, batch = detector.engine.model, detector.hypes, frames.batch(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*calibrat.*")  # the thresholds beside the model are found
        assert robosac.wrap(detector)(batch).trials
        for named in ("MODEL_DIR", "MODEL_DIR/net_epoch3.pth"):  # a model in memory is told where they are
            defended = robosac.wrap(OpenCOODDetector(model, hypes, dataset=dataset, calibration=named))
            boxes, _, truth = defended.own(frames.batch(1))
    load_yaml = bridges.import_module("opencood.hypes_yaml.yaml_utils", ROOT).load_yaml
    unnamed = OpenCOODDetector(model, load_yaml("MODEL_DIR/config.yaml"), dataset=dataset)
    assert unnamed.name == detector.name == made.detector
    with pytest.warns(UserWarning, match=r"default limits: .* wrap\(detector, calibration=FILE\)"):
        robosac.wrap(unnamed).own(batch)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*calibrat.*")
        robosac.wrap(unnamed, calibration="MODEL_DIR/robosac.calibration.json").own(batch)
    assert defended.last is not None and defended.last.trials
    assert boxes is None or boxes.shape[1:] == (8, 3)
    assert truth.shape[1:] == (8, 3) and len(truth)


@pytest.mark.parametrize("attack", ["noise:epsilon=40", "gps_offset:offset_m=8"])
def test_the_default_answers_an_attacker_in_three_lines(calibrated: Calibration, attack: str) -> None:
    taken = scenario("val", 0, config=CONFIG).snapshot(0)
    detector = load_detector("opencood:MODEL_DIR", root=ROOT)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*calibrat.*")
        verdict, attackers = defended_frame(detector, taken.frame(), attack)
    asked_as_a_default_does(verdict, attackers, calibrated)
    assert attack.startswith("gps") or not verdict.used & attackers  # random weights see no cars to tell a pose by
