"""A check of poses before any defence: what it mends, what it refuses, and that nothing on the air makes it fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robosac.boxes import nudge_pose
from robosac.calibration import calibrate
from robosac.capabilities import Solo
from robosac.defenses import NoDefense, PoseChecked
from robosac.detectors.fusion.late import LateFusion
from robosac.poses import PoseGain
from robosac.types import Detections, Frame, InputError, Message, Received, Request, View, keyed_rng
from tests import toy
from tests.poses.scenes import cars

BOXES = cars(14, 5)
PLACES = {"ego": (0.0, 0.0, 0.0), "a": (8.0, 2.0, 0.6), "b": (-9.0, -4.0, -1.2), "c": (3.0, 12.0, 2.5)}


def found(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A detector whose points are rows of `[x y yaw length]` of cars."""
    boxes = np.zeros((len(points), 7), np.float32)
    boxes[:, :2], boxes[:, 6], boxes[:, 3] = points[:, :2], points[:, 2], points[:, 3]
    boxes[:, 4:6] = (1.9, 1.6)
    return boxes, np.full(len(points), 0.9, np.float32)


DETECTOR = LateFusion(found, name="cars")


def view(name: str, seen: slice = slice(None)) -> View:
    x, y, yaw = PLACES[name]
    pose = nudge_pose(np.eye(4), x, y, yaw)
    at = BOXES[seen]
    v = (at[:, :2] - (x, y)) @ pose[:2, :2]
    points = np.stack([v[:, 0], v[:, 1], at[:, 6] - yaw, at[:, 3]], axis=1).astype(np.float32)
    return View(name, "vehicle", 0, points, pose)


FRAME = Frame("cars", 0, view("ego"), {i: view(i) for i in "abc"})
TO = Request.of(FRAME.ego)


def inbox(**moves: tuple[float, float, float]) -> list[Received]:
    sent = [DETECTOR.encode(v, TO) for v in FRAME.others.values()]
    moved = [replace(m, world_T_payload=nudge_pose(m.world_T_payload, *moves.get(m.sender, (0, 0, 0)))) for m in sent]
    return [Received.honest(m, TO) for m in moved]


def step(messages: list[Received], **settings: Any) -> Any:
    defense = PoseChecked(**{"inner": NoDefense(), "shift_limit": 12.0, "elsewhere_limit": 20.0, **settings})
    return defense.start("cars", None, keyed_rng(0)).step(DETECTOR, FRAME.ego, TO, messages)


def test_honest_poses_pass_and_cost_no_second_session() -> None:
    verdict = step(inbox())
    assert verdict.used == frozenset("abc") and not verdict.rejected
    assert verdict.decodes == 1 + 3 and len(verdict.result) == 14


def test_a_wrong_pose_is_mended_and_its_boxes_fall_where_they_are() -> None:
    verdict = step(inbox(b=(3.0, -2.0, 0.05)))
    assert verdict.used == frozenset("abc") and "b corrected (off by 3.6" in verdict.reason
    away = np.hypot(*(verdict.result.boxes[:, None, :2] - BOXES[None, :, :2]).transpose(2, 0, 1)).min(axis=1)
    assert len(verdict.result) == 14 and away.max() < 0.1
    assert (
        len(
            NoDefense()
            .start("cars", None, keyed_rng(0))
            .step(DETECTOR, FRAME.ego, TO, inbox(b=(3.0, -2.0, 0.05)))
            .result
        )
        > 14
    )


def test_a_pose_too_far_off_is_refused_and_nobody_is_accused() -> None:
    verdict = step(inbox(b=(10.5, 0.0, 0.0)))
    assert verdict.rejected["b"].startswith("pose refused: off by 10.5") and not verdict.accused
    assert verdict.used == frozenset("ac")


@pytest.mark.parametrize(("unknown", "used"), [("keep", "abc"), ("leave out", "ab")])
def test_of_whom_there_is_no_telling_is_kept_or_left_out(unknown: str, used: str) -> None:
    few = [r for r in inbox() if r.link != "c"]
    few.append(Received.honest(DETECTOR.encode(view("c", slice(0, 2)), TO), TO))
    verdict = step(few, unknown=unknown)
    assert verdict.used == frozenset(used)
    assert ("c" in verdict.rejected) == (unknown == "leave out")


def test_nothing_on_the_air_raises() -> None:
    good = inbox()
    message = good[0].message
    huge = message.with_payload(boxes=np.full((5, 7), 250.0, np.float32), scores=np.ones(5, np.float32))
    nothing = message.with_payload(boxes=np.zeros((0, 7), np.float32), scores=np.zeros(0, np.float32))
    bad: list[Any] = ["noise", replace(good[0], message=None), Received("z", 0, object())]  # type: ignore[arg-type]
    for first in (huge, nothing, replace(message, world_T_payload=np.full((4, 4), np.nan))):
        verdict = step([replace(good[0], message=first), *good[1:], *bad])
        assert {"b", "c"} <= verdict.used and len(verdict.rejected) >= 3
    assert step([]).used == frozenset()


def test_what_another_link_brings_takes_no_ones_place() -> None:
    good = inbox()
    again = Received("z", 0, good[0].message)  # the very message of another
    array = Received("y", 0, np.zeros(3))  # type: ignore[arg-type]  # equal to nothing and to no one
    verdict = step([*good, again, array])
    assert verdict.used == frozenset("abc") and set(verdict.rejected) == {"y", "z"}


def test_limits_come_from_honest_frames() -> None:
    poses = PoseChecked().poses
    gains = poses.gains
    made = calibrate(DETECTOR, [FRAME] * 60, gains, alpha=0.05, rng=keyed_rng(0))
    assert set(made.measures) == {g.name for g in gains}
    assert poses.allowed(made, "cars") == tuple(-made.measures[g.name].threshold(1) for g in gains)
    with pytest.warns(UserWarning, match="uses its default limit 12.0: it is not calibrated"):
        poses.allowed(made, "another")


def test_a_detector_that_says_nothing_of_single_messages_is_told_so_and_calibrates_without() -> None:
    detector, frame = toy.ToyDetector(), toy.frame({"ego": [(3.0, 0.0)], "a": [(3.0, 0.0)]})
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [])
    assert not isinstance(session, Solo)
    assert PoseGain(where="near").scores(session, frame.ego, None, [frozenset("a")]) == [None]
    with pytest.raises(InputError, match="expected 'toy' to tell what a message shows by itself"):
        PoseChecked().start("t", None, keyed_rng(0)).step(detector, frame.ego, to, [])


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="expected inner to be a defence, got int"):
        PoseChecked(inner=3)
    with pytest.raises(InputError, match="'keep' or 'leave out'"):
        PoseChecked(unknown="guess")  # type: ignore[arg-type]


def test_the_messages_of_the_test_are_ordinary_ones() -> None:
    assert all(isinstance(r.message, Message) for r in inbox()) and isinstance(
        DETECTOR.open(FRAME.ego, TO, [r.message for r in inbox()]).solo(["a"])[0], Detections
    )
