"""AP of saved boxes under every convention: cases by hand, a second implementation, and what files may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robosac.boxes import corners_bev, iou_bev
from robosac.cli import app, main
from robosac.data.recording import DataError
from robosac.data.saved import FORMAT, SavedFrame, read_boxes, write_boxes
from robosac.evaluation.rescore import CONVENTIONS, OURS, Boxes, differences, figures
from robosac.types import Array, Detections, InputError

NOTHING = np.zeros((0, 7), np.float32)


def cars(*x_m: float, y_m: float = 0.0) -> Array:
    """Cars `(N, 7)` of 4 x 2 m along x: two that are d metres apart have an IoU of (4 - d) / (4 + d)."""
    out = np.zeros((len(x_m), 7), np.float32)
    out[:, 0], out[:, 1], out[:, 3:6] = x_m, y_m, (4, 2, 1.5)
    return out


def frame(found: dict[float, float], *truth: float, ignored: tuple[float, ...] = ()) -> Boxes:
    found_boxes = Detections(cars(*found), np.array(list(found.values()), np.float32))
    return Boxes(found_boxes, cars(*truth), cars(*ignored))


def ap(frames: list[Boxes], name: str) -> float | None:
    found = figures(frames, (0.5,))[name]
    assert not isinstance(found, str)
    return found[0.5]


def moved(frames: list[Boxes]) -> dict[str, tuple[int, float | None]]:
    return {d.name: (d.count, d.change[0.5]) for d in differences(frames, (0.5,))}


# ------------------------------------------------------------------------------------------------------- by hand
def test_where_nothing_differs_nothing_is_named() -> None:
    clean = [frame({0: 0.9, 20: 0.8}, 0, 20), frame({0: 0.95, 30: 0.85}, 0, 30)]
    assert {c.name: ap(clean, c.name) for c in CONVENTIONS} == {c.name: 1.0 for c in CONVENTIONS}
    assert differences(clean, (0.5,)) == []


CASES = {  # what differs -> frames, how much there is of it, how much AP it moves
    "frames dropped": ([frame({0: 0.9}, 0), frame({}, 10)], 1, 0.5),  # one of two objects becomes one of one
    "ignorable objects": ([frame({0: 0.8, 20: 0.9}, 0, ignored=(20,))], 1, -0.5),  # a mistake above the hit
    "equal scores": ([frame({0: 0.9, 20: 0.9}, 0)], 1, 0.5),  # the mistake first, or the hit
    "low scores": ([frame({0: 0.9, 20: 0.3}, 0, 20)], 1, -0.5),
    "range": ([frame({0: 0.9, 150: 0.95}, 0)], 1, 0.5),  # a mistake that OpenCOOD does not look at
    "second best": ([frame({0.5: 0.9, 0.6: 0.8}, 0.4, 1.4)], 1, -0.5),
    "frame by frame": ([frame({50: 0.1}, 0), frame({0: 0.9}, 0)], 2, -0.25),
}


@pytest.mark.parametrize("name", CASES)
def test_what_differs_by_hand(name: str) -> None:
    frames, count, change = CASES[name]
    assert moved(frames)[name] == (count, pytest.approx(change, abs=1e-7))


def test_the_order_of_frames_moves_the_local_figure_alone() -> None:
    frames = [frame({50: 0.1}, 0), frame({0: 0.9}, 0)]
    assert moved(frames)["order of the frames"] == (2, pytest.approx(0.25))
    assert ap(frames, "opencood_global") == ap(frames[::-1], "opencood_global") == pytest.approx(0.5)


def test_overlaps_just_below_a_threshold_are_told() -> None:
    d = 4 * (1 - 0.499995) / (1 + 0.499995)  # IoU 0.499995
    edge = [frame({d: 0.9}, 0)]
    assert moved(edge)["rounding"][0] == 1
    assert (ap(edge, OURS), ap(edge, "opencood_global")) == (1.0, 0.0)


def test_without_scores_only_the_local_figure_is_there() -> None:
    found = figures([frame({0: 0.5, 20: 0.5}, 0, 20)], (0.5,), scored=False)
    assert found["opencood_local"] == {0.5: 1.0}
    assert found[OURS] == found["coperception"] == "needs scores, which were not saved"


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(InputError, match="expected frames, got none"):
        figures([], (0.5,))


# ------------------------------------------------------------------------------------------ a second implementation
def plain_ap(frames: list[Boxes], threshold: float) -> float:
    """Pooled AP, written again without the project's own: loops, no tolerance, all distinct scores."""
    rows: list[tuple[float, bool]] = []
    total = sum(len(f.objects) for f in frames)
    for f in frames:
        taken: set[int] = set()
        for k in sorted(range(len(f.detections)), key=lambda k: -float(f.detections.scores[k])):
            overlaps = iou_bev(f.detections.boxes[k : k + 1], f.objects)[0]
            free = [(o, j) for j, o in enumerate(overlaps) if j not in taken and o >= threshold]
            if free:
                taken.add(max(free)[1])
            rows.append((float(f.detections.scores[k]), bool(free)))
    hits = [hit for _, hit in sorted(rows, reverse=True)]
    area = 0.0
    for k, hit in enumerate(hits):
        if hit:
            area += max(sum(hits[: n + 1]) / (n + 1) for n in range(k, len(hits))) / total
    return area


