"""The benchmarks measure what they say. No timing is asserted here."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bfloat16, determinism, sight, solo, startup, trials
from benchmarks.machine import Spread, describe, machine
from benchmarks.reference import reference_frame
from robosac import detectors
from robosac.detectors.bev.detector import BevDetector
from robosac.experiments.demo import DemoSettings
from robosac.types import EGO_ALONE, Detections, InputError, Request


@pytest.fixture(scope="module")
def detector() -> BevDetector:
    return detectors.load("mean")


@pytest.fixture(scope="module")
def case(detector: BevDetector) -> trials.Case:
    return next(trials.cases(detector, 1))


def test_a_spread_by_hand() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread(3.0, 2.0, 4.0).show() == "3.0 [2.0, 4.0]"


def test_the_machine_is_named_with_its_versions() -> None:
    facts = machine(2)
    assert facts["cpu"] and facts["cores"] >= 1 and "torch" in facts["versions"]
    assert "2 torch threads" in describe(facts)


# ------------------------------------------------------------------------------------------------------- trials
def test_the_reference_style_finds_what_sessions_find(detector: BevDetector, case: trials.Case) -> None:
    """Same results by another order of work, for the ego and for everybody else: it is no straw man."""
    subset = case.subsets[0]
    passes, _ = reference_frame(detector, case.frame, [EGO_ALONE, subset])
    views = [case.frame.ego, *case.frame.others.values()]
    for team, results in zip([EGO_ALONE, subset], passes, strict=True):
        for view, found in zip(views, results, strict=True):
            request = Request.of(view)
            heard = [v for v in views if v is not view and (v is case.frame.ego or v.id in team)]
            session = detector.open(view, request, [detector.encode(v, request) for v in heard])
            expected = session.detect([frozenset(session.ids)])[0]
            assert found.score_map is not None and expected.score_map is not None
            np.testing.assert_allclose(found.score_map, expected.score_map, atol=1e-4)
            assert len(found) == len(expected)
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)


def test_cases_have_five_teammates_and_all_their_threes(case: trials.Case) -> None:
    assert len(case.frame.others) == len(case.inbox) == 5
    assert len(set(case.subsets)) == trials.TRIALS and all(len(s) == 3 for s in case.subsets)
    assert case.frame.scenario.split("-")[0] == "test"


def test_the_defended_frame_takes_ten_trials(detector: BevDetector, case: trials.Case) -> None:
    verdict = trials.defended(detector, case)
    assert len({t.subset for t in verdict.trials}) == trials.TRIALS and verdict.fell_back


def test_ratios_are_taken_round_by_round() -> None:
    rounds = [trials.Round(10, 5, 100, 1000, 500), trials.Round(100, 10, 100, 2000, 400)]
    report = trials.report_of(rounds, [{"decode": 1.0}, {"decode": 3.0}])
    assert report["ratios"]["trial_over_ego"].median == pytest.approx((0.5 + 0.1) / 2)
    assert report["ratios"]["defended_over_reference"].median == pytest.approx((0.1 + 0.05) / 2)
    assert report["ratios"]["defended_over_rasters_kept"].median == pytest.approx((0.2 + 0.25) / 2)
    assert trials.passed(report) == {"trial_over_ego": True, "defended_over_reference": True}


def test_trials_print_both_ratios(
    detector: BevDetector, case: trials.Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detectors, "load", lambda name: detector)
    monkeypatch.setattr(trials, "cases", lambda *_, **__: [replace(case, subsets=case.subsets[:2])])
    assert trials.main(["--frames", "1", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "trial / ego alone" in out and "defended / reference" in out and "torch threads" in out


@pytest.mark.parametrize("option", ["--frames", "--repeats", "--threads"])
def test_wrong_arguments_exit_with_2(option: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        trials.main([option, "0"])
    assert stopped.value.code == 2


def test_bfloat16_is_timed_beside_float32(
    detector: BevDetector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    bfloat16.main(["--repeats", "1"])
    told = capsys.readouterr().out
    assert "float32: " in told and "bfloat16: " in told and "training takes bfloat16 here" in told


# -------------------------------------------------------------------------------------------------- determinism
def result(**changes: Any) -> dict[str, Any]:
    """Two verdicts and one row, as `DemoResult.to_dict` has them."""
    frame = {
        "n_attackers": 1,
        "policy": "p",
        "scenario": "test-0",
        "index": 0,
        "used": ["a", "b"],
        "accused": ["c"],
        "trials": 2,
        "decodes": 3,
        "fell_back": False,
        "rejected": {},
        "ms": {"decode": 1.0},
        "matches": {"scores": [0.5]},
        "digest": "aa",
    }
    row = {"attackers": 1, "ap": {"0.5": {"value": 0.8}, "0.7": None}, "ms": {"total": {"mean": 2.0}}}
    return {"seconds": 1.0, "rows": [row], "frames": [frame, {**frame, "index": 1}], **changes}


def test_timings_do_not_count_and_the_last_bit_does() -> None:
    slower = result(seconds=9.0)
    slower["frames"][0]["ms"]["decode"] = 7.0
    slower["rows"][0]["ms"]["total"]["mean"] = 7.0
    assert determinism.compare("again", result(), slower).same["everything"]
    nudged = result()
    nudged["frames"][0]["matches"]["scores"] = [float(np.nextafter(0.5, 1))]
    found = determinism.compare("again", result(), nudged)
    assert not found.same["boxes"] and not found.same["everything"] and found.same["decisions"] and found.same["table"]


def test_flips_are_counted_by_policy() -> None:
    other = result()
    other["frames"][1].update(used=["a"], digest="bb")
    other["rows"][0]["ap"]["0.5"]["value"] = 0.805
    found = determinism.compare("two threads", result(), other)
    assert found.flipped == {"1 attackers, p": 1} and found.boxes_differ == 1 and found.flipped_accusations == 0
    assert found.ap_difference == pytest.approx(0.005) and not determinism.passed(found)
    assert not found.same["decisions"] and not found.same["table"]


def test_an_ap_that_only_one_run_has_is_no_agreement() -> None:
    other = result()
    other["rows"][0]["ap"]["0.7"] = {"value": 0.1}
    assert determinism.compare("two threads", result(), other).ap_difference == float("inf")


def test_runs_of_other_frames_are_not_compared() -> None:
    other = result()
    other["frames"][0]["index"] = 5
    with pytest.raises(InputError, match="two runs of the same settings"):
        determinism.compare("again", result(), other)


def test_a_small_demo_is_the_same_twice_and_other_seeds_are_not() -> None:
    policies = {"ego only": "ego-only", "robosac": "robosac"}
    small = DemoSettings(scenes=1, frames=1, attack="noise", attackers=(1,), policies=policies, pictures=0)
    first = determinism.fresh(small, 1, 1)
    again, other = (determinism._play(settings, 1, 1) for settings in (small, replace(small, seed=1)))
    found = determinism.compare("again", first, again)
    assert found.same["everything"] and found.frames == 2
    json.dumps(first)
    assert determinism.digests(first)["boxes"] != determinism.digests(other)["boxes"]
    moved = copy.deepcopy(again)
    moved["frames"][0]["digest"] = "0" * 16
    assert determinism.compare("again", first, moved).boxes_differ == 1


# ------------------------------------------------------------------------------------------------------ startup
def test_heavy_packages_are_noticed() -> None:
    assert "scipy" in startup.heavy_modules("import scipy.optimize")
    assert startup.heavy_modules("raise SystemExit") == ()


@pytest.mark.parametrize("code", ["import robosac", f"from robosac.cli import main; main({list(startup.BUDGET)!r})"])
def test_nothing_heavy_is_loaded_for_an_answer(code: str) -> None:
    assert startup.heavy_modules(code) == ()


def test_startup_prints_each_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert startup.main(["--runs", "1", "--json"]) == 0
    assert [s["runs"] for s in json.loads(capsys.readouterr().out)["starts"]] == [1, 1, 1]
    with pytest.raises(SystemExit):
        startup.main(["--runs", "0"])


# -------------------------------------------------------------------------------------------------------- sight
def test_sight_counts_false_boxes_and_headings_by_hand() -> None:
    boxes = np.array([[5, 0, 0, 4, 2, 1.5, 0.1], [15, 0, 0, 4, 2, 1.5, 3.0], [25, 0, 0, 4, 2, 1.5, 0.0]], np.float32)
    found = Detections(boxes.copy(), np.array([0.9, 0.8, 0.2], np.float32))
    found.boxes[1, 6] -= np.pi  # the wrong way round: found all the same
    true = np.array([True, True, False])
    assert sight.right_way(found, true, boxes) == [True, False]
    assert sight.right_way(found, ~true, boxes[:0]) == []


@pytest.mark.parametrize(("there", "most", "looked_at"), [(15, 10, 10), (15, 4, 4), (3, 10, 3), (3, None, 3)])
def test_sight_looks_at_no_more_frames_than_asked_for(
    monkeypatch: pytest.MonkeyPatch, there: int, most: int | None, looked_at: int
) -> None:
    monkeypatch.setattr(sight, "open_recording", lambda name: None)
    monkeypatch.setattr(sight, "DataSet", lambda recording, ego: range(there))
    found: list[Any] = list(sight.frames_of("data:there", split="val", scenes=1, most=most))
    assert len(found) == looked_at and (found[0], found[-1]) == (0, there - 1)
    with pytest.raises(InputError, match="expected --frames to be at least 1, got 0"):
        next(sight.frames_of("data:there", split="val", scenes=1, most=0))


def test_sight_prints_a_row_a_detector(capsys: pytest.CaptureFixture[str]) -> None:
    sight.main(["--detector", "mean", "--data", "sim:road-pair", "--scenes", "1", "--region", "30"])
    shown = capsys.readouterr().out
    assert "sim:road-pair, split val: 2 frames" in shown and shown.count("\n  mean ") == 1
    with pytest.raises(SystemExit) as stopped:
        sight.main(["--data", "sim:moon"])
    assert stopped.value.code == 2


# --------------------------------------------------------------------------------------------------------- solo
def test_solo_prints_a_detector_that_finds_nothing() -> None:
    row = {"asked": 3, "shown": 0, "boxes": 2, "right": 0, "metres": [], "degrees": []}
    assert solo.line("solo", "vehicle", [row, row]).split() == ["solo", "vehicle", "2", "0.000", "0.000", *["nan"] * 4]
