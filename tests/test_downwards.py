"""The default's walk down the sizes: every size in full, no end before a size with an accepted subset is through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.consensus import Consensus
from robosac.probing import Downwards, tries_per_size
from robosac.types import Subset
from tests.searching import IDS, rng, run

Found = Consensus[Subset]


def down(budget: int = 31, *, pool: int = 2, ids: tuple[str, ...] = IDS, seed: int = 0, **options: object) -> Found:
    tries = tries_per_size(len(ids), budget)
    proposer = Downwards(tries=tries, pool=pool, everybody=len(ids), seed=seed)
    found: Found = run(proposer, budget, ids=ids, **options)  # type: ignore[no-untyped-call]
    return found


def sizes(found: Found) -> list[int]:
    return [len(t.subset) for t in found.trials]


@pytest.mark.parametrize(
    ("attackers", "pool", "tried"),
    [
        ("", 1, {5: 1}),  # everybody: there is nobody to choose between
        ("", 3, {5: 1}),
        ("a", 1, {5: 1, 4: 5}),  # one of four holds, and its size is gone through
        ("a", 2, {5: 1, 4: 5, 3: 10}),
        ("ab", 1, {5: 1, 4: 5, 3: 10}),
        ("ab", 2, {5: 1, 4: 5, 3: 10, 2: 10}),
        ("ab", 9, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}),
        ("abcd", 2, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}),
        ("abcde", 2, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}),
    ],
)
def test_sizes_gone_through_by_hand(attackers: str, pool: int, tried: dict[int, int]) -> None:
    found = down(pool=pool, attackers=attackers)
    assert {s: sizes(found).count(s) for s in sorted(set(sizes(found)), reverse=True)} == tried
    honest = frozenset(IDS) - set(attackers)
    assert found.used == honest


def test_all_of_fewer_than_everybody_is_gone_through_like_any_size() -> None:
    """Three are trusted of five: that all three hold does not end it where two sizes are pooled."""
    tries = tries_per_size(3, 31)
    for pool, tried in ((1, [3]), (2, [3, 2, 2, 2]), (3, [3, 2, 2, 2, 1, 1, 1])):
        walk = Downwards(tries=tries, pool=pool, everybody=5)
        assert sizes(run(walk, 31, ids=("a", "b", "c"))) == tried  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("pool", "tried"), [(1, {5: 1, 4: 5}), (2, {5: 1, 4: 5, 3: 10}), (9, {5: 1, 4: 5, 3: 10, 2: 10, 1: 5})]
)
def test_everybody_together_is_one_voice_where_it_is_not_sure(pool: int, tried: dict[int, int]) -> None:
    """The sizes below it are gone through as if it were none of them, whatever is accepted there."""
    walk = Downwards(tries=tries_per_size(5, 31), pool=pool, everybody=5, sure=lambda t: len(t.subset) < 5)
    found = run(walk, 31)  # type: ignore[no-untyped-call]
    assert {s: sizes(found).count(s) for s in sorted(set(sizes(found)), reverse=True)} == tried
    assert all(t.accepted for t in found.trials)


def test_shares_of_a_small_budget() -> None:
    assert sizes(down(12, attackers="abcde")) == [5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1]
    assert sizes(down(12, attackers="a", pool=1, refuse=lambda s: len(s) == 4)) == [5, 4, 4, 4, 3, 3, 3]


teams = st.integers(0, 9).map(lambda n: tuple("abcdefghi"[:n]))
refusals: st.SearchStrategy[Callable[[Subset], bool]] = st.integers(0, 10**6).map(
    lambda salt: lambda s: hash((salt, tuple(sorted(map(ord, s))))) % 3 > 0
)


@given(teams, st.integers(0, 60), st.integers(1, 4), refusals, st.integers(0, 999))
def test_whatever_is_refused(
    ids: tuple[str, ...], budget: int, pool: int, refuse: Callable[[Subset], bool], seed: int
) -> None:
    found = down(budget, pool=pool, ids=ids, seed=seed, refuse=refuse)
    order = sizes(found)
    share = tries_per_size(len(ids), budget)
    assert len(order) <= budget and order == sorted(order, reverse=True)  # the budget, the largest first
    assert len({t.subset for t in found.trials}) == len(order)  # no subset twice
    held = max((len(t.subset) for t in found.trials if t.accepted), default=0)
    lowest = 1 if not held else len(ids) if held == len(ids) else max(1, held - pool + 1)
    for size, tries in share.items():
        assert order.count(size) == (tries if size >= lowest else 0)  # its whole share, or none of it


@given(teams, st.integers(0, 40), st.integers(1, 3), refusals, st.integers(2, 9), st.integers(0, 99))
def test_a_batch_changes_no_trial(
    ids: tuple[str, ...], budget: int, pool: int, refuse: Callable[[Subset], bool], batch: int, seed: int
) -> None:
    one, many = (down(budget, pool=pool, ids=ids, seed=seed, refuse=refuse, batch=b) for b in (1, batch))
    assert one.trials == many.trials and one.used == many.used


def test_the_seed_decides_the_draws() -> None:
    ids = tuple("abcdefghijklmnopqrst")
    found = [[t.subset for t in down(20, ids=ids, seed=s, attackers=ids).trials] for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2] and len(found[0]) == 20


def test_no_more_are_named_than_asked_for() -> None:
    walk = Downwards(tries=tries_per_size(5, 31))
    assert [len(walk.propose(IDS, (), rng(), n)) for n in (0, 1, 7, 40)] == [0, 1, 7, 31]