@pytest.mark.parametrize("seed", range(5))
def test_two_conventions_agree_with_a_second_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(6):
        truth = cars(*(rng.permutation(12)[:4] * 12.0))
        found = np.repeat(truth, 2, axis=0) + rng.normal(0, 0.4, (8, 7)) * (1, 1, 0, 0.2, 0.1, 0.1, 0.05)
        frames.append(Boxes(Detections(found.astype(np.float32), rng.random(8).astype(np.float32)), truth, NOTHING))
    for threshold in (0.3, 0.5, 0.7):
        found_aps = figures(frames, (threshold,))
        for name in (OURS, "opencood_global"):
            aps = found_aps[name]
            assert not isinstance(aps, str)
            assert aps[threshold] == pytest.approx(plain_ap(frames, threshold), abs=1e-9)


# --------------------------------------------------------------------------------------------------------- the files
SCENE = [frame({0: 0.9, 21: 0.8, 60: 0.6}, 0, 20, 40), frame({5: 0.7}, 5)]


def corners(boxes: Array) -> Array:
    """As OpenCOOD orders them: front right, front left, rear left, rear right; below, above."""
    around = corners_bev(boxes)  # front left, rear left, rear right, front right
    out = np.zeros((len(boxes), 8, 3))
    out[:, :4, :2] = out[:, 4:, :2] = around[:, [3, 0, 1, 2]]
    out[:, :4, 2], out[:, 4:, 2] = boxes[:, 2:3] - boxes[:, 5:6] / 2, boxes[:, 2:3] + boxes[:, 5:6] / 2
    return out


def ours(folder: Path) -> list[Path]:
    frames = [SavedFrame(str(k), f.detections, f.objects, f.ignored) for k, f in enumerate(SCENE)]
    write_boxes(folder / "ours.json", [f.to_dict() for f in frames])
    return [folder / "ours.json"]


def dumps(folder: Path, *, scores: bool = True, truth: str = "gt.npy") -> list[Path]:
    for k, f in enumerate(SCENE):
        np.save(folder / f"{k:04d}_pred.npy", corners(f.detections.boxes))
        np.save(folder / f"{k:04d}_{truth}", corners(f.objects))
        if scores:
            np.save(folder / f"{k:04d}_pred_score.npy", f.detections.scores)
    return [folder]


def nuscenes(folder: Path) -> list[Path]:
    """In the world's frame, a kilometre off and turned by a quarter."""
    turn = [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)]

    def rows(boxes: Array, scores: Any = None) -> list[dict[str, Any]]:
        return [
            {
                "translation": [1000 - float(b[1]), 2000 + float(b[0]), 0.0],
                "size": [float(b[4]), float(b[3]), float(b[5])],
                "rotation": turn,
                "detection_name": "car",
                **({} if scores is None else {"detection_score": float(scores[k])}),
            }
            for k, b in enumerate(boxes)
        ]

    held = {f"t{k}": rows(f.detections.boxes, f.detections.scores) for k, f in enumerate(SCENE)}
    (folder / "found.json").write_text(json.dumps({"meta": {}, "results": held}))
    truth = {f"t{k}": rows(f.objects) for k, f in enumerate(SCENE)}
    (folder / "truth.json").write_text(json.dumps({"results": truth}))
    return [folder / "found.json"]


