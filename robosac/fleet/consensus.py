"""Consensus on what was learnt: the same search as for frames.

A subset of clients takes the place of a subset of teammates, merging their adapters that of fusing their messages, and
the verifier's own held-out frames that of the ego's frame: the model as it stands is the ego's own result. A subset is
accepted where

1. the merged model's detections agree with those of the model as it stands,
2. its loss on these frames is not worse, and
3. neither is that of the model as it stands with the step of any one member.

The third is what finds a poisoned update among many: merged with five honest ones, it hides in their gain. It looks at
steps, what came back less what was sent, since an honest client of a small rank cannot hold the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from robosac.consensus import Consensus, search
from robosac.fleet.adapters import Adapter, merge, minus, moved
from robosac.fleet.aggregation import Aggregation
from robosac.types import EGO_ALONE, Id, Subset, Trial


class Shown(Protocol):
    """What a model does on the verifier's frames."""

    @property
    def loss(self) -> float:
        """Mean over the frames; not finite where the model is broken."""
        ...

    def agreement(self, reference: Shown) -> float:
        """In [0, 1]: how much its results agree with those of another model."""
        ...


Verify = Callable[[Adapter], Shown]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What the verifier asks for. A few steps of training are noisy, so a little is allowed for.

    Attributes:
        agreement: least agreement with the model as it stands.
        worse: share by which the loss of a merged subset may rise.
        alone: share by which that of one member alone may.
        budget: subsets that are tried.
    """

    agreement: float = 0.3
    worse: float = 0.02
    alone: float = 0.1
    budget: int = 12

    def judge(self, alone: Mapping[Id, Shown]) -> Callable[[Shown, Subset, Shown], Trial]:
        """The judge of a round, given what each client's adapter shows alone."""

        def judged(reference: Shown, subset: Subset, shown: Shown) -> Trial:
            same = shown.agreement(reference)
            gains = {i: _rise(alone[i].loss, reference.loss) for i in subset}
            scores = {"loss": shown.loss, **{f"alone:{i}": gain for i, gain in gains.items()}}
            fine = _rise(shown.loss, reference.loss) <= self.worse and all(g <= self.alone for g in gains.values())
            return Trial(subset, same, bool(fine and same >= self.agreement), self.agreement, scores)

        return judged


def _rise(loss: float, reference: float) -> float:
    """By which share a loss is above another; what is not finite is above everything."""
    return (loss - reference) / max(abs(reference), 1e-12) if np.isfinite(loss) else float("inf")


@dataclass(frozen=True)
class BestFirst:
    """The largest subset of those who do no harm alone, then without the worst of them, and so on."""

    order: tuple[Id, ...] = field(default=())

    def propose(
        self, ids: Sequence[Id], history: Sequence[Trial], rng: np.random.Generator, count: int = 1
    ) -> list[Subset]:
        """As `robosac.subsets.Proposer`."""
        if any(t.accepted for t in history):
            return []
        done = len(history)
        sizes = range(len(self.order) - done, max(len(self.order) - done - count, 0), -1)
        return [frozenset(self.order[:size]) for size in sizes]


def agreed(
    rule: Aggregation,
    standing: Adapter,
    given: Mapping[Id, Adapter],
    adapters: Mapping[Id, Adapter],
    weights: Mapping[Id, float],
    verify: Verify,
    settings: Verified,
    rng: np.random.Generator,
) -> tuple[Consensus[Shown], dict[str, Shown]]:
    """Which clients' adapters to merge, and what each showed alone.

    Args:
        rule: by which they are merged.
        standing: the model as it stands, which nobody is needed for.
        given, adapters, weights: by client: what it was sent, what came back, and its share of the samples.
        verify: the verifier's own frames.
        settings: what is asked for.
        rng: of the search.
    """
    alone = {i: verify(moved(standing, minus(a, given[i]), 1.0)) for i, a in adapters.items()}
    reference = verify(standing)
    harmless = [i for i in alone if _rise(alone[i].loss, reference.loss) <= settings.alone]
    order = tuple(sorted(harmless, key=lambda i: (alone[i].loss, i)))

    def trial(subsets: Sequence[Subset]) -> list[Shown]:
        return [reference if s == EGO_ALONE else verify(_merged(rule, adapters, weights, s)) for s in subsets]

    found = search(sorted(adapters), trial, settings.judge(alone), BestFirst(order), settings.budget, rng)
    return found, alone


def _merged(rule: Aggregation, adapters: Mapping[Id, Adapter], weights: Mapping[Id, float], subset: Subset) -> Adapter:
    members = sorted(subset)
    total = sum(weights[i] for i in members)
    return merge(rule, [adapters[i] for i in members], [weights[i] / total for i in members])
