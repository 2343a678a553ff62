"""Roads and sensors of every kind: what is drawn differs, can be drawn again, and can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robosac.boxes import iou_bev, pose_xyz_rpy
from robosac.simulation import Scenario, SimConfig, scenario
from robosac.simulation.config import PRESETS
from robosac.simulation.geometry import flat_boxes
from robosac.simulation.lidar import scan
from robosac.simulation.sensors import MODELS, Sensor, draw_sensor, evenly
from robosac.simulation.variety import Variety
from robosac.types import InputError, keyed_rng
from tests.simulation.test_lidar import HEIGHT_M, flat_world

BARE = Sensor(elevations_deg=evenly(16, -25, 5), range_sigma_m=0.0, drop_rate=0.0, faint_power=0.0)
POSE = pose_xyz_rpy(0, 0, HEIGHT_M)
RAISED_M = 0.25  # what is lower can be driven on


def road(index: int, preset: str = "road", **changes: Any) -> Scenario:
    return scenario("train", index, seed=2, config=replace(SimConfig.preset(preset), **changes))


# ------------------------------------------------------------------------------------------------------- sensors
def test_built_lidars_have_the_beams_their_names_say() -> None:
    for name, beams in MODELS.items():
        assert len(set(beams)) == int("".join(c for c in name.split("-")[1] if c.isdigit()))
        assert -31 < min(beams) < -14 and 1 < max(beams) <= 15


def test_a_narrow_sensor_sees_ahead_alone() -> None:
    points, _ = scan(flat_world(), POSE, -1, keyed_rng(1), replace(BARE, view_deg=90.0))
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    assert np.abs(azimuth).max() <= 45.4 and azimuth.min() < -44 < 44 < azimuth.max()


def test_nothing_comes_from_nearer_than_the_least_range() -> None:
    near = np.linalg.norm(scan(flat_world(), POSE, -1, keyed_rng(1), BARE)[0][:, :3], axis=1).min()
    points, owner = scan(flat_world(), POSE, -1, keyed_rng(1), replace(BARE, min_range_m=near + 1))
    assert np.linalg.norm(points[:, :3], axis=1).min() >= near + 1 and len(owner) == len(points)


def test_rain_takes_as_many_rays_as_said_and_its_drops_are_nobodys_and_near() -> None:
    world = flat_world((8.0, 0.0, 0.0, 4.0, 20.0, 3.0))
    dry, _ = scan(world, POSE, -1, keyed_rng(1), BARE)
    wet, owner = scan(world, POSE, -1, keyed_rng(1), replace(BARE, drops=0.3))
    drops = wet[:, 3] == np.float32(0.02)
    assert 0.2 * 16 * 1024 < drops.sum() < 0.3 * 16 * 1024
    assert (owner[drops] == -1).all() and np.median(np.linalg.norm(wet[drops, :3], axis=1)) < 10
    assert len(wet) - drops.sum() < len(dry)


def test_intensity_is_scaled_and_rounded() -> None:
    points, _ = scan(flat_world(), POSE, -1, keyed_rng(1), replace(BARE, gain=0.5, levels=4))
    plain, _ = scan(flat_world(), POSE, -1, keyed_rng(1), BARE)
    assert set(np.unique(points[:, 3])) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert np.abs(points[:, 3] - plain[:, 3] / 2).max() <= 0.125 + 1e-6


def test_drawn_sensors_differ_and_are_drawn_again_by_the_same_key() -> None:
    drawn = [draw_sensor(keyed_rng(0, k), roadside=k % 2 == 0, rain=0.0) for k in range(60)]
    assert drawn[7] == draw_sensor(keyed_rng(0, 7), roadside=False, rain=0.0)
    beams = {len(s.elevations_deg) for s in drawn}
    assert min(beams) <= 20 and max(beams) >= 100 and len(beams) > 6
    assert any(s.view_deg < 360 for s in drawn) and any(s.shows_carrier for s in drawn)
    assert any(s.elevations_deg in MODELS.values() for s in drawn)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"elevations_deg": ()}, "elevations"),
        ({"elevations_deg": (95.0,)}, "elevations"),
        ({"view_deg": 0.0}, "view_deg"),
        ({"min_range_m": 80.0}, "min_range_m < max_range_m"),
        ({"drops": 1.0}, "drops"),
    ],
)
def test_sensors_that_cannot_be_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"expected .*{words}.* got"):
        replace(BARE, **change)


# -------------------------------------------------------------------------------------------------------- scenes
def test_the_same_key_gives_the_same_road_and_agents_have_sensors_of_their_own() -> None:
    first, again = road(3), road(3)
    assert first.agents[0].sensor == again.agents[0].sensor and first.weather == again.weather
    views = [s.snapshot(0).frame()[0].ego.points for s in (first, again)]
    assert np.array_equal(*views)
    assert len({a.sensor for a in first.agents}) == len(first.agents)
    assert all(a.sensor is None for a in scenario("train", 3).agents)


@pytest.mark.parametrize("index", range(6))
def test_nothing_of_a_road_stands_in_a_vehicle(index: int) -> None:
    world = road(index)
    rows = np.concatenate(list(world.layout.solids.values()))
    low = rows[(rows[:, 6] < 2) & (rows[:, 5] > RAISED_M)]
    solids = flat_boxes(low[:, :2], low[:, 3], low[:, 4], low[:, 2])
    for k in (0, 9):
        boxes = world.snapshot(k).boxes
        iou = iou_bev(boxes, boxes)
        np.fill_diagonal(iou, 0)
        assert iou.max() < 1e-6
        near = np.hypot(*(boxes[:, :2] - world.layout.focus_xy).T) < 60
        assert (iou_bev(boxes[near], solids) > 1e-3).sum() == 0


def test_presets_of_the_road_say_who_is_there() -> None:
    assert {"road", "road-pair", "road-unit", "road-rain"} < set(PRESETS)
    for k in range(4):
        assert [a.kind for a in road(k, "road-pair").agents] == ["vehicle", "vehicle"]
        assert [a.kind for a in road(k, "road-unit").agents] == ["vehicle", "roadside"]
        assert road(k, "road-rain").weather.drops > 0
    assert {len(road(k).agents) for k in range(12)} >= {2, 3, 4}


def test_a_road_has_what_a_plain_place_has_not() -> None:
    found = {name for k in range(6) for name in road(k).layout.solids}
    assert {"block", "crown", "person", "cyclist"} <= found
    assert "pickup" in {m for k in range(6) for m in road(k).traffic.model}
    nothing = Variety(clutter=0, yards=0, people=0, smaller=0)
    assert set(road(1, variety=nothing).layout.solids) <= {"block", "crown"}


def test_views_are_cast_again_with_the_sensor_that_took_them() -> None:
    """Rays that meet neither added nor removed vehicles keep theirs, bit by bit, beyond the config's own range too."""
    for k in range(3):
        snapshot = road(k).snapshot(0)
        view = snapshot.view("car-1")
        none = np.zeros((0, 7), np.float32)
        assert np.array_equal(snapshot.world.seen(view, added=none, removed=none), view.points)


@pytest.mark.parametrize("change", [{"rain": 1.5}, {"clutter": -1}, {"max_grade": 0.5}, {"smaller": 0.9}])
def test_varieties_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"expected .* got"):
        Variety(**change)
