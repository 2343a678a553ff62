"""Hypothesize and verify: the one loop of this project.

Source: arXiv 2303.09495, Algorithm 1. The loop knows nothing of frames, detectors or boxes: a `trial` turns subsets
into results, a `judge` says how much a result agrees with the ego's own, a proposer names the next subset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from robosac.subsets import Proposer
from robosac.types import EGO_ALONE, Id, InputError, Subset, Trial

R = TypeVar("R")
Judge: TypeAlias = Callable[[R, Subset, R], Trial]
"""(the ego's own result, subset, its result) -> the trial: how much it agrees, and whether that is enough."""


@dataclass(frozen=True)
class Consensus(Generic[R]):
    """What a search found. `used` is empty and `result` the ego's own where no subset was accepted."""

    result: R
    used: Subset
    trials: tuple[Trial, ...]
    results: tuple[R, ...]  # of each trial, in the same order
    reference: R  # the ego's own result
    decodes: int  # results computed, the ego's own included


def search(
    ids: Sequence[Id],
    trial: Callable[[Sequence[Subset]], Sequence[R]],
    judge: Judge[R],
    proposer: Proposer,
    budget: int,
    rng: np.random.Generator,
    *,
    batch: int = 1,
) -> Consensus[R]:
    """Search the subsets of `ids` for the one to fuse with (Algorithm 1).

    At most `budget` subsets are judged, however many are named; `batch` of them are computed at a time, which costs
    decodes that may turn out unneeded and changes no decision of a proposer that does not look at the history.
    Of the accepted subsets the largest wins, the latest among equals; without one the ego's own result stands.

    Raises:
        InputError: `budget` is negative or `batch` below 1.
    """
    if budget < 0 or batch < 1:
        raise InputError(f"expected a budget >= 0 and a batch >= 1, got {budget} and {batch}")
    reference = trial([EGO_ALONE])[0]  # line 1: the ego's own result Y_0
    known = {EGO_ALONE: reference}
    history: list[Trial] = []
    while count := min(batch, budget - len(history)):  # line 2: at most N times
        subsets = proposer.propose(ids, tuple(history), rng, count)[:count]  # line 3: draw
        if not subsets:
            break
        new = [s for s in dict.fromkeys(subsets) if s not in known]
        known.update(zip(new, trial(new) if new else [], strict=True))  # line 4: detect with each
        for subset in subsets:
            history.append(judge(reference, subset, known[subset]))  # line 5: verify against Y_0
            if history[-1].accepted:
                break  # what was computed beyond it was speculation
    held = [t for t in history if t.accepted]
    used = max(reversed(held), key=lambda t: len(t.subset)).subset if held else EGO_ALONE  # line 6: or fall back to Y_0
    return Consensus(
        result=known[used],
        used=used,
        trials=tuple(history),
        results=tuple(known[t.subset] for t in history),
        reference=reference,
        decodes=len(known),
    )
