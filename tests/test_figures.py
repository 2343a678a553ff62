"""Figures in pages against the records and laws that printed them, where these are in the repository."""

from __future__ import annotations

import json
import re
from math import comb
from pathlib import Path

from benchmarks.readme import RECORD, fill
from robosac.budget import Law, Verifier, outcome, success, trials
from robosac.cli.detectors import described
from robosac.detectors import SHIPPED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DETECTORS = " ".join((ROOT / "docs" / "detectors.md").read_text().split())


def record(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((ROOT / "detectors" / "weights" / f"{name}.json").read_text())
    return found


def test_how_long_training_took() -> None:
    (minutes,) = re.findall(r"(\d+) minutes \(mean\.json\)", README)
    assert int(minutes) == round(float(str(record("mean")["train_minutes"])))


def test_the_validation_of_road_mean() -> None:
    found = record("road-mean")["validation"]
    assert isinstance(found, dict)
    frames, ego, everybody = re.findall(
        r"on (\d+) frames of validation scenes of `sim:road`, it has (\d\.\d+) / (\d\.\d+)", DETECTORS
    )[0]
    assert int(frames) == found["frames"]
    assert [float(ego), float(everybody)] == [round(found["ego_ap50"] + 1e-9, 3), round(found["all_ap50"], 3)]


def test_what_the_paper_s_formula_promises() -> None:
    said = re.findall(r"it asks for (\d+) trials and promises 99 %; the true probability is (\d+\.\d) %", README)[0]
    count = trials(5, 2, 3, "0.99", law=Law.PAPER).count
    assert count == int(said[0]) and f"{100 * success(5, 2, 3, count, law=Law.INDEPENDENT):.1f}" == said[1]
    (certain,) = re.findall(r"Drawn without repeats, (\d+) trials", " ".join(README.split()))
    assert success(5, 2, 3, int(certain), law=Law.NO_REPEATS) == 1 > success(5, 2, 3, 9, law=Law.NO_REPEATS)


def test_who_is_not_calibrated() -> None:
    (line,) = [text for text in README.splitlines() if "not calibrated for the default" in text]
    named = set(re.findall(r"`([\w-]+)`", line.partition("are not calibrated")[0]))
    assert named == {name for name in SHIPPED if described(name)["calibrated"] != "yes"}


def test_the_demo_s_values_are_within_their_intervals() -> None:
    rows = [
        line.replace("**", "").split("|")[1:-1] for line in README.splitlines() if re.match(r"\|\W*[012]\W*\|", line)
    ]
    assert len(rows) >= 21
    for m, _, ap, *_ in rows:
        value, low, high = map(float, re.findall(r"\d\.\d+", ap))
        assert m.strip() in "012" and low - 0.005 <= value <= high + 0.005


# ------------------------------------------------------------------------------------------- which command printed them
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"robosac (demo|evaluate|ap|budget|fleet|leaderboard|calibrate|train)|benchmarks\.\w+|`fleet_\w+`")
DECIMALS = re.compile(r"(?<![\w.@])\d?\.\d{2,3}\b")


def sections(text: str) -> list[tuple[str, str]]:
    """Each section with all that it is a part of: its heading, and the text from the last `##` to its end."""
    found, of, plain = (
        list[tuple[str, str]](),
        "",
        re.sub(r"^```.*?^```", lambda m: m[0].replace("\n#", "\n "), text, flags=re.M | re.S),
    )
    for part in re.split(r"(?m)^(?=#{1,6} )", plain):
        heading = part.partition("\n")[0]
        of = part if re.match(r"##? ", heading) else of + part
        found.append((heading, of))
    return found


def unsourced(text: str) -> list[str]:
    """Headings of sections that hold a table of figures, and no command that prints it."""
    tables = re.compile(r"(?m)(?:^\|.*\n?)+")
    return [
        heading
        for heading, whole in sections(text)
        if any(len(DECIMALS.findall(t)) > 3 for t in tables.findall(whole)) and not COMMAND.search(whole)
    ]


def test_every_table_of_figures_names_the_command_that_printed_it() -> None:
    assert {page.name: found for page in PAGES if (found := unsourced(page.read_text()))} == {}
    table = "| a | b |\n|--|--|\n| 0.123 | 0.456 |\n| 0.789 | 0.321 |\n"
    assert unsourced(f"## X\n\n{table}") == ["## X"] and unsourced(f"## X\n`robosac demo`\n\n### Y\n{table}") == []


def test_the_demo_s_table_is_that_of_its_record() -> None:
    kept = json.loads(RECORD.read_text())
    assert fill(README, kept) == README
    changed = json.loads(RECORD.read_text().replace('"ego only"', '"ego"', 1))
    assert fill(README, changed) != README


BUDGETS = (ROOT / "docs" / "budgets.md").read_text()


def rows_below(heading: str) -> list[list[str]]:
    """The cells of a table of docs/budgets.md, by the beginning of its first line."""
    lines = BUDGETS[BUDGETS.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_trials_of_the_page_are_those_of_the_laws() -> None:
    for about, *said in rows_below("| A, m, s | N paper"):
        of = tuple(map(int, about.split(",")))
        paper, exact, once = (
            trials(*of, "0.99", law=law).count for law in (Law.PAPER, Law.INDEPENDENT, Law.NO_REPEATS)
        )
        true = f"{float(success(*of, int(said[0]), law=Law.INDEPENDENT)):.3f}".lstrip("0")
        assert said == [str(paper), true, str(exact), str(once)]


def test_a_verifier_that_errs_is_that_of_the_page() -> None:
    for count, how, *said in rows_below("| N | refusals"):
        refusals = {"in each trial": "false_reject", "whole frames": "frame_reject"}[how]
        found = outcome(5, 2, 2, int(count), law=Law.INDEPENDENT, verifier=Verifier(0.02, **{refusals: 0.1}))
        parts = [f"{float(v):.3f}".lstrip("0") for v in (found.clean, found.contaminated, found.none)]
        assert said == [*parts, f"{float(found.expected_trials):.1f}"]


def test_what_a_certificate_takes_is_that_of_the_page() -> None:
    for row in rows_below("| m | s | subsets"):
        m, s, total = map(int, row[:3])
        attacked = comb(5, s) - comb(5 - m, s)
        votes = [str(n) if n <= total else "never" for n in (attacked + 1, 2 * attacked + 1)]
        apart = [str(n) if n * s <= 5 else "never" for n in (m + 1, 2 * m + 1)]
        assert row[2:] == [str(comb(5, s)), str(attacked), *votes, *apart]
