"""`robosac attacks`: the table, one attack, the gallery; and what was sent, in words."""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robosac import attacks
from robosac.attacks import features, registry
from robosac.attacks.registry import kinds
from robosac.cli import attack_gallery, main
from robosac.cli.attack_words import acts, differs, said_by, wrapped
from robosac.cli.attacks import brief
from robosac.registry.attacks import open_attack
from robosac.types import Detections, InputError
from robosac.viz.gallery import Drawn, changes, gallery_page
from tests.attacks import test_every_attack
from tests.attacks.cases import Case
from tests.attacks.toy_pose import posed_air


def output(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as done:
        main(["attacks", *args])
    assert not done.value.code
    return capsys.readouterr().out


def test_the_table_has_every_attack_with_what_it_must_know(capsys):
    text = output(capsys)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert set(attacks.names()) <= set(lines)
    assert " MOV.. " in lines["pgd"] and " ..... " in lines["noise"]
    assert "hard" in lines["sleeper_pgd"] and "seen" in lines["pgd"] and "unseen" in lines["noise"]


def test_json_says_all_of_all_and_of_one(capsys):
    rows = json.loads(output(capsys, "--json"))
    assert [r["name"] for r in rows] == attacks.names()
    for row in rows:
        assert row["knows"][0] == "own data" and row["source"] and row["about"].endswith(".")
        assert row["novelty"] in ("seen", "unseen", "hard") and row["unit"] and row["budget"] > 0
    [one] = json.loads(output(capsys, "gps_offset", "--json"))
    assert one["stage"] == "pose" and one["knows"] == ["own data"]
    assert one["settings"] == {"kind": "GpsOffset", "offset_m": 2.0}
    [own] = json.loads(output(capsys, "pgd:steps=3", "--json"))
    assert (own["name"], own["settings"]["steps"]) == ("pgd:steps=3", 3)
    assert [r["name"] for r in json.loads(output(capsys, "pgd", "drop", "--json"))] == ["pgd", "drop"]


def test_one_attack_is_shown_with_its_settings(capsys):
    text = output(capsys, "sleeper_pgd")
    for part in (
        "needs to know  own data, the model",
        "0.5 L-inf a feature",
        "until: 5",
        "kind: Pgd",
        "ours: honest for",
    ):
        assert part in text


def test_a_wrong_name_lists_the_right_ones(capsys):
    with pytest.raises(SystemExit) as done:
        main(["attacks", "pdg"])
    assert done.value.code == 2
    assert "expected attacks among" in (err := capsys.readouterr().err) and "'pdg'" in err and "pgd_balanced" in err


def test_the_gallery_has_a_picture_of_each_and_a_page(capsys, tmp_path, monkeypatch):
    real = attack_gallery.before_after

    def play(settings, attack, victim):
        if attack == attacks.load("heading_bias"):
            raise InputError("expected a <compass>, got none")
        return real(settings, attack, victim)

    monkeypatch.setattr(attack_gallery, "before_after", play)
    names = ["noise", "sold_as_fresh", "heading_bias"]
    found = json.loads(output(capsys, *names, "--gallery", str(tmp_path / "g"), "--attackers", "1", "--json"))
    assert set(found["pictures"]) == {"noise", "sold_as_fresh"}
    assert found["skipped"] == {"heading_bias": "expected a <compass>, got none"}
    for path in found["pictures"].values():
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    page = Path(found["page"]).read_text()
    assert page.count("<img ") == 2 and 'src="noise.png"' in page and "no picture: expected a &lt;compass&gt;" in page
    assert "the payload of frame 4" in page and "features moved by at most" in page
    assert sorted(p.name for p in (tmp_path / "g").iterdir()) == ["index.html", "noise.png", "sold_as_fresh.png"]


@pytest.mark.parametrize(("option", "value"), [("--detector", "nonsense"), ("--gallery", __file__)])
def test_what_cannot_be_drawn_is_told_before_the_work(option, value, tmp_path, capsys):
    given = {"--gallery": str(tmp_path / "g"), option: value}
    with pytest.raises(SystemExit) as done:
        main(["attacks", "noise", *(part for pair in given.items() for part in pair)])
    assert done.value.code == 2 and not (tmp_path / "g").exists()


def test_victims_fit_their_attacks():
    assert attack_gallery.victim_of(attacks.load("pgd"), "max") == "max"
    assert attack_gallery.victim_of(attacks.load("transfer_from_mean"), "mean") == "max"
    assert attack_gallery.victim_of(attacks.load("transfer_from_mean"), "attention") == "attention"


# ------------------------------------------------------------------------------------------------------------- words
def test_what_was_sent_in_words():
    honest = posed_air(["a"]).honest["a"]
    features = honest.payload["features"]
    assert differs(honest, honest) == "" and said_by(honest, []) == "sent nothing"
    assert said_by(honest, [honest, honest]) == "honest 2 times over"
    pose = np.array(honest.world_T_payload)
    pose[0, 3] += 3
    assert differs(honest, replace(honest, world_T_payload=pose)) == "a pose 3.00 m and 0.0 degrees off"
    half = features.copy()
    half[0, :2] += np.float32(0.25)
    assert differs(honest, honest.with_payload(features=half)) == "17% of features moved by at most 0.25"
    broken = features.copy()
    broken[:] = np.nan
    assert differs(honest, honest.with_payload(features=broken)) == "100% of features moved some to NaN or inf"
    assert differs(honest, honest.with_payload(slots=np.arange(9))) == "9 slots instead of 4"
    ghost = replace(honest, sender="a#0")
    assert said_by(honest, [honest, ghost]) == "honest and 1 invented senders, the first with the same message"
    old = posed_air(["a"], index=-1).honest["a"]
    stale = old
    assert said_by(honest, [stale], {4: old}).startswith("the payload of frame 4, a pose 1.00 m")
    assert said_by(honest, [honest], {4: old}) == "honest"


def test_who_acts():
    air = posed_air(["a", "b"])
    honest, both = air.honest, frozenset("ab")
    messages = list(honest.values())
    assert not acts(honest, messages, both)
    assert acts(honest, messages[:1], both) and acts(honest, [*messages, messages[0]], both)
    assert acts(honest, [messages[0], replace(messages[1], sensed_ns=0)], both)


def test_footnotes_fit_their_lines():
    assert wrapped(["one", "two", "x" * 300, "three"], width=20) == ["one · two", "x" * 17 + "...", "three"]
    assert len(wrapped(["x" * 20] * 9, width=20)) == 4


def test_a_source_in_brief():
    assert brief("ours: silence, the least") == "ours"
    assert brief("ROBOSAC (arXiv 2303.09495), experiments: eps 0.5") == "ROBOSAC (arXiv 2303.09495)"
    assert len(brief("word " * 30)) <= 38


# ---------------------------------------------------------------------------------------------------------- pictures
def boxes(*xs):
    rows = np.array([[x, 0, 0, 4, 2, 1.5, 0] for x in xs], np.float32).reshape(-1, 7)
    return Detections(rows, np.full(len(rows), 0.5, np.float32))


def test_changes_by_hand():
    gone, new = changes(boxes(0, 10), boxes(0.5, 20, 30))
    assert gone.tolist() == [False, True] and new.tolist() == [False, True, True]
    gone, new = changes(boxes(), boxes(1))
    assert gone.tolist() == [] and new.tolist() == [True]
    gone, new = changes(boxes(1), boxes())
    assert gone.tolist() == [True] and new.tolist() == []


def test_the_page_escapes_what_it_says():
    page = gallery_page("t", "s", [Drawn("<b>", {"a<": "b&"}, "x.png", '"alt"'), Drawn("n", {}, reason="<no>")])
    assert "<b>" not in page and "&lt;b&gt;" in page and "a&lt;" in page and "b&amp;" in page
    assert 'alt="&quot;alt&quot;"' in page and "&lt;no&gt;" in page


# -------------------------------------------------------------------------------------------------------------- docs
DOCS = (Path(__file__).parents[1] / "docs" / "attacks.md").read_text()


def test_the_docs_have_the_table_as_it_is(capsys):
    missing = [line for line in output(capsys, "--markdown").splitlines() if line and line not in DOCS]
    assert not missing, "put the table of `robosac attacks --markdown` into docs/attacks.md"
    said = set(re.findall(r"^\| `(\w+)` \| (?:points|features|boxes|pose|time|link) \|", DOCS, re.MULTILINE))
    assert said == set(attacks.names())


def test_the_attack_in_the_docs_is_one_file_and_keeps_every_law(tmp_path, monkeypatch):
    (block,) = [b for b in re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL) if "class Fade" in b]
    assert f"`attacks/features/fade.py`, has {len(block.splitlines())} lines" in DOCS
    (tmp_path / "fade.py").write_text(block)
    monkeypatch.setattr(registry, "_KINDS", dict(kinds()))
    monkeypatch.setattr(features, "__path__", [*features.__path__, str(tmp_path)])  # as if the file were in it
    registry._import_all.cache_clear()
    try:
        case = Case(attacks.load("fade"))
        assert type(case.attack) is attacks.Fade is kinds()["fade"]
        assert open_attack("fade:epsilon=0.05") == attacks.Fade(epsilon=0.05)
        laws = [f for name, f in vars(test_every_attack).items() if name.startswith("test_") and takes_a_case(f)]
        assert len(laws) >= 8
        for law in laws:
            for count in range(5) if "count" in inspect.signature(law).parameters else [None]:
                law(case) if count is None else law(case, count)
    finally:
        del sys.modules["robosac.attacks.features.fade"]


def takes_a_case(law):
    return "case" in inspect.signature(law).parameters
