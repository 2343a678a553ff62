"""Robust rules on the Gram matrix of what was learnt: free of rank and gauge.

Each looks at the K x K inner products of the clients' steps (what came back less what was sent) and says how much of
each step enters and with which weight. Rules that look at single coordinates (median, trimmed mean, Bulyan) are left
out: coordinates of factors mean nothing, since the same update has many factors, and those of the products would have
to be formed.

With K clients Krum's guarantee holds for f attackers where K >= 2 f + 3: one of six.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from robosac.errors import InputError

Gram = NDArray[np.float64]


@dataclass(frozen=True)
class Trust:
    """What a rule makes of K clients.

    Attributes:
        weights: `(K,)`, which sum to 1; 0 leaves a client out.
        factors: `(K,)` by which steps are multiplied.
    """

    weights: tuple[float, ...]
    factors: tuple[float, ...]


class Robust(Protocol):
    """A rule. Values: settings, repr, equality."""

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        """How much of each of K steps enters, given inner products `(K, K)` and the weights by samples `(K,)`."""
        ...


def _norms(gram: Gram) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(np.diag(gram), 0.0))


def _shared(weights: NDArray[np.float64]) -> tuple[float, ...]:
    total = float(weights.sum())
    return tuple((weights / total).tolist()) if total > 0 else tuple(weights.tolist())


@dataclass(frozen=True)
class Everybody:
    """No rule at all."""

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        return Trust(_shared(np.asarray(weights, np.float64)), (1.0,) * len(weights))


@dataclass(frozen=True)
class Clipped:
    """Steps no longer than `times` the median step."""

    times: float = 1.0

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        norms = _norms(gram)
        most = self.times * float(np.median(norms))
        factors = np.minimum(1.0, np.divide(most, norms, out=np.ones_like(norms), where=norms > 0))
        return Trust(_shared(np.asarray(weights, np.float64)), tuple(factors.tolist()))


@dataclass(frozen=True)
class MultiKrum:
    """The K - f clients whose steps are nearest to their K - f - 2 nearest ones. Of fewer than f + 3 clients, fewer are
    left out."""

    attackers: int = 1

    def __post_init__(self) -> None:
        if self.attackers < 0:
            raise InputError(f"expected attackers >= 0, got {self.attackers}")

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        k = len(weights)
        f = max(min(self.attackers, k - 3), 0)
        squares = np.diag(gram)
        apart = np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0)
        np.fill_diagonal(apart, np.inf)
        scores = np.sort(apart, axis=1)[:, : max(k - f - 2, 0)].sum(axis=1)
        kept = np.zeros(k)
        kept[np.argsort(scores, kind="stable")[: k - f]] = 1.0
        return Trust(_shared(kept * np.asarray(weights, np.float64)), (1.0,) * k)


@dataclass(frozen=True)
class GeometricMedian:
    """The point with the smallest sum of weighted distances to all steps (Weiszfeld's iteration on weights)."""

    iterations: int = 100

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        p = np.asarray(weights, np.float64) / sum(weights)
        w = p.copy()
        least = 1e-9 * max(float(np.median(_norms(gram))), 1e-30)  # of what most say: one long step sets nothing
        for _ in range(self.iterations):
            square = np.diag(gram) - 2 * gram @ w + w @ gram @ w
            new = p / np.maximum(np.sqrt(np.maximum(square, 0.0)), least)
            new /= new.sum()
            if (np.abs(new - w) <= 1e-10 * w).all():  # of each weight: a long step enters by a small one
                break
            w = new
        return Trust(_shared(w), (1.0,) * len(weights))


@dataclass(frozen=True)
class CosineTrust:
    """A client weighs as much as its step points where those of most others do: `p max(0, median of cosines)`, and
    steps no longer than the median one. After FLTrust, without a step of the server's own."""

    def trust(self, gram: Gram, weights: Sequence[float]) -> Trust:
        norms = _norms(gram)
        size = np.outer(norms, norms)
        cosines = np.divide(gram, size, out=np.zeros_like(gram), where=size > 0)
        others = ~np.eye(len(norms), dtype=bool)
        toward = np.array([np.median(row[o]) if o.any() else 1.0 for row, o in zip(cosines, others, strict=True)])
        trusted = np.maximum(toward, 0.0) * np.asarray(weights, np.float64)
        if trusted.sum() == 0:
            return Everybody().trust(gram, weights)
        return Trust(_shared(trusted), Clipped().trust(gram, weights).factors)


ROBUST: Final[dict[str, Robust]] = {
    "none": Everybody(),
    "clip": Clipped(),
    "multi-krum": MultiKrum(),
    "geometric-median": GeometricMedian(),
    "cosine": CosineTrust(),
}
