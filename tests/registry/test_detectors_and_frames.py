"""Detectors and frames by name, `robosac check-detector` and `robosac calibrate` on one's own."""

import json
import shutil

import numpy as np
import pytest

from robosac import detectors
from robosac.agreement import BoxJaccard
from robosac.calibration import Calibration
from robosac.cli import main
from robosac.defenses import Robosac
from robosac.detectors.fusion.late import LateFusion
from robosac.facade import wrap
from robosac.poses import PoseGain
from robosac.registry.defenses import statistics_of
from robosac.registry.detectors import (
    calibration_beside,
    checkpoint_in,
    content_of,
    open_detector,
    saved_calibration,
)
from robosac.registry.frames import SimulatedFrames, choose, disturbance, open_frames
from robosac.simulation import scenario
from robosac.types import InputError
from tests.toy import ToyDetector, frame

OWN = """
import numpy as np
from tests.evaluation.test_adapter import Greedy, Sound
from tests.toy import frame

def detector():
    return Sound()

ready = Sound()
wrong = type("Wrong", (Sound,), {"session": Greedy})()

def frames(n=60):
    rng = np.random.default_rng(0)
    for i in range(n):
        cars = rng.uniform(-30, 30, (12, 2))
        yield frame({a: cars[rng.random(12) < 0.7] for a in ("ego", "a", "b")}, scenario=f"toy-{i}")

few = [*frames(5)]
not_frames = ["a", "b"] * 50
nothing = []
needs = lambda x: x
"""


def done(*args):
    with pytest.raises(SystemExit) as stop:
        main([*args])
    assert stop.value.code == 0


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "own_things.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "arrays"), [("late:mean", {"boxes", "scores"}), ("early:max", {"points"}), ("late:mean-unbounded", None)]
)
def test_a_shipped_network_on_single_vehicles(name, arrays):
    detector = open_detector(name)
    assert detector.name == name
    assert detector.grid == open_detector(name.partition(":")[2]).grid  # results are compared where the network sees
    assert arrays is None or set(detector.codec.arrays) == arrays
    kind, _, network = name.partition(":")
    assert calibration_beside(detector) == detectors.WEIGHTS / f"{kind}-{network}.calibration.json"


@pytest.mark.parametrize("kind", ["late", "early"])
def test_limits_of_late_and_early_fusion_are_found_and_are_their_own(kind, tmp_path):
    """Where its thresholds are kept is no part of what a detector is; those of another network are elsewhere."""
    detector = open_detector(f"{kind}:mean")
    found = saved_calibration(detector)
    assert found is not None and found.detector == f"{kind}:mean" and found.source["content"] == content_of(detector)
    assert {s.name for s in Robosac().statistics()} <= set(found.measures)
    shutil.copy(detectors.WEIGHTS / "mean.safetensors", tmp_path / "own.safetensors")
    own = open_detector(f"{kind}:{tmp_path / 'own.safetensors'}")
    assert calibration_beside(own) == tmp_path / f"{kind}-own.calibration.json" and saved_calibration(own) is None
    assert calibration_beside(LateFusion(open_detector("late:mean").detect, name="mine")) is None


@pytest.mark.parametrize("name", ["late:", "early", "late:nobody", "early:own_things:ready", "late:late:mean"])
def test_late_and_early_fusion_of_what_is_no_network_of_ours(name):
    with pytest.raises(InputError, match=r"expected (late|early):NAME of mean, "):
        open_detector(name)


@pytest.mark.parametrize("name", ["own_things:detector", "own_things:ready"])
def test_a_detector_of_ones_own(name):
    assert open_detector(name).name == "toy"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mena", "expected a shipped detector"),
        ("none.safetensors", "weights file at none.safetensors, got none"),
        ("nobody:x", "MODULE:NAME that can be imported"),
        ("own_things:absent", "has no attribute 'absent'"),
        ("own_things:few", "got list"),
        ("own_things:needs", "callable without arguments"),
        ("coperception:mean", "coperception:FUSION:CHECKPOINT"),
    ],
)
def test_what_is_no_detector_is_told(name, said):
    with pytest.raises(InputError, match=said):
        open_detector(name)


def test_a_checkpoint_in_a_model_folder(tmp_path):
    (tmp_path / "a@b").mkdir()
    file = tmp_path / "net_epoch7.pth"
    file.touch()
    assert checkpoint_in(str(file)) == (tmp_path, file.name) == checkpoint_in(f"{tmp_path}@{file.name}")
    assert checkpoint_in(str(tmp_path / "a@b")) == (tmp_path / "a@b", None)
    assert checkpoint_in(f"{tmp_path / 'a@b'}@x.pth") == (tmp_path / "a@b", "x.pth")
    for name in (str(file), f"opencood:{file}", f"opencood:{tmp_path}@{file.name}"):
        with pytest.raises(InputError, match=r"configuration at .*config\.yaml, found none"):
            open_detector(name)


