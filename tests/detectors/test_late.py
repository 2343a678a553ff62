"""Late fusion of any single-vehicle detector: laws, by hand, and behind the defence."""

from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

import robosac
from robosac.agreement import BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.boxes import invert_pose, nms_bev, transform_boxes
from robosac.capabilities import RawSession, Verifiable
from robosac.defenses import Known, RobosacAgreement
from robosac.detectors.fusion.late import LateFusion
from robosac.detectors.fusion.merge import wbf_bev
from robosac.evaluation.conformance import verify_adapter
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detector, InputError, Message, Received, Request, Subset, keyed_rng
from tests.detectors.plain import SCENE, cars, centres, equal, frame, on_open_ground, sent, view
from tests.toy import received

SUBSETS: list[Subset] = [frozenset(c) for n in range(4) for c in combinations("abc", n)]
LATE = LateFusion(cars, name="late")
WBF = LateFusion(cars, name="late", merge="wbf")


def union(detector: LateFusion, subset: Subset) -> tuple[Any, Any]:
    """Boxes and scores of the ego and a subset in the ego's frame, without the detector's own code."""
    parts = [cars(SCENE.ego.points)]
    for name in sorted(subset):
        v = SCENE.others[name]
        boxes, scores = cars(v.points)
        parts.append((transform_boxes(invert_pose(SCENE.ego.world_T_sensor) @ v.world_T_sensor, boxes), scores))
    return np.concatenate([b for b, _ in parts]), np.concatenate([s for _, s in parts])


# ---------------------------------------------------------------------------------------------------- the laws
def test_it_fulfils_the_protocols() -> None:
    to, inbox = sent(LATE, SCENE)
    session = LATE.open(SCENE.ego, to, inbox)
    assert isinstance(LATE, Detector) and isinstance(LATE, Verifiable) and isinstance(session, RawSession)
    assert session.ids == ("a", "b", "c") and LATE.name == "late" and LATE.grid is None


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: "".join(sorted(s)) or "ego")
def test_a_subset_is_suppression_over_the_union(subset: Subset) -> None:
    to, inbox = sent(LATE, SCENE)
    boxes, scores = union(LATE, subset)
    kept = nms_bev(boxes, scores, LATE.iou)
    found = LATE.open(SCENE.ego, to, inbox).detect([subset])[0]
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.scores, scores[kept])
    assert found.score_map is None


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: "".join(sorted(s)) or "ego")
def test_a_subset_is_weighted_fusion_over_the_union(subset: Subset) -> None:
    to, inbox = sent(WBF, SCENE)
    boxes, scores = wbf_bev(*union(WBF, subset), WBF.iou)
    found = WBF.open(SCENE.ego, to, inbox).detect([subset])[0]
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.scores, scores)


def test_by_hand() -> None:
    to, inbox = sent(LATE, SCENE)
    alone, everybody = LATE.open(SCENE.ego, to, inbox).detect([EGO_ALONE, frozenset("abc")])
    assert centres(alone) == [(15.0, 0.0), (-15.0, 3.0)]
    # a's 0.95 replaces the ego's 0.9; of the equal 0.7 that of a stands, which comes before b's
    assert centres(everybody) == [(15.5, 0.2), (-15.0, 3.0), (20.0, 20.0), (-5.0, -25.0), (-20.0, -20.0)]


@pytest.mark.parametrize("detector", [LATE, WBF], ids=["nms", "wbf"])
def test_messages_matter_where_they_are_held_and_in_no_order(detector: LateFusion) -> None:
    to, inbox = sent(detector, SCENE)
    first = detector.open(SCENE.ego, to, inbox).detect(SUBSETS)
    backwards = detector.open(SCENE.ego, to, inbox[::-1]).detect(SUBSETS[::-1])[::-1]
    malicious = inbox[0].with_payload(boxes=inbox[0].payload["boxes"] + np.float32(0.3))
    tampered_with = detector.open(SCENE.ego, to, [malicious, *inbox[1:]]).detect(SUBSETS)
    for subset, a, b, c in zip(SUBSETS, first, backwards, tampered_with, strict=True):
        held = [m for m in inbox if m.sender in subset]
        assert equal(a, b) and equal(a, detector.open(SCENE.ego, to, held).detect([subset])[0])
        assert equal(a, c) == ("a" not in subset)


