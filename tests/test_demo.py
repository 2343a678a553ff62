"""The main job on the shipped weights, small: the same figures on any number of processes, and files that open."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from robosac.cli import main
from robosac.executors import Processes
from robosac.experiments import work
from robosac.experiments.demo import POLICIES, DemoSettings, blocks_of, notes_of, run_demo
from robosac.experiments.figures import demo_figures
from robosac.experiments.provenance import environment
from robosac.experiments.report import demo_page, write_demo
from robosac.types import InputError

SETTINGS = DemoSettings(scenes=1, frames=1, pictures=1, attackers=(0, 2))


def untimed(result):
    """Everything a run found, timings aside."""
    plain = result.to_dict("robosac demo", environment(1, 1))
    for row in plain["rows"]:
        row.pop("ms")
    for frame in plain["frames"]:
        frame.pop("ms")
    return plain["rows"], plain["frames"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(folder):
    return run_demo(SETTINGS, folder, Processes(jobs=1, threads=1))


def test_every_cell_is_there(result):
    assert [(r.attackers, r.summary.policy) for r in result.rows] == [(m, p) for m in (0, 2) for p in POLICIES]
    assert all(r.summary.frames == 1 for r in result.rows)


def test_two_processes_find_the_same(tmp_path):
    settings = replace(SETTINGS, scenes=2, attack="noise", attackers=(2,), policies={"as in paper": "paper"})
    one, two = (run_demo(settings, tmp_path / str(n), Processes(jobs=n, threads=1)) for n in (1, 2))
    assert [r.summary.frames for r in one.rows] == [2]
    assert untimed(one) == untimed(two) and [s.panels for s in one.shots] == [s.panels for s in two.shots]


def test_what_is_done_is_not_done_again(result, folder, monkeypatch):
    """The same demo in the same folder plays no scene, draws its pictures, and finds what it found."""
    monkeypatch.setattr(work, "play_scene", None)
    again = run_demo(SETTINGS, folder, Processes(jobs=1, threads=1))
    assert untimed(again) == untimed(result) and [s.panels for s in again.shots] == [s.panels for s in result.shots]


def test_without_attackers_nobody_attacks_and_collaboration_helps(result):
    ap = {(r.attackers, r.summary.policy): r.summary.ap[0.5].value for r in result.rows}
    assert ap[0, "no defence"] == ap[0, "oracle"] == ap[0, "all honest"] == ap[2, "all honest"]
    assert ap[0, "ego only"] == ap[2, "ego only"] < ap[0, "all honest"]
    assert ap[2, "no defence"] < ap[2, "oracle"]


def test_rows_of_who_knows_the_defence(tmp_path):
    """As many attackers as attack at most, on the first scenes, beside the ego, nobody's defence and the oracle."""
    policies = {"ego only": "ego-only", "robosac, as in paper": "paper", "robosac, count unknown": "robosac"}
    settings = DemoSettings(
        scenes=3, frames=2, pictures=0, attack="noise", knowing="noise", knowing_scenes=2, policies=policies
    )
    heard = []
    found = run_demo(settings, tmp_path, Processes(jobs=1, threads=1), tell=lambda *done: heard.append(done))
    assert [(r.attackers, r.summary.policy) for r in found.knowing] == [(2, "ego only"), (2, "robosac, count unknown")]
    assert all(r.summary.frames == 2 for r in found.knowing)
    assert [len(rows) for rows in blocks_of(found).values()] == [3, 3, 3, 2]
    assert {total for _, total in heard} == {heard[-1][0]} and sorted(d for d, _ in heard) == [d for d, _ in heard]
    told = found.to_dict("robosac demo", environment(1, 1))
    assert len(told["knowing"]) == 2 and told["config"]["knowing"] == "noise"
    page = demo_page(found, demo_figures(found), told)
    assert any("Who knows every rule of the defence (noise, 2 attackers, 2 scenes)" in line for line in page.summary)


def test_a_detector_that_such_an_attack_cannot_take_on_says_so(tmp_path):
    settings = DemoSettings(scenes=1, frames=1, pictures=0, detector="late:mean", attack="box_spoof", knowing_scenes=1)
    found = run_demo(settings, tmp_path, Processes(jobs=1, threads=1))
    assert len(found.rows) == 3 * len(POLICIES) and not found.knowing and len(found.unplayed) == 1
    assert "evasive_balanced, 2 attackers: " in found.unplayed[0] and found.unplayed[0] in notes_of(found, warned=False)


@pytest.mark.parametrize("changes", [{"attackers": (0,)}, {"policies": {"paper": "paper"}}, {"knowing_scenes": 0}])
def test_nobody_who_knows_is_played_where_nothing_would_be_shown(changes):
    assert replace(DemoSettings.full(), **changes).knowing_grid is None


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.images = [], 0

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.outside.append(value)
        self.images += tag == "img"


def test_files(result, tmp_path):
    files = write_demo(result, tmp_path, command="robosac demo", environment=environment(1, 1))
    assert files[0] == tmp_path / "report.html" and all(f.exists() for f in files)
    page = Links()
    page.feed(files[0].read_text())
    assert page.outside == [] and page.images >= 4
    saved = json.loads((tmp_path / "result.json").read_text())
    assert saved["config"]["attack_settings"]["epsilon"] == 0.5
    assert saved["config"]["simulation"]["kind"] == "SimConfig"
    assert (tmp_path / "frame-0-strip.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_line_prints_json(tmp_path, capsys):
    asked = ["--attack", "noise", "--scenes", "1", "--knowing-scenes", "0", "--jobs", "1", "--json"]
    main_exit(["demo", *asked, "--out", str(tmp_path / "run")], 0)
    printed = json.loads(capsys.readouterr().out)
    assert printed["command"] == f"robosac demo --attack noise --scenes 1 --knowing-scenes 0 --out {tmp_path / 'run'}"
    assert printed["knowing"] == []
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["demo", "--detector", "nope"], "expected a shipped detector"),
        (["demo", "--attack", "nope"], "expected an attack preset"),
        (["demo", "--epsilon", "-1"], "expected epsilon"),
        (["calibrate", "--frames", "3"], "at least 49 frames"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(args, message, capsys):
    main_exit(args, 2)
    said = capsys.readouterr().err.strip()
    assert message in said and "Traceback" not in said


def main_exit(args, code):
    try:
        main(args)
    except SystemExit as stop:
        assert (stop.code or 0) == code
    else:
        assert code == 0


def test_settings_are_checked():
    with pytest.raises(InputError, match="scenes >= 1"):
        DemoSettings(scenes=0)