def test_frames_of_ones_own():
    assert len(open_frames("own_things:frames", ToyDetector())) == 60
    assert len(open_frames("own_things:few", ToyDetector())) == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("simulate", "expected 'simulated', sim:PRESET, an existing folder or MODULE:NAME"),
        ("sim:moon", "expected a preset among mixed"),
        (".", "expected a data set in .: cooperative/data_info.json"),
        ("framework:.", "expected a detector whose framework has a reader, got 'toy'"),
        ("own_things:nothing", "a sequence of frames, got list"),
        ("own_things:ready", "a sequence of frames, got Sound"),
    ],
)
def test_what_are_no_frames_is_told(name, said):
    with pytest.raises(InputError, match=said):
        open_frames(name, ToyDetector())


def test_frames_are_spread_over_the_data():
    data = [frame({"ego": []})] * 100
    assert choose(10, SimulatedFrames("calibration", 0), 0) == list(range(10))
    chosen = choose(10, data, 0)
    assert len(set(chosen)) == 10 and chosen == choose(10, data, 0) != choose(10, data, 1)
    assert sorted(choose(500, data, 0)) == list(range(100))


def test_simulated_frames_are_a_sequence():
    frames = SimulatedFrames("val", 0)
    assert frames[0].scenario != frames[1].scenario
    assert [f.scenario for f in frames[:2]] == [frames[0].scenario, frames[1].scenario]


def test_another_preset_gives_frames_of_its_own():
    road, plain = open_frames("sim:road-unit", ToyDetector()), open_frames("simulated", ToyDetector())
    assert [v.kind for v in road[0].others.values()] == ["roadside"] and len(plain[0].others) > 1


# ------------------------------------------------------------------------------------------------- check-detector
def test_check_detector_says_what_it_found(capsys):
    done("check-detector", "own_things:ready", "--data", "own_things:frames", "--frame", "3")
    out = capsys.readouterr().out
    assert "equal to the bit" in out and "times cheaper" in out and "n/a" in out


def test_check_detector_fails_with_exit_code_1(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["check-detector", "own_things:wrong", "--data", "own_things:frames", "--json"])
    assert stop.value.code == 1
    said = capsys.readouterr()
    assert "toy does not pass: a subset from the cache" in said.err
    found = json.loads(said.out, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert found["ok"] is False and found["speed"] is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--frame", "60"], "--frame below 60"),
        (["--data", "own_things:not_frames"], "robosac.types.Frame, got str"),
        (["--device", "quantum"], ""),
    ],
)
def test_check_detector_tells_wrong_arguments(args, said, capsys):
    detector = "mean" if "--device" in args else "own_things:ready"
    with pytest.raises(SystemExit) as stop:
        main(["check-detector", detector, "--data", "own_things:frames", *args])
    assert stop.value.code == 2 and said in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ calibrate
ARGS = ["calibrate", "--detector", "own_things:ready", "--data", "own_things:frames", "--alpha", "0.1", "--jobs", "1"]


def test_calibrate_on_ones_own_frames(capsys, here):
    done(*ARGS, "--frames", "50", "--out", "toy.json")
    out = capsys.readouterr().out
    assert "own_things:frames, 50 honest frames drawn at random" in out and "probability at most 0.1" in out
    made = Calibration.load(here / "toy.json")
    assert made.detector == "toy" and "--data own_things:frames" in made.source["command"]
    for measure in made.measures.values():
        assert measure.frames == {1: 50, 2: 50} and set(measure.lies_accepted) == {1, 2}
    assert wrap(open_detector("own_things:ready"), calibration=here / "toy.json").calibration == made
    done(*ARGS, "--frames", "50", "--out", "again.json", "--json")
    assert Calibration.load(here / "again.json") == made


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--frames", "50"], "expected --out FILE: 'toy' came from no file"),
        (["--frames", "50", "--data", "own_things:few", "--out", "t.json"], "at least 9 frames for alpha=0.1"),
        (["--frames", "50", "--data", "own_things:not_frames", "--out", "t.json"], "robosac.types.Frame, got str"),
    ],
)
def test_calibrate_tells_wrong_arguments(args, said, capsys, here):
    with pytest.raises(SystemExit) as stop:
        main([*ARGS, *args])
    assert stop.value.code == 2 and said in capsys.readouterr().err
    assert not (here / "t.json").exists()


