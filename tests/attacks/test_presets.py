"""Presets: the published settings, strict files, errors that list the right names."""

from __future__ import annotations

import pytest

from robosac import attacks
from robosac.attacks import presets as module
from robosac.types import InputError


def test_the_paper_settings():
    pgd = attacks.load("pgd")
    assert pgd == attacks.Pgd(
        epsilon=0.5, step_per_epsilon=0.2, steps=15, start_std_per_epsilon=0.2, objective=attacks.InvertedBce()
    )
    assert pgd.epsilon * pgd.step_per_epsilon == pytest.approx(0.1)
    assert pgd.epsilon * pgd.start_std_per_epsilon == pytest.approx(0.1)
    assert attacks.load("pgd_balanced") == attacks.load("pgd", objective=attacks.BalancedInvertedBce())
    assert attacks.load("bim") == attacks.Bim(epsilon=0.5, step_per_epsilon=0.2, steps=15)
    assert attacks.load("cw") == attacks.CwMargin(epsilon=0.5, steps=15, objective=attacks.Margin(c=0.1, kappa=0.0))
    assert attacks.load("noise") == attacks.GaussianNoise(epsilon=0.5, sigma_per_epsilon=0.4)


def test_every_preset_says_where_it_comes_from():
    assert set(attacks.names()) >= {"pgd", "bim", "cw", "noise"}
    for name in attacks.names():
        assert len(module.preset(name).source) > 20


def test_overrides_are_plain_values_mappings_or_objects():
    assert attacks.load("pgd", epsilon=0.1).epsilon == 0.1
    wanted = attacks.BalancedInvertedBce(labels=attacks.Peaks(score=0.3))
    spelled = {"kind": "balanced_inverted_bce", "labels": {"kind": "peaks", "score": 0.3}}
    assert attacks.load("pgd", objective=spelled) == attacks.load("pgd", objective=wanted)
    mixed = {"kind": "weighted_sum", "terms": [[1, {"kind": "margin"}], [0.5, {"kind": "inverted_bce"}]]}
    assert attacks.load("bim", objective=mixed).objective == attacks.WeightedSum(
        terms=((1.0, attacks.Margin()), (0.5, attacks.InvertedBce()))
    )


def test_numbers_become_plain_python_so_that_equal_attacks_have_one_key():
    np = pytest.importorskip("numpy")
    assert (
        repr(attacks.Pgd(epsilon=np.float32(0.5), steps=np.int64(15)))
        == repr(attacks.Pgd())
        == repr(attacks.load("pgd"))
    )
    assert repr(attacks.Pgd(epsilon=1)) == repr(attacks.Pgd(epsilon=1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attacks.load("pdg"), r"expected an attack preset, one of .*bim, .*cw, .*noise, .*pgd.*; got 'pdg'"),
        (lambda: attacks.load("../pgd"), "expected an attack preset"),
        (lambda: attacks.load("pgd", eps=0.1), r"expected settings of Pgd among epsilon, .*; got eps"),
        (lambda: attacks.load("pgd", epsilon=-0.1), r"expected epsilon of Pgd to be a finite number >= 0, got -0.1"),
        (lambda: attacks.load("pgd", epsilon="big"), "expected epsilon of Pgd .* got 'big'"),
        (lambda: attacks.load("pgd", epsilon=True), "expected epsilon of Pgd .* got True"),
        (lambda: attacks.load("pgd", steps=1.5), "expected steps of Pgd to be an integer >= 0, got 1.5"),
        (lambda: attacks.load("pgd", objective="margin"), "expected objective of Pgd to be an Objective value"),
        (lambda: attacks.load("pgd", objective={"kind": "margins"}), r"expected kind to be one of .*margin.*'margins'"),
        (lambda: attacks.load("pgd", objective={"c": 1}), r"expected kind to be one of .*got None"),
        (lambda: attacks.load("noise", sigma_per_epsilon=None), "expected sigma_per_epsilon of GaussianNoise"),
    ],
)
def test_wrong_names_and_values_say_what_was_expected(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "text",
    [
        "attack: pgd\nsettings: {}\n",
        "attack: pgd\nsource: ours, no paper\nsettings: {}\nstage: features\n",
        "attack: 3\nsource: ours, no paper\nsettings: {}\n",
        "attack: pgd\nsource: ''\nsettings: {}\n",
        "- pgd\n",
        "attack: [pgd\n",
    ],
)
def test_preset_files_are_strict(tmp_path, monkeypatch, text):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"expected mine.yaml to hold attack, source, novelty and settings"):
        attacks.load("mine")


def test_an_unknown_class_in_a_preset_lists_the_classes(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("attack: jsma\nsource: ours, no paper\nnovelty: unseen\nsettings: {}\n")
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"expected attack to be one of .*bim, .*cw_margin, .*gaussian_noise, .*pgd"):
        attacks.load("mine")
