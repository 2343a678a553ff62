"""Searches without any frame or detector: a "result" is the subset itself."""

from math import comb

import numpy as np

from robosac.consensus import search
from robosac.probing import Walk, tries_per_size
from robosac.types import EGO_ALONE, Trial

IDS = ("a", "b", "c", "d", "e")
everyone = frozenset(IDS)
DOWN = Walk(tries=tries_per_size(5, 31))  # every subset once, larger ones first


def only(size):
    """The walk's own draws of one size: no subset twice."""
    return Walk(tries={size: comb(5, size)})


class Script:
    """Proposes the subsets that it was given, one after the other, whatever was accepted and however many are asked."""

    def __init__(self, *subsets):
        self.subsets = [frozenset(s) for s in subsets]
        self.asked = []

    def propose(self, ids, history, rng, count):
        self.asked.append(count)
        return self.subsets[len(history) :]


def rng(seed=0):
    return np.random.default_rng(seed)


def run(proposer, budget, *, attackers=frozenset(), ids=IDS, seed=0, refuse=lambda s: False, **options):
    """A search with a verifier that never errs, but for the subsets it is told to refuse."""
    decoded = []

    def trial(subsets):
        assert subsets  # a detector is never asked for nothing
        decoded.extend(subsets)
        return list(subsets)

    def judge(reference, subset, result):
        assert reference == EGO_ALONE and result == subset
        return Trial.judged(subset, 0.0 if subset & frozenset(attackers) or refuse(subset) else 1.0, 0.5)

    found = search(ids, trial, judge, proposer, budget, rng(seed), **options)
    assert len(decoded) == len(set(decoded)) == found.decodes  # nothing is decoded twice
    assert len(found.trials) <= budget
    assert found.results == tuple(t.subset for t in found.trials) and found.reference == EGO_ALONE
    return found
