"""`robosac budget` and the command line itself: output, exit codes, how fast, and what is never imported."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import robosac
from robosac import cli
from robosac.budget import Law, Verifier, outcome
from robosac.cli import budget as command
from robosac.cli.budget import Question, answer
from robosac.errors import InputError, RobosacError

TEAM = ["budget", "--teammates", "5", "--attackers", "2"]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(args)
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in JSON")

    code, out, err = run(capsys, *args, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out, parse_constant=refuse)
    return found


def test_trials_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *TEAM, "--subset", "3")
    assert (code, err) == (0, "")
    rows = {
        line.split("  ")[0].strip(): line.split()[-6:]
        for line in out.splitlines()
        if "exact," in line or "paper" in line
    }
    assert rows["paper's formula"] == ["0.216", "19", "0.990", "0.865", "1", "4.58"]
    assert rows["exact, repeats"][1] == "44"
    assert rows["exact, no repeats"][1] == "10"


def test_trials_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(
        capsys, *TEAM, "--subset", "3", "--max-trials", "10", "--false-accept", "0.02", "--false-reject", "0.1"
    )
    assert {row["law"]: row["count"] for row in found["trials"]} == {"paper": 19, "independent": 44, "no_repeats": 10}
    assert [row["at"] for row in found["trials"]] == [10, 10, 10]
    assert {row["law"]: row["size"] for row in found["largest_subset"]} == {
        "paper": 1,
        "independent": 1,
        "no_repeats": 3,
    }
    assert len(found["outcomes"]) == 6
    for row in found["outcomes"]:
        assert row["clean"] + row["contaminated"] + row["none"] == pytest.approx(1)
    whole = [row for row in found["outcomes"] if row["refusals"] == "whole frames"]
    assert all(row["none"] >= 0.1 for row in whole)


def test_the_whole_grid(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "budget", "--teammates", "5", "--table")
    assert len(found["table"]) == 5 + 4 + 3 + 2 + 1
    row = next(r for r in found["table"] if (r["attackers"], r["subset"]) == (1, 4))
    assert (row["trials_paper"], row["trials_independent"], row["trials_no_repeats"]) == (9, 21, 5)
    assert row["true_success_at_paper"] == pytest.approx(0.866, abs=5e-4)
    code, out, _ = run(capsys, "budget", "--teammates", "5", "--table")
    assert code == 0
    assert len([line for line in out.splitlines() if line.strip()[:1].isdigit()]) >= 15


def test_unknown_attackers_give_the_probing_limits(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "budget", "--teammates", "5")
    assert {row["subset"]: row["tries_paper"] for row in found["a2cp"]} == {5: 1, 4: 9, 3: 19, 2: 27, 1: 21}
    sure = run_json(capsys, "budget", "--teammates", "5", "--confidence", "1")
    assert {row["subset"]: row["tries_no_repeats"] for row in sure["a2cp"]} == {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}
    assert sure["a2cp"][0]["tries_paper"] is None


def test_a_ratio_is_rounded_up(capsys: pytest.CaptureFixture[str]) -> None:
    for ratio, m in (("0.4", 2), ("2/5", 2), ("0.41", 3), ("0", 0), ("1", 5)):
        found = run_json(capsys, "budget", "--teammates", "5", "--ratio", ratio, "--subset", "1")
        assert found["question"]["attackers"] == m


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--attackers", "3", "--subset", "3"], "impossible: only 2 honest teammates for a subset of 3"),
        (["--attackers", "5", "--subset", "1"], "impossible: no honest teammates"),
        (["--attackers", "5", "--table"], "impossible: no honest teammates"),
        (["--attackers", "5", "--max-trials", "9"], "the ego alone: no honest teammates"),
        (["--attackers", "2", "--subset", "3", "--confidence", "1"], "draw without repeats"),
        (["--attackers", "0", "--max-trials", "0"], "no subset of teammates reaches 0.99 in 0 trials"),
        (["--attackers", "1", "--max-trials", "20"], "the paper's formula would say 7"),
        (["--attackers", "2", "--subset", "3", "--false-accept", "1"], "no number of trials reaches more than"),
    ],
)
def test_impossible_is_an_honest_answer(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "budget", "--teammates", "5", *args)
    assert (code, err) == (0, "")
    assert said in " ".join(out.split())
    run_json(capsys, "budget", "--teammates", "5", *args)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--attackers", "6", "--subset", "1"], "expected attackers to be a whole number >= 0 and <= 5, got 6"),
        (["--attackers", "2", "--subset", "6"], "expected subset to be a whole number >= 0 and <= 5, got 6"),
        (["--attackers", "2", "--subset", "-1"], "expected --subset >= 0, got -1; give a whole number"),
        (["--attackers", "2", "--max-trials", "-1"], "expected --max-trials >= 0, got -1"),
        (["--attackers", "2", "--subset", "3", "--confidence", "1.5"], "expected confidence to be a number in [0, 1]"),
        (["--attackers", "2", "--subset", "3", "--confidence", "nan"], "expected confidence to be a number in [0, 1]"),
        (
            ["--attackers", "2", "--subset", "3", "--false-accept", "-1"],
            "expected false_accept to be a number in [0, 1]",
        ),
        (["--ratio", "1.2", "--subset", "3"], "expected ratio to be a number in [0, 1], got '1.2'"),
        (["--attackers", "2", "--ratio", "0.4", "--subset", "3"], "expected --attackers or --ratio, got both"),
        (["--attackers", "2"], "expected a question, got only a team; add --subset S, --max-trials N or --table"),
        (["--subset", "3"], "expected the number of attackers, got none; add --attackers M or --ratio R"),
        (["--plot", "b.png"], "expected --attackers (or --ratio) and --subset for --plot"),
        (["--attackers", "2", "--subset", "3", "--plot", "b.txt"], "expected a picture named *.png or *.pdf or *.svg"),
    ],
)
def test_wrong_arguments_exit_with_two(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "budget", "--teammates", "5", *args)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_and_what_is_no_option_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (
        ["budget"],
        ["budget", "--teammates", "x"],
        [*TEAM, "--no-such"],
        ["no-such"],
        ["train", "--config", "no"],
    ):
        code, _, err = run(capsys, *args)
        assert code == 2
        assert "Traceback" not in err


def test_a_grid_too_large_to_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "budget", "--teammates", "1000", "--table")
    assert code == 2
    assert "expected a table of at most 500 rows, got 500500; give --attackers or fewer teammates" in err


def test_numbers_of_any_size_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "budget", "--teammates", "1000", "--attackers", "400", "--subset", "500")
    assert len(str(found["trials"][1]["count"])) == 185
    code, out, _ = run(capsys, "budget", "--teammates", "1000", "--attackers", "400", "--subset", "500")
    assert code == 0
    assert "e+184" in out


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_picture(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "new" / f"budget{ending}"
    found = run_json(capsys, *TEAM, "--subset", "3", "--plot", str(picture))
    assert found["plot"] == str(picture)
    assert picture.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_a_picture_shows_each_budget_and_what_the_papers_is_worth() -> None:
    from robosac.viz.budget_plot import plot_budget

    ax = plot_budget(5, 2, 3).axes[0]
    assert ax.get_legend_handles_labels()[1] == [
        "paper's formula: N = 19",
        "exact, repeats: N = 44",
        "exact, no repeats: N = 10",
    ]
    assert "the paper's 19 trials\nsucceed with 0.865" in [text.get_text() for text in ax.texts]
    assert (
        len(plot_budget(5, 3, 3).axes[0].get_legend_handles_labels()[1]) == 2
    )  # nothing to draw for the paper's formula
    with pytest.raises(InputError, match="add --max-trials"):
        plot_budget(1000, 400, 500)
    assert plot_budget(1000, 400, 500, max_trials=20).axes[0].get_xlim() == (0, 20)


@pytest.mark.parametrize(("error", "code"), [(InputError("bad\ninput"), 2), (RobosacError("it failed"), 1)])
def test_the_projects_errors_are_one_line(
    error: RobosacError, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command, "answer", fail)
    found, out, err = run(capsys, *TEAM, "--subset", "3")
    assert (found, out, err) == (code, "", f"robosac: {' '.join(str(error).split())}\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device", "x.png"), 1, "robosac: [Errno 28] No space left on device: 'x.png'\n"),
        (OSError(), 1, "robosac: OSError\n"),
        (KeyboardInterrupt(), 130, "robosac: stopped\n"),
    ],
)
def test_what_the_system_refuses_and_what_is_stopped_are_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command, "answer", fail)
    assert run(capsys, *TEAM, "--subset", "3") == (code, "", said)


@pytest.mark.parametrize(
    "args",
    [
        [*TEAM, "--subset", "3", "--plot", "file/b.png"],
        ["demo", "--scenes", "1", "--out", "file/x"],
        ["calibrate", "--frames", "50", "--out", "file/x.json"],
        ["train", "--config", "tiny.yaml", "--out", "file/x"],
        ["train", "--config", "tiny.yaml", "--out", "file"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_to_is_told_before_the_work(
    args: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    for name in ("demo.run_demo", "demo.progress_bar", "calibrate.progress_bar", "calibrate.make_executor"):
        monkeypatch.setattr(f"robosac.cli.{name}", work)
    monkeypatch.setattr("robosac.detectors.bev.training.train.load_split", work)
    monkeypatch.setattr("robosac.viz.budget_plot.plot_budget", work)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "tiny.yaml").write_text("name: tiny\n")
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("robosac: expected a folder that can be written to, got file")
    assert err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "tiny.yaml"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
@pytest.mark.parametrize(
    "args", [["demo", "--scenes", "1", "--out", "/proc/x"], [*TEAM, "--subset", "3", "--plot", "/proc/b.png"]]
)
def test_a_place_that_takes_no_files(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected a folder that can be written to, got /proc" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["demo", "--detector", "nope"], "expected a shipped detector"),
        (["demo", "--attack", "nope"], "expected an attack preset"),
        (["demo", "--epsilon", "-1"], "expected epsilon"),
        (["calibrate", "--frames", "3"], "expected at least 49 frames"),
        (["calibrate", "--alpha", "0"], "expected alpha inside (0, 1), got 0.0"),
        (["calibrate", "--alpha", "nan"], "expected alpha inside (0, 1), got nan"),
        (["calibrate", "--detector", "nope", "--out", "c.json"], "expected a shipped detector"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_names_are_told_before_a_bar_appears(
    args: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bar(*_: object, **__: object) -> None:
        raise AssertionError("the bar appeared")

    monkeypatch.setattr("robosac.cli.demo.progress_bar", bar)
    monkeypatch.setattr("robosac.cli.calibrate.progress_bar", bar)
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *args)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"robosac: {said}")
    assert not list(tmp_path.iterdir())


def test_the_demos_command_can_be_typed_again() -> None:
    from robosac.cli.demo import _command
    from robosac.experiments.demo import DemoSettings

    changes = {"seed": 0, "detector": "my weights/it's.safetensors", "attack": "pgd", "epsilon": 0.25}
    typed = _command(True, Path("my runs"), changes, DemoSettings.fast())
    again = ["--detector", "my weights/it's.safetensors", "--epsilon", "0.25", "--out", "my runs"]
    assert shlex.split(typed) == ["robosac", "demo", "--fast", *again]


def test_the_help_says_where_things_go(capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("calibrate", "what is shipped stays as it is"), ("train", "[default: runs/train]")):
        _, out, _ = run(capsys, name, "-h")
        assert said in " ".join(out.split())


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"robosac {robosac.__version__}\n", "")
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in ("budget", "demo", "train", "calibrate"))


def test_answers_hold_the_question_and_only_plain_data() -> None:
    found = answer(Question(teammates=5, ratio="0.4", subset=3, confidence="99/100"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["question"]["attackers"] == 2
    assert found["question"]["confidence"] == 0.99


def test_the_budget_needs_no_arrays_no_torch_and_no_screen() -> None:
    heavy = {"numpy", "scipy", "torch", "pandas", "open3d", "matplotlib", "shapely", "mpmath"}
    code = (
        "import sys, robosac\nfrom robosac.cli import main\n"
        "try: main(['budget', '--teammates', '5', '--attackers', '2', '--subset', '3'])\n"
        f"finally: print('heavy:', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert done.stdout.endswith("heavy: []\n")


def test_python_dash_m(tmp_path: Path) -> None:
    args = [sys.executable, "-m", "robosac", *TEAM, "--subset", "6"]
    done = subprocess.run(args, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("robosac: expected subset")


def commands_of_the_docs() -> list[str]:
    text = (Path(__file__).parents[1] / "docs" / "budgets.md").read_text()
    blocks = text.split("```sh\n")[1:]
    return [line.split("#")[0].strip() for block in blocks for line in block.split("```")[0].splitlines()]


@pytest.mark.parametrize("line", commands_of_the_docs())
def test_the_commands_of_the_docs(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *args = line.split()
    assert program == "robosac"
    assert run(capsys, *args)[::2] == (0, "")


def test_the_figures_of_the_docs() -> None:
    """The table of an erring verifier in docs/budgets.md, row by row."""
    text = (Path(__file__).parents[1] / "docs" / "budgets.md").read_text()
    rows = [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if "| in each trial |" in line
    ]
    rows += [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if "| whole frames |" in line
    ]
    assert len(rows) == 6
    for n, refusals, *figures in rows:
        verifier = Verifier(0.02, frame_reject=0.1) if refusals == "whole frames" else Verifier(0.02, false_reject=0.1)
        found = outcome(5, 2, 2, int(n), law=Law.INDEPENDENT, verifier=verifier)
        assert [float(f) for f in figures[:3]] == pytest.approx([found.clean, found.contaminated, found.none], abs=6e-4)
        assert float(figures[3]) == pytest.approx(found.expected_trials, abs=0.06)


def test_the_list_of_commands_says_what_each_help_says() -> None:
    group = typer.main.get_command(cli.app)
    for name, line in cli.COMMANDS.items():
        told = group.commands[name].help  # type: ignore[attr-defined]
        assert " ".join((told or "").split()).startswith(line.rstrip("."))


def test_a_mistyped_command_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "evalute")
    assert (code, out) == (2, "")
    assert err == "robosac: there is no command 'evalute'; did you mean 'evaluate'? (robosac -h)\n"


def test_what_a_certificate_takes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "budget", "--teammates", "5", "--attackers", "1", "--certify")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.startswith(" 1 ")]
    assert rows[1] == ["1", "2", "10", "4", "5", "9", "2", "never"]
    found = run_json(capsys, "budget", "--teammates", "20", "--certify", "--subset", "2", "--max-trials", "60")
    assert [row["attackers"] for row in found["certify"]] == [1, 2]
    assert found["certify"][1]["not_invented"] == 19
    assert found["certify"][1]["holds"] >= 0.99
    assert set(found) == {"question", "certify"}
    sizes = run_json(capsys, "budget", "--teammates", "1", "--certify")["certify"]
    assert [(r["attackers"], r["subset"], r["not_invented"]) for r in sizes] == [(1, 1, None)]


def test_frames_until_an_attacker_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *TEAM, "--audit", "1/5")
    assert (code, err) == (0, "")
    assert "a pass checks every teammate once in 5 frames" in " ".join(out.split())
    assert [line.split()[-5:] for line in out.splitlines() if line.startswith(" dealt anew")] == [
        ["1", "5", "1", "5", "3"],
        ["1", "9", "1", "9", "3.6"],
        ["2", "4", "1", "4", "2"],
        ["2", "6", "0.990", "7", "2.2"],
    ]
    found = run_json(capsys, "budget", "--teammates", "5", "--audit", "0.2", "--confidence", "1")
    assert [row["count"] for row in found["audit"]] == [5, 9, None]
    assert found["question"]["audit"] == 0.2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--audit", "2"), "expected audit to be a number in [0, 1], got '2'"),
        (("--audit", "0"), "expected a rate in [0.001, 1], got 0"),
        (("--audit", "0.1", "--attackers", "0"), "expected --attackers M >= 1 with --audit, got 0"),
        (("--certify", "--attackers", "7"), "expected attackers to be 0 to 5, got 7"),
        (("--certify", "--subset", "6"), "expected subset to be 1 to 5, got 6"),
    ],
)
def test_wrong_questions_of_certificates_and_audits(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "budget", "--teammates", "5", *args)
    assert (code, out) == (2, "")
    assert message in err
