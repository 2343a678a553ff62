"""Pictures: what is drawn is what was decided, nothing global is touched, and files appear whole."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from PIL import Image as Pixels

from robosac.boxes import pose_xyz_rpy, transform_points
from robosac.types import BevGrid, Detections, Frame, View
from robosac.viz import bev, charts
from robosac.viz.bev import Picture, agent_colours, panel_figure, points_by_agent
from robosac.viz.canvas import AGENT_POINTS, ATTACKER, HIT, MISTAKE, MUTED, TRUTH, png_bytes, save_png
from tests.viz.sample import TRIALS, WHERE, sample_detections, sample_frame

FRAME, BOXES = sample_frame()
DETECTIONS, HITS = sample_detections(BOXES)
ATTACKERS = frozenset({"car-1", "car-3"})
VALUES = {"ego only": {"1 of 5": (0.6, 0.55, 0.65)}, "robosac": {"1 of 5": (0.9, 0.88, 0.92), "2 of 5": None}}


def axes_of(picture: Picture, **options: object):
    return panel_figure(FRAME, [picture], region=38.4, columns=1, **options).axes[0]  # type: ignore[arg-type]


def outlines(ax, colour: str) -> int:
    """How many closed boxes are drawn in a colour (whatever their transparency)."""
    rgb = bev.to_rgb(colour)
    boxes = [c for c in ax.collections if isinstance(c, PolyCollection) and len(c.get_paths()[0].vertices) == 5]
    return sum(len(c.get_paths()) for c in boxes if np.allclose(c.get_edgecolor()[0][:3], rgb))


def markers(ax) -> dict[tuple[float, float], set[tuple[str, bool]]]:
    """Position -> (marker, filled) of what is drawn there."""
    found: dict[tuple[float, float], set[tuple[str, bool]]] = {}
    for line in ax.lines:
        if line.get_marker() in ("o", "D", "x") and line.get_zorder() > 5:
            at = tuple(np.round(line.get_xydata()[0], 1).tolist())
            filled = line.get_markerfacecolor() not in ("none", bev.PAPER)
            found.setdefault(at, set()).add((str(line.get_marker()), filled))
    return found


def test_boxes_are_drawn_by_outcome() -> None:
    hits = HITS.copy()
    hits[:2] = -1
    ax = axes_of(Picture("p", DETECTIONS, hits=hits), truth_boxes=BOXES)
    assert outlines(ax, TRUTH) == len(BOXES)
    assert outlines(ax, HIT) == (hits > 0).sum()
    assert outlines(ax, MISTAKE) == (hits == 0).sum()
    assert outlines(ax, MUTED) == 2


def test_without_outcome_no_detection_is_called_a_mistake() -> None:
    ax = axes_of(Picture("p", DETECTIONS))
    assert (outlines(ax, HIT), outlines(ax, MISTAKE), outlines(ax, TRUTH)) == (len(DETECTIONS), 0, 0)


def test_transparency_follows_the_score() -> None:
    detections = Detections(BOXES[:2], np.array([0.1, 0.9], np.float32))
    ax = axes_of(Picture("p", detections))
    alpha = next(c for c in ax.collections if isinstance(c, PolyCollection)).get_edgecolor()[:, 3]
    assert 0.3 <= alpha[0] < alpha[1] <= 1.0


def test_markers_tell_decision_by_fill_and_truth_by_shape() -> None:
    picture = Picture("p", DETECTIONS, used=frozenset({"car-1", "car-2"}), accused=frozenset({"car-3"}))
    found = markers(axes_of(picture, attackers=ATTACKERS))

    def at(name: str) -> set[tuple[str, bool]]:
        return found[WHERE[name][0], WHERE[name][1]]

    assert at("car-1") == {("D", True)}  # an attacker, used
    assert at("car-2") == {("o", True)}  # honest, used
    assert at("car-3") == {("D", False), ("x", True)}  # an attacker, accused
    assert at("car-4") == {("o", False)}  # honest, not used


def test_teammates_beyond_the_picture_sit_on_its_edge_with_their_distance() -> None:
    ax = axes_of(Picture("p", DETECTIONS))
    labels = {t.get_text(): t.xy for t in ax.texts if hasattr(t, "xy")}
    assert "car-5  52 m" in labels and labels["car-5  52 m"][0] < ax.get_xlim()[1]
    assert "car-1" in labels


def test_points_are_drawn_where_the_sender_claims_to_be() -> None:
    """A wall seen by a teammate lands in the ego frame through the claimed pose; ground is left out."""
    wall = np.array([[5.0, 0.0, z, 0.5] for z in np.linspace(0.5, 3, 20)], np.float32)
    ground = np.array([[x, y, 0.0, 0.5] for x in range(-9, 10) for y in range(-9, 10)], np.float32)
    pose = pose_xyz_rpy(10, 0, 0, yaw_rad=np.pi / 2)
    mate = View("m", "vehicle", 0, np.concatenate([wall, ground]), pose)
    frame = Frame("s", 0, View("ego", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4)), {"m": mate})
    points = points_by_agent(frame, 40.0)
    assert points["ego"].shape == (0, 3)
    assert points["m"][:, :2] == pytest.approx(np.array([[10.0, 5.0]]), abs=1e-5)  # one cell: one dot


def test_colours_are_stable_and_attackers_stand_out() -> None:
    colours = agent_colours(FRAME, ATTACKERS)
    assert {n for n, c in colours.items() if c == ATTACKER} == ATTACKERS
    assert agent_colours(FRAME)["car-2"] == colours["car-2"] and colours["car-2"] in AGENT_POINTS


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in bev.to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("colour", [HIT, MISTAKE, ATTACKER, bev.INK, TRUTH])
def test_lines_keep_enough_contrast_on_paper(colour: str) -> None:
    """3:1 against white, what accessibility rules ask of graphics."""
    assert 1.05 / (luminance(colour) + 0.05) >= 3.0


def test_points_are_pale_beside_the_boxes() -> None:
    assert min(map(luminance, AGENT_POINTS)) > max(map(luminance, (HIT, ATTACKER, bev.INK)))


@pytest.mark.parametrize(("n", "columns", "expected"), [(1, 3, 1), (4, 2, 4), (7, 3, 7)])
def test_panels_show_each_policy_once(n: int, columns: int, expected: int) -> None:
    pictures = [Picture(f"policy {k}", Detections.empty()) for k in range(n)]
    figure = panel_figure(FRAME, pictures, truth_boxes=BOXES, region=BevGrid(-20, -20, 1.0, 40, 60), columns=columns)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [p.title for p in pictures] and len(titles) == expected


def test_agreement_figure_shows_each_trial_and_its_members() -> None:
    figure = charts.agreement_figure(TRIALS, attackers=ATTACKERS)
    dots, table = figure.axes
    shown = [line for line in dots.lines if line.get_marker() in ("o", "D")]
    assert [line.get_ydata()[0] for line in shown] == [t.agreement for t in TRIALS]
    assert [line.get_marker() for line in shown] == ["D", "D", "o"]
    assert [line.get_markerfacecolor() != bev.PAPER for line in shown] == [False, False, True]
    rows = {label.get_text(): row for row, label in enumerate(table.get_yticklabels())}
    squares = {(x, y) for line in table.lines if line.get_marker() in ("s", "D") for x, y in line.get_xydata()}
    assert squares == {(k, rows[m]) for k, t in enumerate(TRIALS, 1) for m in t.subset}


def test_ap_bars_have_the_lengths_of_their_values() -> None:
    figure = charts.ap_figure(VALUES, emphasise=["robosac"], reference="ego only")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.6, 0.9]
    assert {t.get_text() for t in figure.axes[1].texts} == {"undefined"}
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["1 of 5", "2 of 5"]


def test_small_figures_draw_even_when_there_is_nothing_to_show() -> None:
    for figure in (
        charts.agreement_figure(()),
        charts.agreement_figure([TRIALS[0].__class__(frozenset(), 1.0, True, 0.5)]),
        charts.ap_figure({}),
        panel_figure(FRAME, [Picture("p", Detections.empty(), hits=np.zeros(0, np.int8))], region=20.0),
    ):
        assert png_bytes(figure).startswith(b"\x89PNG")


def test_same_figure_same_bytes() -> None:
    first, second = (png_bytes(charts.ap_figure(VALUES)) for _ in range(2))
    assert first == second


def test_save_png_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = save_png(charts.agreement_figure(()), tmp_path / "deep" / "trials.png")
    assert [p.name for p in path.parent.iterdir()] == ["trials.png"]
    assert Pixels.open(io.BytesIO(path.read_bytes())).size == (736, 472)


def test_ids_are_never_read_as_formulae() -> None:
    """matplotlib takes text between two dollars for mathematics and fails on what it cannot parse."""
    name = "$\\frac{$"
    mate = View(name, "vehicle", 0, np.zeros((0, 4), np.float32), pose_xyz_rpy(5, 5, 0))
    frame = Frame("s", 0, FRAME.ego, {name: mate})
    picture = Picture("$x^{$", Detections.empty(), frozenset({name}), note="$\\a$")
    assert png_bytes(panel_figure(frame, [picture], region=10.0))
    trial = TRIALS[0].__class__(frozenset({name}), 0.5, False, 0.6)
    assert png_bytes(charts.agreement_figure([trial], title="$\\b$"))
    assert png_bytes(charts.ap_figure({name: {"$\\c$": (0.5, 0.4, 0.6)}}))


def test_points_of_no_agent_survive_a_degenerate_cloud() -> None:
    one = np.array([[1.0, 1.0, 1.0, 0.0]], np.float32)
    view = View("ego", "vehicle", 0, one, np.eye(4))
    assert points_by_agent(Frame("s", 0, view, {}), 5.0)["ego"].shape == (0, 3)
    assert transform_points(np.eye(4), one).shape == (1, 4)


def test_drawing_leaves_pyplot_alone() -> None:
    """pyplot keeps figures alive and picks a screen; a report made on a server must need neither."""
    code = (
        "import sys; from robosac.viz import bev, charts, canvas, report;"
        "canvas.png_bytes(charts.ap_figure({'a': {'b': (0.5, 0.4, 1.0)}}));"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
