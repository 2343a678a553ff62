"""Early fusion of any single-vehicle detector: laws, by hand, and behind the defence."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import robosac
from robosac.agreement import BoxJaccard
from robosac.boxes import invert_pose, nms_bev, transform_points
from robosac.capabilities import RawSession, Verifiable
from robosac.defenses import RobosacAgreement
from robosac.detectors.fusion.early import EarlyFusion
from robosac.evaluation.conformance import verify_adapter
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detector, Float32, InputError, Received, Request, Subset, keyed_rng
from tests.detectors.plain import SCENE, cars, centres, equal, frame, on_open_ground, sent, view
from tests.toy import received

SUBSETS: list[Subset] = [frozenset(c) for n in range(4) for c in combinations("abc", n)]


def distinct(points: Float32) -> tuple[Float32, Float32]:
    """`cars`, one where several points are close together."""
    boxes, scores = cars(points[points[:, 3] > 0.1])  # points on the ground are none
    kept = nms_bev(boxes, scores, 0.1)
    return boxes[kept], scores[kept]


EARLY = EarlyFusion(distinct, name="early")


def merged(subset: Subset) -> Float32:
    """The points of the ego and a subset in the ego's frame, without the detector's own code."""
    world_T_ego = SCENE.ego.world_T_sensor
    others = [SCENE.others[i] for i in sorted(subset)]
    moved = [transform_points(invert_pose(world_T_ego) @ v.world_T_sensor, v.points) for v in others]
    return np.concatenate([SCENE.ego.points, *moved])


# ---------------------------------------------------------------------------------------------------- the laws
def test_it_fulfils_the_protocols() -> None:
    to, inbox = sent(EARLY, SCENE)
    session = EARLY.open(SCENE.ego, to, inbox)
    assert isinstance(EARLY, Detector) and isinstance(EARLY, Verifiable) and isinstance(session, RawSession)
    assert session.ids == ("a", "b", "c")


def test_the_ego_alone_is_detect_on_its_points() -> None:
    to, inbox = sent(EARLY, SCENE)
    found = EARLY.open(SCENE.ego, to, inbox).detect([EGO_ALONE])[0]
    boxes, scores = distinct(SCENE.ego.points)
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.scores, scores)
    assert found.score_map is None


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: "".join(sorted(s)) or "ego")
def test_a_subset_is_detect_on_its_points(subset: Subset) -> None:
    to, inbox = sent(EARLY, SCENE)
    found = EARLY.open(SCENE.ego, to, inbox).detect([subset])[0]
    boxes, scores = distinct(merged(subset))
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.scores, scores)


def test_messages_matter_where_they_are_held_and_in_no_order() -> None:
    to, inbox = sent(EARLY, SCENE)
    first = EARLY.open(SCENE.ego, to, inbox).detect(SUBSETS)
    backwards = EARLY.open(SCENE.ego, to, inbox[::-1]).detect(SUBSETS[::-1])[::-1]
    malicious = inbox[0].with_payload(points=inbox[0].payload["points"] + np.float32([0.3, 0, 0, 0]))
    tampered_with = EARLY.open(SCENE.ego, to, [malicious, *inbox[1:]]).detect(SUBSETS)
    for subset, a, b, c in zip(SUBSETS, first, backwards, tampered_with, strict=True):
        held = [m for m in inbox if m.sender in subset]
        assert equal(a, b) and equal(a, EARLY.open(SCENE.ego, to, held).detect([subset])[0])
        assert equal(a, c) == ("a" not in subset)


def test_check_detector_finds_nothing_to_say() -> None:
    unscored = EarlyFusion(lambda p: (distinct(p)[0], np.full(len(distinct(p)[0]), 0.5)), name="early")
    report = verify_adapter(unscored, SCENE, rng=keyed_rng(0, "early"))  # noise on an intensity is no score
    assert report.ok, report.checks


def test_detect_runs_once_a_subset() -> None:
    runs: list[int] = []

    def counting(points: Float32) -> Any:
        runs.append(len(points))
        return cars(points)

    detector = EarlyFusion(counting, name="early")
    to, inbox = sent(detector, SCENE)
    assert runs == []  # nobody but the ego detects, and it only when asked
    session = detector.open(SCENE.ego, to, inbox)
    assert runs == []
    first, again = session.detect([frozenset("ab"), frozenset("ab")])
    assert first is again and runs == [7]
    with pytest.raises(InputError, match="got \\['z'\\]"):
        session.detect([frozenset("z")])


def test_the_ego_itself_is_no_detection() -> None:
    scene = frame(ego=[(12.0, 0.0, 0.9)], a=[(0.5, 0.2, 0.9), (8.0, 0.0, 0.8)])
    to, inbox = sent(EARLY, scene)
    assert centres(EARLY.open(scene.ego, to, inbox).detect([frozenset("a")])[0]) == [(12.0, 0.0), (8.0, 0.0)]


# ------------------------------------------------------------------------------------------------ what others send
def test_a_scan_is_thinned_evenly_and_cleaned() -> None:
    short = EarlyFusion(cars, name="early", max_points=3)
    many = view("a", [(k, 0.0, 0.5) for k in range(9)])
    many.points[4] = np.nan
    points = short.encode(many, Request.of(SCENE.ego)).payload["points"]
    np.testing.assert_array_equal(points, many.points[[0, 2, 6]])
    assert sent(EARLY, SCENE)[1][0].payload["points"].tobytes() == SCENE.others["a"].points.tobytes()


def test_a_flood_of_points_does_not_enter() -> None:
    short = EarlyFusion(cars, name="early", max_points=3)
    to, inbox = sent(short, SCENE)
    flood = inbox[0].with_payload(points=np.zeros((4, 4), np.float32))
    assert "longer than {'n': 3}" in str(Gate().refusal(to, short.codec, Received.honest(flood, to)))
    assert Gate().refusal(to, short.codec, Received.honest(inbox[0], to)) is None


def touchy(points: Float32) -> Any:
    """A detector that cannot bear points below the ground."""
    if (points[:, 2] < -50).any():
        raise FloatingPointError("below the ground")
    return cars(points)


def test_what_teammates_send_never_stops_the_ego() -> None:
    scene = frame(ego=[(10, 0, 0.9), (20, 5, 0.9)], a=[(10, 0, 0.9), (20, 5, 0.9)], b=[(10, 0, 0.9)])
    detector = EarlyFusion(touchy, name="early")
    to, inbox = sent(detector, scene)
    inbox[1] = inbox[1].with_payload(points=np.full((5, 4), -100.0, np.float32))
    defended = robosac.wrap(detector, RobosacAgreement(threshold=0.5))
    with pytest.warns(UserWarning, match="failed on the points of teammates.*below the ground"):
        verdict = defended.receive(scene.ego, received(inbox, to))
    assert verdict.used == frozenset("a") and len(verdict.result) > 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"detect": None}, "callable, points -> .*got NoneType"),
        ({"min_score": 2.0}, r"min_score in \[0, 1\], got 2.0"),
        ({"max_points": 0}, "max_points and max_messages >= 1"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        EarlyFusion(**{"detect": cars, "name": "mine", **settings})


def test_a_wrong_answer_for_the_ego_is_named() -> None:
    detector = EarlyFusion(lambda points: (cars(points)[0], cars(points)[1] + 7), name="mine")
    to, inbox = sent(detector, SCENE)
    with pytest.raises(InputError, match="give their sigmoid"):
        detector.open(SCENE.ego, to, inbox).detect([EGO_ALONE])


def test_direct_misuse_is_named() -> None:
    to, inbox = sent(EARLY, SCENE)
    with pytest.raises(InputError, match=r"'points' from 'a' to be \('n', 4\) float32, got \(3, 3\)"):
        EARLY.open(SCENE.ego, to, [inbox[0].with_payload(points=np.zeros((3, 3), np.float32))])


def test_the_defence_works_on_points() -> None:
    seen = [(x, y, 0.9) for x, y in ((-20, 0), (-10, 8), (9, 12), (12, 0), (20, -10))]
    malicious = [(x, y, 1.0) for x in (-30, -5, 5, 30) for y in (-25, 25, 30)]
    scene = on_open_ground(frame(ego=seen, a=seen, b=malicious, c=[*seen, (30, 30, 0.9)]))
    verdict = robosac.wrap(EARLY, RobosacAgreement(threshold=0.6))(scene)
    assert verdict.used == frozenset("ac") and verdict.accused == frozenset("b") and len(verdict.result) == 6


def test_a_failure_on_what_teammates_send_is_no_empty_street() -> None:
    """An ego that sees nothing would agree with it in full."""
    detector = EarlyFusion(touchy, name="early")
    scene = frame(ego=[], a=[(10, 0, -100.0)])
    to, inbox = sent(detector, scene)
    session = detector.open(scene.ego, to, inbox)
    with pytest.warns(UserWarning, match="failed on the points"):
        alone, together = session.detect([EGO_ALONE, frozenset("a")])
    assert len(alone) == len(together) == 0 and alone.finite and not together.finite
    assert BoxJaccard().against(alone)(alone) == 1 and BoxJaccard().against(alone)(together) == 0


def test_by_itself_a_message_shows_the_car_that_sent_it() -> None:
    """What holds the ego's sensor is the ego and left out; what holds the sender's is a car like any other."""
    scene = frame(ego=[(15.0, 0.0, 0.9)], a=[(10.0, -5.0, 0.9), (0.0, 0.0, 0.8), (20.0, 20.0, 0.7)])
    to, inbox = sent(EARLY, scene)
    (shown,) = EARLY.open(scene.ego, to, inbox).solo(["a"])
    assert centres(shown) == [(10.0, -5.0), (20.0, 20.0)]
