"""Subsets, probing and the one loop, without any frame or detector: a "result" is the subset itself."""

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from robosac.consensus import search
from robosac.probing import PassesMemory, Walk, WalkMemory, tries_per_size
from robosac.subsets import Uniform, draw_new
from robosac.types import EGO_ALONE, InputError, Trial

IDS = ("a", "b", "c", "d", "e")
everyone = frozenset(IDS)


def only(size):
    """The walk's own draws of one size: no subset twice."""
    return Walk(tries={size: comb(5, size)})


DOWN = Walk(tries=tries_per_size(5, 31))  # every subset, larger ones first


def rng(seed=0):
    return np.random.default_rng(seed)


def run(proposer, budget, *, attackers=frozenset(), ids=IDS, seed=0, batch=1, refuse=lambda s: False):
    """A search with a verifier that never errs, but for the subsets it is told to refuse."""
    decoded = []

    def trial(subsets):
        decoded.extend(subsets)
        return list(subsets)

    def judge(reference, subset, result):
        assert reference == EGO_ALONE and result == subset
        return Trial.judged(subset, 0.0 if subset & frozenset(attackers) or refuse(subset) else 1.0, 0.5)

    found = search(ids, trial, judge, proposer, budget, rng(seed), batch=batch)
    assert len(decoded) == len(set(decoded)) == found.decodes  # nothing is decoded twice
    assert len(found.trials) <= budget
    return found


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


def test_descending_tries_all_larger_subsets_first():
    sizes = [len(t.subset) for t in run(DOWN, 1000, attackers=everyone).trials]
    assert sizes == [5] + [4] * 5 + [3] * 10 + [2] * 10 + [1] * 5


def test_a_negative_size_is_refused():
    with pytest.raises(InputError, match="subset size to be >= 0"):
        Uniform(size=-1).propose(IDS, (), rng())


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


class Script:
    """Proposes what it was given, one subset after the other, whatever was accepted."""

    def __init__(self, *subsets):
        self.subsets = [frozenset(s) for s in subsets]

    def propose(self, ids, history, rng, count=1):
        return self.subsets[len(history) : len(history) + count]


@pytest.mark.parametrize(
    ("subsets", "used"),
    [(("ab", "cd"), "cd"), (("ab", "c"), "ab"), (("a", "bc", "de", "b"), "de"), (("ae", "ab", "be", "cd"), "cd")],
)
def test_of_the_accepted_the_largest_wins_the_latest_among_equals(subsets, used):
    found = run(Script(*subsets), 9, attackers={"e"} if "ae" in subsets else set())
    assert found.used == found.result == frozenset(used) and len(found.trials) == len(subsets)


@pytest.mark.parametrize(("agreement", "accepted"), [(0.5, True), (0.49, False), (0.51, True)])
def test_agreement_that_reaches_the_threshold_is_accepted(agreement, accepted):
    assert Trial.judged(everyone, agreement, 0.5) == Trial(everyone, agreement, accepted, 0.5)


# --------------------------------------------------------------------------------------------------- probing
@pytest.mark.parametrize(
    ("n", "budget", "largest", "expected"),
    [
        (5, 31, None, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}),
        (5, 100, None, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}),
        (5, 5, None, {5: 1, 4: 1, 3: 1, 2: 1, 1: 1}),
        (5, 12, None, {5: 1, 4: 3, 3: 3, 2: 3, 1: 2}),
        (5, 3, None, {5: 1, 4: 1, 3: 1, 2: 0, 1: 0}),
        (5, 32, 3, {3: 10, 2: 10, 1: 5}),
        (0, 5, None, {}),
    ],
)
def test_shares_of_the_budget_by_hand(n, budget, largest, expected):
    assert tries_per_size(n, budget, largest=largest) == expected


@given(st.integers(0, 30), st.integers(0, 300))
def test_shares_use_the_budget_and_never_more(n, budget):
    shares = tries_per_size(n, budget)
    assert sum(shares.values()) == min(budget, 2**n - 1)
    assert all(shares[s] <= comb(n, s) for s in shares)


def probe_frames(memory, frames, *, budget, seed=0):
    """A walk through frames that differ in who attacks; returns what was used and spent in each."""
    out = []
    for k, attackers in enumerate(frames):
        found = run(memory.proposer(IDS, budget), budget, attackers=attackers, seed=seed + k)
        memory.learn(IDS, found.used)
        out.append((found.used, len(found.trials)))
    return out


def test_the_walk_remembers_and_verifies_again():
    frames = probe_frames(WalkMemory(), [{"b", "d"}] * 6, budget=32)
    assert all(used == frozenset("ace") for used, _ in frames)
    assert all(trials == 2 for _, trials in frames[1:])  # what held is verified, one step up is refused


