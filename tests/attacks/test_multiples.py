"""Budgets given as multiples of the features' standard deviation: what they are, and that they follow the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from robosac import attacks
from robosac.attacks import (
    L2,
    AdaptivePgd,
    Apgd,
    BalancedInvertedBce,
    Bim,
    BlindArea,
    CwL2,
    CwMargin,
    Fgsm,
    FrameUp,
    GaussianNoise,
    Hide,
    KnowsSeed,
    MiFgsm,
    Pgd,
    PretendBenign,
    Scheduled,
    Sybil,
    Transfer,
    UniformNoise,
)
from robosac.attacks.registry import kinds
from robosac.attacks.settings import multiples
from robosac.feature_scale import FeatureScale
from robosac.registry.attacks import described, fitted, in_multiples, open_attack
from robosac.types import Codec, InputError, Subset
from tests.attacks.toy import SHAPE, ToyDetector, ToySession, make_air

IN_FEATURES = [name for name in attacks.names() if attacks.load(name).unit in ("L-inf a feature", "L2 a message")]
OTHERS = [name for name in attacks.names() if name not in IN_FEATURES]


@dataclass
class Louder(ToyDetector):
    """The toy whose features are `factor` times as large and whose head divides them again: the same detector."""

    factor: float = 1.0

    @property
    def codec(self) -> Codec:
        return Codec("toy", {"features": (SHAPE, "float32", -np.inf, np.inf), "slots": ((None,), "int64", 0, 99)})

    def features(self, view: Any) -> np.ndarray:
        return np.asarray(np.float32(self.factor) * super().features(view))

    def open(self, ego: Any, to: Any, messages: Any) -> Any:
        quiet = {m.sender: m.with_payload(features=m.payload["features"] / np.float32(self.factor)) for m in messages}
        return LouderSession(self.features(ego) / np.float32(self.factor), quiet, self.calls, self.factor)


@dataclass
class LouderSession(ToySession):
    factor: float = 1.0

    def logits(self, payloads: Mapping[str, Any], subsets: Sequence[Subset]) -> Any:
        quiet = {i: {"features": p["features"] / self.factor} for i, p in payloads.items()}
        return super().logits(quiet, subsets)


def moved(attack: Any, factor: float) -> np.ndarray:
    """What an attack adds to the features, budgets in multiples of what they are in this frame."""
    air = make_air(["a", "b"], detector=Louder(factor=factor))
    scale = FeatureScale.of([*air.honest.values(), *air._others.values()])
    attacker = attack.scaled(scale.unit()).start("scene", frozenset("ab"), np.random.default_rng(0))
    sent = {m.sender: m for m in attacker.send(air)}
    return np.stack([sent[i].payload["features"] - air.honest[i].payload["features"] for i in sorted(sent)])


@pytest.mark.parametrize(
    "attack",
    [
        GaussianNoise(epsilon="1sd"),
        UniformNoise(epsilon="1sd"),
        Fgsm(epsilon="1sd"),
        Bim(epsilon="1sd"),
        Pgd(epsilon="0.5sd", objective=BalancedInvertedBce()),
        Pgd(epsilon="4sd", norm=L2()),
        MiFgsm(epsilon="1sd"),
        Apgd(epsilon="1sd"),
        CwMargin(epsilon="1sd"),
        AdaptivePgd(epsilon="1sd"),
        Scheduled(attack=Bim(epsilon="1sd")),
    ],
    ids=repr,
)
def test_ten_times_the_features_are_ten_times_the_attack(attack: Any) -> None:
    once, tenfold = moved(attack, 1.0), moved(attack, 16.0)  # a power of two: the same rounding
    assert np.abs(once).max() > 0
    np.testing.assert_allclose(tenfold, 16.0 * once, rtol=1e-3, atol=1e-3 * np.abs(once).max())


def test_a_plain_budget_does_not_follow_the_features() -> None:
    assert np.abs(moved(Bim(epsilon=0.1), 16.0)).max() == pytest.approx(
        np.abs(moved(Bim(epsilon=0.1), 1.0)).max(), rel=1e-4
    )


def test_one_sd_is_the_plain_number() -> None:
    assert Pgd(epsilon="1sd").scaled(0.25) == Pgd(epsilon=0.25)
    assert CwL2(epsilon="20sd", rate="0.1sd").scaled(0.5) == CwL2(epsilon=10.0, rate=0.05)
    inner = Scheduled(attack=Transfer(attack=Pgd(epsilon="2sd"), source="max"))
    assert inner.scaled(0.25) == inner.with_budget(0.5)
    assert Sybil(carries=Pgd(epsilon="2sd")).scaled(0.25) == Sybil(carries=Pgd(epsilon=0.5))
    assert Pgd(epsilon=0.5).scaled(9.0) == Pgd(epsilon=0.5)  # numbers stay


@pytest.mark.parametrize("name", IN_FEATURES)
def test_every_attack_on_features_takes_a_multiple(name: str) -> None:
    attack = attacks.load(name).with_budget("2sd")
    assert attack.budget == "2sd" and in_multiples(attack) == ["2sd"]
    assert attack.scaled(0.125).budget == 0.25 and not list(multiples(attack.scaled(0.125)))
    assert attack.scaled(0.125) == attacks.load(name).with_budget(0.25)


@pytest.mark.parametrize("name", OTHERS)
def test_others_do_not(name: str) -> None:
    with pytest.raises(InputError, match=r"expected .*got 2sd: expected .*got '2sd'"):
        open_attack(name, budget="2sd")


def test_there_are_some_of_both() -> None:
    assert {"pgd", "bim", "cw", "cw_l2", "apgd", "noise", "uniform_noise", "adaptive_pgd", "bac", "pose_pert"} <= {
        *IN_FEATURES
    }
    assert {"gps_offset", "dropout", "box_flood", "sybil_pgd"} <= {*OTHERS}


@pytest.mark.parametrize("kind", [Pgd, GaussianNoise, CwL2, AdaptivePgd, BlindArea, FrameUp, KnowsSeed, PretendBenign])
@pytest.mark.parametrize("wrong", ["2xd", "-1sd", "nansd", "0sd", "infsd", "sd", "big"])
def test_what_is_no_multiple_is_refused(kind: Any, wrong: str) -> None:
    with pytest.raises(InputError, match=rf"expected epsilon of {kind.__name__} .*like 2sd; got '{wrong}'"):
        kind(epsilon=wrong)


def test_equal_multiples_are_one_value_with_one_key() -> None:
    assert Pgd(epsilon="2.0 sd") == Pgd(epsilon="2sd") == attacks.load("pgd", epsilon="2sd")
    assert eval(repr(Pgd(epsilon="2sd")), {kind.__name__: kind for kind in kinds().values()}) == Pgd(epsilon="2sd")


def test_without_a_measured_scale_nothing_is_sent() -> None:
    """And nothing guessed: the error says how to measure."""
    attack = Scheduled(attack=Pgd(epsilon="2sd"))
    attacker = attack.start("scene", frozenset("a"), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"expected the budget of Pgd as a number, got 2sd; .*FeatureScale.measured"):
        attacker.send(make_air(["a"]))


def test_frames_are_read_only_for_multiples() -> None:
    def none() -> Any:
        raise AssertionError("nobody asked for frames")

    assert fitted(Pgd(), ToyDetector(), none) == Pgd()


def test_a_preset_with_a_multiple_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from robosac.attacks import presets

    (tmp_path / "mine.yaml").write_text(
        "attack: pgd\nsource: ours, to be tried\nnovelty: unseen\nsettings: {epsilon: 2sd, objective: {kind: hide}}\n"
    )
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path)
    assert described("mine")["budget"] == "2sd" and attacks.load("mine") == Pgd(epsilon="2sd", objective=Hide())
    assert replace(attacks.load("mine"), epsilon=0.1).budget == 0.1
