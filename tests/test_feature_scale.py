"""How large features are: agreement with numpy, what is refused, and one spelling of a multiple."""

from dataclasses import replace

import numpy as np
import pytest

from robosac.detectors import EarlyFusion, LateFusion
from robosac.feature_scale import FeatureScale, as_multiple, in_words, multiple
from robosac.types import InputError, Message
from tests.toy import ToyDetector, frame

RNG = np.random.default_rng(0)
MESSAGE = Message("a", "ego", 0, np.eye(4), "toy", {})


def carrying(**arrays):
    return replace(MESSAGE, payload=arrays)


def test_it_is_numpys_over_all_float_arrays_together():
    maps = [RNG.normal(3.0, 2.0, (3, 4, 5)).astype(np.float32).clip(0) for _ in range(3)]
    half = RNG.normal(size=7).astype(np.float16)
    found = FeatureScale.of([carrying(f=maps[0], slots=np.arange(9)), carrying(f=maps[1]), carrying(f=maps[2], g=half)])
    every = np.concatenate([*(m.ravel() for m in maps), half]).astype(np.float64)
    assert found.std == float(f"{every.std():.4g}")
    assert (found.low, found.high, found.features) == (every.min(), every.max(), every.size)
    assert found.zeros == pytest.approx((every == 0).mean()) and 0 < found.zeros < 1
    assert list(found.arrays) == ["f", "g"] and found.arrays["g"].std == float(f"{half.astype(float).std():.4g}")


def test_an_offset_of_a_million_costs_no_digit():
    small = RNG.normal(size=10_000)
    far = FeatureScale.of([carrying(f=small[:10] + 1e6), carrying(f=small[10:] + 1e6)])
    assert far.std == FeatureScale.of([carrying(f=small)]).std


def test_what_is_printed_is_what_is_used():
    found = FeatureScale.of([carrying(f=RNG.normal(size=99))])
    assert f"std {found.unit()!r}," in str(found)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"slots": np.arange(3)}, "expected messages with float arrays"),
        ({"f": np.zeros((0, 4), np.float32)}, "expected messages with float arrays"),
        ({"f": np.array([1.0, np.nan])}, "expected finite features, got NaN or inf in 'f' of 'a'"),
        ({"f": np.array([1.0, np.inf])}, "expected finite features, got NaN or inf in 'f' of 'a'"),
        (
            {"f": np.full(5, 0.25)},
            "expected features that vary, .*got 5 that all are 0.25; give .*a number",
        ),
    ],
)
def test_what_cannot_be_measured_says_why(arrays, message):
    with pytest.raises(InputError, match=message):
        FeatureScale.of([carrying(**arrays)]).unit()


def test_it_is_what_a_detectors_teammates_send_and_not_the_ego():
    frames = [frame({"ego": [(99, 99)], "a": [(1, 2)], "b": [(5, 6)]}), frame({"ego": []})]
    found = FeatureScale.measured(ToyDetector(), frames)
    assert (found.low, found.high, found.features) == (1, 6, 4)


@pytest.mark.parametrize("kind", [LateFusion, EarlyFusion])
def test_boxes_and_points_are_no_features(kind):
    def nothing(points):
        return np.zeros((0, 7), np.float32), np.zeros(0, np.float32)

    with pytest.raises(InputError, match=r"features .*got 'mine', which sends (boxes and scores|points); give the"):
        FeatureScale.measured(kind(nothing, name="mine"), [frame({"ego": [], "a": [(1, 2)]})])


@pytest.mark.parametrize("text", ["2sd", " 2 sd", "2.0sd", "2.sd", "02sd", "20e-1sd"])
def test_equal_multiples_have_one_spelling(text):
    assert as_multiple(text) == "2sd" and multiple(text) == 2.0


def test_in_words():
    assert [in_words(a) for a in (0.5, 1, ".25sd", "1e-05sd")] == ["0.5", "1", "0.25sd", "1e-05sd"]


@pytest.mark.parametrize(
    "text", ["2xd", "-1sd", "nansd", "infsd", "0sd", "sd", "1e999sd", "2", "", "2sdsd", "1_0sd", "+2sd"]
)
def test_what_is_no_multiple_is_refused(text):
    with pytest.raises(InputError, match=r"expected a finite multiple above 0 .* like 2sd"):
        multiple(text)
