"""Rays cast again at the simulated place: nothing asked, nothing changed; cars out, cars in; box geometry beside it."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from robosac.attacks.points.recast import BoxWorld, in_boxes
from robosac.boxes import invert_pose, transform_boxes
from robosac.simulation import SimConfig, scenario
from robosac.simulation.scenario import Snapshot
from robosac.simulation.sensors import Sensor
from robosac.types import Bool, Float32, InputError, View

NONE = np.zeros((0, 7), np.float32)
SHARP = SimConfig(n_frames=2, range_sigma_m=0.0, drop_rate=0.0, faint_power=0.0)


@pytest.fixture(scope="module")
def now() -> Snapshot:
    return scenario("val", 3, seed=1, config=SHARP).snapshot(1)


def seen_best(now: Snapshot, agent: str, count: int = 1) -> tuple[list[int], Float32]:
    """The vehicles that most points of an agent are on, not its own, and their boxes in its frame."""
    best = np.argsort(-now.hits(agent))[:count]
    return best.tolist(), transform_boxes(invert_pose(now.world_T_sensor[agent]), now.boxes[best])


def test_nothing_asked_nothing_changed(now: Snapshot) -> None:
    world = now.world
    for agent in now.agents:
        view = now.view(agent)
        assert world.seen(view, added=NONE, removed=NONE).tobytes() == view.points.tobytes()


def test_a_car_taken_out_leaves_what_was_there_without_it(now: Snapshot) -> None:
    """Where a car went, the points are those of the same scan in a world that never had it."""
    agent = now.agents[1]
    (gone,), box = seen_best(now, agent)
    points = now.world.seen(now.view(agent), added=NONE, removed=box)
    owners = now.owners(agent)
    kept = owners != gone
    untouched = set(map(bytes, now.view(agent).points[kept]))
    assert untouched <= set(map(bytes, points))
    traffic = now.scenario.traffic
    far = dataclasses.replace(traffic, size=np.where(np.arange(len(traffic))[:, None] == gone, 1e-3, traffic.size))
    without = dataclasses.replace(now.scenario, traffic=far).snapshot(1)
    wanted = without.view(agent).points
    here = {tuple(p) for p in np.round(wanted[:, :3], 2)}
    new = np.array([p for p in points if bytes(p) not in untouched])
    assert len(new) > 0.7 * (~kept).sum()
    near = sum(tuple(np.round(p[:3], 2)) in here for p in new)
    assert near > 0.9 * len(new)  # the rest falls between two numbers of centimetres


def test_a_car_put_in_stands_in_its_box_and_throws_a_shadow(now: Snapshot) -> None:
    agent = now.agents[2]
    view = now.view(agent)
    _, removed = seen_best(now, agent)
    world = now.world
    cleared = world.seen(view, added=NONE, removed=removed)
    back = world.seen(view, added=removed, removed=removed)
    inside = in_boxes(back, removed, margin_m=0.05).sum()
    assert inside > 0.8 * in_boxes(view.points, removed, margin_m=0.05).sum()
    assert inside > 3 * max(in_boxes(cleared, removed, margin_m=-0.1).sum(), 1)
    # whatever is new is on a measured ray, not beyond where it had ended
    reach = np.linalg.norm(back[:, :3], axis=1).max()
    assert reach <= SHARP.max_range_m + 1e-3


def test_boxes_alone_change_the_same_rays_as_the_meshes(now: Snapshot) -> None:
    """Which rays a car that is put in stops, by its box and by its mesh: the mesh is a part of the box."""
    total = np.zeros(3)
    apart = []
    for agent in now.agents[1:]:
        view = now.view(agent)
        for x, y, yaw in [(12.0, 3.0, 0.4), (-8.0, 5.0, 1.5), (20.0, -6.0, 0.0)]:
            car = np.array([[x, y, -1.2, 4.5, 1.9, 1.6, yaw]], np.float32)
            by_mesh = now.world.seen(view, added=car, removed=NONE)
            by_box = BoxWorld().seen(view, added=car, removed=NONE)
            assert len(by_mesh) == len(by_box) == len(view.points)  # nothing is lost in this sharp world
            mesh, box = ((points != view.points).any(axis=1) for points in (by_mesh, by_box))
            total += [mesh.sum(), box.sum(), (mesh & box).sum()]
            apart.append(np.linalg.norm((by_mesh - by_box)[mesh & box, :3], axis=1))
    mesh, box, both = total
    assert mesh > 2000
    assert both >= 0.99 * mesh  # nothing sticks out of its box
    assert both >= 0.65 * box  # above the bonnet and below the bumpers a box is full and a car is not
    assert np.median(np.concatenate(apart)) < 0.3


def test_a_box_taken_out_agrees_with_the_meshes(now: Snapshot) -> None:
    agent = now.agents[1]
    view = now.view(agent)
    _, box = seen_best(now, agent)
    by_mesh = now.world.seen(view, added=NONE, removed=box)
    by_box = BoxWorld().seen(view, added=NONE, removed=box)
    left = {bytes(p) for p in view.points}
    # of the points that each removes, how many both do
    gone = [left - {bytes(p) for p in points} for points in (by_mesh, by_box)]
    assert len(gone[0] & gone[1]) > 0.9 * len(gone[0] | gone[1])


def test_it_travels_as_a_recipe_and_is_not_copied(now: Snapshot) -> None:
    agent = now.agents[1]
    _, box = seen_best(now, agent)
    fresh = scenario("val", 3, seed=1, config=SHARP).snapshot(1).world  # its snapshot is gone already
    data = pickle.dumps(fresh)
    assert len(data) < 2000
    first = now.world.seen(now.view(agent), added=box, removed=NONE)
    for world in (fresh, pickle.loads(data), copy.deepcopy(fresh)):
        assert world.seen(now.view(agent), added=box, removed=NONE).tobytes() == first.tobytes()
    assert copy.deepcopy(fresh) is fresh


def test_weak_returns_are_lost_like_any_others() -> None:
    strong = scenario("val", 3, seed=1, config=SHARP).snapshot(0)
    faint = scenario("val", 3, seed=1, config=dataclasses.replace(SHARP, faint_power=0.5)).snapshot(0)
    agent = strong.agents[1]
    _, box = seen_best(strong, agent)
    view = strong.view(agent)
    returns = [len(s.world.seen(view, added=NONE, removed=box)) for s in (strong, faint)]
    assert returns[1] < returns[0]


def test_a_view_of_nobody_here(now: Snapshot) -> None:
    stranger = View("nobody", "vehicle", 0, np.ones((1, 4), np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"expected an agent among .*, got 'nobody'"):
        now.world.seen(stranger, added=NONE, removed=NONE)


def test_a_sensor_reports_what_is_put_in_as_all_else() -> None:
    """Its gain and its levels are in the new returns: with half the gain they are half as bright."""

    def seen(sensor: Sensor) -> tuple[Float32, Bool]:
        place = scenario("val", 3, seed=1, config=SHARP)
        agents = tuple(dataclasses.replace(a, sensor=sensor) for a in place.agents)
        now = dataclasses.replace(place, agents=agents).snapshot(1)
        view = now.view(now.agents[1])
        _, box = seen_best(now, now.agents[1])
        points = now.world.seen(view, added=box, removed=box)
        before = set(map(bytes, view.points))
        return points, np.array([bytes(p) not in before for p in points])

    plain, new = seen(SHARP.sensor)
    half, _ = seen(dataclasses.replace(SHARP.sensor, gain=0.5))
    assert new.sum() > 50
    np.testing.assert_allclose(half[new, 3], plain[new, 3] / 2, atol=1e-6)
    coarse, _ = seen(dataclasses.replace(SHARP.sensor, levels=4))
    np.testing.assert_array_equal(coarse[:, 3], np.round(coarse[:, 3] * 4) / 4)
