"""What noise and gradient attacks are for, on a toy detector whose worst message is known. Laws: test_every_attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.attacks import (
    BalancedInvertedBce,
    Bim,
    CwMargin,
    GaussianNoise,
    InvertedBce,
    Margin,
    Peaks,
    Pgd,
    Threshold,
    UniformNoise,
    WeightedSum,
)
from robosac.attacks.features.objectives import CleanFrame
from robosac.types import InputError
from tests.attacks.toy import ToyDetector, full_logits, make_air

MIXED = WeightedSum(terms=((1.0, BalancedInvertedBce(labels=Peaks(score=0.3))), (-0.5, Margin(kappa=2.0))))
GRADIENT = [Pgd(), Bim(), CwMargin(), Pgd(epsilon=0.07, steps=3, objective=MIXED), Bim(objective=BalancedInvertedBce())]
NOISE = [GaussianNoise(), UniformNoise(epsilon=0.1), GaussianNoise(sigma_per_epsilon=20.0)]
KINDS = tuple({type(attack) for attack in [*GRADIENT, *NOISE]})  # others have their laws in test_every_attack
every_gradient = pytest.mark.parametrize("attack", GRADIENT, ids=repr)


def send(attack, air, seed=0, attackers=None):
    rng = np.random.default_rng(seed)
    return attack.start("scene", frozenset(air.own if attackers is None else attackers), rng).send(air)


def with_epsilon(attack, epsilon):
    return replace(attack, epsilon=epsilon)


@pytest.mark.parametrize("attack", [Pgd(steps=1), *NOISE], ids=repr)
def test_streams_differ_by_seed_frame_and_attacker(attack):
    def sent(seed, index, who):
        air = make_air(["a", "b"], index=index, detector=ToyDetector(flat=True))
        return {m.sender: m for m in send(attack, air, seed)}[who].payload["features"].tobytes()

    assert len({sent(0, 0, "a"), sent(1, 0, "a"), sent(0, 1, "a"), sent(0, 0, "b")}) == 4


# ----------------------------------------------------------------------------------------- what gradients achieve
def loss_of(attack, air, messages):
    clean = full_logits(air, list(air.honest.values()))
    return attack.objective.make_loss(CleanFrame(clean))(full_logits(air, messages)).item()


@every_gradient
def test_the_objective_falls_far_below_honest_and_noise(attack):
    air = make_air(["a", "b"])
    honest = loss_of(attack, air, list(air.honest.values()))
    noise = loss_of(attack, air, send(UniformNoise(epsilon=attack.epsilon), air))
    attacked = loss_of(attack, air, send(attack, air))
    assert attacked < min(honest, noise) - 0.01


@every_gradient
def test_more_attackers_and_more_budget_never_help_the_ego(attack):
    def after(attack, bad, good):
        air = make_air(bad, good)
        return loss_of(attack, air, send(attack, air))

    assert after(attack, "ab", "cd") < after(attack, "a", "bcd")
    assert after(with_epsilon(attack, 0.3), "ab", "cd") < after(with_epsilon(attack, 0.05), "ab", "cd")


def test_bim_reaches_the_best_corner_of_a_linear_detector():
    """One logit a cell, linear in the cell's features: the optimum is known cell by cell."""
    air = make_air(["a", "b"])
    marked = full_logits(air, list(air.honest.values()))[0].numpy() > 0
    up = np.array([1.0, -1.0, 1.0])[:, None, None] * np.where(marked, -1.0, 1.0) > 0
    for message in send(Bim(epsilon=0.25), air):
        clean = air.honest[message.sender].payload["features"]
        best = np.where(up, np.minimum(clean + 0.25, 1), np.maximum(clean - 0.25, 0))
        np.testing.assert_allclose(message.payload["features"], best, atol=1e-7)


def test_the_preset_inverts_the_toy_where_noise_does_nothing():
    """Two of four teammates turn every cell of background; all four hide the cars as well."""
    for attackers, others, hidden in (("ab", "xy", False), ("abcd", "", True)):
        air = make_air(list(attackers), list(others))
        cars = full_logits(air, list(air.honest.values())) > 0
        assert cars.sum() == 2
        attacked = full_logits(air, send(attacks.load("pgd"), air)) > 0
        assert attacked[~cars].all() and attacked[cars].any() != hidden
        assert torch.equal(full_logits(air, send(attacks.load("noise", epsilon=0.1), air)) > 0, cars)


def test_the_margin_leaves_flipped_cells_alone():
    """A cell that has turned by more than kappa has no gradient, so its features end inside the budget."""
    air = make_air(["a", "b", "c", "d"], [])
    logits = full_logits(air, send(CwMargin(), air))
    beyond = full_logits(air, send(Bim(), air))
    flipped = full_logits(air, list(air.honest.values())) <= 0
    assert (logits[flipped] > 0).float().mean() > 0.9
    assert logits[flipped].mean() < beyond[flipped].mean() - 0.5


@pytest.mark.parametrize("steps", [0, 1, 15])
def test_cost_is_one_pass_a_step_and_one_for_the_pseudo_labels_on_the_full_fusion(steps):
    detector = ToyDetector()
    send(Pgd(steps=steps), make_air(["a", "b"], ["x"], detector=detector))
    looks = [frozenset("abx"), frozenset("x"), frozenset()]  # all, all but the attackers, the ego alone: one batch
    assert detector.calls == [*looks, *[frozenset("abx")] * steps]


def test_a_session_without_gradients_is_refused_by_name():
    with pytest.raises(InputError, match=r"expected a differentiable session of detector 'toy', got BlindSession"):
        send(Pgd(), make_air(["a"], detector=ToyDetector(differentiable=False)))
    assert send(GaussianNoise(), make_air(["a"], detector=ToyDetector(differentiable=False)))


def test_works_where_the_caller_switched_gradients_off():
    air = make_air(["a"])
    wanted = send(Pgd(), air)[0].payload["features"]
    with torch.no_grad():
        np.testing.assert_array_equal(send(Pgd(), air)[0].payload["features"], wanted)


def test_pgd_starts_at_noise_and_bim_at_the_honest_message():
    clean = np.full(10_000, 0.5, np.float32)
    start = Pgd(epsilon=0.5).initial(clean, np.random.default_rng(0)) - clean
    assert abs(start.std() - 0.1) < 0.003 and abs(start.mean()) < 0.003
    np.testing.assert_array_equal(
        send(Bim(steps=0), make_air(["a"]))[0].payload["features"], make_air(["a"]).honest["a"].payload["features"]
    )


def test_inverted_labels_threshold_changes_the_target():
    """Same attack, other pseudo-labels: with a threshold nobody reaches, nothing is to be hidden."""
    air = make_air(["a", "b"])
    flood = Bim(objective=InvertedBce(labels=Threshold(score=0.999)))
    assert (full_logits(air, send(flood, air)) > 0).all()
