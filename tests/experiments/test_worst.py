"""Pictures of an experiment: the frames that its figures say are worst come first, drawn as they were played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from robosac.cli import main
from robosac.evaluation.ap import average_precision
from robosac.executors import Serial
from robosac.experiments import worst
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid

OWN = ("--detector", "tests.test_evaluate:Sparse", "--attack", "gps_offset", "--defense", "oracle,none")


@dataclass(frozen=True)
class Spec:
    name: str


@pytest.mark.parametrize(
    ("names", "said"),
    [("none,robosac,oracle", "robosac"), ("paper,robosac", "robosac"), ("none,pasac,paper", "pasac"), ("none", "none")],
)
def test_the_worst_frames_are_those_of_a_defence(names: str, said: str) -> None:
    assert worst.judged([Spec(n) for n in names.split(",")]).name == said  # type: ignore[misc]


def of(ap: float, scene: str, position: int = 0) -> worst.Ranked:
    return worst.Ranked(ap, scene, NAMED, NAMED, position)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Named:
    name: str = "d"


NAMED = Named()


def test_of_each_scene_its_worst_and_the_median_last() -> None:
    frames = [of(k / 9, scene, k) for k, scene in enumerate("aabbbccd")]
    assert [(f.position, why) for why, f in worst.chosen(frames, 4)] == [
        (0, "The worst of 8 frames"),
        (2, "Number 3 from below of 8 frames"),
        (5, "Number 6 from below of 8 frames"),
        (4, "A typical one: the median of 8 frames"),
    ]
    assert [f.position for _, f in worst.chosen(frames[:2], 3)] == [0, 1]
    assert [why for why, _ in worst.chosen(frames[:1], 3)] == ["The only frame"]
    assert worst.chosen(frames, 0) == worst.chosen([], 3) == []


def test_what_is_drawn_is_what_was_played(tmp_path: Path) -> None:
    grid = Grid(
        detector=("tests.test_evaluate:Sparse",), attack=("gps_offset",), attackers=(1,), defense=("oracle", "none"),
        scenes=2, frames=2,
    )  # fmt: skip
    experiment = open_experiment(grid, tmp_path)
    entries = run_experiment(experiment, Serial())
    frames = worst.ranked(experiment)
    assert [f.ap for f in frames] == sorted(f.ap for f in frames) and {f.block.m for f in frames} == {1}
    one = {f"{r.scenario}, frame {r.index} (": average_precision([r.matches])[0.5]
           for r in next(e for e in entries if (e.cell.m, e.cell.defense.name) == (1, "oracle")).records}  # fmt: skip
    shots = worst.draw(experiment, Serial(), 3)
    drawn = [(next(t for t in one if s.title.startswith(t)), s.rows) for s in shots]
    assert [one[title] for title, _ in drawn] == [rows[0]["ap50"] for _, rows in drawn]
    assert [rows[0]["policy"] for _, rows in drawn] == ["oracle"] * len(shots)
    assert all(s.panels.startswith(b"\x89PNG") and "under gps_offset by 1. " in s.text for s in shots)


def test_the_report_of_an_evaluation_shows_frames(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "evaluate",
                *OWN,
                "--scenes",
                "1",
                "--frames",
                "1",
                "--attackers",
                "1",
                "--jobs",
                "1",
                "--out",
                f"{tmp_path}",
            ]
        )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<article") == 1 and "The only frame, by oracle, under gps_offset by 1." in page