@pytest.mark.parametrize("detector", [LATE, WBF], ids=["nms", "wbf"])
def test_check_detector_finds_nothing_to_say(detector: LateFusion) -> None:
    report = verify_adapter(detector, SCENE, rng=keyed_rng(0, "late"))
    assert report.ok, report.checks
    assert report.compared == "full forward"


def test_each_subset_is_fused_once() -> None:
    to, inbox = sent(LATE, SCENE)
    session = LATE.open(SCENE.ego, to, inbox)
    subset = frozenset("ab")
    first, again = session.detect([subset, subset])
    assert first is again
    with pytest.raises(InputError, match=r"subsets of \['a', 'b', 'c'\], got \['z'\]"):
        session.detect([frozenset("z")])


def test_the_ego_itself_is_no_detection() -> None:
    """A teammate sees the ego's car; the ego knows where it is."""
    scene = frame(ego=[], a=[(0.5, 0.2, 0.9), (8.0, 0.0, 0.9)])
    to, inbox = sent(LATE, scene)
    assert centres(LATE.open(scene.ego, to, inbox).detect([frozenset("a")])[0]) == [(8.0, 0.0)]
    kept = LateFusion(cars, name="late", keep_own_body=True)
    assert len(kept.open(scene.ego, to, inbox).detect([frozenset("a")])[0]) == 2


# --------------------------------------------------------------------------------------------- what detect returns
def late(detect: Any) -> LateFusion:
    return LateFusion(detect, name="mine")


def both_ways(detector: LateFusion) -> None:
    to, inbox = sent(detector, SCENE)
    detector.open(SCENE.ego, to, inbox)


def test_torch_and_unsorted_answers_are_the_same_answers() -> None:
    def unsorted_torch(points: Any) -> Any:
        boxes, scores = cars(points)
        order = np.argsort(scores)
        return torch.from_numpy(boxes[order]).double().requires_grad_(), torch.from_numpy(scores[order])

    to, _ = sent(LATE, SCENE)
    other = LateFusion(unsorted_torch, name="late")
    a, b = (d.open(SCENE.ego, to, sent(d, SCENE)[1]).detect([frozenset("abc")])[0] for d in (LATE, other))
    assert equal(a, b)


@pytest.mark.parametrize(
    "nothing", [np.zeros(0), np.zeros((0, 7)), torch.zeros(0, 7), []], ids=["0", "0x7", "torch", "list"]
)
def test_finding_nothing_is_an_answer(nothing: Any) -> None:
    detector = late(lambda points: (nothing, []))
    to, inbox = sent(detector, SCENE)
    assert len(detector.open(SCENE.ego, to, inbox).detect([frozenset("abc")])[0]) == 0


def test_a_scan_without_points_is_not_shown_to_detect() -> None:
    detector = late(lambda points: (np.tile(points[:1, :1], (1, 7)), points.max(axis=0)))  # fails on none
    blind = view("a", [])
    assert detector.encode(blind, Request.of(SCENE.ego)).payload["boxes"].shape == (0, 7)


WRONG: list[tuple[str, Any, str]] = [
    ("not a pair", lambda p: cars(p)[0], r"return \(boxes, scores\), got ndarray"),
    ("three", lambda p: (*cars(p), 0), r"got tuple of 3"),
    ("8 columns", lambda p: (np.zeros((2, 8)), np.zeros(2)), r"\(N, 7\) \[x y z l w h yaw\], got shape \(2, 8\)"),
    ("scores", lambda p: (cars(p)[0], np.zeros(1)), r"one a box, got shape \(1,\)"),
    ("NaN", lambda p: (cars(p)[0] * np.nan, cars(p)[1]), "finite, got NaN"),
    ("logits", lambda p: (cars(p)[0], cars(p)[1] + 3), "give their sigmoid"),
    ("sizes", lambda p: (-cars(p)[0], cars(p)[1]), "l, w, h of 'mine'.*positive"),
    ("words", lambda p: ("boxes", "scores"), "boxes of 'mine' to be an array of numbers"),
]


