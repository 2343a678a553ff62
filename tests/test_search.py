"""Which subset is drawn next, and the one loop."""

from collections import Counter
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from robosac.consensus import search
from robosac.subsets import Uniform, draw_new
from robosac.types import EGO_ALONE, InputError, Trial
from tests.searching import DOWN, IDS, Script, everyone, only, rng, run


# ------------------------------------------------------------------------------------------------ proposers
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_without_repeats_visits_every_subset_once(size):
    found = run(only(size), 1000, attackers=everyone)
    assert sorted(map(sorted, (t.subset for t in found.trials))) == sorted(map(list, combinations(IDS, size)))


@pytest.mark.parametrize("proposer", [Uniform(size=2), only(2)], ids=repr)
def test_draws_are_uniform(proposer):
    firsts = Counter(proposer.propose(IDS, (), rng(seed), 1)[0] for seed in range(4000))
    assert len(firsts) == comb(5, 2)
    assert chisquare(list(firsts.values())).pvalue > 1e-4


def test_uniform_draws_repeat():
    subsets = [t.subset for t in run(Uniform(size=2), 60, attackers=everyone).trials]
    assert len(subsets) == 60 and len(set(subsets)) <= 10


def test_large_families_are_drawn_without_enumeration():
    ids = [f"t{i}" for i in range(200)]
    tried = set()
    for _ in range(50):
        new = draw_new(ids, 100, tried, rng(len(tried)))
        assert new is not None and len(new) == 100 and new not in tried
        tried.add(new)


def test_draw_new_ends():
    tried = set(map(frozenset, combinations(IDS, 2)))
    assert draw_new(IDS, 2, tried, rng()) is None
    assert draw_new(IDS, 6, set(), rng()) is None
    left = frozenset("ab")
    assert draw_new(IDS, 2, tried - {left}, rng()) == left
    assert draw_new(IDS, -1, set(), rng()) is None
    assert draw_new(IDS, 0, set(), rng()) == EGO_ALONE and draw_new(IDS, 0, {EGO_ALONE}, rng()) is None
    assert draw_new(IDS, 5, set(), rng()) == everyone and draw_new(IDS, 5, {everyone}, rng()) is None
    absent = {frozenset(s) for s in ("z", "y", "xa", "ab")}
    assert draw_new(("a", "b"), 1, absent, rng()) in {frozenset("a"), frozenset("b")}  # these are not tried


def test_the_last_of_a_large_family_are_drawn_uniformly():
    ids = "abcdefghijklmno"
    family = list(map(frozenset, combinations(ids, 7)))  # 6435 subsets
    left = set(family[::2000])
    drawn = Counter(draw_new(ids, 7, set(family) - left, rng(seed)) for seed in range(24))
    assert set(drawn) == left and max(drawn.values()) < 15


def test_descending_tries_all_larger_subsets_first():
    sizes = [len(t.subset) for t in run(DOWN, 1000, attackers=everyone).trials]
    assert sizes == [5] + [4] * 5 + [3] * 10 + [2] * 10 + [1] * 5


def test_a_negative_size_is_refused():
    with pytest.raises(InputError, match="subset size to be >= 0"):
        Uniform(size=-1).propose(IDS, (), rng())


@pytest.mark.parametrize("size", [0, 2, 7])
def test_proposers_draw_one_unless_more_are_asked_for(size):
    uniform, walk = Uniform(size=size), only(min(size, 5))
    assert [len(s) for s in uniform.propose(IDS, (), rng())] == [min(size, 5)]
    assert [len(s) for s in uniform.propose(IDS, (), rng(), 3)] == [min(size, 5)] * 3
    assert [len(s) for s in walk.propose(IDS, (), rng())] == [min(size, 5)]
    assert len(set(only(3).propose(IDS, (), rng(), 7))) == 7


# ------------------------------------------------------------------------------------------------- the loop
def test_no_attacker_everybody_is_accepted_at_once():
    found = run(DOWN, 10)
    assert found.used == everyone and len(found.trials) == 1 and found.decodes == 2


def test_no_consensus_falls_back_to_the_ego():
    found = run(only(2), 7, attackers=everyone)
    assert found.used == EGO_ALONE and found.result == EGO_ALONE and len(found.trials) == 7


def test_no_teammates():
    found = run(DOWN, 10, ids=())
    assert found.used == EGO_ALONE and found.trials == () and found.decodes == 1


def test_a_budget_of_zero_decodes_the_ego_alone():
    assert run(DOWN, 0).decodes == 1


def test_wrong_budget():
    with pytest.raises(InputError, match="budget >= 0 and a batch >= 1"):
        run(Uniform(size=1), -1)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(IDS)), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_descending_finds_the_largest_honest_set_and_batches_change_no_decision(attackers, seed, batch):
    alone = run(DOWN, 31, attackers=attackers, seed=seed)
    assert alone.used == everyone - attackers
    together = run(DOWN, 31, attackers=attackers, seed=seed, batch=batch)
    assert together.used == alone.used and len(together.trials) <= 31


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_known_count_without_repeats_needs_at_most_all_subsets(m, seed):
    attackers = frozenset(IDS[:m])
    found = run(only(5 - m), comb(5, m), attackers=attackers, seed=seed)
    assert found.used == everyone - attackers


@pytest.mark.parametrize(
    ("subsets", "used"),
    [(("ab", "cd"), "cd"), (("ab", "c"), "ab"), (("a", "bc", "de", "b"), "de"), (("ae", "ab", "be", "cd"), "cd")],
)
def test_of_the_accepted_the_largest_wins_the_latest_among_equals(subsets, used):
    found = run(Script(*subsets), 9, attackers={"e"} if "ae" in subsets else set())
    assert found.used == found.result == frozenset(used) and len(found.trials) == len(subsets)


@pytest.mark.parametrize(("budget", "batch", "asked"), [(0, 1, []), (1, 1, [1]), (2, 5, [2]), (3, 2, [2, 1])])
def test_no_more_subsets_are_judged_than_the_budget_however_many_are_named(budget, batch, asked):
    script = Script("a", "b", "c", "ab", "bc")
    found = run(script, budget, attackers=everyone, batch=batch)
    assert len(found.trials) == budget and found.decodes == 1 + budget and script.asked == asked


def test_a_detector_that_gives_too_few_results_is_noticed():
    with pytest.raises(ValueError, match="shorter"):
        search(IDS, lambda s: s[:1], lambda *_: Trial(EGO_ALONE, 0, False, 1), Script("a", "b"), 9, rng(), batch=2)


@pytest.mark.parametrize(("agreement", "accepted"), [(0.5, True), (0.49, False), (0.51, True)])
def test_agreement_that_reaches_the_threshold_is_accepted(agreement, accepted):
    assert Trial.judged(everyone, agreement, 0.5) == Trial(everyone, agreement, accepted, 0.5)
