"""The facade on the shipped detector: what a newcomer types."""

import linecache
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import robosac
from robosac.data.dataset import DataSet
from robosac.data.layout import recognise
from robosac.data.write_opv2v import write_frame
from robosac.defenses import EgoOnly, NoDefense, Robosac
from robosac.errors import RobosacWarning
from robosac.gate import Gate, for_clocks
from robosac.registry.detectors import saved_calibration
from robosac.simulation import SimConfig, scenario
from robosac.types import Detector, InputError, Request, Verdict
from tests import toy
from tests.data.dair import write_dair
from tests.data.members import members_of
from tests.data.memory import Simulated
from tests.toy import ToyDetector, received
from tests.toy import frame as toy_frame


@pytest.fixture(scope="module")
def detector():
    return robosac.load_detector("mean")


@pytest.fixture(scope="module")
def frame():
    return scenario("test", 0).snapshot(0).frame()[0]


def test_three_lines(detector, frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is shipped with its calibration
        verdict = robosac.wrap(detector)(frame)
    assert isinstance(verdict, Verdict) and isinstance(detector, Detector)
    assert verdict.used <= set(frame.others) and len(verdict.result) > 0
    n = len(frame.others)
    assert {t.subset for t in verdict.trials[:n]} == {frozenset({i}) for i in frame.others}  # each alone first
    trusted = frozenset().union(*(t.subset for t in verdict.trials[:n] if t.accepted))
    assert verdict.trials[n].subset == trusted and len(trusted) > 1  # then all of them together


def test_messages_over_the_air_give_the_same_verdict(detector, frame):
    request = Request.of(frame.ego)
    inbox = [detector.encode(view, request) for view in frame.others.values()]
    heard = robosac.wrap(detector).receive(frame.ego, received(inbox[::-1], request), scenario=frame.scenario)
    seen = robosac.wrap(detector)(frame)
    assert heard.trials == seen.trials
    np.testing.assert_array_equal(heard.result.boxes, seen.result.boxes)


def test_garbage_over_the_air_is_reported(detector, frame):
    request = Request.of(frame.ego)
    inbox = [detector.encode(view, request) for view in frame.others.values()]
    inbox[0] = inbox[0].with_payload(features=np.full((1, 2, 3), np.nan, np.float32))
    inbox[1] = inbox[1].with_payload(features=np.full((32, 64, 64), 7.0, np.float32))
    verdict = robosac.wrap(detector).receive(frame.ego, received(inbox, request))
    assert set(verdict.rejected) == {inbox[0].sender, inbox[1].sender}
    assert "shape" in verdict.rejected[inbox[0].sender] and "outside" in verdict.rejected[inbox[1].sender]


def test_a_calibration_from_a_file(detector, frame, tmp_path):
    shipped = saved_calibration(detector)
    assert shipped is not None and shipped.detector == detector.name
    shipped.save(tmp_path / "c.json")
    from_file = robosac.wrap(detector, calibration=tmp_path / "c.json")(frame)
    assert from_file.trials == robosac.wrap(detector)(frame).trials


def test_an_unknown_detector_lists_the_shipped_ones():
    with pytest.raises(InputError, match=r"mean, max, attention, mean-unbounded, max-unbounded, attention-unbounded"):
        robosac.load_detector("mena")


def test_an_unknown_name_of_the_package():
    with pytest.raises(AttributeError, match="no attribute 'warp'"):
        _ = robosac.warp


def test_the_gate_bears_the_clocks_of_a_frames_recording():
    """And those of no other: of two frames of one scenario, the second may be of a simulation."""
    seen = toy_frame({"ego": [(9, 9)], "a": [(9, 9)]})
    ahead = replace(seen, others={"a": replace(seen.others["a"], t_ns=28_000_000)})
    for defense, borne in ((None, 50.0), (Robosac(gate=Gate(max_ahead_ms=30.0)), None), (NoDefense(), 28.0)):
        defended = robosac.wrap(ToyDetector(), defense)
        told = replace(ahead, clocks_ahead_ms=borne)
        assert [defended(f).rejected for f in (told, seen, told)] == [{}] * 3
    defended = robosac.wrap(ToyDetector(), NoDefense())
    for none in (ahead, replace(ahead, clocks_ahead_ms=10.0), replace(ahead, clocks_ahead_ms=27.9)):
        assert "sensed -28 ms ago" in defended(none).rejected["a"]


def test_a_gate_for_clocks_keeps_its_other_limits():
    mine = Robosac(gate=Gate(max_distance_m=60.0, max_age_ms=10.0))
    assert for_clocks(mine, 50.0).gate == Gate(max_distance_m=60.0, max_age_ms=10.0, max_ahead_ms=50.0)
    for same in (for_clocks(mine, None), for_clocks(mine, 1.0)):
        assert same is mine
    assert for_clocks(EgoOnly(), 50.0) == EgoOnly()


@pytest.mark.parametrize("ego", ["first", "infrastructure"])
def test_dair_is_read_wrapped_and_heard(ego, tmp_path):
    """Its road-side unit scans up to 28 ms later than the vehicle."""
    config = SimConfig(n_vehicles=2, n_frames=2, beams=8, columns=64)
    root = write_dair(tmp_path, [scenario("val", 0, config=config).snapshot(k) for k in range(2)])
    data = DataSet(recognise(root), ego=ego)
    defended = robosac.wrap(ToyDetector(), NoDefense())
    assert data.clocks_ahead_ms == 50.0 and len(data) == 2
    for frame, _ in data:
        found = defended(frame)
        assert found.rejected == {} and len(found.used) == 1


def test_other_recordings_keep_the_gates_own_clock():
    assert DataSet(Simulated()).clocks_ahead_ms is None


def test_an_uncalibrated_detector_is_one_line_about_the_users_own_line():
    """Not about ours: however deep the defence noticed it, in every frame of a loop once."""
    defended = robosac.wrap(toy.ToyDetector())
    frames = [toy.frame({"ego": [(1, 2)], "a": [(1, 2)], "b": [(1, 2), (9, 9)]}, scenario=name) for name in "xy"]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        for frame in frames:
            defended(frame)
    (one,) = heard
    assert one.filename == __file__ and linecache.getline(one.filename, one.lineno).strip() == "defended(frame)"
    said = str(one.message)
    assert issubclass(one.category, RobosacWarning) and "\n" not in said
    assert "robosac on detector 'toy' uses its default limits: it is not calibrated" in said
    assert "run `robosac calibrate`" in said and "wrap(detector, calibration=FILE)" in said


def test_a_calibration_of_another_model_says_whose_it_is(detector):
    other = replace(saved_calibration(detector), detector="another")
    scene = toy.frame({"ego": [(1, 2)], "a": [(1, 2)]})
    with pytest.warns(RobosacWarning, match="the calibration is for 'another', a model of other weights"):
        robosac.wrap(toy.ToyDetector(), calibration=other)(scene)


def test_a_script_prints_it_once(tmp_path):
    """As a user sees it: the place of the call, the text, and Python's echo of the user's own line."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import robosac\nfrom tests import toy\n"
        "frame = toy.frame({'ego': [(1, 2)], 'a': [(1, 2)]})\n"
        "defended = robosac.wrap(toy.ToyDetector())\n"
        "for _ in range(3):\n    defended(frame)\n"
    )
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=here)
    first, *echo = done.stderr.splitlines()
    assert first.startswith(f"{script}:6: RobosacWarning: ") and echo == ["  defended(frame)"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda d: robosac.wrap(None), "expected a detector .* got None"),
        (lambda d: robosac.wrap(d, 3), "expected a defence .* got 3"),
        (lambda d: robosac.load_data("sim:mixed", scenes=-1), "expected scenes and frames >= 1, got -1 and 2"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_given(detector, call, said):
    with pytest.raises(InputError, match=said):
        call(detector)


def test_a_missing_scan_is_said_and_the_frame_is_played(tmp_path):
    """Who is absent for it would read like a weaker detector."""
    from robosac.experiments.scenes import forget, scenes
    from robosac.experiments.settings import make_grid

    root = tmp_path / "drive"
    for k in (0, 1):
        seen, truth = scenario("test", 0).snapshot(k).frame()
        names = {name: str(100 + n) for n, name in enumerate((seen.ego.id, *seen.others))}
        write_frame(root / "test" / "2021_01_01", f"{k:06d}", members_of(seen, truth, names))
    grid = make_grid(None, {"dataset": [f"opv2v:{root}"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(scenes(grid, f"opv2v:{root}")) == 1
    lost = sorted(root.rglob("*.pcd"))[-1]
    lost.unlink()
    forget()
    with pytest.warns(UserWarning, match=rf"{lost.name}.*absent there \(robosac inspect .* lists all\)"):
        assert len(scenes(grid, f"opv2v:{root}")) == 1


def test_a_number_of_attackers_goes_to_who_is_told_and_to_nobody_else() -> None:
    assert robosac.wrap(ToyDetector(), "paper", attackers=2)
    for name in ("robosac", "paper-probing", "none"):
        with pytest.raises(InputError, match=rf"expected a defence that is told how many attack.*{name}.*Robosac"):
            robosac.wrap(ToyDetector(), name, attackers=2)
    for number in (1.5, "1", True, -1):
        with pytest.raises(InputError, match="expected a number of attackers, 0 or more"):
            robosac.wrap(ToyDetector(), "robosac-known", attackers=number)  # type: ignore[arg-type]
