"""The feasible set of a perturbation, and the loop that stays in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robosac.attacks.features.ball import Ball
from robosac.attacks.features.norms import Linf
from robosac.attacks.features.projection import FeasibleSet, feasible_sets
from robosac.types import Codec, InputError, Request
from tests.attacks import loops
from tests.attacks.toy import ToyDetector, view

DTYPES = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_feasible_set_is_inside_budget_and_range_and_holds_the_clean_array(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    values = st.floats(-100, 100, width=width)
    clean = data.draw(hnp.arrays(dtype, st.integers(1, 6), elements=values))
    epsilon = data.draw(st.floats(0, 10))
    allowed = FeasibleSet.around(clean, epsilon, low=0.0, high=1.0)
    assert allowed.lower.dtype == allowed.upper.dtype == dtype
    assert (allowed.lower <= clean).all() and (clean <= allowed.upper).all()
    for edge in (allowed.lower, allowed.upper):
        assert (np.abs(edge.astype(np.float64) - clean.astype(np.float64)) <= epsilon).all()
        valid = (clean >= 0) & (clean <= 1)
        assert ((edge >= 0) & (edge <= 1))[valid].all()


def test_feasible_set_by_hand():
    allowed = FeasibleSet.around(np.array([0.0, 0.25, 0.75, 2.0], np.float32), 0.5, low=0.0, high=1.0)
    assert allowed.lower.tolist() == [0.0, 0.0, 0.25, 1.5]
    assert allowed.upper.tolist() == [0.5, 0.75, 1.0, 2.0]  # what was invalid before may stay, not go further
    assert allowed.clip(np.array([-1, 1, 0.5, 0])).tolist() == [0.0, 0.75, 0.5, 1.5]


def test_feasible_set_is_as_large_as_the_float_type_allows():
    clean = np.float32([0.3, 0.7, 0.123])
    for epsilon in (0.05, 0.1, 0.25, 0.5):
        allowed = FeasibleSet.around(clean, epsilon)
        assert (
            np.nextafter(allowed.upper, np.float32(9)).astype(np.float64) - clean.astype(np.float64) > epsilon
        ).all()
        assert (
            clean.astype(np.float64) - np.nextafter(allowed.lower, np.float32(-9)).astype(np.float64) > epsilon
        ).all()


def test_feasible_sets_of_a_message_are_of_its_float_arrays():
    message = ToyDetector().encode(view("a"), Request.of(view("e")))
    assert set(feasible_sets(message, ToyDetector().codec, 0.5)) == {"features"}
    free = feasible_sets(message, Codec("any", {}), 0.5)["features"]  # an array the codec says nothing of has no range
    assert free.lower.min() < 0 and free.upper.max() > 1


def test_non_finite_payloads_are_refused():
    with pytest.raises(InputError, match="expected the honest payload to be finite, got NaN or inf"):
        FeasibleSet.around(np.array([np.nan], np.float32), 0.1)


# -------------------------------------------------------------------------------------------------- the loop
KEY = ("a", "x")


def descended(loss, start, allowed, **how):
    ball = Ball(Linf(), 1.0, start, allowed)
    return ball.sendable(loops.descended(loss, ball.tensors(start), ball, **how))


def run(loss, start, allowed, **how):
    return descended(lambda t: loss(t[KEY]), {KEY: start}, {KEY: allowed}, **how)[KEY]


def test_descent_finds_the_projection_of_a_quadratic_to_a_step():
    goal = torch.tensor([0.31, -4.0, 9.0])
    start = np.zeros(3, np.float32)
    found = run(lambda x: ((x - goal) ** 2).sum(), start, FeasibleSet.around(start, 1.0), step=0.02, steps=100)
    np.testing.assert_allclose(found, [0.31, -1.0, 1.0], atol=0.021)


def test_an_array_without_influence_stays_where_it_is():
    start = np.array([0.5], np.float32)
    allowed = FeasibleSet.around(start, 1.0)
    assert run(lambda x: torch.zeros(()), start, allowed, step=0.1, steps=5) == start
    keys = {KEY: start, ("b", "x"): start}
    found = descended(lambda t: t[KEY].sum(), keys, dict.fromkeys(keys, allowed), step=0.1, steps=5)
    assert found["b", "x"] == start and found[KEY] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_result_has_the_dtype_of_the_array(dtype):
    start = np.array([0.5], dtype)
    found = run(lambda x: x.sum(), start, FeasibleSet.around(start, 0.1), step=0.04, steps=9)
    assert found.dtype == dtype and found == pytest.approx(0.4, abs=1e-3)


def test_a_gradient_that_is_no_number_stops_the_attack():
    start = np.zeros(1, np.float32)
    with pytest.raises(InputError, match="expected finite gradients of the logits, got NaN or inf"):
        run(lambda x: torch.sqrt(x).sum() * 0, start, FeasibleSet(start - 1, start + 1), step=0.1, steps=1)
