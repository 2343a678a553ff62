"""Cars put in and taken out of scans: rays on boxes by hand, where a car is put, what the detectors then see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robosac.air import Air
from robosac.attacks import RemoveCar, SpoofCar
from robosac.attacks.points.cars import groups
from robosac.attacks.points.places import free_places
from robosac.attacks.points.recast import BoxWorld, box_spans, ground_plane, in_boxes
from robosac.boxes import invert_pose, transform_boxes
from robosac.registry.detectors import open_detector
from robosac.types import Detector, InputError, Message, View
from tests.attacks.toy_points import CARS, EARLY, HEIGHT_M, LATE, street_air, sweep

NONE = np.zeros((0, 7), np.float32)


def view(points: np.ndarray) -> View:
    return View("a", "vehicle", 0, np.asarray(points, np.float32).reshape(-1, 4), np.eye(4))


def shown(air: Air, sent: list[Message], detector: Detector) -> np.ndarray:
    """Boxes that the ego sees when these, and honestly everybody else, send."""
    messages = {**air._others, **air.honest, **{m.sender: m for m in sent}}
    session = detector.open(air._ego, air.to, list(messages.values()))
    return session.detect([frozenset(session.ids)])[0].boxes


def nearest(boxes: np.ndarray, to: np.ndarray) -> float:
    return float(np.hypot(boxes[:, 0] - to[0], boxes[:, 1] - to[1]).min(initial=np.inf))


# ---------------------------------------------------------------------------------------------------- rays on boxes
def test_slabs_by_hand() -> None:
    rays = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0.6, 0.8, 0]])
    boxes = np.array([[10, 0, 0, 4, 2, 2, 0], [0, 10, 0, 4, 2, 2, np.pi / 2], [6, 8, 0, 2, 2, 2, np.arctan2(8, 6)]])
    enter, leave = box_spans(rays, boxes)
    hit = (enter <= leave) & (enter > 0)
    np.testing.assert_array_equal(hit, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(enter[hit], [8, 8, 9], atol=1e-9)
    np.testing.assert_allclose(leave[hit], [12, 12, 11], atol=1e-9)


def test_slabs_agree_with_points_along_the_rays() -> None:
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(200, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    centres = np.column_stack([rng.uniform(-15, 15, (12, 2)), rng.uniform(-2, 2, 12)])
    boxes = np.column_stack([centres, rng.uniform(1, 6, (12, 3)), rng.uniform(-3, 3, 12)])
    enter, leave = box_spans(rays, boxes)
    for t in np.arange(0.01, 25, 0.37):
        np.testing.assert_array_equal(in_boxes(rays * t, boxes), (enter <= t) & (t <= leave))


def test_a_box_stops_what_is_behind_it_and_nothing_else() -> None:
    points = view([[20, 0, 0, 0.9], [5, 0, 0, 0.8], [0, 20, 0, 0.7], [20, 0.5, 0, 0.6]])
    car = np.array([[10, 0, 0, 4, 2, 2, 0]], np.float32)
    got = BoxWorld(intensity=0.3).seen(points, added=car, removed=NONE)
    np.testing.assert_allclose(got, [[8, 0, 0, 0.3], [5, 0, 0, 0.8], [0, 20, 0, 0.7], [8, 0.2, 0, 0.3]], atol=1e-6)
    assert got[1:3].tobytes() == points.points[1:3].tobytes()


def test_rays_freed_of_a_car_go_on_to_the_ground_or_are_lost() -> None:
    ground = [[float(x), float(y), -2 + 0.01 * x, 0.2] for x in range(-40, 41, 4) for y in range(-40, 41, 4)]
    car = np.array([[10, 0, -1.2, 4, 2, 1.6, 0]], np.float32)
    on_it = [[8, 0, -1, 0.9], [9, 0.2, -0.5, 0.9], [9, 0, -0.25, 0.9]]
    got = BoxWorld(max_range_m=40.0).seen(view([*ground, *on_it]), added=NONE, removed=car)
    new = got[len(ground) :]
    assert len(new) == 2  # the third would meet the ground beyond 40 m
    np.testing.assert_allclose(new[:, 2], -2 + 0.01 * new[:, 0], atol=1e-4)
    np.testing.assert_allclose(new[0, 2] / new[0, 0], -1 / 8, atol=1e-6)
    assert len(BoxWorld().seen(view(on_it), added=NONE, removed=car)) == 0  # no ground to be seen


def test_the_ground_is_found_below_what_stands_on_it() -> None:
    rng = np.random.default_rng(1)
    xy = rng.uniform(-50, 50, (4000, 2))
    z = -1.8 + 0.02 * xy[:, 0] - 0.01 * xy[:, 1] + rng.normal(0, 0.02, 4000)
    z[np.hypot(xy[:, 0] - 20, xy[:, 1]) < 12] += 4.0  # a roof
    plane = ground_plane(np.column_stack([xy, z]))
    assert plane is not None
    np.testing.assert_allclose(plane, [-1.85, 0.02, -0.01], atol=0.05)
    assert ground_plane(np.zeros((2, 4))) is None


# ---------------------------------------------------------------------------------------------------- where a car goes
def test_free_places_are_free_and_seen() -> None:
    points = sweep(np.eye(4), CARS)
    places = free_places(points, 6.0, 20.0)
    assert len(places) > 20
    distance = np.hypot(places[:, 0], places[:, 1])
    assert distance.min() >= 6.0 and distance.max() <= 20.0
    assert not in_boxes(points[points[:, 2] > -HEIGHT_M + 0.3], places, margin_m=0.5).any()
    np.testing.assert_allclose(places[:, 2], -HEIGHT_M + 0.8, atol=0.05)
    hedges = np.concatenate([points, np.random.default_rng(0).uniform(-30, 30, (40_000, 4)) * [1, 1, 0, 0]])
    assert len(free_places(hedges, 6.0, 20.0)) == 0
    assert len(free_places(np.zeros((0, 4), np.float32), 6.0, 20.0)) == 0


# ---------------------------------------------------------------------------------------------------------- behaviour
@pytest.mark.parametrize("detector", [EARLY, LATE], ids=["early", "late"])
def test_a_spoofed_car_is_seen_where_none_is(detector: Detector) -> None:
    air = street_air(["a"], detector=detector)
    attack = SpoofCar(nearest_m=8.0)
    attacker = attack.start("street", frozenset("a"), np.random.default_rng(0))
    sent = list(attacker.send(air))
    (car,) = attack.edits(air, attacker.colluders)[0]
    assert nearest(shown(air, [], detector), car) > 3.0 and nearest(shown(air, sent, detector), car) < 1.5
    assert attack.perturbation_size(air.honest["a"], sent) == 1


@pytest.mark.parametrize("detector", [EARLY, LATE], ids=["early", "late"])
@pytest.mark.parametrize("pick", ["nearest", "best"])
def test_a_removed_car_is_gone_from_what_its_finder_sends(detector: Detector, pick: str) -> None:
    air = street_air(["a"], [], detector=detector)
    attack = RemoveCar(pick=pick)  # type: ignore[arg-type]
    attacker = attack.start("street", frozenset("a"), np.random.default_rng(0))
    (box,) = attack.edits(air, attacker.colluders)[1]
    (sent,) = attacker.send(air)
    alone = [
        d.detect([frozenset("a")])[0].boxes
        for d in (  # an ego that sees nothing itself
            detector.open(dataclasses.replace(air._ego, points=np.zeros((0, 4), np.float32)), air.to, [m])
            for m in (air.honest["a"], sent)
        )
    ]
    assert nearest(alone[0], box) < 0.5 and nearest(alone[1], box) > 3.0
    world = transform_boxes(air.to.world_T_ego, box[None])[0]
    assert nearest(CARS, world) < 2.5  # it was one of the street's cars


def test_attackers_agree_on_the_cars() -> None:
    air = street_air(["a", "b"])
    attack = SpoofCar(cars=2)
    colluders = attack.start("street", frozenset("ab"), np.random.default_rng(0)).colluders
    cars = attack.edits(air, colluders)[0]
    sent = attack.start("street", frozenset("ab"), np.random.default_rng(0)).send(air)
    changed = [i for i, m in zip("ab", sent, strict=True) if attack.perturbation_size(air.honest[i], [m])]
    for who in changed:
        here = transform_boxes(invert_pose(air.own[who].world_T_sensor) @ air.to.world_T_ego, cars)
        points = {m.sender: m for m in sent}[who].payload["points"]
        assert in_boxes(points, here, margin_m=0.05).any()
    assert len(cars) == 2 and np.hypot(*(cars[0, :2] - cars[1, :2])) >= 12.0 and changed


def test_the_world_is_asked_where_there_is_one() -> None:
    asked: list[tuple[int, int]] = []

    class Place:
        def seen(self, view: View, *, added: np.ndarray, removed: np.ndarray) -> np.ndarray:
            asked.append((len(added), len(removed)))
            return view.points

    air = street_air(["a"], world=Place())
    for attack in (SpoofCar(cars=2), RemoveCar()):
        (sent,) = attack.start("street", frozenset("a"), np.random.default_rng(0)).send(air)
        assert sent is air.honest["a"]
    assert asked == [(2, 0), (0, 1)]


# ----------------------------------------------------------------------------------------------------------- measuring
def test_groups_by_hand() -> None:
    def at(*xs: float) -> np.ndarray:
        return np.array([[x, 0.0, 0.0, 0.0] for x in xs])

    assert groups(at()) == 0
    assert groups(at(0, 3, 6)) == 1
    assert groups(at(0, 3, 12, 13, 30)) == 3


def test_cars_are_counted_on_messages_of_points_and_told_as_one_on_others() -> None:
    for count in (1, 2, 3):
        air = street_air(["a"])
        attack = SpoofCar(cars=count)
        sent = list(attack.start("street", frozenset("a"), np.random.default_rng(2)).send(air))
        assert attack.perturbation_size(air.honest["a"], sent) == count
    air = street_air(["a"], detector=LATE)
    sent = list(SpoofCar(cars=3).start("street", frozenset("a"), np.random.default_rng(2)).send(air))
    assert SpoofCar().perturbation_size(air.honest["a"], sent) == 1
    late = dataclasses.replace(sent[0], sensed_ns=sent[0].sensed_ns + 1)
    assert SpoofCar().perturbation_size(air.honest["a"], [late]) == np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpoofCar(cars=-1), "cars of SpoofCar to be an integer >= 0"),
        (lambda: SpoofCar(furthest_m=2.0), "furthest_m of SpoofCar to be a finite number >= 6"),
        (lambda: RemoveCar(pick="worst"), "expected pick of RemoveCar to be 'nearest', 'furthest' or 'best', got 'wor"),
        (lambda: RemoveCar(min_score=2.0), "min_score of RemoveCar"),
        (lambda: open_detector("late:men"), "expected late:NAME of mean, .* or a FILE.safetensors, got 'men'"),
        (lambda: open_detector("early:"), "expected early:NAME of mean"),
    ],
)
def test_settings_are_checked(make, message):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("kind", ["late", "early"])
def test_a_shipped_network_by_its_boxes_or_points(kind: str) -> None:
    detector = open_detector(f"{kind}:mean")
    assert detector.name == f"{kind}:mean" and detector.grid == open_detector("mean").grid
    assert set(detector.codec.arrays) == ({"boxes", "scores"} if kind == "late" else {"points"})
