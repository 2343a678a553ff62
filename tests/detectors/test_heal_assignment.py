"""HEAL's assignment file, as read for frames of ours: kinds by name, and what is said of names that have several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robosac.detectors.adapters.opencood.assignment import Assignment, read_assignment
from robosac.types import InputError

SAID = {"drive-1": {"641": "m1", "650": "m3", "9": "m2"}, "drive-2": {"641": "m4", "650": "m3", "7": "m1"}}


def hypes(**heter: Any) -> dict[str, Any]:
    return {"heter": {"assignment_path": "assign/kinds.json", **heter}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "assign").mkdir()
    (tmp_path / "assign" / "kinds.json").write_text(json.dumps(SAID))
    return tmp_path


def test_kinds_by_name(place: Path) -> None:
    found = read_assignment(hypes(), ["m1", "m3"], [place / "elsewhere", place])
    assert found is not None and dict(found.kinds) == {"650": "m3", "7": "m1"}
    found.check("650")
    found.check("of another recording")
    with pytest.raises(InputError, match=r"agent '641', .*m1 in drive-1 and m4 in drive-2; .*framework:FOLDER"):
        found.check("641")
    with pytest.raises(InputError, match=r"agent '9', .*says m2, which is no LiDAR encoder of this model \(m1, m3\)"):
        found.check("9")


def test_the_configuration_maps_kinds_to_those_of_the_model(place: Path) -> None:
    found = read_assignment(hypes(mapping_dict=dict.fromkeys(("m1", "m2", "m3", "m4"), "m1")), ["m1"], [place])
    assert found == Assignment(dict.fromkeys(("641", "650", "9", "7"), "m1"))


@pytest.mark.parametrize("mapping", [["m1"], "m1", 3])
def test_a_mapping_of_another_form_is_refused(mapping: object, place: Path) -> None:
    with pytest.raises(InputError, match=r"expected heter\.mapping_dict to map kinds to kinds, .*got "):
        read_assignment(hypes(mapping_dict=mapping), ["m1"], [place])


@pytest.mark.parametrize("config", [{}, {"heter": None}, {"heter": {}}, {"heter": {"assignment_path": "absent.json"}}])
def test_without_a_file_nothing_is_assigned(config: dict[str, Any], place: Path) -> None:
    assert read_assignment(config, ["m1"], [place]) is None


@pytest.mark.parametrize("text", ["", "[]", '{"a": ["m1"]}', '{"a": {"b": 1}}', "{", "[" * 100_000])
def test_a_file_of_another_form_is_refused(text: str, place: Path) -> None:
    (place / "assign" / "kinds.json").write_text(text)
    with pytest.raises(InputError, match=r"expected .*kinds\.json to hold a kind of each agent of each scenario"):
        read_assignment(hypes(), ["m1"], [place])
