"""Settings: presets, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from robosac.simulation import KINDS, SimConfig, scenario
from robosac.types import InputError


def test_default_is_the_mixed_preset() -> None:
    assert SimConfig() == SimConfig.preset("mixed")
    assert dict(zip(KINDS, SimConfig().shares, strict=True)) == {"intersection": 0.5, "urban": 0.35, "highway": 0.15}


@pytest.mark.parametrize("kind", KINDS)
def test_a_preset_of_one_kind_draws_only_that_kind(kind: str) -> None:
    assert {scenario("train", i, config=SimConfig.preset(kind)).kind for i in range(6)} == {kind}


def test_mixed_draws_kinds_in_their_shares() -> None:
    from robosac.types import keyed_rng

    drawn = [str(keyed_rng(0, "train", i, "kind").choice(KINDS, p=SimConfig().shares)) for i in range(2000)]
    assert [scenario("train", i).kind for i in range(8)] == drawn[:8]
    for kind, share in zip(KINDS, SimConfig().shares, strict=True):
        assert abs(drawn.count(kind) / len(drawn) - share) < 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shares": (0.5, 0.5, 0.5)}, "shares"),
        ({"shares": (1.0,)}, "shares"),
        ({"n_vehicles": 0}, "n_vehicles"),
        ({"n_vehicles": ()}, "n_vehicles"),
        ({"n_frames": 0}, "n_frames"),
        ({"beams": 0}, "beams"),
        ({"comm_range_m": 0.0}, "comm_range_m"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"max_range_m": float("inf")}, "max_range_m"),
        ({"range_sigma_m": -0.1}, "range_sigma_m"),
        ({"pose_noise_yaw_deg": float("nan")}, "pose_noise_yaw_deg"),
        ({"drop_rate": 1.0}, "drop_rate"),
        ({"elevation_min_deg": 10.0}, "elevations"),
        ({"max_grade": 0.5}, "max_grade"),
        ({"sensor_tilt_deg": -1.0}, "sensor_tilt_deg"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"expected .*{words}.* got"):
        SimConfig(**change)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected a preset among mixed, .*got 'moon'"):
        SimConfig.preset("moon")
    with pytest.raises(InputError, match="expected split to be one of train, val, calibration, test, got 'dev'"):
        scenario("dev", 0)
    with pytest.raises(InputError, match="index -1"):
        scenario("train", -1)
    with pytest.raises(InputError, match="seed -2"):
        scenario("train", 0, seed=-2)
    one = scenario("train", 0)
    with pytest.raises(InputError, match=r"frame in \[0, 10\), got 10"):
        one.snapshot(10)
    with pytest.raises(InputError, match=r"agent among car-1.*got 'car-99'"):
        one.snapshot(0).frame("car-99")


def test_what_no_draw_can_satisfy_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match=r"30 connected vehicles within 9.0 m.*lower n_vehicles"):
        scenario("train", 0, config=SimConfig(n_vehicles=30, comm_range_m=9.0))
