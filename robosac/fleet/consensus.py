"""Consensus on what was learnt: the same search as for frames.

A subset of clients takes the place of a subset of teammates, merging their adapters that of fusing their messages, and
the verifier's own held-out data that of the ego's frame: the model as it stands is the ego's own result. A subset is
accepted where

1. the merged model's detections agree with those of the model as it stands,
2. its loss on this data is not worse, and
3. no member's step alone is unlike what the verifier itself learns.

The third is what finds a poisoned update among many: merged with five honest ones, it hides in their gain. It looks at
steps, what came back less what was sent, since an honest client of a small rank cannot hold the whole model.

What an honest step may do is not a number that somebody chose: in every round the verifier learns from its own data,
a part of it at a time, and those steps are the measure. So an odd honest client is not blamed for what every step in
its world does, and another model brings its own measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from robosac.consensus import Consensus, search
from robosac.fleet.adapters import Adapter, merge, minus, moved
from robosac.fleet.aggregation import Aggregation
from robosac.fleet.steps import Effect, away, effect, least_rise, rise, size, summed
from robosac.types import EGO_ALONE, Id, Subset, Trial


class Shown(Protocol):
    """What a model does on the verifier's data."""

    @property
    def losses(self) -> Sequence[float]:
        """Of each part of it, a domain say; 0 or more, and not finite where the model is broken."""
        ...

    @property
    def loss(self) -> float:
        """Their mean."""
        ...

    def agreement(self, reference: Shown) -> float:
        """In [0, 1]: how much its results agree with those of another model."""
        ...


class Verifier(Protocol):
    """Who holds out data, and could learn from it as a client does."""

    def verified(self, adapter: Adapter) -> Shown:
        """What a model shows on all of it."""
        ...

    def practised(self, given: Sequence[Adapter], round: int) -> Mapping[str, Sequence[Adapter]]:
        """Part -> what is learnt from a half of its data, starting from each of two adapters, by a client's training.
        The same arguments, the same result."""
        ...


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What the verifier asks for.

    Attributes:
        agreement: least agreement with the model as it stands.
        worse: share by which the loss of a merged subset may rise, and one step's in any case.
        slack: times the largest rise of the verifier's own steps, which one step may raise the loss by.
        everywhere: share by which half a step may raise the loss of every part: what is honest helps somewhere.
        beside: degrees by which the effects of all a client's rounds may be further from those of the verifier's own
            than these are from each other.
        turned: the same of one round's effect, which is noisier; who behaved for long is still not free to turn.
        small: length of an effect below which its direction says nothing: no part's loss differs by more than about
            so much between the step and its reversal.
        budget: subsets that are tried.
    """

    agreement: float = 0.3
    worse: float = 0.02
    slack: float = 2.0
    everywhere: float = 0.005
    beside: float = 15.0
    turned: float = 45.0
    small: float = 0.1
    budget: int = 12


@dataclass(frozen=True)
class Effects:
    """What the steps of one round did: of clients, and of the verifier's own, by part."""

    clients: Mapping[Id, Effect] = field(default_factory=dict)
    own: Mapping[str, Sequence[Effect]] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """One round's steps beside the verifier's own.

    Attributes:
        effects: of all whose losses are numbers.
        rises: client -> share by which its step alone raises the loss.
        allowed: the largest share that a step may.
        harmful: whose step raises the loss of every part, or cannot be judged.
        unlike: client -> degrees beyond what is allowed, of all rounds or of this one, whichever is more; of those
            whose effect is large enough to have a direction.
    """

    effects: Effects
    rises: Mapping[Id, float]
    allowed: float
    harmful: frozenset[Id]
    unlike: Mapping[Id, float]

    @property
    def fine(self) -> list[Id]:
        """Who did nothing that the verifier itself would not do, the most useful step first."""
        able = (i for i, share in self.rises.items() if share <= self.allowed and i not in self.harmful)
        return sorted((i for i in able if self.unlike.get(i, 0.0) <= 0.0), key=lambda i: (self.rises[i], i))


