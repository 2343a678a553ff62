"""Objectives and pseudo-labels against hand-computed values."""

from __future__ import annotations

import math

import pytest
import torch

from robosac.attacks import BalancedInvertedBce, InvertedBce, Margin, Peaks, Threshold, WeightedSum
from robosac.attacks.features.objectives import CleanFrame
from robosac.types import InputError

CLEAN = torch.tensor([[[2.0, -1.0], [-3.0, -4.0]]])  # one object cell, three of background
SOFT = math.log1p  # softplus(x) = log1p(exp(x))


def softplus(x):
    return SOFT(math.exp(x))


def test_threshold_is_a_strict_bound_on_the_score():
    logits = torch.tensor([[[0.0, 1e-3, -1.0, math.log(3)]]])
    assert Threshold().mark(logits).tolist() == [[[False, True, False, True]]]
    assert Threshold(score=0.7).mark(logits).tolist() == [[[False, False, False, True]]]
    assert Threshold(score=0.2).mark(logits).tolist() == [[[True, True, True, True]]]


def test_peaks_keep_one_cell_a_blob_and_each_map_apart():
    first = torch.tensor([[1.0, 2.0, 1.0, -5.0, 3.0], [1.0, 1.5, 1.0, -5.0, 1.0]])
    logits = torch.stack([first, -first])
    assert Peaks().mark(logits)[0].nonzero().tolist() == [[0, 1], [0, 4]]
    assert Peaks().mark(logits)[1].nonzero().tolist() == [[0, 3], [1, 3]]
    assert not Peaks(score=0.96).mark(logits)[0].any()


def test_inverted_bce_by_hand():
    loss = InvertedBce().make_loss(CleanFrame(CLEAN))
    wanted = (softplus(2.0) + softplus(1.0) + softplus(3.0) + softplus(4.0)) / 4
    assert loss(CLEAN).item() == pytest.approx(wanted, rel=1e-6)
    assert loss(-10 * CLEAN).item() < 1e-3


def test_balanced_inverted_bce_by_hand():
    loss = BalancedInvertedBce().make_loss(CleanFrame(CLEAN))
    wanted = softplus(2.0) / 2 + (softplus(1.0) + softplus(3.0) + softplus(4.0)) / 6
    assert loss(CLEAN).item() == pytest.approx(wanted, rel=1e-6)


def test_balanced_weighs_every_map_alike_and_bears_an_empty_class():
    empty = torch.full((1, 2, 2), -1.0)
    both = torch.cat([CLEAN, empty])
    loss = BalancedInvertedBce()
    apart = [loss.make_loss(CleanFrame(x))(x).item() for x in (CLEAN, empty)]
    assert loss.make_loss(CleanFrame(both))(both).item() == pytest.approx(sum(apart) / 2, rel=1e-6)
    assert apart[1] == pytest.approx(softplus(1.0) / 2, rel=1e-6)


def test_margin_by_hand():
    loss = Margin(c=0.1, kappa=0.0).make_loss(CleanFrame(CLEAN))
    assert loss(CLEAN).item() == pytest.approx(0.1 * (2 + 1 + 3 + 4) / 4)
    assert loss(torch.tensor([[[-9.0, 9.0], [9.0, -1.0]]])).item() == pytest.approx(0.1 * 1 / 4)
    deep = Margin(c=1.0, kappa=2.0).make_loss(CleanFrame(CLEAN))
    assert deep(torch.tensor([[[-9.0, 9.0], [1.0, -1.0]]])).item() == pytest.approx((-2 - 2 - 1 + 1) / 4)


def test_margin_has_no_gradient_where_the_cell_is_flipped():
    logits = torch.tensor([[[-1.0, 1.0], [-1.0, -1.0]]], requires_grad=True)
    (slope,) = torch.autograd.grad(Margin(c=1.0).make_loss(CleanFrame(CLEAN))(logits), logits)
    assert slope.tolist() == [[[0.0, 0.0], [-0.25, -0.25]]]


def test_weighted_sum_adds_up_and_nests():
    parts = (InvertedBce(), Margin(c=1.0))
    values = [p.make_loss(CleanFrame(CLEAN))(CLEAN).item() for p in parts]
    both = WeightedSum(terms=((2, parts[0]), (-0.5, parts[1])))
    assert both.make_loss(CleanFrame(CLEAN))(CLEAN).item() == pytest.approx(2 * values[0] - 0.5 * values[1], rel=1e-6)
    twice = WeightedSum(terms=((3.0, both),))
    assert twice.make_loss(CleanFrame(CLEAN))(CLEAN).item() == pytest.approx(6 * values[0] - 1.5 * values[1], rel=1e-6)
    assert both == WeightedSum(terms=[(2.0, InvertedBce()), (-0.5, Margin(c=1.0))])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Threshold(score=1.0), "expected score of Threshold to be a finite number in"),
        (lambda: Peaks(score="high"), "expected score of Peaks .* got 'high'"),
        (lambda: Margin(c=-1.0), "expected c of Margin to be a finite number >= 0, got -1.0"),
        (lambda: Margin(kappa=math.nan), "expected kappa of Margin"),
        (lambda: InvertedBce(labels=0.5), "expected labels of InvertedBce to be a Labels value, got 0.5"),
        (lambda: BalancedInvertedBce(labels=Peaks), "to be a Labels value, got <class"),
        (lambda: WeightedSum(terms=()), "expected terms to be one or more"),
        (lambda: WeightedSum(terms=((1.0, "pgd"),)), "expected terms to be one or more"),
    ],
)
def test_wrong_settings_say_what_was_expected(make, message):
    with pytest.raises(InputError, match=message):
        make()
