"""Suspicion against Bayes' rule by hand."""

from itertools import combinations

import numpy as np
import pytest

from robosac.trust import Belief, attacker_sets
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


def test_a_known_bound_accuses_nobody_by_counting_alone():
    # at most two attack and ace was accepted: the other two may be honest all the same
    got = BELIEF.suspicion("abcde", [trial("ace", True)], at_most=2)
    assert got["b"] == pytest.approx(got["d"]) and 0.15 < got["b"] < 0.4
    assert max(got[i] for i in "ace") < 0.1


def test_a_known_bound_makes_a_refusal_tell_more():
    trials = [trial("abcde", False), trial("ace", True), trial("abce", False)]
    assert BELIEF.suspicion("abcde", trials, at_most=1)["b"] > BELIEF.suspicion("abcde", trials)["b"] > 0.6


def test_hypotheses():
    assert len(attacker_sets(5)) == 32 and len(attacker_sets(5, 2)) == 1 + 5 + 10
    assert (attacker_sets(5, 2).sum(axis=1) <= 2).all()
    assert len(np.unique(attacker_sets(14), axis=0)) == 2**14
    assert attacker_sets(20, 10) is None and attacker_sets(64) is None


def test_too_many_hypotheses_accuse_nobody_and_trust_the_accepted():
    ids = [f"t{i:02d}" for i in range(20)]
    trials = [trial(ids, False), trial(ids[:12], True)]
    got = BELIEF.suspicion(ids, trials, at_most=8)
    assert all(got[i] == pytest.approx(0.2 * 0.1 / (0.2 * 0.1 + 0.8 * 0.95)) for i in ids[:12])
    assert all(got[i] == 0.2 for i in ids[12:])


def test_evidence_that_contradicts_itself_leaves_the_prior_however_much_there_is():
    subsets = [s for size in range(1, 6) for s in combinations("abcde", size)]
    trials = [trial(s, accepted) for s in subsets for accepted in (True, False)]
    belief = Belief(attack_rate=0.2, false_accept=1e-9, false_reject=1e-9)
    assert belief.suspicion("abcde", trials) == pytest.approx(dict.fromkeys("abcde", 0.2))


@pytest.mark.parametrize("rate", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("name", ["attack_rate", "false_accept", "false_reject"])
def test_rates_of_zero_and_one_are_refused(name, rate):
    with pytest.raises(InputError, match=name):
        Belief(**{name: rate})
