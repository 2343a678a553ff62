"""What is measured of a defence by benchmarks: counts by hand, and differences that are paired."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import ablation, below_oracle, never_worse
from benchmarks.machine import by_cell
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.evaluation.ap import FrameMatches
from robosac.experiments.opened import look_up
from robosac.types import EGO_ALONE, BevGrid, Detections
from tests.defenses.honest import allowing
from tests.evidence.written import result
from tests.toy import GRID, view


def played(found: Detections, *, real: Detections | None = None, **verdict: Any) -> Any:
    """As `robosac.evaluation.play` plays a frame; of five teammates a and b attack."""
    corroborated = np.ones(len(found), np.bool_)
    said = {"used": EGO_ALONE, "accused": EGO_ALONE, "corroborated": corroborated, **verdict}
    boxes = (result() if real is None else real).boxes
    others = {i: view(i, [(0.0, 0.0)]) for i in "abcde"}
    return SimpleNamespace(
        verdict=SimpleNamespace(result=found, **said),
        truth=SimpleNamespace(boxes=boxes, attackers=frozenset("ab")),
        frame=SimpleNamespace(others=others, ego=view("ego", [(0.0, 0.0)])),
    )


REAL = result((0, 0), (10, 0), (20, 0))


def test_what_is_lost_and_what_is_added_by_hand() -> None:
    """The ego alone finds two of three and has one mistake; the defence loses one and has two others."""
    alone = played(result((0, 0), (10, 0), (50, 0), (20, 0, 0.2)), real=REAL)  # 0.2 is no box that it shows
    mine = played(
        result((0, 0), (20, 0), (60, 0), (70, 0), (80, 0, 0.2)),
        real=REAL,
        used=frozenset("cd"),
        accused=frozenset("ae"),
        corroborated=np.array([True, True, True, False, True]),
    )
    told = played(result((0, 0), (10, 0)), real=REAL)
    assert never_worse.whole(alone, mine, told) == {
        "sees": 2,
        "lost": 1,
        "oracle_lost": 0,
        "false": 2,
        "false_corroborated": 1,
        "false_alone": 1,
        "honest": 3,
        "accused": 1,
        "out": 1,
    }


def test_one_object_faked_or_hidden_by_hand() -> None:
    cell, grid = (int(GRID.rows) // 2, int(GRID.cols) // 2), GRID
    x, y = grid.x_min_m + (cell[1] + 0.5) * grid.cell_m, grid.y_min_m + (cell[0] + 0.5) * grid.cell_m
    there, empty = result((x, y)), result()
    one = never_worse.one_object

    def said(kind: str, mine: Detections, told: Detections, sure: bool = True) -> tuple[Any, Any]:
        found = one(kind, cell, grid, played(mine, corroborated=np.full(len(mine), sure)), played(told))
        return found["hit"], found.get("corroborated")

    assert said("fake_one", there, empty) == (True, True) and said("fake_one", there, empty, False) == (True, False)
    assert said("fake_one", empty, empty) == (False, False)
    assert said("fake_one", result((x, y, 0.2)), empty) == (False, False)  # no box that is shown
    assert said("fake_one", there, there)[0] is None  # something real is there
    assert said("hide_one", empty, there) == (True, False) and said("hide_one", there, there) == (False, False)
    assert said("hide_one", empty, empty)[0] is None  # nobody honest sees it


def test_whose_rays_pass_a_place() -> None:
    """Rays of a ring end on the ground out to 20 m: the ego's, those of a teammate 30 m off, nobody's."""
    ring = [(r * np.cos(a), r * np.sin(a)) for r in np.arange(2, 20, 0.5) for a in np.linspace(0, 2 * np.pi, 180)]
    points = np.array([[x, y, -1.8, 1.0] for x, y in ring], np.float32)
    grid = BevGrid(-40.0, -40.0, 1.0, 80, 80)

    def looking(at: float, seen: bool = True) -> Any:
        pose = np.eye(4)
        pose[0, 3] = at
        return SimpleNamespace(points=points if seen else points[:0], world_T_sensor=pose)

    def place(x: float, teammate: bool = True) -> str:
        cell = (40, int(x + 40))
        return never_worse.place_of(cell, grid, looking(0), [looking(30, teammate)])

    assert [place(10), place(30), place(-30), place(30, False)] == ["ego", "teammate", "nobody", "nobody"]


def test_a_row_of_counts() -> None:
    frame = {"sees": 50, "lost": 1, "oracle_lost": 0, "false": 3, "false_corroborated": 1, "false_alone": 2}
    text = never_worse.line("pgd", 2, [{**frame, "honest": 4, "accused": 0, "out": 1}] * 2)
    assert text.split() == ["pgd", "2", "2.0", "%", "0.0", "%", "-1.00", "+1.00", "0.0", "%", "25.0", "%"]


# ------------------------------------------------------------------------------------------------ below the oracle
def record(scene: int, hit: bool) -> Any:
    matches = FrameMatches((0.3, 0.5, 0.7), np.array([0.9]), np.full((3, 1), int(hit), np.int8), 1)
    teammates = frozenset("abc")
    return SimpleNamespace(
        scenario=f"s{scene}", index=0, matches=matches, honest=teammates, used=teammates - ({"a"} if hit else set())
    )


def entry(m: int, attack: str, defense: str, hits: list[bool]) -> Any:
    cell = SimpleNamespace(m=m, attack_label=attack, defense=SimpleNamespace(name=defense))
    return SimpleNamespace(cell=cell, records=[record(k, h) for k, h in enumerate(hits)])


def test_the_difference_to_the_oracle_is_paired_and_pooled_over_attacks() -> None:
    every, half = [True] * 8, [True, False] * 4
    rows = [entry(1, a, "robosac", half if a == "bad" else every) for a in ("fine", "bad")]
    rows += [entry(1, a, "oracle", every) for a in ("fine", "bad")]
    (text,) = below_oracle.lines("mean", "robosac", rows)
    words = text.split()
    lost = float(below_oracle.lost({"robosac": rows[1].records, "oracle": rows[3].records}, "robosac").value)
    assert lost > 0 and words[:2] == ["mean", "1"] and float(words[2]) == pytest.approx(100 * lost / 2, abs=0.01)
    assert float(words[3]) >= float(words[2]) and f"bad {100 * lost:.2f}" in text and "16 frames" in text
    (same,) = below_oracle.lines("mean", "robosac", [*rows[:1], rows[2]])
    assert same.split()[2:4] == ["0.00", "0.00"]  # no scatter where nothing differs: the resamples are shared


# ------------------------------------------------------------------------------------------------------- ablation
def test_a_limit_that_is_left_out_limits_nothing() -> None:
    made: Calibration = allowing(Robosac(), agreement=0.5, claims=3, together=2, strain=1.0)
    whole = Robosac().limits(made, "toy")
    for name, variant in ablation.VARIANTS.items():
        limits = variant.limits(made, "toy")
        values = {n: getattr(limits, n)(3) for n in ("agreement", "claims", "together", "strain", "strain_at_most")}
        gone = {n for n, v in values.items() if v != getattr(whole, n)(3)}
        assert gone == set(getattr(variant, "without", ())), name
    assert len(set(map(repr, ablation.VARIANTS.values()))) == len(ablation.VARIANTS)


def test_an_attack_is_sent_again_as_it_was_made() -> None:
    """So that all rows meet the same one; it knows nothing, and asks for nothing."""
    ref = look_up("mean", "cpu", None)
    found = ablation.judged(("frame_up:steps=1" + ablation.TRANSFERRED, 0), ref=ref, seed=0)
    anew = ablation.judged(("frame_up:steps=1", 0), ref=ref, seed=0)
    assert found[ablation.WHOLE] == anew[ablation.WHOLE] and found["oracle"] == anew["oracle"]


def _said(item: tuple[str, int, int]) -> list[Any]:
    return list(item)


def test_results_go_to_their_cell(tmp_path: Path) -> None:
    cells = [("none", 0), ("pgd", 2)]
    found = by_cell(_said, cells, 2, tmp_path, 1)
    assert found == {cell: [[*cell, 0], [*cell, 1]] for cell in cells} == by_cell(_said, cells, 2, tmp_path, 1)
