"""Presets of defences by name: the shipped ones, wrong names, wrong files."""

import json

import pytest

from robosac.agreement import BoxJaccard, SeenScoreMap
from robosac.defenses import (
    EgoOnly,
    Known,
    NoDefense,
    Oracle,
    PaperKnown,
    PaperUnknown,
    Robosac,
    RobosacAgreement,
    Unknown,
)
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.registry import defenses as registry
from robosac.registry.defenses import (
    DefensePreset,
    defense_names,
    defense_preset,
    open_defense,
    policy,
    rival_names,
    statistics_of,
)
from robosac.registry.settings import plain
from robosac.types import InputError


@pytest.mark.parametrize(
    ("name", "plan", "agreement", "threshold"),
    [
        ("paper", PaperKnown(attackers=2), BoxJaccard(iou=0.5, min_score=0.3), 0.3),
        ("paper-probing", PaperUnknown(budget=5), BoxJaccard(iou=0.5, min_score=0.3), 0.3),
        ("robosac-agreement", Unknown(budget=32), SeenScoreMap(), None),
    ],
)
def test_the_shipped_presets(name, plan, agreement, threshold):
    made = policy(name).make(2)
    expected = RobosacAgreement(plan=plan, agreement=agreement, threshold=threshold)
    assert made == open_defense(name, attackers=2) == expected


def test_one_name_means_one_policy():
    names = ["agreement-poses", "all-honest", "certified-1", "certified-2", "ego-only", "none", "oracle", "paper"]
    names += ["paper-probing", "robosac", "robosac-agreement", "robosac-audited", "robosac-known", "robosac-strict"]
    assert defense_names() == sorted([*names, *rival_names()])
    assert [policy(name).name for name in names] == names and all(defense_preset(n).source for n in defense_names())


def test_the_default_preset_is_the_default():
    assert policy("robosac").make(1) == Robosac()
    assert policy("robosac-known").make(2) == Robosac(attackers=2)
    assert policy("robosac-audited").make(1) == Robosac(audit=0.2)
    assert policy("robosac-strict").make(1) == Robosac(poses=ClaimedPoses(unknown="leave out"))


def test_defences_that_try_no_subsets():
    assert open_defense("ego-only") == EgoOnly() and open_defense("none") == policy("none").make(2) == NoDefense()
    assert policy("all-honest", title="x").name == "x" and policy("all-honest").honest_air
    assert policy("oracle").defense(frozenset("ab")) == Oracle(attackers=frozenset("ab"))


@pytest.mark.parametrize("name", ["oracle", "all-honest"])
def test_evaluation_alone_makes_what_knows_who_attacks(name):
    with pytest.raises(InputError, match=f"got {name}, which needs to know who attacks: evaluation alone does"):
        open_defense(name)


def test_another_number_of_trials():
    for name, kind in (("robosac-agreement", Unknown), ("paper-probing", PaperUnknown)):
        assert defense_preset(name).makes_trials()
        made = policy(name, trials=7).defense(frozenset("a"))
        assert made.plan == kind(budget=7)
    assert policy("robosac", trials=7).make(1) == Robosac(budget=7)
    assert policy("paper", trials=7).make(2).plan == PaperKnown(attackers=2, budget=7)
    assert not any(defense_preset(name).makes_trials() for name in ("none", "ego-only", "oracle", "all-honest"))


def test_an_unknown_name_lists_the_right_ones():
    for find in (policy, open_defense):
        with pytest.raises(InputError, match=r"one of agreement-poses, all-honest, .*paper.*robosac.*; got 'krum'"):
            find("krum")


GOOD = {"kind": "robosac-agreement", "source": "somewhere, section 1", "plan": {"kind": "unknown"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "krum"},
            "defence to have a `kind`, one of robosac, robosac-agreement, certified, pose-checked, none, ego-only, "
            ".*; got 'krum'",
        ),
        ({"plan": {"kind": "guess"}}, "plan to have a `kind`, one of known"),
        ({"plan": {}}, "plan to have a `kind`"),
        ({"plan": "known"}, "plan to be a mapping with a `kind`, got 'known'"),
        ({"plan": {"kind": "box_jaccard"}}, "plan to have a `kind`, one of known"),
        ({"agreement": {"kind": "box_jaccard", "iuo": 0.5}}, "settings of box_jaccard among iou, .*; got iuo"),
        ({"treshold": 0.3}, "settings of robosac-agreement among .*threshold.*; got treshold"),
        ({"plan": {"kind": "known"}}, "is told the number of attackers"),
    ],
)
def test_wrong_presets(change, message):
    with pytest.raises(InputError, match=message):
        DefensePreset.model_validate(GOOD | change).build()


def test_a_preset_that_names_the_ratio_is_told_no_number():
    made = DefensePreset.model_validate(GOOD | {"plan": {"kind": "known", "ratio": 0.4}}).build()
    assert made == RobosacAgreement(plan=Known(ratio=0.4))


@pytest.mark.parametrize("text", ["- robosac", "kind: robosac", "kind: 3\nsource: ours, no paper", "kind: [robosac"])
def test_preset_files_are_strict(tmp_path, monkeypatch, text):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"expected .*mine\.yaml to be"):
        policy("mine")


def test_settings_become_plain_json():
    made = plain(policy("robosac-known").make(1))
    assert json.loads(json.dumps(made)) == made
    assert made["attackers"] == 1 and made["poses"]["kind"] == "ClaimedPoses"


def test_one_calibration_holds_what_every_preset_asks():
    everything = {s.name for s in statistics_of()}
    asked = {s.name for name in ("robosac", "robosac-agreement", "agreement-poses") for s in statistics_of([name])}
    assert asked <= everything and len({s.name for s in statistics_of(["robosac"])}) == 6
