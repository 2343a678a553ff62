"""Meshes, ground, places and traffic."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.boxes import iou_bev
from robosac.simulation import KINDS, SPLITS, Scenario, SimConfig, scenario
from robosac.simulation.geometry import arc, bend, flat_boxes, offset, reverse, sample_line, straight
from robosac.simulation.meshes import TEMPLATES, place, resting_poses
from robosac.simulation.places import draw_layout
from robosac.simulation.terrain import Terrain
from robosac.simulation.traffic import MODELS
from robosac.types import InputError, keyed_rng

CASES = [(kind, i) for kind in KINDS for i in range(4)]


def make(kind: str, index: int) -> Scenario:
    return scenario("train", index, seed=3, config=SimConfig.preset(kind))


# ---------------------------------------------------------------------------------------- meshes and ground
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_touches_the_faces_of_its_box(name: str) -> None:
    corners = TEMPLATES[name].triangles.reshape(-1, 3)
    tolerance = 0.08 if name == "crown" else 1e-6
    np.testing.assert_allclose(corners.min(axis=0), [-0.5, -0.5, 0.0], atol=tolerance)
    np.testing.assert_allclose(corners.max(axis=0), [0.5, 0.5, 1.0], atol=tolerance)
    assert TEMPLATES[name].base.shape == TEMPLATES[name].paint.shape == (len(TEMPLATES[name].triangles),)


def test_placing_scales_turns_and_moves() -> None:
    pose = resting_poses(np.array([[10.0, 5.0]]), np.array([np.pi / 2]), np.array([1.0]), np.zeros((1, 2)))
    corners = place(TEMPLATES["block"], np.array([[4.0, 2.0, 3.0]]), pose).reshape(-1, 3)
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[9, 3, 1], [11, 7, 4]], atol=1e-5)


def test_resting_poses_are_rigid_and_lie_on_the_slope() -> None:
    rng = keyed_rng(5)
    slope = rng.uniform(-0.05, 0.05, (50, 2))
    poses = resting_poses(rng.normal(size=(50, 2)), rng.uniform(-3, 3, 50), np.zeros(50), slope)
    turn = poses[:, :3, :3]
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turn.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1)
    np.testing.assert_allclose(-turn[:, :2, 2] / turn[:, 2:, 2], slope, atol=1e-12)


def test_the_ground_is_as_steep_as_allowed_and_its_slope_is_its_derivative() -> None:
    xy = keyed_rng(6).uniform(-100, 100, (400, 2))
    for i in range(10):
        terrain = Terrain.draw(keyed_rng(7, i), 0.03)
        slope = terrain.slope(xy)
        assert np.hypot(*slope.T).max() <= 0.03
        step = np.array([1e-4, 0])
        np.testing.assert_allclose(
            (terrain.height(xy + step) - terrain.height(xy - step)) / 2e-4, slope[:, 0], atol=1e-7
        )
        mesh = terrain.mesh(np.zeros(2)).reshape(-1, 3)
        np.testing.assert_allclose(terrain.height(mesh[:, :2]), mesh[:, 2], atol=1e-5)
    assert np.ptp(Terrain.draw(keyed_rng(8), 0.0).height(xy)) == 0


# --------------------------------------------------------------------------------------------------- geometry
def test_lines_keep_their_distance() -> None:
    line = arc(100, 60)
    left = offset(line, 3.5)
    np.testing.assert_allclose(np.hypot(*(left - line)[:, :2].T), 3.5)
    np.testing.assert_allclose(np.hypot(*(left[:, :2] - [0, 60]).T), 56.5)
    back = reverse(line)
    np.testing.assert_allclose(back[::-1, :2], line[:, :2])


def test_a_quarter_turn_is_nearly_a_circle() -> None:
    curve = bend(np.array([0.0, -10.0, np.pi / 2]), np.array([-10.0, 0.0, np.pi]))
    np.testing.assert_allclose(np.hypot(*(curve + 10).T), 10, atol=0.03)


def test_samples_are_a_metre_apart() -> None:
    line = sample_line(straight(np.zeros(2), 0.3, 20)[:, :2])
    np.testing.assert_allclose(np.hypot(*np.diff(line[:, :2], axis=0).T), 1.0)
    np.testing.assert_allclose(line[:, 2], 0.3)


# ------------------------------------------------------------------------------------------ places and traffic
@pytest.mark.parametrize(("kind", "index"), CASES)
def test_lanes_are_smooth(kind: str, index: int) -> None:
    lanes = draw_layout(kind, keyed_rng(kind, index)).lanes
    for first, count in zip(lanes.first, lanes.count, strict=True):
        line = lanes.points[first : first + count]
        step = np.diff(line[:, :2], axis=0)
        assert np.abs(np.hypot(*step.T) - 1).max() < 0.1
        assert np.abs(np.diff(line[:, 2])).max() < 0.35  # a turn of 3 m radius
        heading = np.arctan2(step[:, 1], step[:, 0])
        assert np.cos(heading - line[:-1, 2]).min() > 0.97


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_nothing_overlaps(kind: str, index: int) -> None:
    world = make(kind, index)
    rows = world.layout.solids["block"]
    solids = flat_boxes(rows[:, :2], rows[:, 3], rows[:, 4], rows[:, 2])
    for k in (0, 5, 9):
        boxes = world.snapshot(k).boxes
        iou = iou_bev(boxes, boxes)
        np.fill_diagonal(iou, 0)
        assert iou.max() < 1e-6
        near = np.hypot(*(boxes[:, :2] - world.layout.focus_xy).T) < 60
        assert (iou_bev(boxes[near], solids) > 1e-3).sum() == 0


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_vehicles_move_the_way_they_face_at_their_speed(kind: str, index: int) -> None:
    traffic = make(kind, index).traffic
    now, soon = traffic.poses(0.0), traffic.poses(0.1)
    moved = (soon - now)[:, :2]
    np.testing.assert_allclose(np.hypot(*moved.T), traffic.speed_mps * 0.1, rtol=0.12, atol=1e-9)
    going = traffic.speed_mps > 0.5
    heading = np.arctan2(moved[going, 1], moved[going, 0])
    assert np.cos(heading - now[going, 2]).min() > 0.97
    assert traffic.speed_mps.max() < 40
    parked = np.array(traffic.role) == "parked"
    assert (traffic.speed_mps[parked] == 0).all()
    assert set(traffic.model) <= set(MODELS)


def test_intersections_have_turning_queued_moving_and_parked_vehicles() -> None:
    roles = {role for i in range(6) for role in make("intersection", i).traffic.role}
    assert roles == {"turning", "queued", "moving", "parked"}


def test_layouts_of_all_splits_are_disjoint() -> None:
    def place_of(split: str, index: int, seed: int = 0) -> bytes:
        layout = scenario(split, index, seed=seed).layout
        return np.round(np.concatenate([layout.lanes.points.ravel(), layout.roadside_xy]), 3).tobytes()

    ids = [place_of(split, i) for split in SPLITS for i in range(12)]
    assert len(set(ids)) == len(ids)
    assert place_of("test", 3) == place_of("test", 3)
    assert place_of("test", 3, seed=1) != place_of("test", 3)


def test_an_unknown_kind_of_place_is_refused() -> None:
    with pytest.raises(InputError, match="expected a kind of place among intersection, urban, highway, got 'moon'"):
        draw_layout("moon", keyed_rng(0))