@pytest.mark.parametrize(("detect", "says"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_answer_is_named(detect: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        both_ways(late(detect))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"detect": 3}, "callable, points -> .*got int"),
        ({"merge": "mean"}, "'nms' or 'wbf', got 'mean'"),
        ({"iou": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"max_boxes": 0}, "max_boxes and max_messages >= 1"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        LateFusion(**{"detect": cars, "name": "mine", **settings})


# ------------------------------------------------------------------------------------------------ what others send
def passes(detector: LateFusion, message: Message) -> str | None:
    to = Request.of(SCENE.ego)
    return Gate().refusal(to, detector.codec, Received.honest(message, to))


def test_a_flood_of_boxes_does_not_enter() -> None:
    to, inbox = sent(LATE, SCENE)
    flood = inbox[0].with_payload(boxes=np.ones((101, 7), np.float32), scores=np.ones(101, np.float32))
    assert "longer than {'n': 100}" in str(passes(LATE, flood)) and passes(LATE, inbox[0]) is None
    with pytest.raises(InputError, match="at most 100 from 'a', got"):
        LATE.open(SCENE.ego, to, [flood])


def test_an_agent_sends_its_best() -> None:
    short = LateFusion(cars, name="late", max_boxes=2, min_score=0.45)
    payload = {m.sender: m.payload["scores"].tolist() for m in sent(short, SCENE)[1]}
    assert payload == {"a": pytest.approx([0.95, 0.7]), "b": pytest.approx([0.7, 0.6]), "c": pytest.approx([0.6])}
    assert all(passes(short, m) is None for m in sent(short, SCENE)[1])


def test_boxes_that_are_no_vehicles_are_left_out() -> None:
    to, inbox = sent(LATE, SCENE)
    boxes = np.tile(inbox[0].payload["boxes"][1:], (5, 1))  # the car that a alone sees
    boxes[1, 3], boxes[2, 4], boxes[3, 5] = -1.0, 0.0, 200.0
    scores = np.array([0.05, 0.9, 0.9, 0.9, 0.7], np.float32)
    odd = inbox[0].with_payload(boxes=boxes, scores=scores)
    assert passes(LATE, odd) is None
    found = LATE.open(SCENE.ego, to, [odd]).detect([frozenset("a")])[0]
    assert centres(found) == [(15.0, 0.0), (-15.0, 3.0), (20.0, 20.0)]


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda m: [m[0], m[0]], "one message of each teammate, got several from"),
        (lambda m: [replace(m[0], sender="ego")], "got one of the ego 'ego'"),
        (lambda m: [replace(m[0], codec="other")], "a message of codec 'late-boxes' from 'a', got 'other'"),
        (
            lambda m: [m[0].with_payload(more=np.zeros(1))],
            r"a payload of \['boxes', 'scores'\] from 'a', got \['boxes', 'more', 'scores'\]",
        ),
        (
            lambda m: [m[0].with_payload(boxes=np.zeros((2, 6)))],
            r"'boxes' from 'a' to be \('n', 7\) float32, got \(2, 6\)",
        ),
        (lambda m: [m[0].with_payload(boxes=np.full((2, 7), np.nan))], "finite 'boxes'"),
        (lambda m: [m[0].with_payload(scores=np.zeros(3))], r"one length of at most 100 from 'a', got \[2, 3\]"),
        (lambda m: [replace(m[0], sender=f"x{k}") for k in range(17)], "at most 16 messages, got 17"),
    ],
)
def test_direct_misuse_is_named(spoilt: Any, says: str) -> None:
    to, inbox = sent(LATE, SCENE)
    with pytest.raises(InputError, match=says):
        LATE.open(SCENE.ego, to, spoilt(inbox))


