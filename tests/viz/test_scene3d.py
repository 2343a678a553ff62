"""A frame in space, by hand; and what a user is told where Open3D is not there or does not load."""

import importlib

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from robosac.boxes import pose_xyz_rpy
from robosac.cli import main
from robosac.errors import InputError
from robosac.types import Detections, Frame, View
from robosac.viz import viewer
from robosac.viz.canvas import ATTACKER, EGO_POINTS
from robosac.viz.scene3d import BACKDROP, FADED, HIT_3D, TRUTH_3D, box_edges, headings, scene_of

BOX = np.array([[10, 2, 0.5, 4, 2, 1.5, np.pi / 2]], np.float32)


def view(name, pose):
    return View(name, "vehicle", 0, np.array([[1, 0, 0, 0.5]], np.float32), pose)


FRAME = Frame(
    "s", 0, view("ego", pose_xyz_rpy(5, 0, 0)), {n: view(n, pose_xyz_rpy(0, y, 0)) for n, y in (("a", 7), ("b", -7))}
)


def test_points_are_in_the_ego_frame_and_coloured_by_agent():
    scene = scene_of(FRAME, used=frozenset({"a"}), attackers=frozenset({"b"}))
    np.testing.assert_allclose(scene.points, [[1, 0, 0], [-4, 7, 0], [-4, -7, 0]], atol=1e-6)
    np.testing.assert_allclose(scene.point_colours[0], to_rgb(EGO_POINTS))
    attacker = np.array(to_rgb(ATTACKER))
    np.testing.assert_allclose(
        scene.point_colours[2], attacker + FADED * (np.array(to_rgb(BACKDROP)) - attacker)
    )  # it is not used
    assert len(scene.segments) == len(scene.segment_colours) == 3 * 4  # three sensors' axes and feet


def test_edges_of_a_box_by_hand():
    edges = box_edges(BOX)
    assert edges.shape == (12, 2, 3)
    np.testing.assert_allclose(edges.min(axis=(0, 1)), [9, 0, -0.25], atol=1e-6)
    np.testing.assert_allclose(edges.max(axis=(0, 1)), [11, 4, 1.25], atol=1e-6)
    lengths = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
    np.testing.assert_allclose(sorted(lengths), [1.5] * 4 + [2] * 4 + [4] * 4, atol=1e-6)
    assert len(np.unique(np.round(edges.reshape(12, 6), 3), axis=0)) == 12
    np.testing.assert_allclose(headings(BOX)[0], [[10, 2, 1.25], [10, 4, 1.25]], atol=1e-6)


def test_truth_and_detections_have_their_colours():
    found = Detections(BOX, np.ones(1, np.float32))
    scene = scene_of(FRAME, truth_boxes=BOX, result=found)
    tints = {tuple(np.round(c, 4)) for c in scene.segment_colours}
    assert {tuple(np.round(to_rgb(c), 4)) for c in (TRUTH_3D, HIT_3D)} <= tints
    assert len(scene.segments) == 12 + 12 + 12 + 1
    empty = scene_of(FRAME, truth_boxes=np.zeros((0, 7)), result=Detections.empty())
    assert len(empty.segments) == 12


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'open3d'"), r"pip install 'robosac\[open3d\]'"),
        (OSError("libusb-1.0.so.0: cannot open shared object file"), "apt-get install libusb-1.0-0"),
        (ImportError("libGL.so.1: cannot open shared object file"), "apt-get install libgl1"),
        (OSError("libstrange.so.7: no"), r"libstrange\.so\.7.*its installation page"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, error, said):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(InputError, match=said):
        viewer.open3d()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--out", "x.jpg"], "--out to end in .png"),
        (
            ["nowhere"],
            "expected a data set like sim:PRESET, opv2v:PATH, v2xsim:PATH, dair:PATH, data:PATH; got",
        ),
        (["--out", "file/x.png"], "it is a file"),
        (["--detector", "mena", "--out", "x.png"], "expected a shipped detector"),
    ],
)
def test_wrong_arguments_are_told(args, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(viewer, "open3d", lambda: None)
    with pytest.raises(SystemExit) as stop:
        main(["view", *args])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def drawn(monkeypatch, *args):
    """What `robosac view` would draw, and says."""
    found = []
    monkeypatch.setattr(viewer, "open3d", lambda: None)
    monkeypatch.setattr(viewer, "show", lambda scenes: found.extend(scenes))
    with pytest.raises(SystemExit) as stop:
        main(["view", "simulated", *args])
        raise SystemExit(0)
    if stop.value.code:
        raise stop.value
    return found


def test_boxes_are_drawn_from_a_score_that_is_said(monkeypatch):
    """A box has thirteen segments; the shipped detectors report scores of at least .1."""
    (plain,) = drawn(monkeypatch)
    lines = len(plain[0].segments)
    assert "detections" not in plain[1]
    counts = []
    for score in (None, 0.1, 0.5, 1.0):
        args = [] if score is None else ["--min-score", str(score)]
        ((scene, about),) = drawn(monkeypatch, "--detector", "mean", *args)
        counts.append((len(scene.segments) - lines) // 13)
        assert f"{counts[-1]} detections of a score of at least {score or 0.1:g}," in about
    assert counts[0] == counts[1] > counts[2] > counts[3] == 0


def test_a_score_without_a_detector_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        drawn(monkeypatch, "--min-score", "0.5")
    assert "expected --detector with --min-score 0.5" in capsys.readouterr().err
