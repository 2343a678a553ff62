"""Suspicion against Bayes' rule by hand."""

import numpy as np
import pytest

from robosac.trust import MAX_HYPOTHESES, Belief, attacker_sets
from robosac.types import InputError, Trial

BELIEF = Belief(attack_rate=0.2, false_accept=0.1, false_reject=0.05)


def trial(members, accepted):
    return Trial(frozenset(members), float(accepted), accepted, 0.5)


def test_without_trials_the_prior_stands():
    assert BELIEF.suspicion("abc", []) == pytest.approx(dict.fromkeys("abc", 0.2))


def test_one_teammate_accepted_by_bayes_rule():
    # P(attacks | accepted) = .2 * .1 / (.2 * .1 + .8 * .95)
    assert BELIEF.suspicion("a", [trial("a", True)])["a"] == pytest.approx(0.02 / 0.78)


def test_two_teammates_by_bayes_rule():
    # accepted {a}, refused {a, b}
    p = {
        "": 0.64 * 0.95 * 0.05,
        "a": 0.16 * 0.1 * 0.9,
        "b": 0.16 * 0.95 * 0.9,
        "ab": 0.04 * 0.1 * 0.9,
    }
    got = BELIEF.suspicion("ab", [trial("a", True), trial("ab", False)])
    assert got["a"] == pytest.approx((p["a"] + p["ab"]) / sum(p.values()))
    assert got["b"] == pytest.approx((p["b"] + p["ab"]) / sum(p.values()))


def test_a_frame_that_refuses_everything_accuses_nobody():
    assert BELIEF.suspicion("ab", [trial("a", False), trial("b", False)]) == pytest.approx({"a": 0.2, "b": 0.2})


def test_a_repeated_draw_is_no_new_evidence():
    once, thrice = ([trial("a", True), *[trial("b", False)] * n] for n in (1, 3))
    assert BELIEF.suspicion("ab", once) == BELIEF.suspicion("ab", thrice)


def test_a_known_count_points_at_the_rest():
    got = BELIEF.suspicion("abcde", [trial("ace", True)], n_attackers=2)
    # {b, d} is the one set of two that the accepted subset is free of; each of the other nine was a false accept
    weight = 0.95 + 9 * 0.1
    assert got["b"] == pytest.approx(got["d"]) == pytest.approx((0.95 + 3 * 0.1) / weight)
    assert got["a"] == pytest.approx(4 * 0.1 / weight)
    assert sum(got.values()) == pytest.approx(2)


def test_hypotheses():
    assert len(attacker_sets(5)) == 32 and len(attacker_sets(5, exactly=2)) == 10
    assert (attacker_sets(5, exactly=2).sum(axis=1) == 2).all()
    many = attacker_sets(40)
    assert len(many) <= MAX_HYPOTHESES and len(np.unique(many, axis=0)) == len(many)
    assert len(attacker_sets(40, exactly=20)) == MAX_HYPOTHESES


@pytest.mark.parametrize("name", ["attack_rate", "false_accept", "false_reject"])
def test_rates_of_zero_and_one_are_refused(name):
    with pytest.raises(InputError, match=name):
        Belief(**{name: 0.0})
