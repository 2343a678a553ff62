"""Probing when nobody says how many attackers there are (A2CP, arXiv 2303.09495 section 3.4).

Aggressive to conservative: assume 0 attackers and try all teammates; on refusal assume one more and try smaller
subsets. The largest subset that agrees estimates the number of attackers. What was found is kept across the frames
of a scenario in a memory; a frame asks it for a proposer and afterwards reports its trials.

Three walks down the sizes:

- `Passes` is the paper's: one draw of every size still open, from the largest, again and again, each size up to its
  limit of tries over all frames. (The reference code can spend 8 trials on a budget of 5; here the loop in
  `consensus.search` counts, so a budget is never exceeded.)
- `Walk` is that of agreement alone: the remembered subset first; if it holds, one more teammate at a time until one is
  refused, so that the estimate can rise again; if not, every size to its share of the budget before any smaller one, no
  subset twice.
- `Downwards` is that of `robosac.defenses.robosac`, which chooses nobody among equals: every size in full, as far as
  its share of the budget goes, and no end before a size in which something was accepted is through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np

from robosac.subsets import Proposer, accepted, draw, draw_new
from robosac.types import EGO_ALONE, Id, InputError, Subset, Trial, keyed_rng


def tries_per_size(n_teammates: int, budget: int, *, largest: int | None = None) -> dict[int, int]:
    """Shares `{size: tries}` of a frame's budget when no subset is repeated, largest size first.

    Each size gets at most the number of its subsets; where the budget does not suffice for all of them, every size
    gets the same number of tries or all its subsets, and what is left over goes to the larger sizes.

    Raises:
        InputError: a number is negative.
    """
    top = n_teammates if largest is None else min(largest, n_teammates)
    if n_teammates < 0 or budget < 0:
        raise InputError(f"expected teammates and budget >= 0, got {n_teammates} and {budget}")
    room = {size: comb(n_teammates, size) for size in range(top, 0, -1)}
    share = dict.fromkeys(room, 0)
    left = budget
    while left > 0 and (open_sizes := [s for s in room if share[s] < room[s]]):
        each = max(1, min([left // len(open_sizes), *(room[s] - share[s] for s in open_sizes)]))
        for size in open_sizes:
            given = min(each, left)
            share[size] += given
            left -= given
    return share


@dataclass(frozen=True, kw_only=True)
class Passes:
    """The paper's walk: sizes above the estimate once a pass, then draws of the estimated size. With repeats."""

    open_tries: Mapping[int, int]  # size above the estimate -> tries left over all frames
    estimated_size: int  # largest size that has agreed so far; 0 = none yet

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        if accepted(history):
            return []
        spent = [len(t.subset) for t in history]
        sizes = self._order(len(ids))[len(spent) : len(spent) + count]
        if not sizes and 0 < self.estimated_size <= len(ids):
            sizes = [self.estimated_size] * count
        return [draw(ids, size, rng) for size in sizes]

    def _order(self, n_ids: int) -> list[int]:
        passes = sorted((n, -s) for s, tries in self.open_tries.items() if s <= n_ids for n in range(tries))
        return [-s for _, s in passes]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The walk of agreement alone: `first`, steps up from it while they hold, else down the sizes without repeats.

    Attributes:
        tries: size -> tries in this frame.
        first: what is remembered; None = nothing.
        outside: who may be let in again, one step each, in this order.
        largest: size beyond which no step goes.
    """

    tries: Mapping[int, int]
    first: Subset | None = None
    outside: tuple[Id, ...] = ()
    largest: int = 0

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        if not history and self.first:
            return [self.first]
        if accepted(history):
            return self._step_up(history)
        tried = {t.subset for t in history}
        chosen: list[Subset] = []
        for size in sorted(self.tries, reverse=True):
            done = sum(1 for t in history if len(t.subset) == size and t.subset != self.first)
            for _ in range(min(self.tries[size] - done, count - len(chosen))):
                subset = draw_new(ids, size, tried, rng)
                if subset is None:
                    break
                chosen.append(subset)
                tried.add(subset)
        return chosen

    def _step_up(self, history: Sequence[Trial]) -> list[Subset]:
        last, steps = history[-1], len(history) - 1
        remembered = history[0].subset == self.first and history[0].accepted
        if not (remembered and last.accepted and steps < len(self.outside) and len(last.subset) < self.largest):
            return []
        return [last.subset | {self.outside[steps]}]


def _always(trial: Trial) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Downwards:
    """From the largest subsets down, each once; what is accepted ends it, after its whole size and `pool - 1` smaller.

    Attributes:
        tries: size -> tries in this frame.
        pool: sizes that are gone through from the largest with an accepted subset on.
        everybody: a subset of this size ends it at once if it is sure, there is nobody to choose between. If it is
            not, it is one voice beside `pool` sizes below.
        sure: whether an accepted subset is.
        seed: of the draws. The n-th is the same however many are named at once, and whatever is accepted.
    """

    tries: Mapping[int, int]
    pool: int = 1
    everybody: int = 0
    sure: Callable[[Trial], bool] = field(default=_always)
    seed: int = 0

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        largest = max((t for t in history if t.accepted), key=lambda t: len(t.subset), default=None)
        held = 0 if largest is None else len(largest.subset)
        all_together = largest is not None and held == self.everybody
        if largest is not None and all_together and self.sure(largest):
            return []
        lowest = held - self.pool + (not all_together)
        tried = {t.subset for t in history}
        chosen: list[Subset] = []
        for size in sorted(self.tries, reverse=True):
            if held and size < lowest:
                break
            done = sum(1 for t in history if len(t.subset) == size)
            for _ in range(min(self.tries[size] - done, count - len(chosen))):
                subset = draw_new(ids, size, tried, keyed_rng(self.seed, len(tried)))
                if subset is None:
                    break
                chosen.append(subset)
                tried.add(subset)
        return chosen


@dataclass(frozen=True, kw_only=True)
class FirstThen:
    """Some subsets first, one after another; the first that is accepted and sure ends it. If none is, what `then`
    proposes, which must name no subset that was tried.
    """

    first: tuple[Subset, ...]
    then: Proposer
    sure: Callable[[Trial], bool] = field(default=_always)

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        tried = [t for t in history if t.subset in self.first]
        if any(t.accepted and self.sure(t) for t in tried):
            return []
        return list(self.first[len(tried) :][:1]) or self.then.propose(ids, history, rng, count)


@dataclass
class PassesMemory:
    """What the paper's A2CP keeps across frames: tries spent per size and the largest size that agreed.

    `limits` `{size: tries}` are `robosac.budget.a2cp_limits`.
    """

    limits: Mapping[int, int]
    spent: dict[int, int] = field(default_factory=dict)
    estimated_size: int = 0

    def proposer(self) -> Passes:
        left = {s: n - self.spent.get(s, 0) for s, n in self.limits.items() if s > self.estimated_size}
        return Passes(open_tries=left, estimated_size=self.estimated_size)

    def learn(self, trials: Iterable[Trial]) -> None:
        """Count the tries of one frame and raise the estimate to the largest size that agreed."""
        for t in trials:
            size = len(t.subset)
            if t.accepted:
                self.estimated_size = max(self.estimated_size, size)
            else:
                self.spent[size] = self.spent.get(size, 0) + 1


@dataclass
class WalkMemory:
    """What `Walk` keeps across frames: the subset that last agreed, and whose turn it is to be let in again."""

    last: Subset = frozenset()
    known: Subset = frozenset()  # who was present when `last` was found
    turn: int = 0

    def proposer(self, ids: Sequence[Id], budget: int, *, largest: int | None = None) -> Walk:
        """This frame's walk. `largest` bounds the size of a subset where the number of attackers is given."""
        present = frozenset(ids)
        top = len(ids) if largest is None else min(largest, len(ids))
        newcomers = present - self.known if self.last else frozenset()
        first = next((f for f in ((self.last & present) | newcomers, self.last & present) if len(f) <= top), EGO_ALONE)
        outside = deque(sorted(present - first))
        outside.rotate(-self.turn)
        # Once an estimate exists, the walk starts one size above it; above that, only the steps up probe.
        start = min(top, len(first) + 1) if first else top
        shares = tries_per_size(len(ids), max(0, budget - bool(first)), largest=start)
        return Walk(tries=shares, first=first or None, outside=tuple(outside), largest=top)

    def learn(self, ids: Sequence[Id], used: Subset) -> None:
        """Keep what one frame found; a frame without consensus leaves the memory as it was."""
        self.turn += 1
        if used:
            self.last, self.known = used, frozenset(ids)
