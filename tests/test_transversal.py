"""The fewest that meet every set, against trying everybody."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac import transversal
from robosac.transversal import fewest_meeting


def by_trying(sets: frozenset[int], people: int) -> int:
    for size in range(people + 1):
        for chosen in combinations(range(people), size):
            mask = sum(1 << k for k in chosen)
            if all(s & mask for s in sets):
                return size
    raise AssertionError("no transversal: a set is empty")


families = st.frozensets(st.integers(1, 255), max_size=14)


@given(families)
def test_it_is_the_transversal_number(sets: frozenset[int]) -> None:
    assert fewest_meeting(sets) == (by_trying(sets, 8), True)


@given(families)
def test_cut_short_it_is_a_bound_and_says_so(sets: frozenset[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transversal, "NODES", 0)
        count, exact = transversal._fewest.__wrapped__(sets)  # what is remembered was not cut short
    true = by_trying(sets, 8)
    assert count == true if exact else count <= true


@pytest.mark.parametrize(
    ("sets", "count"),
    [
        ([], 0),
        ([0b1], 1),
        ([0b1, 0b11, 0b111], 1),
        ([0b11, 0b110, 0b101], 2),  # a triangle: no two are disjoint
        ([1 << k for k in range(50)], 50),
        ([3 << 2 * k for k in range(25)], 25),
        ([0b110, 0b1, 0b110000], 3),
    ],
)
def test_by_hand(sets: list[int], count: int) -> None:
    assert fewest_meeting(sets) == (count, True)