@dataclass(frozen=True, eq=False)
class Measure:
    """What the steps of one round are laid beside.

    Attributes:
        standing: the model as it stands.
        verified: a model on the verifier's data.
        settings: what is asked for.
        before: effects of earlier rounds.
        reference: what the model as it stands shows.
        own: part -> what the verifier's own steps show, each with its reversal.
    """

    standing: Adapter
    verified: Callable[[Adapter], Shown]
    settings: Verified
    before: Sequence[Effects]
    reference: Shown
    own: Mapping[str, Sequence[tuple[Shown, Shown]]]

    @staticmethod
    def of(
        standing: Adapter,
        own: Mapping[str, Sequence[Adapter]],
        verified: Callable[[Adapter], Shown],
        settings: Verified,
        before: Sequence[Effects] = (),
    ) -> Measure:
        """From the steps that the verifier learnt itself, by part."""
        shown = {part: [_both(standing, step, verified) for step in each] for part, each in own.items()}
        return Measure(standing, verified, settings, before, verified(standing), shown)

    @staticmethod
    def practised(
        standing: Adapter,
        verifier: Verifier,
        practice: Sequence[Adapter],
        settings: Verified,
        round: int,
        before: Sequence[Effects] = (),
    ) -> Measure:
        """The verifier learns first, starting from each of `practice`: the adapters of the smallest and the largest
        rank."""
        learnt = verifier.practised(practice, round)
        own = {
            part: [minus(a, start) for a, start in zip(each, practice, strict=True)] for part, each in learnt.items()
        }
        return Measure.of(standing, own, verifier.verified, settings, before)

    def compared(self, steps: Mapping[Id, Adapter]) -> Compared:
        """Clients' steps beside the verifier's own."""
        settings, reference = self.settings, self.reference
        theirs = {i: _both(self.standing, step, self.verified) for i, step in steps.items()}
        now = Effects(
            {i: e for i, pair in theirs.items() for e in _effects([pair])},
            {part: _effects(pairs) for part, pairs in self.own.items()},
        )
        own_rises = [rise(after.loss, reference.loss) for pairs in self.own.values() for after, _ in pairs]
        largest = max([r for r in own_rises if np.isfinite(r)], default=0.0)
        least = {i: least_rise(a.losses, b.losses, reference.losses) for i, (a, b) in theirs.items()}
        every = [*self.before, now]
        lasting = {}
        for part, each in now.own.items():
            known = [r.own[part] for r in every if len(r.own.get(part, ())) == len(each)]
            lasting[part] = [summed(effects) for effects in zip(*known, strict=True)]
        unlike = {}
        for i, e in now.clients.items():
            if size(e) > settings.small:
                all_rounds = summed(r.clients[i] for r in every if i in r.clients)
                unlike[i] = max(away(all_rounds, lasting) - settings.beside, away(e, now.own) - settings.turned)
        return Compared(
            now,
            {i: rise(after.loss, reference.loss) for i, (after, _) in theirs.items()},
            max(settings.slack * largest, settings.worse),
            frozenset(i for i in theirs if i not in now.clients or least[i] > settings.everywhere),
            unlike,
        )


def _both(standing: Adapter, step: Adapter, verified: Callable[[Adapter], Shown]) -> tuple[Shown, Shown]:
    """With the step, and with its reversal."""
    return verified(moved(standing, step, 1.0)), verified(moved(standing, step, -1.0))


def _effects(pairs: Sequence[tuple[Shown, Shown]]) -> list[list[float]]:
    return [e for after, back in pairs if (e := effect(after.losses, back.losses)) is not None]


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
    given: Mapping[Id, Adapter],
    adapters: Mapping[Id, Adapter],
    weights: Mapping[Id, float],
    measure: Measure,
    rng: np.random.Generator,
) -> tuple[Consensus[Shown], Compared]:
    """Which clients' adapters to merge, and what each did alone.

    Args:
        rule: by which they are merged.
        given, adapters, weights: by client: what it was sent, what came back, and its share of the samples.
        measure: what steps are laid beside.
        rng: of the search.
    """
    settings, reference = measure.settings, measure.reference
    alone = measure.compared({i: minus(a, given[i]) for i, a in adapters.items()})

    def judged(reference: Shown, subset: Subset, shown: Shown) -> Trial:
        same = shown.agreement(reference)
        scores = {"loss": shown.loss, **{f"alone:{i}": alone.rises[i] for i in subset}}
        fine = rise(shown.loss, reference.loss) <= settings.worse and same >= settings.agreement
        return Trial(subset, same, bool(fine), settings.agreement, scores)

    def trial(subsets: Sequence[Subset]) -> list[Shown]:
        return [reference if s == EGO_ALONE else measure.verified(_merged(rule, adapters, weights, s)) for s in subsets]

    order = BestFirst(tuple(alone.fine))
    return search(sorted(adapters), trial, judged, order, settings.budget, rng), alone


def _merged(rule: Aggregation, adapters: Mapping[Id, Adapter], weights: Mapping[Id, float], subset: Subset) -> Adapter:
    members = sorted(subset)
    total = sum(weights[i] for i in members)
    return merge(rule, [adapters[i] for i in members], [weights[i] / total for i in members])
