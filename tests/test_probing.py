"""Probing: the two walks down the sizes and what they remember."""

from collections import Counter
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.probing import Passes, PassesMemory, Walk, WalkMemory, tries_per_size
from robosac.types import InputError, Trial
from tests.searching import IDS, everyone, rng, run


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


@pytest.mark.parametrize(("n", "budget"), [(-1, 5), (5, -1)])
def test_a_share_of_less_than_nothing_is_refused(n, budget):
    with pytest.raises(InputError, match="teammates and budget >= 0"):
        tries_per_size(n, budget)


@given(st.integers(0, 30), st.integers(0, 300))
def test_shares_use_the_budget_and_never_more(n, budget):
    shares = tries_per_size(n, budget)
    assert sum(shares.values()) == min(budget, 2**n - 1)
    assert all(shares[s] <= comb(n, s) for s in shares)


# ------------------------------------------------------------------------------------------ the default's walk
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


@pytest.mark.parametrize(
    ("memory", "asked", "tries", "first", "outside", "largest"),
    [
        (("", "", 0), (IDS, 12, None), {5: 1, 4: 3, 3: 3, 2: 3, 1: 2}, None, "abcde", 5),
        (("", "", 7), (IDS, 3, 2), {2: 2, 1: 1}, None, "cdeab", 2),
        (("", "", 3), ((), 3, None), {}, None, "", 0),
        (("ace", IDS, 0), (IDS, 12, None), {4: 3, 3: 3, 2: 3, 1: 2}, "ace", "bd", 5),
        (("ace", IDS, 1), (IDS, 4, 9), {4: 1, 3: 1, 2: 1, 1: 0}, "ace", "db", 5),
        (("ace", IDS, 2), (IDS, 0, 3), {3: 0, 2: 0, 1: 0}, "ace", "bd", 3),
        (("ace", IDS, 5), ("bca", 2, None), {3: 1, 2: 0, 1: 0}, "ac", "b", 3),  # e has left
        (("ab", "abc", 0), (IDS, 2, None), {5: 1, 4: 0, 3: 0, 2: 0, 1: 0}, "abde", "c", 5),  # d and e are new
        (("ab", "abc", 0), (IDS, 2, 3), {3: 1, 2: 0, 1: 0}, "ab", "cde", 3),  # too many with them
        (("ab", "abc", 0), (IDS, 2, 1), {1: 2}, None, "abcde", 1),  # too many without
        (("z", IDS, 0), (IDS, 2, 1), {1: 2}, None, "abcde", 1),  # nobody left of them
    ],
)
def test_a_frames_walk_by_hand(memory, asked, tries, first, outside, largest):
    last, known, turn = memory
    ids, budget, most = asked
    walk = WalkMemory(frozenset(last), frozenset(known), turn).proposer(ids, budget, largest=most)
    remembered = None if first is None else frozenset(first)
    assert walk == Walk(tries=tries, first=remembered, outside=tuple(outside), largest=largest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(IDS)), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 999))
def test_a_walk_never_exceeds_its_budget(frames, budget, seed):
    for used, trials in probe_frames(WalkMemory(), frames, budget=budget, seed=seed):
        assert trials <= budget and used <= everyone


# ------------------------------------------------------------------------------------------- the paper's walk
PAPER_LIMITS = {5: 1, 4: 9, 3: 19, 2: 27, 1: 21}


def test_the_papers_walk_passes_down_the_sizes():
    memory = PassesMemory(PAPER_LIMITS)
    found = run(memory.proposer(), 5, attackers=everyone)
    assert [len(t.subset) for t in found.trials] == [5, 4, 3, 2, 1]
    memory.learn(found.trials)
    assert memory.proposer() == Passes(open_tries={5: 0, 4: 8, 3: 18, 2: 26, 1: 20}, estimated_size=0)
    found = run(memory.proposer(), 5, attackers=everyone)
    assert [len(t.subset) for t in found.trials] == [4, 3, 2, 1, 4]  # size 5 has had its one try


@pytest.mark.parametrize(
    ("open_tries", "estimated", "judged", "count", "sizes"),
    [
        ({3: 2, 1: 1}, 0, [], 1, [3]),
        ({3: 2, 1: 1}, 0, [], 9, [3, 1, 3]),
        ({3: 2, 1: 1}, 0, [3, 1], 9, [3]),
        ({3: 2, 1: 1}, 0, [3, 1, 3], 9, []),
        ({6: 3, 4: 1}, 2, [], 9, [4]),  # of six there are not enough
        ({4: 0}, 1, [], 2, [1, 1]),
        ({4: 1}, 5, [4], 2, [5, 5]),
        ({}, 6, [], 2, []),
    ],
)
def test_sizes_of_the_papers_walk_by_hand(open_tries, estimated, judged, count, sizes):
    history = [Trial(frozenset(IDS[:size]), 0.0, False, 0.5) for size in judged]
    walk = Passes(open_tries=open_tries, estimated_size=estimated)
    assert [len(s) for s in walk.propose(IDS, history, rng(), count)] == sizes
    assert [len(s) for s in walk.propose(IDS, history, rng())] == sizes[:1]


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


@pytest.mark.parametrize(
    ("first", "outside", "held"),
    [(None, "d", ["abc"]), ("ab", "d", ["abc"]), ("ab", "c", ["ab", "abc"]), ("ab", "cd", ["ab", "abc", "abcd"])],
    ids=["nothing remembered", "another subset held", "nobody is left outside", "all are in"],
)
def test_no_step_up(first, outside, held):
    walk = Walk(tries={3: 9}, first=first and frozenset(first), outside=tuple(outside), largest=4)
    assert walk.propose(IDS, [Trial(frozenset(s), 1.0, True, 0.5) for s in held], rng()) == []


def test_what_is_remembered_costs_no_try_of_its_size():
    found = run(Walk(tries={3: 1, 2: 3}, first=frozenset("ab")), 32, attackers=everyone)
    assert [len(t.subset) for t in found.trials] == [2, 3, 2, 2, 2]
    assert len({t.subset for t in found.trials}) == 5


def test_no_more_is_proposed_than_asked_for_over_all_sizes():
    walk = Walk(tries={3: 1, 2: 5, 1: 1})
    assert [[len(s) for s in walk.propose(IDS, (), rng(), n)] for n in (1, 3, 9)] == [
        [3],
        [3, 2, 2],
        [3] + [2] * 5 + [1],
    ]


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
