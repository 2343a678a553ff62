"""Claimed poses: what is off is mended or refused, what is honest is fine, and where there is no telling it is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.boxes import pose_xyz_rpy
from robosac.capabilities import Claim
from robosac.poses import Objects, Offset, PoseCheck, estimate, mended
from robosac.types import Detections, InputError, Message
from tests.poses.scenes import LIMITS, cars, claimed, judged, left_m, noisy, shown

ERRORS = [(2.0, 0.0, 0.0), (-5.0, 6.0, 0.0), (0.0, 0.0, 8.0), (0.0, 0.0, -3.0), (7.0, -7.0, 10.0), (1.5, 0.5, -6.0)]


def error(x: float, y: float, degrees: float) -> Offset:
    return Offset(x, y, math.radians(degrees))


# --------------------------------------------------------------------------------------------------------- what is off
@pytest.mark.parametrize("off", ERRORS)
def test_an_error_is_found_exactly_where_there_is_no_noise(off: tuple[float, float, float]) -> None:
    boxes = cars(9)
    verdict = judged(boxes, boxes, error(*off))
    assert verdict.kind == "corrected" and verdict.seen == 9
    assert left_m(verdict, error(*off)) < 0.02
    assert verdict.offset.yaw_rad == pytest.approx(-math.radians(off[2]), abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.floats(-7.0, 7.0), st.floats(-7.0, 7.0), st.floats(-10.0, 10.0))
def test_so_it_is_up_to_10_m_and_10_degrees_with_noise(seed: int, x: float, y: float, degrees: float) -> None:
    boxes = cars(12, seed)
    off = error(x, y, degrees)
    verdict = judged(noisy(boxes, seed + 1), noisy(boxes, seed + 2), off)
    assert verdict.kind in ("fine", "corrected")
    assert left_m(verdict, off) < (0.5 if verdict.kind == "corrected" else 1.2)


def test_the_stated_uncertainty_holds() -> None:
    boxes, off, inside = cars(10), error(3.0, -2.0, 0.0), []
    for k in range(30):
        found, claim = claimed(off, noisy(boxes, 2 * k))
        said = PoseCheck().look(shown(noisy(boxes, 2 * k + 1)), found, claim)
        assert said is not None
        left = said.free.vector[:2] + np.array([off.x_m, off.y_m])
        inside.append(float(left @ np.linalg.solve(said.free.covariance[:2, :2], left)) < 9.2)  # 99 % of a chi square
    assert np.mean(inside) >= 0.9


@settings(max_examples=15, deadline=None)
@given(st.floats(-math.pi, math.pi), st.floats(-20.0, 20.0), st.floats(-20.0, 20.0))
def test_turning_the_whole_world_turns_the_answer(yaw: float, x: float, y: float) -> None:
    own, theirs = noisy(cars(8), 1), error(2.0, 1.0, 2.0).boxes(noisy(cars(8), 2)).astype(np.float64)
    world = Offset(x, y, yaw)
    turned = [world.boxes(b).astype(np.float64) for b in (own, theirs)]
    a = estimate(Objects.of(shown(own)), Objects.of(shown(theirs)), (5.0, 5.0))
    b = estimate(*(Objects.of(shown(t)) for t in turned), tuple(world.points(np.array([[5.0, 5.0]]))[0]))
    assert a is not None and b is not None
    cos, sin = math.cos(yaw), math.sin(yaw)
    np.testing.assert_allclose(b.free.vector[:2], np.array([[cos, -sin], [sin, cos]]) @ a.free.vector[:2], atol=2e-2)
    assert b.free.vector[2] == pytest.approx(a.free.vector[2], abs=2e-3)


def test_headings_count_modulo_half_a_turn() -> None:
    boxes = cars(7)
    flipped = boxes.copy()
    flipped[::2, 6] += np.pi
    verdict = judged(boxes, flipped, error(3.0, 1.0, 0.0))
    assert verdict.kind == "corrected" and left_m(verdict, error(3.0, 1.0, 0.0)) < 0.05


def test_an_error_beyond_what_may_be_mended_is_refused() -> None:
    boxes = cars(9)
    verdict = judged(boxes, boxes, error(4.0, 0.0, 0.0), PoseCheck(mend_m=3.0))
    assert verdict.kind == "refused" and "too far off" in verdict.why


# ------------------------------------------------------------------------------------------------------ what is honest
@pytest.mark.parametrize("seed", range(8))
def test_honest_noise_is_fine_or_mended_by_no_more_than_it(seed: int) -> None:
    boxes = cars(9, seed)
    rng = np.random.default_rng(seed)
    honest = error(*(0.2 * rng.normal(size=2)), float(0.2 * rng.normal()))
    verdict = judged(noisy(boxes, seed + 1), noisy(boxes, seed + 2), honest)
    assert verdict.kind in ("fine", "corrected")
    assert verdict.offset.metres < 0.8


def test_traffic_that_drove_on_since_an_older_message_is_no_error() -> None:
    """Everybody drives along x at 15 m/s; the message is 100 ms old. Without its age it would be an offset of 1.5 m."""
    boxes = cars(9)
    boxes[:, 6] = np.where(np.arange(9) % 3 == 0, np.pi, 0.0)
    before = boxes.copy()
    before[:, 0] -= 1.5 * np.cos(boxes[:, 6])
    check = PoseCheck()
    for age, kinds in ((0.1, {"fine", "corrected"}), (0.0, {"refused", "corrected", "unknown"})):
        claim = Claim(pose_xyz_rpy(8.0, 3.0, 0.0), age)
        verdict = check.judge(check.look(shown(boxes), shown(before), claim), shown(before), *LIMITS)
        assert verdict.kind in kinds and (age == 0.0 or verdict.offset.metres < 0.5)


# -------------------------------------------------------------------------------------------- where there is no telling
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("off", [(0.0, 0.0, 0.0), (3.0, 1.0, 2.0)])
def test_one_or_two_objects_tell_nothing(count: int, off: tuple[float, float, float]) -> None:
    boxes = cars(8)
    verdict = judged(boxes, boxes[:count], error(*off))
    assert verdict.kind == "unknown" and verdict.seen <= 2 and verdict.offset.metres == 0


def row(count: int, step_m: float) -> np.ndarray:
    boxes = np.zeros((count, 7))
    boxes[:, 0], boxes[:, 1] = step_m * (np.arange(count) - count / 2), 10.0
    boxes[:, 3:6], boxes[:, 6] = (4.5, 1.9, 1.6), np.pi / 2
    return boxes


def test_in_a_row_of_parked_cars_one_step_cannot_be_told_from_none() -> None:
    """The ego sees six of a long row, the teammate six others: any step of the row fits as well."""
    cars_in_row = row(12, 3.0)
    for step in (0.0, 3.0, -6.0):
        verdict = judged(cars_in_row[3:9], cars_in_row, error(step, 0.0, 0.0))
        assert verdict.kind in ("unknown", "fine") and verdict.offset.metres == 0


def test_two_objects_that_agree_with_several_motions_are_not_enough_to_accuse() -> None:
    a, b = cars(8, 1), cars(8, 2)
    verdict = judged(a, b, error(0.0, 0.0, 0.0))
    assert verdict.kind == "unknown"


# ------------------------------------------------------------------------------------------------------------- hostile
@pytest.mark.parametrize("seed", range(6))
def test_an_invented_constellation_that_is_shifted_does_not_mend_a_pose_that_what_the_ego_sees_confirms(
    seed: int,
) -> None:
    """The message shows what the ego sees, where it is, and beside it as many ghosts as it likes, all of one shift."""
    boxes = cars(8, seed)
    ghosts = boxes.copy()
    ghosts[:, :2] += (3.0, -2.0)
    verdict = judged(boxes, np.concatenate([boxes, ghosts]), error(0.0, 0.0, 0.0))
    assert verdict.kind in ("fine", "unknown") and verdict.offset.metres == 0


def test_a_shifted_constellation_is_mended_to_what_the_ego_sees_and_to_nothing_else() -> None:
    """An attacker owns its payload: whatever it shows, a correction brings it onto the ego's own objects."""
    boxes = cars(10)
    verdict = judged(boxes[:6], np.concatenate([boxes[:6], boxes[6:] + np.eye(7)[0] * 3]), error(4.0, 0.0, 0.0))
    assert verdict.kind == "corrected" and left_m(verdict, error(4.0, 0.0, 0.0)) < 0.1