def test_the_estimate_goes_back_up_when_attackers_stop():
    frames = probe_frames(WalkMemory(), [{"b", "d"}, set(), set(), set(), set()], budget=32)
    assert frames[0][0] == frozenset("ace")
    assert [len(used) for used, _ in frames] == [3, 5, 5, 5, 5]


def test_each_teammate_outside_has_its_turn_to_be_let_in_again():
    # one of two stops, the other goes on: only if both are let in, one after the other, is that found out
    for goes_on in ("b", "d"):
        frames = probe_frames(WalkMemory(), [{"b", "d"}, {goes_on}, {goes_on}], budget=32)
        assert frames[0][0] == frozenset("ace") and frames[-1][0] == everyone - {goes_on}


def test_a_remembered_subset_that_turns_bad_is_left():
    frames = probe_frames(WalkMemory(), [{"a"}, {"b"}, {"b", "c"}], budget=32)
    assert [used for used, _ in frames] == [frozenset("bcde"), frozenset("acde"), frozenset("ade")]


def test_newcomers_are_tried_with_what_held():
    memory = WalkMemory()
    memory.learn(("a", "b", "c"), frozenset("ab"))
    assert memory.proposer(IDS, 32).first == frozenset("abde")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(IDS)), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 999))
def test_a_walk_never_exceeds_its_budget(frames, budget, seed):
    for used, trials in probe_frames(WalkMemory(), frames, budget=budget, seed=seed):
        assert trials <= budget and used <= everyone


PAPER_LIMITS = {5: 1, 4: 9, 3: 19, 2: 27, 1: 21}


def test_the_papers_walk_passes_down_the_sizes():
    memory = PassesMemory(PAPER_LIMITS)
    found = run(memory.proposer(), 5, attackers=everyone)
    assert [len(t.subset) for t in found.trials] == [5, 4, 3, 2, 1]
    memory.learn(found.trials)
    found = run(memory.proposer(), 5, attackers=everyone)
    assert [len(t.subset) for t in found.trials] == [4, 3, 2, 1, 4]  # size 5 has had its one try


def test_the_papers_probing_converges_to_the_number_of_attackers_within_its_limits():
    memory = PassesMemory(PAPER_LIMITS)
    spent: Counter[int] = Counter()
    for k in range(40):
        found = run(memory.proposer(), 5, attackers={"b", "d"}, seed=k)
        assert len(found.trials) <= 5
        spent.update(len(t.subset) for t in found.trials if len(t.subset) > memory.estimated_size)
        memory.learn(found.trials)
    assert memory.estimated_size == 3
    assert all(spent[s] <= PAPER_LIMITS[s] for s in PAPER_LIMITS)
    last = run(memory.proposer(), 5, attackers={"b", "d"}, seed=99)
    assert {len(t.subset) for t in last.trials} == {3}  # probing is over: draws of the estimated size


def test_a_walk_steps_up_until_one_is_refused():
    walk = Walk(tries={4: 5}, first=frozenset("ab"), outside=("c", "d", "e"), largest=5)
    held = [Trial(frozenset("ab"), 1.0, True, 0.5)]
    assert walk.propose(IDS, (), rng()) == [frozenset("ab")]
    assert walk.propose(IDS, held, rng()) == [frozenset("abc")]
    held.append(Trial(frozenset("abc"), 1.0, True, 0.5))
    assert walk.propose(IDS, held, rng()) == [frozenset("abcd")]
    assert walk.propose(IDS, [*held, Trial(frozenset("abcd"), 0.0, False, 0.5)], rng()) == []


def test_steps_up_end_at_the_largest_size_allowed():
    memory = WalkMemory()
    memory.learn(IDS, frozenset("a"))
    found = run(memory.proposer(IDS, 32, largest=3), 32)
    assert [len(t.subset) for t in found.trials] == [1, 2, 3] and len(found.used) == 3


def test_what_is_remembered_never_exceeds_what_the_count_allows():
    memory = WalkMemory()
    memory.learn(IDS, frozenset("abcd"))
    walk = memory.proposer(("a", "b", "c", "d"), 32, largest=3)  # e has left, one of the rest attacks
    assert walk.first is None and max(walk.tries) == 3


def test_one_hard_frame_does_not_cost_the_next():
    memory = WalkMemory()
    hard = run(memory.proposer(IDS, 32, largest=3), 32, attackers="de", refuse=lambda s: len(s) > 1)
    memory.learn(IDS, hard.used)
    assert len(hard.used) == 1
    used = [frozenset()] * 3
    for k in range(3):
        found = run(memory.proposer(IDS, 32, largest=3), 32, attackers="de", seed=k)
        memory.learn(IDS, found.used)
        used[k] = found.used
    assert used[-1] == frozenset("abc")
