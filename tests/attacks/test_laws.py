"""What holds for every attack on features, whatever its settings. The toy detector needs no weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import attacks
from attacks import (
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
from attacks.gradient import WHITE_BOX
from attacks.objectives import Unattacked
from robosac.air import Attack, Attacker, Knowledge, KnowledgeError
from robosac.types import InputError
from tests.attacks.toy import EVERYTHING, ToyDetector, full_logits, make_air

MIXED = WeightedSum(terms=((1.0, BalancedInvertedBce(labels=Peaks(score=0.3))), (-0.5, Margin(kappa=2.0))))
GRADIENT = [Pgd(), Bim(), CwMargin(), Pgd(epsilon=0.07, steps=3, objective=MIXED), Bim(objective=BalancedInvertedBce())]
NOISE = [GaussianNoise(), UniformNoise(epsilon=0.1), GaussianNoise(sigma_per_epsilon=20.0)]
KINDS = tuple({type(attack) for attack in [*GRADIENT, *NOISE]})  # others have their laws in test_every_attack
ALL = [*GRADIENT, *NOISE, *(a for a in map(attacks.load, attacks.names()) if type(a) in KINDS)]
every_attack = pytest.mark.parametrize("attack", ALL, ids=repr)
every_gradient = pytest.mark.parametrize("attack", GRADIENT, ids=repr)


def send(attack, air, seed=0, attackers=None):
    rng = np.random.default_rng(seed)
    return attack.start("scene", frozenset(air.own if attackers is None else attackers), rng).send(air)


def with_epsilon(attack, epsilon):
    return type(attack)(**{**attack.__dict__, "epsilon": epsilon})


@every_attack
def test_an_attack_is_a_value(attack):
    again = eval(repr(attack), vars(attacks))
    assert again == attack and repr(again) == repr(attack) and hash(again) == hash(attack)
    assert with_epsilon(attack, 0.33) != attack
    assert isinstance(attack, Attack)
    assert isinstance(attack.start("s", frozenset(), np.random.default_rng(0)), Attacker)


@every_attack
def test_no_budget_leaves_the_message_bit_identical(attack):
    air = make_air(["a", "b"])
    for message in send(with_epsilon(attack, 0.0), air):
        honest = air.honest[message.link].payload
        assert {n: a.tobytes() for n, a in message.payload.items()} == {n: a.tobytes() for n, a in honest.items()}


@every_attack
@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.25, 0.3, 0.5, 3.0])
def test_budget_and_valid_range_hold_exactly(attack, epsilon):
    air = make_air(["a", "b"])
    for message in send(with_epsilon(attack, epsilon), air):
        sent, clean = message.payload["features"], air.honest[message.link].payload["features"]
        moved = np.abs(sent.astype(np.float64) - clean.astype(np.float64))
        assert sent.dtype == np.float32 and sent.shape == clean.shape
        assert 0 < moved.max() <= epsilon
        assert sent.min() >= 0.0 and sent.max() <= 1.0


@every_attack
def test_nothing_but_float_arrays_of_the_attackers_changes(attack):
    air = make_air(["a", "b"])
    before = {n: m.payload["features"].copy() for n, m in {**air.honest, **air._others}.items()}
    messages = send(attack, air, attackers={"a"})
    assert [m.link for m in messages] == ["a"]
    honest = air.honest["a"]
    for name in ("sender", "link", "to", "sensed_ns", "received_ns", "codec", "world_T_payload"):
        assert getattr(messages[0], name) is getattr(honest, name)
    assert messages[0].payload["slots"] is honest.payload["slots"]
    for name, message in {**air.honest, **air._others}.items():
        np.testing.assert_array_equal(message.payload["features"], before[name])


@every_attack
def test_same_seed_same_message_in_any_order_of_frames(attack):
    airs = [make_air(["a", "b"], index=i) for i in range(3)]

    def run(order, seed):
        attacker = attack.start("scene", frozenset("ab"), np.random.default_rng(seed))
        return {i: [m.payload["features"].tobytes() for m in attacker.send(airs[i])] for i in order}

    state = torch.random.get_rng_state()
    assert run([0, 1, 2], 5) == run([2, 0, 1], 5)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("attack", [Pgd(steps=1), *NOISE], ids=repr)
def test_streams_differ_by_seed_frame_and_attacker(attack):
    def sent(seed, index, who):
        air = make_air(["a", "b"], index=index, detector=ToyDetector(flat=True))
        return {m.link: m for m in send(attack, air, seed)}[who].payload["features"].tobytes()

    assert len({sent(0, 0, "a"), sent(1, 0, "a"), sent(0, 1, "a"), sent(0, 0, "b")}) == 4


@every_attack
@pytest.mark.parametrize("count", range(5))
def test_any_number_of_attackers_one_message_each(attack, count):
    names = list("abcd")[:count]
    assert [m.link for m in send(attack, make_air(names, others="wxyz"[: 4 - count]))] == names


@every_attack
def test_attackers_that_are_out_of_range_send_nothing(attack):
    assert [m.link for m in send(attack, make_air(["a"]), attackers={"a", "gone"})] == ["a"]
    assert send(attack, make_air([]), attackers={"gone"}) == []
    assert send(attack, replace(make_air(["a"]), own={}), attackers={"a"}) == []


@every_attack
def test_declared_knowledge_suffices_and_each_part_is_needed(attack):
    assert send(attack, make_air(["a"], knowledge=attack.knowledge))
    for part in attack.knowledge:
        with pytest.raises(KnowledgeError, match="add Knowledge"):
            send(attack, make_air(["a"], knowledge=EVERYTHING & ~part))


def test_noise_knows_nothing_and_gradients_not_the_defence():
    assert GaussianNoise().knowledge == UniformNoise().knowledge == Knowledge.NONE
    assert {a.knowledge for a in GRADIENT} == {WHITE_BOX} and Knowledge.DEFENSE not in WHITE_BOX


# ----------------------------------------------------------------------------------------- what gradients achieve
def loss_of(attack, air, messages):
    clean = full_logits(air, list(air.honest.values()))
    return attack.objective.aim(Unattacked(clean))(full_logits(air, messages)).item()


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
        clean = air.honest[message.link].payload["features"]
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
    assert Bim().initial(clean, np.random.default_rng(0)) is clean
    assert Bim(steps=0).epsilon == 0.5
    np.testing.assert_array_equal(
        send(Bim(steps=0), make_air(["a"]))[0].payload["features"], make_air(["a"]).honest["a"].payload["features"]
    )


def test_inverted_labels_threshold_changes_the_target():
    """Same attack, other pseudo-labels: with a threshold nobody reaches, nothing is to be hidden."""
    air = make_air(["a", "b"])
    flood = Bim(objective=InvertedBce(labels=Threshold(score=0.999)))
    assert (full_logits(air, send(flood, air)) > 0).all()
