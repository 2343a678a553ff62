"""Disturbed frames of any source: which scan is sent, whose pose is off, what stays true."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.boxes import yaw_of
from robosac.data.dataset import DataSet
from robosac.data.noise import Disturbance, Gaussian
from robosac.simulation import SimConfig, scenario
from robosac.types import Frame, InputError, Truth
from tests.data.memory import Memory
from tests.data.test_dataset import INFOS, drive

MADE = scenario("val", 1, config=SimConfig(n_vehicles=3, n_frames=4, beams=8, columns=256))
NOISE = Gaussian(sigma_m=0.5, sigma_deg=2.0)


def simulated(k: int) -> tuple[Frame, Truth]:
    return MADE.snapshot(k).frame()


def same(one: Frame, other: Frame) -> bool:
    views = [{**f.others, f.ego.id: f.ego} for f in (one, other)]
    return (one.scenario, one.index, list(one.others)) == (other.scenario, other.index, list(other.others)) and all(
        v.t_ns == views[1][a].t_ns
        and np.array_equal(v.points, views[1][a].points)
        and np.array_equal(v.world_T_sensor, views[1][a].world_T_sensor)
        for a, v in views[0].items()
    )


def test_nothing_asked_nothing_changed() -> None:
    frame, truth = simulated(2)
    found, known = Disturbance().scene(simulated, 2)
    assert same(found, frame)
    np.testing.assert_array_equal(known.boxes, truth.boxes)


def test_simulated_teammates_send_what_they_saw_then() -> None:
    frame, truth = Disturbance(delay_frames=2).scene(simulated, 3)
    now, older = simulated(3), simulated(1)
    assert same(Frame(frame.scenario, 3, frame.ego, {}), Frame(frame.scenario, 3, now[0].ego, {}))
    assert list(frame.others) == list(now[0].others)
    for agent, view in frame.others.items():
        assert view.t_ns == older[0].others[agent].t_ns == 100_000_000
        np.testing.assert_array_equal(view.points, older[0].others[agent].points)
        np.testing.assert_array_equal(truth.world_T_sensor[agent], older[1].world_T_sensor[agent])
        assert truth.hits[agent].tolist() == now[1].hits[agent].tolist()
    np.testing.assert_array_equal(truth.world_T_sensor[frame.ego.id], now[1].world_T_sensor[frame.ego.id])
    np.testing.assert_array_equal(truth.boxes, now[1].boxes)


def test_a_data_set_by_its_own_option_and_disturbed_are_the_same() -> None:
    memory = Memory(INFOS, {"s1": drive()})
    exact, late = DataSet(memory, comm_range_m=1e6), DataSet(memory, comm_range_m=1e6, delay_frames=2)
    for k, (frame, truth) in enumerate(late):
        found, known = Disturbance(delay_frames=2).scene(exact.__getitem__, k + 2)
        assert same(found, frame)
        assert same(Disturbance(delay_frames=2).frame(exact.frames.__getitem__, k + 2), frame)
        assert {a: h.tolist() for a, h in known.hits.items()} == {a: h.tolist() for a, h in truth.hits.items()}
        assert {a: p.tolist() for a, p in known.world_T_sensor.items()} == {
            a: p.tolist() for a, p in truth.world_T_sensor.items()
        }


def test_who_was_not_there_then_sends_nothing() -> None:
    first, second = simulated(0), simulated(1)
    gone, *rest = first[0].others
    partly = Frame(first[0].scenario, 0, first[0].ego, {a: first[0].others[a] for a in rest})
    frame, truth = Disturbance(delay_frames=1).scene(lambda k: [(partly, first[1]), second][k], 1)
    assert list(frame.others) == rest
    assert set(truth.hits) == set(truth.world_T_sensor) == {frame.ego.id, *rest}
    assert gone in second[0].others


def test_a_late_scan_has_the_error_that_it_had() -> None:
    noisy, late = Disturbance(pose_noise=NOISE, seed=3), Disturbance(pose_noise=NOISE, seed=3, delay_frames=1)
    before, now = (noisy.scene(simulated, k)[0] for k in (1, 2))
    frame, truth = late.scene(simulated, 2)
    assert same(frame, Frame(now.scenario, 2, now.ego, before.others))
    for agent, view in frame.others.items():
        off = view.world_T_sensor[:2, 3] - truth.world_T_sensor[agent][:2, 3]
        turned = np.degrees(yaw_of(view.world_T_sensor) - yaw_of(truth.world_T_sensor[agent]))
        assert 1e-3 < np.hypot(*off) < 2.5
        assert 1e-3 < abs(turned) < 10


def test_errors_differ_by_seed_frame_and_agent_and_not_by_order() -> None:
    def off(disturbance: Disturbance, k: int) -> dict[str, tuple[float, float]]:
        frame, truth = disturbance.scene(simulated, k)
        return {
            a: tuple(np.round(v.world_T_sensor[:2, 3] - truth.world_T_sensor[a][:2, 3], 9))
            for a, v in {**frame.others, frame.ego.id: frame.ego}.items()
        }

    one, other = Disturbance(pose_noise=NOISE), Disturbance(pose_noise=NOISE, seed=1)
    backwards = [off(one, k) for k in (1, 0)][::-1]
    assert backwards == [off(one, k) for k in (0, 1)]
    drawn = [*backwards[0].values(), *backwards[1].values(), *off(other, 0).values()]
    assert len(set(drawn)) == len(drawn) == 3 * (MADE.config.vehicle_counts[0] + 1)


@pytest.mark.parametrize("wrong", [{"delay_frames": -1}, {"seed": -1}])
def test_wrong_settings_are_told(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"expected (delay_frames|seed) to be >= 0, got -1"):
        Disturbance(**wrong)


def test_the_first_frames_have_none_before_them() -> None:
    with pytest.raises(InputError, match="expected a frame that others come before, 2 or later, got 1"):
        Disturbance(delay_frames=2).scene(simulated, 1)
