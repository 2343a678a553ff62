"""What a step does to the verifier's data, and how far that is from the verifier's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.fleet.adapters import Adapter, moved
from robosac.fleet.attackers import regauged
from robosac.fleet.consensus import Effects, Measure, Verified
from robosac.fleet.lowrank import LowRankUpdate
from robosac.fleet.steps import angle, away, effect, least_rise, size, summed

FINITE = st.floats(-5, 5)
VECTORS = st.lists(FINITE, min_size=3, max_size=3)


def test_an_effect_is_the_log_of_losses_after_a_step_and_its_reversal() -> None:
    assert effect([1.0, 3.0], [2.0, 3.0]) == pytest.approx([-math.log(2), 0.0])
    for broken in ([float("nan"), 1.0], [float("inf"), 1.0], [-1.0, 1.0]):
        assert effect(broken, [1.0, 1.0]) is None and effect([1.0, 1.0], broken) is None


def test_a_part_that_is_learnt_to_the_end_says_something_finite() -> None:
    assert effect([0.0, 1.0], [1e-9, 2.0]) == pytest.approx([0.0, -math.log(2)])
    assert effect([0.0], [1.0]) == pytest.approx([math.log(1e-6)])
    assert least_rise([0.0, 0.5], [0.0, 2.0], [0.0, 1.0]) < 0 < least_rise([1.0], [1.0], [0.0]) < math.inf


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(3, 9))
def test_half_a_step_is_read_off_a_parabola(slope: float, curve: float, there: float) -> None:
    def at(t: float) -> float:
        return there + slope * t + curve * t * t

    wanted = (at(0.5) - there) / there
    assert least_rise([at(1.0)], [at(-1.0)], [there]) == pytest.approx(wanted, abs=1e-9)
    assert least_rise([at(1.0), 9.0], [at(-1.0), 9.0], [there, 1.0]) == pytest.approx(min(wanted, 2.0), abs=1e-9)
    assert least_rise([math.nan], [1.0], [1.0]) == math.inf


@given(VECTORS, VECTORS)
def test_angles(x: list[float], y: list[float]) -> None:
    assert angle(x, y) == pytest.approx(angle(y, x))
    assert angle(x, [-v for v in y]) == pytest.approx(180 - angle(x, y), abs=1e-3)
    assert size(x) < 1e-3 or angle(x, [3 * v for v in x]) == pytest.approx(0, abs=1e-3)
    assert angle(x, [0.0, 0.0, 0.0]) == 90


@pytest.mark.parametrize(
    ("x", "own", "degrees"),
    [
        ([1.0, 0.0], {"a": [[1.0, 0.0], [1.0, 1.0]]}, -45.0),  # as one of two that are 45 apart
        ([0.0, 1.0], {"a": [[1.0, 0.0], [1.0, 1.0]]}, 0.0),  # 45 from the nearer
        ([-1.0, 0.0], {"a": [[1.0, 0.0], [1.0, 1.0]]}, 90.0),  # 135 from it
        ([-1.0, 0.0], {"a": [[1.0, 0.0], [1.0, 0.0]], "b": [[-1.0, 0.0], [-1.0, 0.0]]}, 0.0),  # of another part
        ([1.0, 0.0], {}, math.inf),
        ([1.0, 0.0], {"a": []}, math.inf),
    ],
)
def test_away_is_the_least_over_parts(x: list[float], own: dict[str, Sequence[list[float]]], degrees: float) -> None:
    assert away(x, own) == pytest.approx(degrees, abs=1e-4)


def test_what_is_always_there_adds_up() -> None:
    assert summed([[1.0, 2.0], [3.0, -2.0]]) == [4.0, 0.0]


# ---------------------------------------------------------------------------------------------- beside one's own steps
class Two:
    """Two parts whose losses fall as the two numbers of a layer `(2, 1)` grow; curved, so that any step costs."""

    def __init__(self, adapter: Adapter) -> None:
        self.at = adapter["w"].dense[:, 0]
        self.losses = [float(1 - 0.1 * v + 0.02 * v * v) for v in self.at]
        self.loss = float(np.mean(self.losses))

    def agreement(self, reference: object) -> float:
        return 1.0


def step(x: float, y: float) -> Adapter:
    return {"w": LowRankUpdate(np.array([[x], [y]]), np.array([[1.0]]))}


STANDING = step(0.0, 0.0)
OWN = {"x": [step(1.0, -0.1), step(1.0, 0.1)], "y": [step(-0.1, 1.0), step(0.1, 1.0)]}
SETTINGS = Verified(small=0.01)


def fine(before: Sequence[Effects] = (), settings: Verified = SETTINGS, **steps: Adapter) -> set[str]:
    return set(Measure.of(STANDING, OWN, Two, settings, before).compared(steps).fine)


def test_who_steps_as_the_verifier_does_enters_and_who_reverses_does_not() -> None:
    steps = {"same": step(1.0, 0.0), "other": step(0.0, 0.9), "reversed": step(-1.0, 0.0), "both": step(-0.8, -0.8)}
    assert fine(**steps) == {"same", "other"}
    assert Measure.of(STANDING, OWN, Two, SETTINGS).compared(steps).fine[0] == "same"  # the most useful first


def test_a_step_that_is_too_long_does_not_enter_though_it_points_right() -> None:
    assert fine(near=step(2.0, 0.0), far=step(40.0, 0.0)) == {"near"}


def test_a_step_that_changes_next_to_nothing_enters_whatever_its_direction() -> None:
    short = {"reversed": step(-0.2, 0.0)}
    assert fine(**short) == set()
    assert fine(settings=replace(SETTINGS, small=0.1), **short) == {"reversed"}


def test_a_step_that_helps_nowhere_does_not_enter() -> None:
    free = replace(SETTINGS, beside=180.0, turned=180.0, worse=100.0)
    steps = {"one": step(1.0, -1.0), "none": step(-0.5, -0.5), "long": step(6.0, 0.0), "too long": step(30.0, 30.0)}
    assert fine(settings=free, **steps) == {"one", "long"}  # half of the long one helps, the whole does not
    assert Two(step(6.0, 0.0)).loss > Two(STANDING).loss


def test_a_broken_model_does_not_enter() -> None:
    assert fine(nan=step(math.nan, 0.0), fine=step(1.0, 0.0)) == {"fine"}


def test_the_gauge_of_a_step_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    wide = {"w": LowRankUpdate(np.array([[1.0, 0.5], [0.0, 0.2]]), np.array([[1.0], [-0.5]]))}
    turned = {"w": regauged(wide["w"], rng)}
    said = Measure.of(STANDING, OWN, Two, SETTINGS).compared({"a": wide, "b": turned})
    assert said.rises["a"] == pytest.approx(said.rises["b"]) and said.unlike["a"] == pytest.approx(said.unlike["b"])
    assert np.allclose(moved(STANDING, wide, 1.0)["w"].dense, moved(STANDING, turned, 1.0)["w"].dense)


def test_rounds_add_up_and_who_behaved_is_still_not_free_to_turn() -> None:
    one = Measure.of(STANDING, OWN, Two, SETTINGS).compared({"a": step(1.0, 0.0), "b": step(0.5, 0.75)})
    noisy = replace(SETTINGS, beside=10.0, turned=60.0)
    now = {"a": step(0.5, 0.75), "b": step(0.5, 0.75)}
    assert fine(settings=noisy, **now) == set()  # by this round alone both are too far beside
    assert fine([one.effects] * 5, noisy, **now) == {"a"}  # for the first it was one odd round, the second always is
    assert fine([one.effects] * 50, noisy, a=step(-1.0, 0.0)) == set()


def test_the_verifiers_own_rises_are_the_measure() -> None:
    """What every step of a world costs elsewhere is not held against who lives there."""
    costly = {"x": [step(1.0, -6.0), step(1.0, -6.2)]}  # its losses are .92 and 2.3 for 1 and 1
    asked = {"same": step(1.0, -6.1)}
    assert Measure.of(STANDING, costly, Two, SETTINGS).compared(asked).fine == ["same"]
    assert fine(**asked) == set()
