"""What a newcomer explores with: arrays become a frame, a frame is attacked, a verdict is shown; a run on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robosac
from robosac.boxes import corners_bev
from robosac.cli import main, run
from robosac.cli.run_formats import as_nuscenes, corners
from robosac.data.saved import of_corners, read_boxes
from robosac.evaluation.rescore import OURS, Boxes, figures
from robosac.types import Frame, InputError
from tests.toy import ToyDetector
from tests.toy import frame as toy_frame


@pytest.fixture(scope="module")
def frame() -> Frame:
    return robosac.load_data("sim:mixed", scenes=1, frames=1)[0][0]


def arrays(frame: Frame) -> tuple[dict[str, Any], dict[str, Any]]:
    views = {frame.ego.id: frame.ego, **frame.others}
    return {k: v.points for k, v in views.items()}, {k: v.world_T_sensor for k, v in views.items()}


def test_the_names_to_explore() -> None:
    assert {"attack", "check_frame", "evaluate", "load_data", "load_detector", "wrap"} <= set(dir(robosac))


# ------------------------------------------------------------------------------------------------------------ arrays
def test_a_frame_of_arrays_is_the_frame(frame: Frame) -> None:
    made = robosac.Frame.from_arrays(*arrays(frame), ego=frame.ego.id, roadside=["rsu-1"])
    assert made.ego.id == frame.ego.id and set(made.others) == set(frame.others)
    for name, view in frame.others.items():
        np.testing.assert_array_equal(made.others[name].points, view.points)
        assert made.others[name].kind == view.kind
    three = robosac.Frame.from_arrays({"a": np.ones((2, 3))}, {"a": np.eye(4)})
    assert three.ego.points.tolist() == [[1, 1, 1, 0]] * 2 and not three.others


P, POSE = np.zeros((3, 4)), np.eye(4)
WRONG = [
    ({"points": {}, "poses": {}}, "expected poses to be one for each"),
    ({"poses": {"b": POSE}}, "expected poses to be one for each"),
    ({"ego": "z"}, "expected ego to be one of a"),
    ({"points": {"a": np.zeros((3, 5))}}, r"as \(N, 3\) \[x y z\]"),
    ({"points": {"a": P[0]}}, "one row a point"),
    ({"points": {"a": [[np.nan, 0, 0]]}}, "1 rows with NaN or infinity"),
    ({"points": {"a": P + 9000}}, "in metres in the sensor's own frame, got one at 9000"),
    ({"points": {"a": [[1, 2, 3, 200]]}}, "intensities of 'a' in .0, 1., got 200 to 200; divide"),
    ({"poses": {"a": np.eye(3)}}, "as a finite .4, 4. matrix"),
    ({"poses": {"a": POSE * np.nan}}, "as a finite .4, 4. matrix"),
    (
        {"poses": {"a": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [5, 6, 7, 1]])}},
        "looks transposed: use pose.T",
    ),
    ({"poses": {"a": np.diag([2.0, 2, 2, 1])}}, "take scale and shear out"),
    ({"poses": {"a": np.diag([1.0, -1, 1, 1])}}, "left-handed one; from CARLA or Unreal, mirror y"),
    ({"poses": {"a": np.diag([1.0, -1, -1, 1])}}, "a sensor upside down"),
    ({"roadside": ["pole"]}, "expected roadside to be names of .*a.*, got .*pole"),
    ({"t_ns": "now"}, "expected t_ns to be whole nanoseconds of every agent, got .now."),
    ({"t_ns": -1.5}, "whole nanoseconds of every agent, got -1.5"),
    ({"t_ns": {}}, "whole nanoseconds of every agent, got {}"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_arrays_that_are_something_else_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Frame.from_arrays(**{"points": {"a": P}, "poses": {"a": POSE}, **given})


def test_handedness_inverses_and_units_are_found(frame: Frame) -> None:
    points, poses = arrays(frame)
    assert robosac.check_frame(frame) is None
    mirrored = {k: p * np.array([1, -1, 1, 1]) for k, p in points.items()}
    inverted = {k: np.linalg.inv(p) for k, p in poses.items()}
    far = {k: np.array([[1, 1, 1, 100]] * 3 + [[1, 1, 1, 1]]) ** [[1, 1, 1, 1]] * p for k, p in poses.items()}
    for given, said in (
        ((mirrored, poses), "left-handed"),
        ((points, inverted), "sensor_T_world"),
        ((points, far), "centimetres"),
    ):
        assert said in str(robosac.check_frame(Frame.from_arrays(*given, ego=frame.ego.id)))


# ----------------------------------------------------------------------------------------------- attacked and defended
def test_one_line_attacks_a_frame(frame: Frame) -> None:
    detector = robosac.load_detector("mean")
    attacked = robosac.attack(frame, detector, "noise", attackers=2)
    again = robosac.attack(frame, detector, "noise", attackers=attacked.attackers)
    assert len(attacked.attackers) == 2 and attacked.attackers <= set(frame.others)
    for one, two in zip(attacked.inbox, again.inbox, strict=True):
        honest = detector.encode(frame.others[one.message.sender], robosac.facade.Request.of(frame.ego)).payload
        same = all(np.array_equal(one.message.payload[k], honest[k]) for k in honest)
        assert same != (one.message.sender in attacked.attackers)
        assert all(np.array_equal(one.message.payload[k], two.message.payload[k]) for k in honest)
    verdict = robosac.wrap(detector, "none")(attacked)
    text = str(verdict)
    assert f"{len(verdict.result)} boxes" in text and "because  " in text and "  0  " in text
    assert repr(verdict).startswith("<Verdict: ") and "<img" in verdict._repr_html_()


@pytest.mark.parametrize(
    ("name", "attackers", "said"),
    [
        ("pdg", 1, "did you mean 'pgd'"),
        ("noise", 9, "expected at most"),
        ("noise", ["nobody"], "expected attackers among"),
        ("adaptive_pgd", 1, "robosac.evaluate plays it"),
    ],
)
def test_an_attack_that_cannot_be_is_told(name: str, attackers: Any, said: str, frame: Frame) -> None:
    with pytest.raises(InputError, match=said):
        robosac.attack(frame, "mean", name, attackers=attackers)


def test_a_defence_that_is_told_says_what_to_write() -> None:
    with pytest.raises(InputError, match=r"robosac\.wrap\(detector, NAME, attackers=2\)"):
        robosac.wrap(ToyDetector(), "paper")
    assert robosac.wrap(ToyDetector(), "paper", attackers=2).defense
    with pytest.raises(InputError, match="the name of a defence"):
        robosac.wrap(ToyDetector(), attackers=2)


def test_a_grid_from_python(tmp_path: Path) -> None:
    asked = {"attack": "noise", "defense": "none", "attackers": 1, "scenes": 1, "frames": 1, "save_boxes": True}
    found = robosac.evaluate(**asked, out=tmp_path)  # type: ignore[arg-type]
    assert len(found) == 1 and found.rows[0]["defense"] == "none" and "| none |" in str(found)
    (saved,) = read_boxes(sorted((tmp_path / "boxes").iterdir()))
    frames = [Boxes(f.detections, f.objects, f.ignored) for f in saved.frames]
    assert [f.name for f in saved.frames] == [f"{r.scenario}/{r.index}" for r in found.entries[0].records]
    assert figures(frames, (0.5, 0.7))[OURS] == {t: found.rows[0][k] for t, k in ((0.5, "ap50"), (0.7, "ap70"))}
    assert found.to_csv(tmp_path / "t.csv") == (tmp_path / "t.csv").read_text()


# --------------------------------------------------------------------------------------------------------------- run
def ran(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--defense", "none", *args])
    assert (ended.value.code or 0) == code
    return capsys.readouterr().out


def test_a_run_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("--data", "tests.test_explore:two_frames", "--detector", "tests.toy:ToyDetector")
    printed = [json.loads(line) for line in ran(capsys, *args).splitlines()]
    assert [line["index"] for line in printed] == [0, 1] and len(printed[0]["boxes"]) == len(printed[0]["scores"]) == 2
    assert printed[0]["used"] == ["a"] and {"support", "accused", "reason", "ms", "corroborated"} <= set(printed[0])
    out = ("--out", str(tmp_path / "r"), "--format", "nuscenes,opencood")
    ran(capsys, *args, *out)
    path = tmp_path / "r" / "frames.jsonl"
    whole = path.read_text()
    kept = [{**json.loads(line), "ms": 0} for line in whole.splitlines()]
    assert [{**line, "ms": 0, "scene": args[1]} for line in printed] == [{**line, "scene": args[1]} for line in kept]
    path.write_text(whole[: len(whole) * 3 // 4])  # killed while it wrote
    ran(capsys, *args, *out)
    assert [{**json.loads(line), "ms": 0} for line in path.read_text().splitlines()] == kept
    monkeypatch.setattr(run, "_all", None)
    with pytest.raises(TypeError):
        ran(capsys, *args, "--out", str(tmp_path / "other"))
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--defense", "none", *args, *out, "--min-score", "0.5"])
    assert "to be of a run with these settings, got others" in capsys.readouterr().err


def two_frames() -> list[Frame]:
    seen = toy_frame({"ego": [(1, 2)], "a": [(1, 2), (9, 9)]})
    return [replace(seen, index=k) for k in (0, 1)]


def test_boxes_in_other_layouts() -> None:
    """A car ahead of an ego that looks north; corners as `corners_bev` has them, and in the world by the pose."""
    box = [10.0, 2.0, 0.5, 4.0, 2.0, 1.5, 0.3]
    found = corners([box])[0]
    assert found.shape == (8, 3) and found[:4, 2] == pytest.approx(-0.25) and found[4:, 2] == pytest.approx(1.25)
    flat, ours = found[:4, :2], corners_bev(np.array([box]))[0]
    np.testing.assert_allclose(flat[np.lexsort(flat.T)], ours[np.lexsort(ours.T)], atol=1e-5)
    np.testing.assert_allclose(of_corners(found[None], Path("x")), [box], atol=1e-5)  # in the order that is read
    north = np.array([[0.0, -1, 0, 100], [1, 0, 0, 200], [0, 0, 1, 1], [0, 0, 0, 1]])
    held = {"scenario": "s", "ego": "e", "index": 3, "world_T_ego": north.tolist(), "boxes": [box], "scores": [0.5]}
    (one,) = as_nuscenes(held)
    assert one["translation"] == pytest.approx([98, 210, 1.5]) and one["size"] == [2.0, 4.0, 1.5]
    yaw = 2 * np.arctan2(one["rotation"][3], one["rotation"][0])
    assert yaw == pytest.approx(np.pi / 2 + 0.3) and one["sample_token"] == "s/e/000003"
