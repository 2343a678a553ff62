"""Which subset of teammates to try next.

A proposer is a pure function of the teammates, the trials so far and a generator: it names up to `count` subsets to
try next, or none when it is done. That it stops after an acceptance, or goes on to grow the accepted set, is its own
decision; the loop in `consensus` only counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb
from typing import Protocol

import numpy as np

from robosac.types import Id, InputError, Subset, Trial

_ENUMERATE_UP_TO = 4096


class Proposer(Protocol):
    """Names the subsets to try next."""

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        """Up to `count` subsets of `ids`, given the trials so far; an empty list ends the search."""
        ...


def draw(ids: Sequence[Id], size: int, rng: np.random.Generator) -> Subset:
    """One subset of `size` of the `ids`, uniformly."""
    return frozenset(ids[i] for i in rng.choice(len(ids), size=size, replace=False))


def draw_new(ids: Sequence[Id], size: int, tried: Collection[Subset], rng: np.random.Generator) -> Subset | None:
    """One subset of `size` of the `ids`, uniformly among those not yet tried; None when none is left.

    Few subsets are enumerated; of many, draws are repeated until a new one comes, which is quick because at most
    half of them can have been tried before the enumeration limit takes over.
    """
    if not 0 <= size <= len(ids):
        return None
    done = {s for s in tried if len(s) == size and s <= set(ids)}
    total = comb(len(ids), size)
    if len(done) >= total:
        return None
    if total <= _ENUMERATE_UP_TO:
        left = [s for s in map(frozenset, combinations(ids, size)) if s not in done]
        return left[int(rng.integers(len(left)))]
    while len(done) <= total // 2:
        candidate = draw(ids, size, rng)
        if candidate not in done:
            return candidate
    skip = int(rng.integers(total - len(done)))  # over 2048 trials of one size: only a study gets here
    return next(islice((s for s in map(frozenset, combinations(ids, size)) if s not in done), skip, None))


def accepted(history: Sequence[Trial]) -> bool:
    """Whether any trial was accepted."""
    return any(t.accepted for t in history)


def _size(size: int, ids: Sequence[Id]) -> int:
    if size < 0:
        raise InputError(f"expected the subset size to be >= 0, got {size}")
    return min(size, len(ids))


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """The paper's draws: independent, with repeats, of one size, until one is accepted (Algorithm 1)."""

    size: int

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        if accepted(history):
            return []
        return [draw(ids, _size(self.size, ids), rng) for _ in range(count)]


@dataclass(frozen=True, kw_only=True)
class WithoutRepeats:
    """One size, no subset twice, until one is accepted. `first` are tried before any draw."""

    size: int
    first: tuple[Subset, ...] = ()

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        if accepted(history):
            return []
        return _next_untried(ids, history, rng, count, sizes=(_size(self.size, ids),), first=self.first)


@dataclass(frozen=True, kw_only=True)
class Descending:
    """Largest subsets first: every subset of one size, in random order, before any smaller one."""

    largest: int
    smallest: int = 1
    first: tuple[Subset, ...] = ()

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        if accepted(history):
            return []
        sizes = range(_size(self.largest, ids), self.smallest - 1, -1)
        return _next_untried(ids, history, rng, count, sizes=sizes, first=self.first)


def _next_untried(
    ids: Sequence[Id],
    history: Sequence[Trial],
    rng: np.random.Generator,
    count: int,
    *,
    sizes: Sequence[int],
    first: Sequence[Subset],
) -> list[Subset]:
    tried = {t.subset for t in history}
    chosen: list[Subset] = []
    for subset in first:
        if len(chosen) < count and subset not in tried and subset <= set(ids):
            chosen.append(subset)
            tried.add(subset)
    for size in sizes:
        while len(chosen) < count and (subset_or_none := draw_new(ids, size, tried, rng)) is not None:
            chosen.append(subset_or_none)
            tried.add(subset_or_none)
    return chosen
