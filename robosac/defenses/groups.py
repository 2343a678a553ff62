"""Group tests: of many teammates, several are checked by one decode.

Above a number of teammates these are dealt to disjoint groups at random, and each group is judged by its joint result
as a single is: one that is fine clears all its members. Of one that is not, half is tried; if that half is fine the
other is to blame and is halved at once, else the other half is tried as well. What is left in the end are disjoint
*units*, groups that are fine or teammates that were decoded alone, and the rest of the frame goes on with units.

What is assumed: an attacker shows in the joint result of its group. In a group of g it is one of g + 1 voices, so that
groups are small; what it does only in larger company shows in the joint results that follow, which are held against
what every unit shows. Nobody is accused for its group; who is left out with its unit is decoded alone in the next
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from robosac.agreement import Compare
from robosac.defenses.joint import LEAST_STRAIN
from robosac.defenses.limits import Limits
from robosac.evidence import Consistency, Showing, Shown
from robosac.evidence.consistency import strain
from robosac.types import EGO_ALONE, Detections, Id, Subset

Test: TypeAlias = Callable[[Sequence[Subset]], Sequence[bool]]
"""Whether each of several sets is fine; they are decoded in one batch."""


@dataclass(frozen=True)
class Units:
    """Disjoint sets of teammates, each named by its first member."""

    of: Mapping[Id, Subset]

    @staticmethod
    def made(sets: Collection[Subset]) -> Units:
        """Of disjoint sets."""
        return Units({min(s): s for s in sorted(sets, key=min)})

    @staticmethod
    def alone(ids: Collection[Id]) -> Units:
        """Everybody by itself."""
        return Units.made([frozenset({i}) for i in ids])

    def whole(self, names: Collection[Id]) -> Subset:
        """Everybody in the units of these names."""
        return frozenset().union(*(self.of[i] for i in names))

    def within(self, members: Collection[Id]) -> Subset:
        """The names of the units all of whose members are among these."""
        return frozenset(i for i, s in self.of.items() if s <= frozenset(members))

    def named(self, subset: Subset) -> Subset:
        """A subset of names of units as that of their members; others as they are."""
        return self.of[next(iter(subset))] if len(subset) == 1 and subset <= self.of.keys() else subset


def dealt(ids: Sequence[Id], size: int, rng: np.random.Generator) -> list[Subset]:
    """Disjoint random groups of at most `size`, as even as can be."""
    groups = -(-len(ids) // size)
    order = [ids[k] for k in rng.permutation(len(ids))]
    return [frozenset(order[k::groups]) for k in range(groups)]


def sorted_out(groups: Sequence[Subset], test: Test, rng: np.random.Generator) -> tuple[list[Subset], list[Subset]]:
    """Disjoint sets that are fine, and teammates that are not, each by itself. Every set in them was tested."""
    fine, odd = list[Subset](), list[Subset]()
    asked, spoiled = list(groups), list[Subset]()  # not known yet, and known to hold somebody who is not fine
    while asked or spoiled:
        halves = [_half(s, rng) for s in spoiled]
        said = list(test([*asked, *halves]))
        unknown, known = list[Subset](), list[Subset]()
        for s, ok in zip(asked, said, strict=False):
            (fine if ok else odd if len(s) == 1 else known).append(s)
        for s, half, ok in zip(spoiled, halves, said[len(asked) :], strict=True):
            rest = s - half
            if ok:
                fine.append(half)
                (known if len(rest) > 1 else unknown).append(rest)  # one alone is looked at before it is left out
            else:
                (known if len(half) > 1 else odd).append(half)
                unknown.append(rest)
        asked, spoiled = unknown, known
    return fine, odd


def _half(members: Subset, rng: np.random.Generator) -> Subset:
    order = sorted(members)
    return frozenset(order[k] for k in rng.permutation(len(order))[: len(order) // 2])


@dataclass(frozen=True, eq=False)
class GroupTests:
    """Judges joint results of groups, as singles are judged; keeps what was decoded.

    A group is fine where its result agrees with the ego, keeps what the ego shows, and shows no more that neither the
    ego nor any group without its members does than one honest teammate may.
    """

    own: Detections
    compare: Compare
    limits: Limits
    consistency: Consistency
    showing: Showing
    detect: Callable[[Sequence[Subset]], list[Detections]]
    results: dict[Subset, Detections] = field(default_factory=dict)

    def __call__(self, sets: Sequence[Subset]) -> list[bool]:
        self.results.update(zip(sets, self.detect(sets), strict=True))
        every = list(self.results)
        shown = Shown.of(self.own, {str(k): self.results[s] for k, s in enumerate(every)}, self.showing)
        return [self._fine(shown, every, s) for s in sets]

    def _fine(self, shown: Shown, every: Sequence[Subset], members: Subset) -> bool:
        result = self.results[members]
        if not (self.own.finite and result.finite and self.compare(result) >= self.limits.agreement(len(members))):
            return False
        if self.consistency.of(strain(shown, EGO_ALONE, result)) > max(self.limits.strain(len(members)), LEAST_STRAIN):
            return False
        row, others = 1 + every.index(members), [1 + k for k, s in enumerate(every) if not s & members]
        sole = shown.by[:, row] & ~shown.by[:, [0, *others]].any(axis=1) & (shown.source == row)
        return int(sole.sum()) <= max(self.limits.claims(1 + len(others)), 1.0)
