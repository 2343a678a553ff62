"""The fewest that meet every set of a family: the transversal number, exact or bounded from below.

Sets are bit masks. What all exact answers share: a set that holds another need not be looked at, and whoever stands
alone in a set is in every transversal. What is left is searched by branch and bound: somebody of the smallest set is
in it. Disjoint sets that are left bound it from below, since each needs somebody of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

NODES: Final = 2000  # of the search, a few milliseconds; beyond, the bound stands


class Fewest(NamedTuple):
    """How many at least, and whether so many suffice."""

    least: int
    exact: bool


def fewest_meeting(sets: Iterable[int]) -> Fewest:
    """Of a family of non-empty sets. `least` is never more than the transversal number."""
    return _fewest(frozenset(sets))


@lru_cache(maxsize=4096)
def _fewest(sets: frozenset[int]) -> Fewest:
    forced, rest = _forced(sets)
    below = forced + len(_disjoint(rest))
    best, nodes = forced + _greedy(rest), 0
    stack = [(forced, rest)]
    while stack and best > below:
        taken, left = stack.pop()
        more, left = _forced(left)
        taken += more
        if taken + len(_disjoint(left)) >= best:
            continue
        if not left:
            best = taken
            continue
        nodes += 1
        if nodes > NODES:
            return Fewest(below, False)
        smallest = min(left, key=int.bit_count)
        without = left
        for bit in _bits(smallest):  # this one, and none of those before it
            stack.append((taken + 1, frozenset(s for s in without if not s & bit)))
            without = frozenset(s & ~bit for s in without)
    return Fewest(best, True)


def _forced(sets: frozenset[int]) -> tuple[int, frozenset[int]]:
    """How many stand alone in a set, and the minimal sets that these do not meet."""
    alone = 0
    for s in sets:
        if s & (s - 1) == 0:
            alone |= s
    left: list[int] = []
    for s in sorted((s for s in sets if not s & alone), key=int.bit_count):
        if not any(t & s == t for t in left):
            left.append(s)
    return alone.bit_count(), frozenset(left)


def _disjoint(sets: frozenset[int]) -> list[int]:
    """Sets without anybody in common, small ones first."""
    taken, found = 0, []
    for s in sorted(sets, key=lambda s: (s.bit_count(), s)):
        if not s & taken:
            taken |= s
            found.append(s)
    return found


def _greedy(sets: frozenset[int]) -> int:
    """So many suffice: whoever meets most of what is left, again and again."""
    count, left = 0, sets
    while left:
        everybody = 0
        for s in left:
            everybody |= s
        best = max(_bits(everybody), key=lambda bit: sum(1 for s in left if s & bit))
        left = frozenset(s for s in left if not s & best)
        count += 1
    return count


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        found.append(mask & -mask)
        mask &= mask - 1
    return found
