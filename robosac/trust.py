"""Belief about each teammate: how probable is it that it attacks, after what the trials showed.

A hypothesis is a set of attackers. A trial accepts a subset that holds none of them with probability 1 - b, and one
that does with probability a. Refusals cluster in frames where the ego sees little, so a frame in which nothing at all
was accepted says nothing about anybody: condition on the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from math import comb

import numpy as np

from robosac.types import Bool, Id, InputError, Trial

MAX_HYPOTHESES = 20_000


@lru_cache(maxsize=64)
def attacker_sets(n_teammates: int, at_most: int | None = None) -> Bool | None:
    """Hypotheses `(K, A)`: every set of attackers, or of `at_most` that many; None where there are too many to list.

    Do not write to it: it is remembered.
    """
    most = n_teammates if at_most is None else min(at_most, n_teammates)
    if sum(comb(n_teammates, size) for size in range(most + 1)) > MAX_HYPOTHESES:
        return None
    sets = list(chain.from_iterable(combinations(range(n_teammates), size) for size in range(most + 1)))
    mask = np.zeros((len(sets), n_teammates), dtype=np.bool_)
    rows = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    mask[rows, np.fromiter(chain.from_iterable(sets), dtype=np.int64, count=len(rows))] = True
    mask.setflags(write=False)
    return mask


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Prior and error rates of the verifier. `suspicion` is a pure function of the trials of one frame.

    Raises:
        InputError: a rate is not inside (0, 1).
    """

    attack_rate: float = 0.2  # prior probability that a teammate attacks
    false_accept: float = 0.02
    false_reject: float = 0.02

    def __post_init__(self) -> None:
        for name in ("attack_rate", "false_accept", "false_reject"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise InputError(f"expected {name} to be inside (0, 1), got {value}")

    def suspicion(self, ids: Sequence[Id], trials: Iterable[Trial], *, at_most: int | None = None) -> dict[Id, float]:
        """Probability that each of `ids` attacks, given a frame's trials and, if known, how many attack at most.

        Bayes' rule over all sets of attackers. Where these are too many to list (beyond about 14 teammates), only what
        was accepted counts, one teammate at a time: that never accuses anybody, and says so by staying at the prior.
        """
        trials = list(trials)
        if not ids:
            return {}
        held = [t for t in trials if t.accepted]
        sets = attacker_sets(len(ids), at_most)
        if sets is None:
            return {i: self._alone(any(i in t.subset for t in held)) for i in ids}
        count = sets.sum(axis=1)
        log_p = count * np.log(self.attack_rate) + (len(ids) - count) * np.log(1 - self.attack_rate)
        if held:
            seen = {(t.subset, t.accepted) for t in trials}  # a repeated draw is the same evidence, not more of it
            for subset, accepted in sorted(seen, key=lambda t: (sorted(t[0]), t[1])):
                member = np.array([i in subset for i in ids])
                attacked = (sets & member).any(axis=1)
                p_accept = np.where(attacked, self.false_accept, 1 - self.false_reject)
                log_p = log_p + np.log(p_accept if accepted else 1 - p_accept)
        weight = np.exp(log_p - log_p.max())
        marginal = weight @ sets / weight.sum()
        return {i: float(m) for i, m in zip(ids, marginal, strict=True)}

    def _alone(self, accepted: bool) -> float:
        """Bayes' rule for one teammate that was in an accepted subset, or in none."""
        if not accepted:
            return self.attack_rate
        attacks = self.attack_rate * self.false_accept
        return attacks / (attacks + (1 - self.attack_rate) * (1 - self.false_reject))
