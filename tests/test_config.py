"""Presets by name: the shipped ones, wrong names, wrong files."""

import json

import pytest

from robosac.agreement import BoxJaccard, SeenScoreMap
from robosac.config import DefensePreset, defense_names, defense_preset, plain, policy
from robosac.defenses import EgoOnly, Known, NoDefense, PaperKnown, PaperUnknown, Robosac, Unknown
from robosac.types import InputError


@pytest.mark.parametrize(
    ("name", "plan", "agreement", "threshold"),
    [
        ("paper", PaperKnown(attackers=2), BoxJaccard(iou=0.5, min_score=0.3), 0.3),
        ("paper-probing", PaperUnknown(budget=5), BoxJaccard(iou=0.5, min_score=0.3), 0.3),
        ("robosac-known", Known(attackers=2, budget=32), SeenScoreMap(), None),
        ("robosac", Unknown(budget=32), SeenScoreMap(), None),
    ],
)
def test_the_shipped_presets(name, plan, agreement, threshold):
    made = policy(name).make(2)
    assert made == Robosac(plan=plan, agreement=agreement, threshold=threshold)
    assert name in defense_names() and defense_preset(name).source


def test_the_default_preset_is_the_default():
    assert policy("robosac").make(1) == Robosac()


def test_fixed_policies():
    assert policy("ego-only").make(1) == EgoOnly() and policy("none").make(2) == NoDefense()
    assert policy("oracle").told_attackers and policy("all-honest", title="x").honest_air
    assert policy("all-honest", title="x").name == "x"


def test_an_unknown_name_lists_the_right_ones():
    with pytest.raises(InputError, match=r"one of none, ego-only, oracle, all-honest, .*paper.*robosac.*; got 'krum'"):
        policy("krum").make(1)


GOOD = {"source": "somewhere, section 1", "plan": {"kind": "unknown"}, "agreement": {"kind": "box_jaccard"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": {"kind": "guess"}}, "plan to have a `kind`, one of known"),
        ({"plan": {}}, "plan to have a `kind`"),
        ({"agreement": {"kind": "box_jaccard", "iuo": 0.5}}, r"settings of box_jaccard among .* got \['iuo'\]"),
        ({"plan": {"kind": "known"}}, "is told the number of attackers"),
    ],
)
def test_wrong_presets(change, message):
    with pytest.raises(InputError, match=message):
        DefensePreset.model_validate(GOOD | change).build()


def test_settings_become_plain_json():
    made = plain(policy("robosac-known").make(1))
    assert json.loads(json.dumps(made)) == made
    assert made["plan"] == {"kind": "Known", "attackers": 1, "ratio": None, "budget": 32}