# ------------------------------------------------------------------------------------------------- behind the defence
SEEN = [(x, y, 0.9) for x, y in ((-20, 0), (-10, 8), (9, 12), (12, 0), (20, -10))]
MEASURES = [SeenScoreMap(slack=0.0), ScoreMapOverlap(slack=0.0), BoxJaccard()]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_the_whole_defence_works_on_boxes_alone(measure: Any, merge: Any) -> None:
    malicious = [(x, y, 1.0) for x in (-30, -5, 5, 30) for y in (-25, 25, 30)]
    scene = on_open_ground(frame(ego=SEEN, a=[*SEEN, (30, 30, 0.9)], b=malicious, c=SEEN))
    detector = LateFusion(cars, name="late", merge=merge)
    defended = robosac.wrap(detector, RobosacAgreement(agreement=measure, threshold=0.6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = defended(scene)
    assert verdict.used == frozenset("ac") and verdict.accused == frozenset("b")
    assert len(verdict.result) == 6
    known = robosac.wrap(detector, RobosacAgreement(plan=Known(attackers=1), agreement=measure, threshold=0.6))
    assert known(scene).used == frozenset("ac")


def test_wrapping_without_calibration_warns_and_goes_on() -> None:
    with pytest.warns(UserWarning, match="default limits"):
        verdict = robosac.wrap(LATE)(frame(ego=SEEN, a=SEEN))
    assert len(verdict.result) == 5


def test_a_flood_over_the_air_is_reported_and_costs_nobody_a_frame() -> None:
    scene = frame(ego=SEEN, a=SEEN, b=SEEN)
    to, inbox = sent(LATE, scene)
    inbox[0] = inbox[0].with_payload(boxes=np.ones((5000, 7), np.float32), scores=np.ones(5000, np.float32))
    verdict = robosac.wrap(LATE, RobosacAgreement(threshold=0.5)).receive(scene.ego, received(inbox, to))
    assert set(verdict.rejected) == {"a"} and verdict.used == frozenset("b")


# ------------------------------------------------------------------------------ detectors that suppress nothing
def raw(points: Any) -> tuple[Any, Any]:
    """20,000 boxes on the 60 cars of a detector without suppression, 334 or so about each."""
    rng = np.random.default_rng(0)
    car = rng.permutation(np.arange(20_000) % 60)
    boxes = np.tile(np.array([0, 0, 0, 4.5, 2, 1.5, 0], np.float32), (20_000, 1))
    boxes[:, 0], boxes[:, 1] = (car % 10 - 5) * 9 + rng.normal(0, 0.2, 20_000) + 3, (car // 10 - 3) * 9 + 4
    return boxes, rng.random(20_000).astype(np.float32)


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_twenty_thousand_raw_boxes_take_little_memory(merge: Any) -> None:
    late = LateFusion(raw, name="raw", merge=merge)
    to, inbox = sent(late, SCENE)
    tracemalloc.start()
    found = late.open(SCENE.ego, to, inbox).detect([frozenset("abc")])[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 60 <= len(found) <= 240
    assert peak < 30 * 2**20  # all pairs of the ego's own boxes took 6 GB


def test_what_a_detector_without_suppression_sends_is_one_box_a_car() -> None:
    message = LateFusion(raw, name="raw").encode(SCENE.ego, Request.of(SCENE.ego))
    boxes, scores = message.payload["boxes"], message.payload["scores"]
    assert len(boxes) == 60 and (np.diff(scores) <= 0).all()
    everything, all_scores = raw(None)
    kept = nms_bev(everything, all_scores, 0.15)
    np.testing.assert_array_equal(boxes, everything[kept])


def test_the_egos_own_list_is_as_long_as_the_others() -> None:
    def apart(points: Any) -> tuple[Any, Any]:
        boxes, scores = raw(points)
        boxes[:, 0] = np.arange(20_000) % 200 * 9 - 900
        boxes[:, 1] = np.arange(20_000) // 200 * 9 - 450
        return boxes, scores

    late = LateFusion(apart, name="apart", max_boxes=50, keep_own_body=True)
    session = late.open(SCENE.ego, Request.of(SCENE.ego), [])
    assert len(session.detect([EGO_ALONE])[0]) == 50
