"""Which subset of teammates to try next.

A proposer is a pure function of the teammates, the trials so far and a generator: it names up to `count` subsets to
try next, or none when it is done. That it stops after an acceptance, or goes on to grow the accepted set, is its own
decision; the loop in `consensus` only counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
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

    Few subsets are enumerated, and many where more than half were tried; else draws are repeated until a new one comes.
    """
    if not 0 <= size <= len(ids):
        return None
    done = {s for s in tried if len(s) == size and s <= set(ids)}
    total = comb(len(ids), size)
    if len(done) >= total:
        return None
    if total <= _ENUMERATE_UP_TO or 2 * len(done) > total:
        left = [s for s in map(frozenset, combinations(ids, size)) if s not in done]
        return left[int(rng.integers(len(left)))]
    while (candidate := draw(ids, size, rng)) in done:
        pass
    return candidate


def accepted(history: Sequence[Trial]) -> bool:
    """Whether any trial was accepted."""
    return any(t.accepted for t in history)


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """The paper's draws: independent, with repeats, of one size, until one is accepted (Algorithm 1)."""

    size: int

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        """As `Proposer.propose`.

        Raises:
            InputError: the size is negative.
        """
        if self.size < 0:
            raise InputError(f"expected the subset size to be >= 0, got {self.size}")
        if accepted(history):
            return []
        return [draw(ids, min(self.size, len(ids)), rng) for _ in range(count)]
