"""The table of recorded data says what the frames say: sides, drives, who was used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import recorded
from robosac.cli.simulate import Simulate, write
from robosac.evaluation.ap import FP, TP, FrameMatches
from robosac.evaluation.metrics import FrameRecord


def record(scenario: str, *found: int, used: str = "", attackers: str = "", objects: int = 1) -> FrameRecord:
    """A frame with two teammates, `a` and `b`, whose boxes are true or false positives."""
    outcome = np.tile(np.array(found, np.int8), (3, 1))
    matches = FrameMatches((0.3, 0.5, 0.7), np.linspace(0.9, 0.5, len(found)), outcome, objects)
    names = (frozenset(attackers), frozenset("ab"), frozenset(used), frozenset[str]())
    return FrameRecord(scenario, 0, *names, 1, 1, {}, False, {}, matches)


def test_sides_and_drives_are_told_apart() -> None:
    row = recorded.Row("pgd", "robosac", (record("d1/car", TP), record("d1/unit", FP), record("d2/car", FP)))
    assert row.ap(ego="car") == 0.25 and row.ap(ego="unit") == 0 and row.ap(drive="d2") == 0
    assert row.drives == ["d1", "d2"] and row.over_drives() == "0.250 / 0.000"
    *_, line = recorded.table([row])
    assert line.split(" | ")[4:7] == ["0.250", "0.000", "0.250 / 0.000"]


def test_there_is_no_interval_of_one_drive_and_one_of_many() -> None:
    assert recorded.Row("pgd", "none", (record("d/a", TP), record("d/b", FP))).over_drives() == "–"
    many = [record(f"d{k}/car", TP if k % 2 else FP) for k in range(6)]
    low, high = json.loads(recorded.Row("pgd", "none", tuple(many)).over_drives())
    assert 0 <= low < high <= 1


def test_who_is_used_and_who_is_lost() -> None:
    frames = (record("d/x", TP, used="ab", attackers="a"), record("d/x", TP, used="b", attackers="a"))
    assert recorded.Row("pgd", "none", frames).taken() == "0.50 | 0.00"
    assert recorded.Row("nobody", "none", (record("d/x", TP, used="b"),)).taken() == "– | 0.50"
    assert recorded.Row("pgd", "none", (record("d/x", TP, attackers="ab"),)).taken() == "0.00 | –"


def test_a_recording_is_played_once_for_each_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Simulate(out=tmp_path / "w", split="val", scenes=2, frames=1, vehicles=2, beams=16, columns=256, jobs=1))
    asked = ["--detector", "mean", "--data", f"opv2v:{tmp_path / 'w' / 'val'}", "--attack", "gps_offset"]
    asked += ["--defense", "ego-only", "none", "--out", str(tmp_path / "r")]
    recorded.main(asked)
    first = capsys.readouterr()
    lines = [line for line in first.out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[:2] for line in lines[1:]] == [
        ["| nobody", "ego-only"],
        ["| nobody", "none"],
        ["| gps_offset", "none"],
    ]
    assert "6 frames of 2 drives, 2.0 teammates" in first.out
    monkeypatch.setattr("robosac.experiments.work.play", None)  # all of it is kept
    recorded.main(asked)
    assert capsys.readouterr().out.splitlines()[2:] == first.out.splitlines()[2:]
