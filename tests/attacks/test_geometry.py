"""Feature maps moved about, by hand and against scipy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage

from robosac.attacks import FeatureErase, FeatureFlip, FeatureMix, FeatureRotate, FeatureShift
from robosac.attacks.features.maps import changed
from robosac.attacks.features.moves import shifted, turned
from robosac.types import InputError
from tests.attacks.toy import make_air

RAMP = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_a_shift_by_hand() -> None:
    right = shifted(RAMP, 0, 1, -1.0)
    np.testing.assert_array_equal(right[0], [[-1, 0, 1, 2], [-1, 4, 5, 6], [-1, 8, 9, 10]])
    up = shifted(RAMP, -2, 0, 0.0)
    np.testing.assert_array_equal(up[1], [[20, 21, 22, 23], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert (shifted(RAMP, 3, 0, 7.0) == 7.0).all()
    np.testing.assert_array_equal(shifted(shifted(RAMP, 0, 1, 0.0), 0, -1, 0.0)[..., :3], RAMP[..., :3])


@pytest.mark.parametrize("degrees", [0.0, 17.0, -40.0, 90.0, 180.0])
def test_turning_agrees_with_scipy_and_quarters_are_exact(degrees: float) -> None:
    x = np.random.default_rng(0).random((3, 9, 9)).astype(np.float32)
    wanted = ndimage.rotate(x, degrees, axes=(2, 1), reshape=False, order=1, cval=0.0)
    got = turned(x, degrees, 0.0)
    other = turned(x, -degrees, 0.0)
    assert min(np.abs(got - wanted).max(), np.abs(other - wanted).max()) < 1e-5
    if degrees % 90 == 0:
        inner = slice(1, -1)  # at the very edge a rounding error reads the emptiness beside the map
        np.testing.assert_allclose(
            got[:, inner, inner], np.rot90(x, round(degrees / 90), axes=(2, 1))[:, inner, inner], atol=1e-5
        )
    assert got.min() >= 0 and got.max() <= x.max()


@pytest.mark.parametrize(
    ("attack", "cells"),
    [
        (FeatureErase(share=0.5), 9),  # a rectangle of 3 x 3 of 4 x 5
        (FeatureErase(share=1.0), 20),
        (FeatureFlip(share=1.0), 20),
        (FeatureMix(share=1.0, block=1), 20),
        (FeatureMix(share=0.3, block=1), 6),
        (FeatureMix(share=1.0, block=2), 16),
    ],
    ids=repr,
)
def test_no_more_cells_than_the_share_and_nearly_as_many(attack: FeatureErase, cells: int) -> None:
    air = make_air(["a"])
    sent = attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(air)[0]
    honest, forged = air.honest["a"].payload["features"], sent.payload["features"]
    touched = changed(honest, forged).any(axis=0).sum()
    assert cells - 4 <= touched <= cells <= attack.share * 20
    assert attack.perturbation_size(air.honest["a"], [sent]) == pytest.approx(touched / 20)


def test_mixing_and_mirroring_lose_nothing() -> None:
    air = make_air(["a"])
    for attack in (FeatureMix(share=1.0, block=2), FeatureFlip(share=0.7)):
        sent = attack.start("scene", frozenset("a"), np.random.default_rng(3)).send(air)[0]
        honest, forged = air.honest["a"].payload["features"], sent.payload["features"]
        for before, after in zip(honest, forged, strict=True):
            np.testing.assert_array_equal(np.sort(before.ravel()), np.sort(after.ravel()))


@pytest.mark.parametrize("degrees", [0.05, 3.33, 44.0, 120.5, 180.0])
def test_the_turn_is_read_from_the_messages(degrees: float) -> None:
    air = make_air(["a"])
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.random((3, 24, 24)), (0, 2, 2)).astype(np.float32)
    honest = air.honest["a"].with_payload(features=smooth)
    air = dataclasses.replace(air, honest={"a": honest})
    attack = FeatureRotate(degrees=degrees)
    sent = attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(air)
    assert attack.perturbation_size(honest, sent) == degrees
    bent = sent[0].payload["features"].copy()
    bent[0, 5, 5] += 0.1
    assert attack.perturbation_size(honest, [sent[0].with_payload(features=bent)]) == math.inf


def test_a_shift_is_read_from_the_messages() -> None:
    honest = make_air(["a"]).honest["a"].with_payload(features=np.random.default_rng(0).random((2, 8, 9)))
    x = honest.payload["features"]
    for rows, cols in [(3, 0), (-2, 0), (0, 5), (0, -1)]:
        sent = honest.with_payload(features=shifted(x, rows, cols, 0.0))
        assert FeatureShift().perturbation_size(honest, [sent]) == abs(rows + cols)
    assert FeatureShift().perturbation_size(honest, [honest.with_payload(features=shifted(x, 1, 1, 0.0))]) == math.inf
    assert FeatureShift().perturbation_size(honest, [honest.with_payload(features=np.roll(x, 2, axis=1))]) == math.inf


def test_every_map_of_a_message_moves_the_same_way() -> None:
    air = make_air(["a"])
    x = np.random.default_rng(1).random((2, 6, 6)).astype(np.float32)
    honest = air.honest["a"].with_payload(features=x, more=x.copy())
    attack = FeatureShift(cells=2)
    for seed in range(6):
        air = dataclasses.replace(air, honest={"a": honest})
        sent = attack.start("scene", frozenset("a"), np.random.default_rng(seed)).send(air)[0]
        np.testing.assert_array_equal(sent.payload["features"], sent.payload["more"])


def test_a_detector_without_maps_is_told() -> None:
    air = make_air(["a"])
    flat = dataclasses.replace(air, honest={"a": air.honest["a"].with_payload(features=np.zeros((3, 4), np.float32))})
    with pytest.raises(InputError, match=r"expected maps \(C, H, W\) of features, got codec 'toy'"):
        FeatureShift().start("scene", frozenset("a"), np.random.default_rng(0)).send(flat)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureShift(cells=0.5), "cells of FeatureShift to be an integer"),
        (lambda: FeatureRotate(degrees=181.0), r"degrees of FeatureRotate to be a finite number in \[0, 180\]"),
        (lambda: FeatureErase(share=1.1), r"share of FeatureErase to be a finite number in \[0, 1\]"),
        (lambda: FeatureMix(block=0), "block of FeatureMix to be an integer >= 1"),
    ],
)
def test_settings_are_checked(make, message):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()