def test_lies_of_an_attack_are_measured(capsys, here):
    args = ["calibrate", "--frames", "3", "--alpha", "0.25", "--jobs", "1", "--out", "m.json", "--json"]
    done(*args, "--attack", "noise")
    made = Calibration.load(here / "m.json")
    of_poses = {s.name for s in statistics_of() if isinstance(s, PoseGain)}  # they say something of singles alone
    assert of_poses < set(made.measures)
    for name, measure in made.measures.items():
        assert measure.lie == "noise"
        assert set(measure.lies_accepted) == ({1} if name in of_poses else {1, 2, 3, 4, 5})
    with pytest.raises(SystemExit) as stop:
        main([*args, "--attack", "nois"])
    assert stop.value.code == 2 and "nois" in capsys.readouterr().err


def test_calibrate_makes_what_the_named_defences_ask_for(here):
    args = [*ARGS, "--frames", "50", "--out"]
    done(*args, "one.json", "--defense", "paper,paper-probing, none")
    done(*args, "all.json")
    one, every = (Calibration.load(here / f"{name}.json") for name in ("one", "all"))
    assert list(one.measures) == [BoxJaccard().name] and "--defense paper,paper-probing,none" in one.source["command"]
    asked = {s.name for s in statistics_of() if not isinstance(s, PoseGain)}  # the toy tells nothing of poses
    assert set(every.measures) == asked and len(asked) == 7
    assert every.measures[BoxJaccard().name] == one.measures[BoxJaccard().name]


@pytest.mark.parametrize(
    ("names", "said"),
    [("krum", "expected a defence, one of"), ("none", "asks for none"), ("oracle", "evaluation alone does")],
)
def test_defences_that_ask_for_nothing_are_told(names, said, capsys, here):
    with pytest.raises(SystemExit) as stop:
        main([*ARGS, "--frames", "50", "--out", "t.json", "--defense", names])
    assert stop.value.code == 2 and said in capsys.readouterr().err and not (here / "t.json").exists()


# ---------------------------------------------------------------------------------------- poses off, teammates late
def test_disturbed_frames_of_the_simulation():
    exact, off = (SimulatedFrames("val", 0, disturbance(noise, 2, 7))[1] for noise in (None, "0.5,1"))
    scene = scenario("val", 1)
    older, now = (scene.snapshot(k).frame()[0] for k in (0, 2))
    assert exact.index == now.index and exact.ego.t_ns == now.ego.t_ns
    for name, view in exact.others.items():
        assert view.t_ns == older.others[name].t_ns
        shift = off.others[name].world_T_sensor[:2, 3] - view.world_T_sensor[:2, 3]
        assert 0 < np.hypot(*shift) < 3
    assert open_frames("simulated", ToyDetector())[0].index == 0


def test_a_relative_module_is_no_name():
    with pytest.raises(InputError, match=r"with the module's whole name, got '\.mine:detector'"):
        open_detector(".mine:detector")


@pytest.mark.parametrize("noise", ["", "x", "1,2,3", "1,", ",1"])
def test_a_disturbance_is_one_size_or_two(noise):
    with pytest.raises(InputError, match="expected --pose-noise METRES or METRES,DEGREES, got"):
        disturbance(noise, 0, 0)
    assert disturbance("1", 0, 0) == disturbance("1,0", 0, 0)


@pytest.mark.parametrize("data", ["simulated", "sim:mixed"])
def test_classes_of_simulated_frames_are_refused(data):
    with pytest.raises(InputError, match="with --classes, got simulated frames"):
        open_frames(data, ToyDetector(), classes=["Car"])


def test_calibrate_on_disturbed_frames(here):
    args = ["calibrate", "--frames", "3", "--alpha", "0.25", "--jobs", "1", "--defense", "paper", "--out"]
    done(*args, "exact.json")
    done(*args, "off.json", "--pose-noise", "1,2", "--delay", "3")
    exact, off = (Calibration.load(here / f"{name}.json") for name in ("exact", "off"))
    assert off.source["command"].endswith("--pose-noise 1,2 --delay 3")
    a, b = (c.measures[BoxJaccard().name].thresholds for c in (exact, off))
    assert all(b[size] <= a[size] for size in a) and a != b


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--pose-noise", "much"], "expected --pose-noise METRES or METRES,DEGREES, got 'much'"),
        (["--pose-noise", "-1"], "sigma_m to be >= 0"),
        (["--data", "own_things:frames", "--delay", "1"], "a data set's folder with --pose-noise or --delay"),
    ],
)
def test_disturbances_that_cannot_be_are_told(args, said, capsys, here):
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "--frames", "50", "--out", "t.json", *args])
    assert stop.value.code == 2 and said in capsys.readouterr().err