@pytest.mark.parametrize("write", [ours, dumps, nuscenes])
def test_every_kind_of_file_gives_the_same_figures(write: Any, tmp_path: Path) -> None:
    files = write(tmp_path)
    (saved,) = read_boxes(files, truth=tmp_path / "truth.json" if write is nuscenes else None)
    found = figures([Boxes(f.detections, f.objects, f.ignored) for f in saved.frames], (0.3, 0.5), local=saved.local)
    for name, aps in figures(SCENE, (0.3, 0.5)).items():
        if not isinstance(found[name], str):
            assert found[name] == pytest.approx(aps, abs=1e-6), name


def test_dumps_named_one_by_one_and_by_their_older_name(tmp_path: Path) -> None:
    dumps(tmp_path, scores=False, truth="gt.npy_test.npy")
    (saved,) = read_boxes(sorted(tmp_path.iterdir()))
    assert [f.name for f in saved.frames] == ["0000", "0001"]
    assert not saved.scored
    (one,) = read_boxes([tmp_path / "0001_pred.npy"])
    assert [len(f.objects) for f in one.frames] == [1]


def test_leaning_corners_keep_centre_sides_and_heading() -> None:
    from robosac.data.saved import of_corners

    box = np.array([[3, -2, 0.5, 4.6, 1.9, 1.6, 2.3]], np.float32)
    assert of_corners(corners(box), Path("x")) == pytest.approx(box, abs=1e-5)


def test_our_json_comes_back_bit_by_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    boxes = rng.normal(size=(5, 7)).astype(np.float32)
    given = SavedFrame("a", Detections(boxes, rng.random(5).astype(np.float32)), boxes[:2], boxes[2:])
    write_boxes(tmp_path / "b.json", [given.to_dict()])
    (back,) = read_boxes([tmp_path / "b.json"])[0].frames
    assert back.name == "a"
    for one, two in (
        (given.detections.boxes, back.detections.boxes),
        (given.detections.scores, back.detections.scores),
        (given.objects, back.objects),
        (given.ignored, back.ignored),
    ):
        assert np.array_equal(one, two)


WRONG: list[tuple[str, Any, str]] = [
    ("x.json", {"per_frame": []}, "an entry of robosac evaluate"),
    ("x.json", {"boxes": []}, "got keys boxes"),
    ("x.json", [1], "holds a list"),
    ("x.json", {"results": {}}, "expected --truth FILE"),
    ("x.json", {"format": FORMAT, "frames": [{"boxes": [[1, 2]], "scores": [1], "objects": []}]}, "robosac-boxes file"),
    ("x.json", {"format": FORMAT, "frames": [{"boxes": [], "scores": [1], "objects": []}]}, "one for each of 0 boxes"),
    ("0_pred.npy", np.zeros((2, 4)), "expected the objects of"),
]


@pytest.mark.parametrize(("name", "held", "says"), WRONG)
def test_what_is_wrong_with_a_file_is_said(name: str, held: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, held)
    else:
        path.write_text(json.dumps(held))
    with pytest.raises((InputError, DataError), match=says):
        read_boxes([path])


def test_dumps_of_another_shape_name_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "0_pred.npy", np.zeros((2, 7)))
    np.save(tmp_path / "0_gt.npy", np.zeros((0, 8, 3)))
    with pytest.raises(DataError, match=r"0_pred.npy.*expected corners \(N, 8, 3\)"):
        read_boxes([tmp_path])
    with pytest.raises(InputError, match=r"files like 0000_pred.npy"):
        read_boxes([tmp_path.parent])
    with pytest.raises(InputError, match="which is not there"):
        read_boxes([tmp_path / "no.json"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = ours(tmp_path)
    app(["ap", str(path), "--json", "--iou", "0.5"], standalone_mode=False)
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert (found["frames"], found["detections"], found["objects"]) == (2, 4, 4)
    assert found["ap"][OURS] == {"0.5": pytest.approx(ap(SCENE, OURS))}
    assert [d["name"] for d in found["differences"]] == [d.name for d in differences(SCENE, (0.5,))]
    app(["ap", str(path)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "opencood_local" in shown
    assert "low scores (coperception): 2 detections scored 0.7 or less" in shown
    with pytest.raises(SystemExit):
        main(["ap", str(path), "--iou", "half"])
    assert "expected --iou to be numbers" in capsys.readouterr().err
