"""Norms, momentum, APGD and C&W's L2: by hand, on functions whose minimum is known, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robosac.attacks import L2, Apgd, Bim, CwL2, Fgsm, Linf, Margin, MiFgsm, Pgd, UniformNoise
from robosac.attacks.features.apgd import checkpoints_of
from robosac.attacks.features.ball import Ball
from robosac.attacks.features.objectives import CleanFrame
from robosac.attacks.features.projection import FeasibleSet
from robosac.types import InputError
from tests.attacks.loops import descended
from tests.attacks.toy import ToyDetector, full_logits, make_air

NORMS = [Linf(), L2()]


def ball_of(norm, epsilon, *, low=-math.inf, high=math.inf, **arrays):
    """A ball around arrays named `who_name`."""
    clean = {tuple(k.split("_")): np.asarray(a) for k, a in arrays.items()}
    return Ball(norm, epsilon, clean, {k: FeasibleSet.around(a, epsilon, low=low, high=high) for k, a in clean.items()})


def send(attack, air, seed=0):
    return list(attack.start("scene", frozenset(air.own), np.random.default_rng(seed)).send(air))


def loss_of(objective, air, messages):
    return objective.make_loss(CleanFrame(full_logits(air, list(air.honest.values()))))(
        full_logits(air, messages)
    ).item()


# ---------------------------------------------------------------------------------------------------------- norms
def test_norms_by_hand():
    three_four = [np.array([3.0]), np.array([[0.0, -4.0]])]
    assert Linf().size(three_four) == 4.0 and L2().size(three_four) == 5.0
    assert Linf().size([]) == L2().size([]) == 0.0
    slopes = [torch.tensor(a) for a in three_four]
    assert [g.tolist() for g in Linf().steepest(slopes)] == [[1.0], [[0.0, -1.0]]]
    assert [g.flatten().tolist() for g in L2().steepest(slopes)] == [[pytest.approx(0.6)], [0.0, pytest.approx(-0.8)]]
    assert [d.flatten().tolist() for d in L2().shrink(slopes, 2.5)] == [[1.5], [0.0, -2.0]]
    assert L2().shrink(slopes, 5.0)[0] is slopes[0]
    assert Linf().spread(100) == 1.0 and L2().spread(100) == 0.1


@pytest.mark.parametrize("norm", NORMS, ids=repr)
def test_a_slope_that_is_tiny_gives_a_whole_step_and_none_gives_none(norm):
    (step,) = norm.steepest([torch.tensor([1e-30, 0.0])])
    assert step.tolist() == [1.0, 0.0]
    assert norm.steepest([torch.zeros(3)])[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS, ids=repr)
@given(data=st.data())
def test_what_leaves_the_ball_is_within_budget_and_range_exactly(norm, dtype, data):
    width = np.dtype(dtype).itemsize * 8
    values = hnp.arrays(dtype, st.integers(1, 6), elements=st.floats(0, 1, width=width))
    first, second = data.draw(values), data.draw(values)
    epsilon = data.draw(st.floats(1e-4, 4))
    ball = ball_of(norm, epsilon, low=0.0, high=1.0, a_x=first, a_y=second, b_x=first)
    wild = [
        torch.from_numpy(data.draw(hnp.arrays(np.float32, a.shape, elements=st.floats(-9, 9, width=32))))
        for a in ball.clean.values()
    ]
    for arrays in (wild, ball.project()(wild), ball.random(lambda *role: np.random.default_rng(0))):
        sent = ball.sendable(arrays)
        for who in "ab":
            keys = [k for k in ball.keys if k[0] == who]
            assert norm.size([sent[k].astype(np.float64) - ball.clean[k].astype(np.float64) for k in keys]) <= epsilon
        assert all(sent[k].dtype == dtype and sent[k].min() >= 0 and sent[k].max() <= 1 for k in ball.keys)


def test_every_attacker_has_the_whole_budget_and_spends_it_over_all_its_arrays():
    zeros = np.zeros(2, np.float32)
    ball = ball_of(L2(), 1.0, a_x=zeros, a_y=zeros, b_x=zeros)
    far = [torch.tensor([30.0, 0.0]), torch.tensor([0.0, 40.0]), torch.tensor([0.0, -7.0])]
    sent = ball.sendable(far)
    flat = [x for k in ball.keys for x in sent[k].tolist()]
    half = math.sqrt(0.5)  # each element alone is cut to the budget first
    assert flat == pytest.approx([half, 0, 0, half, 0, -1.0], abs=1e-6)


# --------------------------------------------------------------------------------------------------------- steps
def test_descent_in_an_l2_ball_finds_the_nearest_point_to_the_goal():
    goal = torch.tensor([3.0, -4.0])
    ball = ball_of(L2(), 1.0, a_x=np.zeros(2, np.float32))
    found = descended(lambda t: (t["a", "x"] - goal).square().sum(), ball.tensors(ball.clean), ball, step=0.2, steps=40)
    assert found[0].tolist() == pytest.approx([0.6, -0.8], abs=1e-3)


def test_momentum_remembers_where_it_came_from():
    """Slopes +1, then -0.1: the sign alone turns round, the sum of both, each of L1 norm 1, is 0, so it stays."""
    ball = ball_of(Linf(), 1.0, a_x=np.zeros(1, np.float32))

    def run(momentum, count):
        slopes = iter([1.0, -0.1, -0.1][:count])
        start = ball.tensors(ball.clean)
        steps = {"step": 0.25, "steps": count, "momentum": momentum}
        return descended(lambda t: next(slopes) * t["a", "x"].sum(), start, ball, **steps)[0].item()

    assert [run(0.0, n) for n in (1, 2, 3)] == [-0.25, 0.0, 0.25]
    assert [run(1.0, n) for n in (1, 2, 3)] == [-0.25, -0.25, 0.0]
    assert [run(0.5, n) for n in (1, 2, 3)] == [-0.25, 0.0, 0.25]


@pytest.mark.parametrize("norm", NORMS, ids=repr)
def test_one_step_of_fgsm_spends_the_budget_where_nothing_is_in_the_way(norm):
    air = make_air(["a"], detector=ToyDetector(flat=True))  # all features 0.5, far from 0 and 1
    attack = Fgsm(epsilon=0.25, norm=norm)
    assert attack.perturbation_size(air.honest["a"], send(attack, air)) == pytest.approx(0.25, rel=1e-6)
    assert air.detector.calls.count(frozenset("axy")) == 2  # the pseudo-labels and the step


def test_bim_of_one_whole_step_is_fgsm_and_momentum_of_none_is_bim():
    air = make_air(["a", "b"])

    def sent(attack):
        return [m.payload["features"].tobytes() for m in send(attack, air)]

    assert sent(Bim(steps=1, step_per_epsilon=1.0)) == sent(Fgsm())
    assert sent(MiFgsm(steps=7, step_per_epsilon=0.2, momentum=0.0)) == sent(Bim(steps=7))
    assert Fgsm(norm=L2()).unit == "L2 a message" != Fgsm().unit


@pytest.mark.parametrize("kind", [Pgd, Apgd])
@pytest.mark.parametrize("norm", NORMS, ids=repr)
def test_restarts_never_do_worse_and_cost_a_search_each(kind, norm):
    detector = ToyDetector()
    attack = kind(steps=2, epsilon=0.2, norm=norm)
    air = make_air(["a", "b"], detector=detector)
    losses, costs = [], []
    for restarts in (0, 1, 5):
        again = kind(steps=2, epsilon=0.2, norm=norm, restarts=restarts)
        detector.calls.clear()
        messages = send(again, air)
        costs.append(detector.calls.count(frozenset("abxy")) - 1)
        losses.append(loss_of(attack.objective, air, messages))
    assert losses[0] >= losses[1] >= losses[2]
    last = 1 if kind is Apgd else 0  # PGD looks at its last iterate only to compare it with others
    assert costs == [2 + last, 2 * 3, 6 * 3]


# ---------------------------------------------------------------------------------------------------------- APGD
def test_checkpoints_of_the_paper():
    """For 100 steps, figure 1 and section 3.2: 22, 41, 57, 70, 80, 87, then every 6."""
    assert checkpoints_of(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints_of(1) == []


def test_apgd_needs_no_step_size_to_come_close_to_a_minimum_inside_the_ball():
    goal = torch.tensor([0.31, -0.77, 0.05, 0.9])
    ball = ball_of(Linf(), 1.0, a_x=np.zeros(4, np.float32))

    def loss(t):
        return (t["a", "x"] - goal).square().sum()

    start = ball.tensors(ball.clean)
    coarse = descended(loss, start, ball, step=0.4, steps=100)
    found = Apgd(steps=100, epsilon=1.0, first_step_per_epsilon=2.0).found(loss, start, ball).arrays
    assert (found[0] - goal).abs().max() < 0.02 < (coarse[0] - goal).abs().max()


def test_apgd_returns_the_best_it_saw():
    """A loss that is lowest at the start: nothing else may be sent."""
    ball = ball_of(Linf(), 1.0, a_x=np.zeros(2, np.float32))
    start = ball.tensors(ball.clean)
    found = (
        Apgd(steps=6, epsilon=1.0)
        .found(lambda t: t["a", "x"].abs().sum() - 3 * t["a", "x"].mul(1e-3).sum(), start, ball)
        .arrays
    )
    assert found[0].abs().sum() <= 1e-2


@pytest.mark.parametrize("norm, epsilon", [(Linf(), 0.3), (L2(), 1.0)], ids=repr)
def test_more_search_harms_more(norm, epsilon):
    air = make_air(["a", "b"])
    objective = Pgd().objective
    apgd, pgd, fgsm = (
        loss_of(objective, air, send(kind(epsilon=epsilon, norm=norm), air)) for kind in (Apgd, Pgd, Fgsm)
    )
    assert max(apgd, pgd) <= fgsm + 1e-6  # on a linear detector one step may be the best there is
    if norm == Linf():
        assert apgd <= pgd + 1e-6
        assert fgsm < loss_of(objective, air, send(UniformNoise(epsilon=epsilon), air))


# ------------------------------------------------------------------------------------------------- Carlini, Wagner
def turned(air, messages):
    clean = full_logits(air, list(air.honest.values())) > 0
    return ((full_logits(air, messages) > 0) != clean).float().mean().item()


def test_cw_l2_turns_what_is_asked_for_with_less_than_its_budget():
    air = make_air(["a", "b", "c", "d"], [])
    small, large = (CwL2(epsilon=20.0, turned=share, rate=0.05, steps=30, searches=4) for share in (0.3, 0.9))
    for attack in (small, large):
        assert turned(air, send(attack, air)) >= attack.turned
    sizes = [max(a.perturbation_size(air.honest[m.sender], [m]) for m in send(a, air)) for a in (small, large)]
    assert 0 < sizes[0] < sizes[1] < 20.0
    margin_pgd = Bim(epsilon=0.5, objective=Margin(c=1.0))
    wasteful = max(large.perturbation_size(air.honest[m.sender], [m]) for m in send(margin_pgd, air))
    assert sizes[1] < wasteful  # a sign step moves every feature alike


def test_cw_l2_out_of_reach_sends_what_lacks_least_within_the_budget():
    air = make_air(["a"], ["x", "y", "z"])
    attack = CwL2(epsilon=0.5, turned=1.0)
    messages = send(attack, air)
    assert 0.4 < attack.perturbation_size(air.honest["a"], messages) <= 0.5
    assert turned(air, messages) < 1.0
    assert loss_of(attack.objective, air, messages) < loss_of(attack.objective, air, list(air.honest.values()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Pgd(norm="l2"), "expected norm of Pgd to be a Norm value, got 'l2'"),
        (lambda: CwL2(epsilon=math.inf), "expected epsilon of CwL2 to be a finite number"),
        (lambda: CwL2(turned=0.0), "expected turned of CwL2 to be a finite number in"),
        (lambda: Apgd(steps=0), "expected steps of Apgd to be an integer >= 1"),
        (lambda: Pgd(restarts=-1), "expected restarts of Pgd to be an integer >= 0"),
    ],
)
def test_wrong_settings_say_what_was_expected(call, message):
    with pytest.raises(InputError, match=message):
        call()
