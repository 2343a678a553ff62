"""Figures in pages against the records and laws that printed them, where these are in the repository."""

from __future__ import annotations

import json
import re
from pathlib import Path

from robosac.budget import Law, success, trials
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