def test_a_flood_of_boxes_mends_nothing() -> None:
    rng = np.random.default_rng(0)
    flood = np.zeros((400, 7))
    flood[:, :2], flood[:, 3:6], flood[:, 6] = rng.uniform(-40, 40, (400, 2)), (4.5, 1.9, 1.6), rng.uniform(-3, 3, 400)
    for k in range(4):
        verdict = judged(cars(6, k), flood, error(0.0, 0.0, 0.0))
        assert verdict.kind in ("unknown", "fine", "refused")


BAD = [np.nan, np.inf, -np.inf, 3e38, 0.0, -1.0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from([*BAD, 1.0, 7.5, -12.0])] * 7), min_size=0, max_size=8),
    st.sampled_from([0.0, 1e300, np.nan, -5.0]),
)
def test_no_boxes_and_no_claim_raise(boxes: list[tuple[float, ...]], place: float) -> None:
    with np.errstate(all="ignore"):
        array = np.array(boxes, np.float32).reshape(-1, 7)
    found = Detections(array, np.full(len(array), 0.9, np.float32))
    pose = np.eye(4)
    pose[0, 3] = place
    check = PoseCheck()
    for own, theirs in ((shown(cars(5)), found), (found, shown(cars(5)))):
        verdict = check.judge(check.look(own, theirs, Claim(pose, place)), theirs, *LIMITS)
        assert verdict.kind in ("unknown", "fine", "refused", "corrected")
        assert math.isfinite(verdict.offset.metres)


# -------------------------------------------------------------------------------------------------------------- mended
def test_a_mended_message_shows_things_where_the_offset_brings_them() -> None:
    world_T_ego = pose_xyz_rpy(100.0, -40.0, 2.0, yaw_rad=1.1)
    ego_T_true = pose_xyz_rpy(12.0, 5.0, 0.3, roll_rad=0.01, pitch_rad=0.02, yaw_rad=-0.5)
    claim = Offset(2.0, -1.0, 0.1, (12.0, 5.0)).matrix @ ego_T_true
    message = Message("a", "ego", 0, world_T_ego @ claim, "c", {})
    error_of = Offset.between(ego_T_true, claim)
    repaired = mended(message, error_of, world_T_ego)
    np.testing.assert_allclose(np.linalg.inv(world_T_ego) @ repaired.world_T_payload, ego_T_true, atol=1e-9)
    untouched = mended(message, Offset(), world_T_ego)
    np.testing.assert_allclose(untouched.world_T_payload, message.world_T_payload, atol=1e-9)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="expected common >= 2, got 1"):
        PoseCheck(common=1)
    with pytest.raises(InputError, match="expected mend_m to be >= 0"):
        PoseCheck(mend_m=-1.0)
