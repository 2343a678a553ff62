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
from robosac.errors import RobosacWarning
from robosac.registry.detectors import saved_calibration
from robosac.simulation import scenario
from robosac.types import Detector, InputError, Request, Verdict
from tests import toy
from tests.toy import received


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
    assert verdict.trials[0].subset == frozenset(frame.others)


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
    assert "'toy' uses its default threshold 0.45: it is not calibrated" in said
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
