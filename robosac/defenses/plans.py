"""How many attackers are assumed, which subsets that asks for, and how many trials a frame may take.

A plan is a value; `start` opens what it remembers within a scenario. For each frame it names a proposer and a budget,
and afterwards learns from its trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Final, Protocol

from robosac.budget import a2cp_limits, attackers_of_ratio, paper_trials
from robosac.probing import PassesMemory, WalkMemory
from robosac.subsets import Proposer, Uniform
from robosac.types import Id, InputError, Subset, Trial

MOST_TRIALS: Final = 200  # a frame, whatever a formula says; of 5 teammates it never asks for more than 27


@dataclass(frozen=True)
class FramePlan:
    """One frame: who names the subsets, how many may be judged, how many attack at most (None: unknown)."""

    proposer: Proposer
    budget: int
    at_most: int | None = None


class Memory(Protocol):
    """What a plan remembers within a scenario."""

    def frame(self, ids: Sequence[Id]) -> FramePlan:
        """The plan of the next frame, whose teammates are `ids`."""
        ...

    def learn(self, ids: Sequence[Id], used: Subset, trials: Sequence[Trial]) -> None:
        """Keep what one frame showed: who was used, and all trials."""
        ...


class Plan(Protocol):
    """A value: settings, repr, equality."""

    def start(self) -> Memory:
        """An empty memory, for one scenario."""
        ...


def assumed_attackers(n_teammates: int, attackers: int | None, ratio: float | None) -> int:
    """The number of attackers among `n_teammates` that a count or a ratio stands for (a ratio is rounded up)."""
    if attackers is not None:
        return min(attackers, n_teammates)
    assert ratio is not None
    return attackers_of_ratio(n_teammates, ratio)


def _check_count(attackers: int | None, ratio: float | None) -> None:
    if (attackers is None) == (ratio is None):
        raise InputError(f"expected either attackers or ratio, got attackers={attackers} and ratio={ratio}")
    if attackers is not None and (not isinstance(attackers, int) or isinstance(attackers, bool) or attackers < 0):
        raise InputError(f"expected attackers to be a whole number >= 0, got {attackers!r}")
    if ratio is not None and not 0 <= ratio <= 1:
        raise InputError(f"expected ratio in [0, 1], got {ratio}")


def _check_budget(budget: int | None) -> None:
    if budget is not None and (not isinstance(budget, int) or isinstance(budget, bool) or budget < 0):
        raise InputError(f"expected budget to be a whole number of trials >= 0, got {budget!r}")


def _check_confidence(confidence: float) -> None:
    if not 0 <= confidence < 1:
        raise InputError(f"expected confidence in [0, 1), got {confidence}")


# -------------------------------------------------------------------------------------------- the better default
@dataclass(frozen=True, kw_only=True)
class Known:
    """At most this number (or ratio) of teammates attack: subsets of all others, without repeats.

    `budget` trials a frame at most; the subsets of `A - m` come first and, while the budget lasts, smaller ones, for
    frames in which no subset that large agrees. What agreed in the last frame is verified first.
    """

    attackers: int | None = None
    ratio: float | None = None
    budget: int = 32

    def __post_init__(self) -> None:
        _check_count(self.attackers, self.ratio)
        _check_budget(self.budget)

    def start(self) -> Memory:
        return _WalkPlan(self)

    def largest(self, n_teammates: int) -> int:
        return n_teammates - assumed_attackers(n_teammates, self.attackers, self.ratio)


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """Nobody says how many attack: probe from all teammates downwards (A2CP), without repeats, with memory."""

    budget: int = 32

    def __post_init__(self) -> None:
        _check_budget(self.budget)

    def start(self) -> Memory:
        return _WalkPlan(self)

    def largest(self, n_teammates: int) -> int:
        return n_teammates


class _WalkPlan:
    def __init__(self, plan: Known | Unknown) -> None:
        self._plan, self._memory = plan, WalkMemory()

    def frame(self, ids: Sequence[Id]) -> FramePlan:
        largest = self._plan.largest(len(ids))
        at_most = len(ids) - largest if isinstance(self._plan, Known) else None
        proposer = self._memory.proposer(ids, self._plan.budget, largest=largest)
        return FramePlan(proposer, self._plan.budget, at_most)

    def learn(self, ids: Sequence[Id], used: Subset, trials: Sequence[Trial]) -> None:
        self._memory.learn(ids, used)


# ------------------------------------------------------------------------------------------------ as in the paper
@dataclass(frozen=True, kw_only=True)
class PaperKnown:
    """As in the paper: uniform draws of one size, as many as its formula asks for at `confidence`; no memory.

    `size` is `A - m` unless given; `budget` replaces the formula's number of trials, of which a frame takes at most
    `MOST_TRIALS` however many the formula asks for in a large team.
    """

    attackers: int
    size: int | None = None
    budget: int | None = None
    confidence: float = 0.99

    def __post_init__(self) -> None:
        _check_count(self.attackers, None)
        _check_budget(self.budget)
        _check_confidence(self.confidence)
        if self.size is not None and self.size < 0:
            raise InputError(f"expected size >= 0, got {self.size}")

    def start(self) -> Memory:
        return _PaperPlan(self)


class _PaperPlan:
    def __init__(self, plan: PaperKnown) -> None:
        self._plan = plan

    def frame(self, ids: Sequence[Id]) -> FramePlan:
        m = min(self._plan.attackers, len(ids))
        size = len(ids) - m if self._plan.size is None else min(self._plan.size, len(ids))
        budget = self._plan.budget
        if budget is None:
            count = paper_trials(len(ids), m, size, self._plan.confidence).count if size else 0
            budget = min(MOST_TRIALS, comb(len(ids), size) if count is None else count)
        return FramePlan(Uniform(size=size), budget, m)

    def learn(self, ids: Sequence[Id], used: Subset, trials: Sequence[Trial]) -> None:
        """The paper's known-ratio mode starts every frame anew."""


@dataclass(frozen=True, kw_only=True)
class PaperUnknown:
    """As in the paper, ratio unknown (A2CP): passes down the sizes within its limits, `budget` trials a frame."""

    budget: int = 5
    confidence: float = 0.99

    def __post_init__(self) -> None:
        _check_budget(self.budget)
        _check_confidence(self.confidence)

    def start(self) -> Memory:
        return _PaperProbing(self)


class _PaperProbing:
    def __init__(self, plan: PaperUnknown) -> None:
        self._plan = plan
        self._memories: dict[int, PassesMemory] = {}
        self._now: PassesMemory | None = None

    def frame(self, ids: Sequence[Id]) -> FramePlan:
        n = len(ids)
        if n not in self._memories:  # the limits belong to a number of teammates
            self._memories[n] = PassesMemory(a2cp_limits(n, self._plan.confidence) if n else {})
        self._now = self._memories[n]
        return FramePlan(self._now.proposer(), self._plan.budget)

    def learn(self, ids: Sequence[Id], used: Subset, trials: Sequence[Trial]) -> None:
        if self._now is not None:
            self._now.learn(trials)
