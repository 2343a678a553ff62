"""Scenarios as the other packages see them: frames, truths, who is a teammate, what the ego misses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robosac.boxes import invert_pose, transform_boxes, transform_points, wrap_angle
from robosac.simulation import KINDS, SimConfig, scenario
from robosac.types import Frame, Truth

SMALL = SimConfig(beams=32, columns=512)


def small(kind: str) -> SimConfig:
    return replace(SMALL, shares=SimConfig.preset(kind).shares)


def bits(frame: Frame, truth: Truth) -> bytes:
    views = [frame.ego, *frame.others.values()]
    arrays = [a for v in views for a in (v.points, v.world_T_sensor)]
    arrays += [truth.boxes, truth.track_ids, *truth.hits.values(), *truth.world_T_sensor.values()]
    return b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)


def test_the_same_arguments_give_the_same_bits_in_any_order() -> None:
    first = scenario("val", 4, seed=2, config=SMALL)
    forward = [bits(*first.snapshot(k).frame()) for k in (0, 3, 7)]
    again = scenario("val", 4, seed=2, config=SMALL)
    last = again.snapshot(7)
    for agent in reversed(last.agents):
        last.view(agent)
    assert bits(*last.frame()) == forward[2]
    assert bits(*again.snapshot(0).frame()) == forward[0]
    assert forward[0] != forward[1]
    assert bits(*scenario("val", 4, seed=3, config=SMALL).snapshot(0).frame()) != forward[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_ego_has_all_teammates_in_every_frame(kind: str) -> None:
    for i in range(8):
        world = scenario("test", i, config=small(kind))
        for k in (0, 5, 9):
            poses = world.snapshot(k).world_T_sensor
            assert list(poses) == ["car-1", "car-2", "car-3", "car-4", "car-5", "rsu-1"]
            apart = [np.hypot(*(p[:2, 3] - poses[world.ego][:2, 3])) for p in poses.values()]
            assert max(apart) <= world.config.comm_range_m
            assert sorted(apart)[1] > 1.5


def test_counts_of_connected_vehicles() -> None:
    seen = {len(scenario("train", i, config=replace(SMALL, n_vehicles=(5, 6))).agents) for i in range(12)}
    assert seen == {6, 7}
    alone = scenario("train", 0, config=replace(SMALL, n_vehicles=1, roadside=False))
    frame, truth = alone.snapshot(0).frame()
    assert alone.snapshot(0).agents == ("car-1",) and not frame.others and set(truth.hits) == {"car-1"}
    with_tower, _ = scenario("train", 0, config=replace(SMALL, n_vehicles=1)).snapshot(0).frame()
    assert {a: v.kind for a, v in with_tower.others.items()} == {"rsu-1": "roadside"}


def test_another_ego_has_those_in_its_own_range() -> None:
    snapshot = scenario("test", 1, config=SMALL).snapshot(2)
    for ego in snapshot.agents:
        frame, truth = snapshot.frame(ego)
        here = truth.world_T_sensor[ego][:2, 3]
        near = {a for a, p in snapshot.world_T_sensor.items() if np.hypot(*(p[:2, 3] - here)) <= 55}
        assert set(frame.others) | {ego} == near == set(truth.hits)
        assert frame.ego.id == ego and frame.ego.t_ns == 200_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_hits_count_the_points_on_each_object(kind: str) -> None:
    snapshot = scenario("test", 2, config=small(kind)).snapshot(4)
    frame, truth = snapshot.frame()
    for agent, hits in truth.hits.items():
        owner = snapshot.owners(agent)
        assert len(owner) == len(snapshot.view(agent).points)
        assert hits.tolist() == [int((owner == i).sum()) for i in truth.track_ids]
    assert sum(int(h.sum()) for h in truth.hits.values()) > 1000
    assert set(frame.others) == set(truth.hits) - {frame.ego.id}


@pytest.mark.parametrize("kind", KINDS)
def test_points_lie_in_the_boxes_they_belong_to(kind: str) -> None:
    """Points of every agent, brought to the ego frame, are inside the slightly enlarged truth boxes."""
    snapshot = scenario("test", 5, config=small(kind)).snapshot(6)
    frame, truth = snapshot.frame()
    row = {int(t): g for g, t in enumerate(truth.track_ids)}
    ego_T_world = invert_pose(truth.world_T_sensor[frame.ego.id])
    checked = 0
    for agent in truth.hits:
        view, owner = snapshot.view(agent), snapshot.owners(agent)
        mine = np.isin(owner, truth.track_ids)
        points = transform_points(ego_T_world @ truth.world_T_sensor[agent], view.points[mine])[:, :3]
        box = truth.boxes[[row[int(o)] for o in owner[mine]]].astype(np.float64)
        rel = points - box[:, :3]
        cos, sin = np.cos(box[:, 6]), np.sin(box[:, 6])
        local = np.stack([cos * rel[:, 0] + sin * rel[:, 1], cos * rel[:, 1] - sin * rel[:, 0], rel[:, 2]], axis=1)
        # 0.12 m of range noise; a box has no pitch or roll, the ground and the ego's sensor have up to 4 degrees
        slack = 0.12 + 0.07 * np.stack([box[:, 5], box[:, 5], box[:, 3]], axis=1) / 2
        assert (np.abs(local) <= box[:, 3:6] / 2 + slack).all()
        checked += len(points)
    assert checked > 1000


def test_boxes_are_tight() -> None:
    """All agents' points together reach to within a decimetre or two of the faces of a well-seen car's box."""
    flat = replace(SMALL, max_grade=0.0, sensor_tilt_deg=0.0, range_sigma_m=0.0, shares=(1.0, 0.0, 0.0))
    snapshot = scenario("test", 5, config=flat).snapshot(0)
    _, truth = snapshot.frame()
    best = int(np.argmax(sum(np.minimum(h, 200) for h in truth.hits.values())))
    points = np.concatenate(
        [
            transform_points(p, snapshot.view(a).points[snapshot.owners(a) == truth.track_ids[best]])
            for a, p in truth.world_T_sensor.items()
        ]
    )
    local = transform_points(invert_pose(snapshot.world_T_object[truth.track_ids[best]]), points)[:, :3]
    size = snapshot.boxes[truth.track_ids[best], 3:6]
    assert (local.min(axis=0) >= [-size[0] / 2 - 1e-3, -size[1] / 2 - 1e-3, -1e-3]).all()
    assert (local.max(axis=0) <= [size[0] / 2 + 1e-3, size[1] / 2 + 1e-3, size[2] + 1e-3]).all()
    assert np.ptp(local[:, 0]) > size[0] - 0.3


def test_truths_of_two_egos_tell_the_same_world() -> None:
    snapshot = scenario("test", 6, config=SMALL).snapshot(1)
    truths = {ego: snapshot.frame(ego)[1] for ego in ("car-1", "car-2", "rsu-1")}
    for a in truths:
        for b in truths:
            one, two = truths[a], truths[b]
            shared, i, j = np.intersect1d(one.track_ids, two.track_ids, return_indices=True)
            assert len(shared) > 3
            b_T_a = invert_pose(snapshot.world_T_sensor[b]) @ snapshot.world_T_sensor[a]
            moved = transform_boxes(b_T_a, one.boxes[i])
            np.testing.assert_allclose(moved[:, :6], two.boxes[j][:, :6], atol=2e-3)
            assert np.abs(wrap_angle(moved[:, 6] - two.boxes[j][:, 6])).max() < 0.01


def test_the_egos_own_body_is_left_out_and_teammates_are_in() -> None:
    world = scenario("test", 0, config=SMALL)
    snapshot = world.snapshot(0)
    bodies = {a.id: a.vehicle for a in world.agents if a.vehicle >= 0}
    for ego in ("car-1", "car-3"):
        _, truth = snapshot.frame(ego)
        assert bodies[ego] not in truth.track_ids
        near = [bodies[a] for a in truth.hits if a in bodies and a != ego]
        assert np.isin(near, truth.track_ids).all()
        assert (np.hypot(*truth.boxes[:, :2].T) <= world.config.truth_range_m + 0.5).all()
    assert all(snapshot.hits(a)[v] == 0 for a, v in bodies.items())
    tower = snapshot.frame("rsu-1")[1]  # carries no body: all those near it are in
    assert np.isin([bodies[a] for a in tower.hits if a in bodies], tower.track_ids).all()


def test_pose_noise_changes_the_measured_poses_only() -> None:
    noisy_config = replace(SMALL, pose_noise_xy_m=0.2, pose_noise_yaw_deg=0.5)
    errors = []
    for k in range(3):
        clean = scenario("val", 1, config=SMALL).snapshot(k).frame()
        noisy = scenario("val", 1, config=noisy_config).snapshot(k).frame()
        assert clean[1].boxes.tobytes() == noisy[1].boxes.tobytes()
        for agent, pose in noisy[1].world_T_sensor.items():
            view = noisy[0].ego if agent == noisy[0].ego.id else noisy[0].others[agent]
            plain = clean[0].ego if agent == clean[0].ego.id else clean[0].others[agent]
            assert view.points.tobytes() == plain.points.tobytes()
            assert np.array_equal(plain.world_T_sensor, pose)
            assert view.world_T_sensor[2, 3] == pose[2, 3]
            np.testing.assert_allclose(view.world_T_sensor[2, :3], pose[2, :3], atol=1e-12)  # roll and pitch stay
            errors.append((view.world_T_sensor - pose)[:2, 3])
    assert 0.1 < np.std(errors) < 0.3


def test_the_ego_alone_misses_what_others_see() -> None:
    """The share of the objects in +-38.4 m that anyone sees (5 points) which the ego itself sees."""
    for kind, low, high in (("intersection", 0.3, 0.75), ("urban", 0.4, 0.85), ("highway", 0.5, 0.97)):
        seen, mine = 0, 0
        for i in range(6):
            frame, truth = scenario("train", i, config=small(kind)).snapshot(3).frame()
            inside = (np.abs(truth.boxes[:, :2]) < 38.4).all(axis=1)
            anyone = (np.max(list(truth.hits.values()), axis=0) >= 5) & inside
            seen += int(anyone.sum())
            mine += int((truth.visible([frame.ego.id]) & anyone).sum())
        assert low < mine / seen < high, kind
        assert seen / 6 > 15
