"""Broken features: how many, what with, and that what is no number stops nobody."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robosac.air import Air
from robosac.attacks import Dropout, NonFinite, Saturation
from robosac.attacks.base import Budgeted
from robosac.attacks.features.maps import changed
from robosac.defenses import NoDefense, RobosacAgreement
from robosac.defenses.protocol import Defense
from robosac.types import Codec, InputError, Message, keyed_rng
from tests.attacks.toy import SHAPE, ToyDetector, make_air
from tests.attacks.toy_adaptive import MapDetector, robosac
from tests.toy import received


def altered(attack: Budgeted, air: Air) -> Message:
    return attack.start("scene", frozenset("a"), np.random.default_rng(0)).send(air)[0]  # type: ignore[attr-defined, no-any-return]


class Unbounded(ToyDetector):
    @property
    def codec(self) -> Codec:
        return Codec("toy", {"features": (SHAPE, "float32", -np.inf, np.inf)})


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_dropout_by_hand(share: float) -> None:
    air = make_air(["a"])
    honest, sent = air.honest["a"].payload["features"], altered(Dropout(share=share), air).payload["features"]
    touched = changed(honest, sent)
    assert touched.sum() <= share * 60 and touched.sum() >= share * 60 - 2  # some were 0 already
    assert not sent[touched].any()


def test_saturation_goes_to_the_end_of_the_range_or_far_beyond_the_honest() -> None:
    air = make_air(["a"])
    sent = altered(Saturation(share=0.2), air).payload["features"]
    assert (sent[changed(air.honest["a"].payload["features"], sent)] == 1.0).all() and (sent == 1.0).sum() == 12
    air = make_air(["a"], detector=Unbounded())
    air = dataclasses.replace(air, honest={"a": air.honest["a"].with_payload(features=np.full(SHAPE, 3, np.float32))})
    assert altered(Saturation(share=0.2, scale=7.0), air).payload["features"].max() == 21.0
    half = np.full(SHAPE, 30_000, np.float16)
    air = dataclasses.replace(air, honest={"a": air.honest["a"].with_payload(features=half)})
    assert np.isfinite(altered(Saturation(scale=10.0), air).payload["features"]).all()


@pytest.mark.parametrize("kind", ["nan", "inf"])
@pytest.mark.parametrize("defense", [robosac(), NoDefense()], ids=lambda d: type(d).__name__)
def test_what_is_no_number_is_let_in_by_nobody_and_the_ego_goes_on(defense: Defense, kind: str) -> None:
    """Defended or not: the verdict is that of a frame in which the attacker said nothing."""
    assert isinstance(defense, (RobosacAgreement, NoDefense))
    detector = MapDetector()
    air = make_air(["a"], detector=detector)
    sent = altered(NonFinite(share=0.1, kind=kind), air)  # type: ignore[arg-type]
    assert (~np.isfinite(sent.payload["features"])).sum() == 6

    def verdict(inbox: list[Message]):  # type: ignore[no-untyped-def]
        return defense.start("scene", None, keyed_rng(1)).step(detector, air._ego, air.to, received(inbox, air.to))

    got, without = verdict([*air._others.values(), sent]), verdict([*air._others.values()])
    assert "a" in got.rejected and "a" not in got.used and got.used == without.used == {"x", "y"}
    assert got.result.score_map is not None and np.isfinite(got.result.score_map).all()
    np.testing.assert_array_equal(got.result.score_map, without.result.score_map)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(share=1.5), "share of Dropout"),
        (lambda: Saturation(scale=0.5), "scale of Saturation to be a finite number >= 1"),
        (lambda: NonFinite(kind="none"), "kind of NonFinite to be 'nan' or 'inf', got 'none'"),
    ],
)
def test_settings_are_checked(make, message):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()
