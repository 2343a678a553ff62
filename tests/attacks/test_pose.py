"""What false poses are for: by hand, and against the toy detector that warps by claimed poses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from robosac.attacks import Drift, GpsOffset, HeadingBias, InvertedBce, PoseGradient
from robosac.attacks.features.objectives import CleanFrame
from robosac.attacks.pose.claims import heading_size, moved, offset_size, pose_change, within
from robosac.types import InputError
from tests.attacks.toy_pose import CrowdedDetector, PosedDetector, pose, posed_air


def message(x=10.0, y=-4.0, yaw=0.5):
    return replace(posed_air(["a"]).honest["a"], world_T_payload=pose(x, y, yaw))


def send(attack, air, seed=0, attackers="ab"):
    return list(attack.start("scene", frozenset(attackers), np.random.default_rng(seed)).send(air))


def test_a_move_by_hand_is_measured_as_made():
    honest = message()
    claimed = moved(honest, (3.0, -4.0, math.radians(30)))
    np.testing.assert_allclose(claimed.world_T_payload, pose(13.0, -8.0, 0.5 + math.radians(30)), atol=1e-12)
    assert pose_change(honest, claimed) == pytest.approx((5.0, 30.0))
    assert offset_size(honest, [claimed]) == heading_size(honest, [claimed]) == math.inf
    assert offset_size(honest, [moved(honest, (3.0, -4.0, 0.0))]) == pytest.approx(5.0)
    assert heading_size(honest, [moved(honest, (0.0, 0.0, -0.1))]) == pytest.approx(math.degrees(0.1))


def test_a_turn_is_about_the_sensor_and_upright_also_where_the_sensor_leans():
    lean = np.array([[1, 0, 0], [0, math.cos(0.2), -math.sin(0.2)], [0, math.sin(0.2), math.cos(0.2)]])
    tilted = np.array(message().world_T_payload)
    tilted[:3, :3] = tilted[:3, :3] @ lean
    honest = replace(message(), world_T_payload=tilted)
    turned = moved(honest, (0.0, 0.0, 1.0)).world_T_payload
    assert (turned[:3, 3] == tilted[:3, 3]).all()
    assert turned[2, 2] == pytest.approx(tilted[2, 2])  # as upright as before
    assert heading_size(honest, [replace(honest, world_T_payload=turned)]) == pytest.approx(math.degrees(1.0))


@pytest.mark.parametrize(
    "spoil",
    [np.diag([1, 1, 1, 2.0]), np.diag([2.0, 1, 1, 1]), np.diag([1, -1, 1, 1.0]), np.full((4, 4), np.nan)],
    ids=["last row", "scaled", "mirrored", "nan"],
)
def test_a_pose_that_is_not_rigid_is_no_lie_of_ours(spoil):
    honest = message()
    assert pose_change(honest, replace(honest, world_T_payload=spoil @ honest.world_T_payload)) is None


def test_rounding_of_large_coordinates_never_exceeds_the_budget():
    honest = message(x=4_512_345.678, y=-712_345.1)
    for budget in (1e-3, 0.3, 2.0):
        for angle in np.linspace(0, 6, 40):
            claimed = within(honest, (budget * math.cos(angle), budget * math.sin(angle), 0.0), offset_size, budget)
            assert 0.99 * budget < offset_size(honest, [claimed]) <= budget


def test_an_offset_stays_through_a_scenario_and_differs_by_attacker_and_seed():
    attacker = GpsOffset(offset_m=1.5).start("scene", frozenset("ab"), np.random.default_rng(1))
    seen = []
    for index in range(3):
        air = posed_air(["a", "b"], index=index)
        sent = attacker.send(air)
        seen.append([m.world_T_payload[:2, 3] - air.honest[m.sender].world_T_payload[:2, 3] for m in sent])
        assert [offset_size(air.honest[m.sender], [m]) for m in sent] == pytest.approx([1.5, 1.5])
    np.testing.assert_allclose(seen[1], seen[0], atol=1e-9)
    np.testing.assert_allclose(seen[2], seen[0], atol=1e-9)
    assert not np.allclose(seen[0][0], seen[0][1])
    other = send(GpsOffset(offset_m=1.5), posed_air(["a", "b"]), seed=2)
    assert not np.allclose(
        other[0].world_T_payload[:2, 3] - posed_air(["a"]).honest["a"].world_T_payload[:2, 3], seen[0][0]
    )


def test_a_heading_is_off_by_the_bias_to_either_side():
    sides = set()
    for seed in range(8):
        air = posed_air(["a"])
        (claimed,) = send(HeadingBias(bias_deg=5.0), air, seed)
        turn = claimed.world_T_payload[:2, :2] @ air.honest["a"].world_T_payload[:2, :2].T
        sides.add(round(math.degrees(math.atan2(turn[1, 0], turn[0, 0])), 6))
    assert sides == {-5.0, 5.0}


def test_a_drift_grows_from_zero_by_its_rate_and_stops_at_its_limit():
    attacker = Drift(limit_m=0.5, metres_per_second=2.0).start("scene", frozenset("a"), np.random.default_rng(0))
    off = []
    for index in range(3, 8):  # its first frame need not be the scenario's
        air = posed_air(["a"], index=index)
        off.append(offset_size(air.honest["a"], attacker.send(air)))
    assert off == pytest.approx([0.0, 0.2, 0.4, 0.5, 0.5])


# -------------------------------------------------------------------------------------------------- the search
def loss_of(air, messages):
    sent = {**air._others, **{m.sender: m for m in messages}}
    session = air._detector.open(air._ego, air.to, list(sent.values()))
    honest = air._detector.open(air._ego, air.to, [*air._others.values(), *air.honest.values()])
    target = InvertedBce().make_loss(CleanFrame(honest.logits({}, [frozenset(sent)])))
    return float(target(session.logits({}, [frozenset(sent)])))


def test_the_search_harms_more_than_a_random_offset_of_the_same_length():
    air = posed_air(["a", "b"], detector=CrowdedDetector())
    found = np.mean([loss_of(air, send(PoseGradient(limit_m=1.0), air, seed)) for seed in range(5)])
    random = [loss_of(air, send(GpsOffset(offset_m=1.0), air, seed)) for seed in range(20)]
    assert found < np.quantile(random, 0.25)
    assert found < loss_of(air, air.honest.values())


def test_the_pose_found_is_near_the_best_of_a_fine_grid():
    air = posed_air(["a"], [], detector=CrowdedDetector())
    honest = air.honest["a"]
    offsets = [(x, y) for x in np.linspace(-1, 1, 21) for y in np.linspace(-1, 1, 21) if x * x + y * y <= 1]
    grid = [loss_of(air, [moved(honest, (x, y, 0.0))]) for x, y in offsets]
    attack = PoseGradient(limit_m=1.0, degrees_per_m=0.0, steps=20, step_per_limit=0.1)
    found = min(loss_of(air, send(attack, air, seed)) for seed in range(3))
    assert found < min(grid) + 0.1 * (max(grid) - min(grid))


def test_poses_are_tried_together_and_one_by_one_to_the_same_end():
    def run(most):
        detector = PosedDetector(most=most)
        return send(PoseGradient(steps=2), posed_air(["a", "b"], detector=detector)), len(detector.opened)

    (together, few), (by_two, more), (alone, most) = run(None), run(6), run(4)
    assert few == 1 + 3 and few < more < most  # the clean frame, then a session a step and one at the end
    for a, b, c in zip(together, by_two, alone, strict=True):
        assert (a.world_T_payload == b.world_T_payload).all() and (a.world_T_payload == c.world_T_payload).all()


def test_without_steps_the_start_is_claimed_and_logits_are_needed():
    air = posed_air(["a"])
    (claimed,) = send(PoseGradient(steps=0, start_per_limit=0.1), air)
    assert 0 < PoseGradient().perturbation_size(air.honest["a"], [claimed]) <= 0.2 * math.sqrt(2)
    with pytest.raises(InputError, match="expected a differentiable session"):
        send(PoseGradient(), posed_air(["a"], detector=PosedDetector(differentiable=False)))


def test_the_search_leaves_no_gradient_behind():
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    send(PoseGradient(steps=1), posed_air(["a"]))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GpsOffset(offset_m=-1), "offset_m of GpsOffset to be a finite number >= 0"),
        (lambda: HeadingBias(bias_deg=181), r"bias_deg of HeadingBias to be a finite number in \[0, 180\]"),
        (lambda: Drift(metres_per_second=math.nan), "metres_per_second of Drift to be a finite number >= 0"),
        (lambda: PoseGradient(probe_per_limit=0), "probe_per_limit of PoseGradient"),
        (lambda: PoseGradient(steps=1.5), "steps of PoseGradient to be an integer >= 0"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()
