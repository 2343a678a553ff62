"""The facade on the shipped detector: what a newcomer types."""

import warnings

import numpy as np
import pytest

import robosac
from robosac.registry.detectors import saved_calibration
from robosac.simulation import scenario
from robosac.types import Detector, InputError, Request, Verdict
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
