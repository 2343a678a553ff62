"""Target subsets: the fusions that an attack is optimised for.

They are drawn or looked up once a frame and stay fixed over the steps of an attack: its loss is one function of what is
sent, so that step rules which compare losses (APGD) may be used. `DrawnSubsets` alone needs to know the defence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robosac.air import Air
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.types import Id, InputError, Subset


@runtime_checkable
class TargetSubsets(Protocol):
    """Which subsets an attack is optimised for."""

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        """One or more subsets of the teammates in the air; each holds an attacker."""
        ...


@register("full_fusion")
@dataclass(frozen=True, kw_only=True)
class FullFusion:
    """The ego and all its teammates: what is fused where nobody defends."""

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        return [frozenset(air.others) | attackers]


@register("drawn_subsets")
@dataclass(frozen=True, kw_only=True)
class DrawnSubsets(Settings):
    """Subsets as the defence would draw them, those without an attacker left out; the full fusion without a defence.

    Attributes:
        count: how many are drawn.
    """

    count: int = number(4, low=1)

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        everybody = FullFusion().subsets(air, attackers, rng)
        if air.defense is None:
            return everybody
        drawn = air.defense.draw(sorted(everybody[0]), self.count, rng)
        return [s for s in dict.fromkeys(drawn) if s & attackers] or everybody


@register("random_subsets")
@dataclass(frozen=True, kw_only=True)
class RandomSubsets(Settings):
    """In expectation over random subsets: the mean over `count` independent draws of subsets that hold an attacker.

    Every subset of the teammates in the air with at least one attacker is equally likely, or every such subset of
    `size` teammates. Drawn anew in each frame, not in each step; one that is drawn twice counts twice.

    Attributes:
        count: draws a frame; the cost of a step grows with it.
        size: teammates in a subset, all of them where fewer are in the air; None for any number.
    """

    count: int = number(8, low=1)
    size: int | None = number(None, low=1, whole=True)

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        bad, honest = sorted(attackers), sorted(frozenset(air.others) - attackers)
        size = None if self.size is None else min(self.size, len(bad) + len(honest))
        # how many attackers and honest teammates: as likely as there are such subsets; then which, all alike
        counts = [
            (k, j) for k in range(1, len(bad) + 1) for j in range(len(honest) + 1) if size is None or k + j == size
        ]
        ways = np.array([math.comb(len(bad), k) * math.comb(len(honest), j) for k, j in counts], np.float64)
        drawn = rng.choice(len(counts), size=self.count, p=ways / ways.sum())
        return [_some(bad, counts[c][0], rng) | _some(honest, counts[c][1], rng) for c in drawn]


@register("largest_subsets")
@dataclass(frozen=True, kw_only=True)
class LargestSubsets(Settings):
    """Everybody, and the largest subsets that hold an attacker: what a defence that wants many teammates ends with.

    Attributes:
        without: at most so many teammates are left out.
        count: how many subsets at most; those of the size that is too many are drawn.
    """

    without: int = number(1, low=0)
    count: int = number(6, low=1)

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        everybody = frozenset(air.others) | attackers
        kept: list[Subset] = []
        for out in range(min(self.without, len(everybody)) + 1):
            left = [s for s in (everybody - set(c) for c in combinations(sorted(everybody), out)) if s & attackers]
            room = self.count - len(kept)
            kept += left if len(left) <= room else [left[int(k)] for k in sorted(rng.permutation(len(left))[:room])]
        return kept


@register("subsets")
@dataclass(frozen=True, kw_only=True)
class Subsets:
    """Exactly these subsets, by the names of their teammates: what an attacker does who knows which will be fused.

    Teammates that are not in the air of a frame are left out of it, and then subsets without an attacker are too.

    Attributes:
        named: one or more collections of names; kept sorted, so that equal values look alike.
    """

    named: tuple[tuple[Id, ...], ...]

    def __post_init__(self) -> None:
        given: Any = self.named
        ok = (
            _is_list(given)
            and len(given) > 0
            and all(_is_list(s) and all(isinstance(i, str) for i in s) for s in given)
        )
        if not ok or not all(given):
            raise InputError(
                "expected named of Subsets to be one or more collections of one or more teammates' names, got "
                f"{given!r}; for instance (('car 1', 'car 2'),)"
            )
        object.__setattr__(self, "named", tuple(tuple(sorted(set(s))) for s in given))

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        """As `TargetSubsets.subsets`; draws nothing.

        Raises:
            InputError: none of them holds an attacker.
        """
        present = frozenset(air.others) | attackers
        kept = [s for s in (frozenset(names) & present for names in self.named) if s & attackers]
        if not kept:
            raise InputError(
                f"expected a subset with one of the attackers {sorted(attackers)} in named of Subsets, got "
                f"{self.named!r}; name the attackers' own links, or take FullFusion()"
            )
        return kept


def _some(names: list[Id], count: int, rng: np.random.Generator) -> Subset:
    return frozenset(names[i] for i in rng.choice(len(names), size=count, replace=False)) if count else frozenset()


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))
