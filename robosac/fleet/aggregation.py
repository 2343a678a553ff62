"""How updates of several clients become one: pure functions of one layer's updates and the weights of their senders.

| rule | what it averages | ranks |
|---|---|---|
| `FedAvgFactors` | b and a apart, which is not the average of the products | one for all |
| `HetLora` | b and a apart, padded with zeros, weighted by the norms of the products (arXiv 2401.06432) | any |
| `FlexLora` | the products (arXiv 2402.11505) | any |
| `RankWeighted` | the products, each direction by who carried it (the aim of arXiv 2602.13486) | any |
| `Stacking` | the products, uncut (FLoRA, arXiv 2409.05976) | any |

The first two depend on the gauge of what they are given, the others do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.linalg import eigh, orth, qr

from robosac.errors import InputError
from robosac.fleet.lowrank import LowRankUpdate, norm, stacked, truncated


class Aggregation(Protocol):
    """A rule. Values: settings, repr, equality."""

    @property
    def name(self) -> str:
        """Key of the rule in results."""
        ...

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        """One layer's updates, weights as given, which may sum to less than 1, as one update."""
        ...

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        """What a client of a rank is given of it."""
        ...


def sample_weights(updates: Sequence[LowRankUpdate]) -> list[float]:
    """`p_k = n_k / sum n`.

    Raises:
        InputError: there are no samples at all.
    """
    total = sum(u.samples for u in updates)
    if total <= 0:
        raise InputError("expected updates that were learnt from something, got 0 samples in all")
    return [u.samples / total for u in updates]


def _sliced(merged: LowRankUpdate, rank: int, scale: float) -> LowRankUpdate:
    b = merged.b[:, :rank] * (merged.scale / scale)
    return LowRankUpdate(b, merged.a[:rank], scale, merged.samples)


@dataclass(frozen=True)
class FedAvgFactors:
    """`(sum p b) (sum p a)`: what averaging adapters like any other weights does. All ranks must be one."""

    name: str = "fedavg-factors"

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        ranks = {u.rank for u in updates}
        if len(ranks) != 1:
            raise InputError(f"expected updates of one rank to average factors of, got ranks {sorted(ranks)}")
        return _averaged(updates, weights)

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        return _sliced(merged, rank, scale)


@dataclass(frozen=True)
class HetLora:
    """Factors padded with zeros to the largest rank; weights are multiplied by the norms of the products and made to
    sum to what they did; a client is given the first columns."""

    name: str = "hetlora"

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        sizes = np.array([w * norm(u) for u, w in zip(updates, weights, strict=True)])
        if sizes.sum() > 0:
            weights = (sizes * (sum(weights) / sizes.sum())).tolist()
        rank = max(u.rank for u in updates)
        return _averaged([_padded(u, rank) for u in updates], weights)

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        return _sliced(merged, rank, scale)


@dataclass(frozen=True)
class FlexLora:
    """`sum p_k s_k b_k a_k`; a client is given the nearest product of its rank."""

    name: str = "flexlora"

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        return truncated(stacked(updates, weights), sum(u.rank for u in updates))

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        return truncated(merged, rank, scale=scale)


@dataclass(frozen=True)
class RankWeighted:
    """As FlexLoRA, but each direction is divided by the weight of those who carried it.

    Under FlexLoRA who has no room for a direction votes for 0 there, round after round, so that directions above the
    smallest rank decay. Here `w` is what fits every client best where that client could say anything: the least squares
    of `sum_k p_k |(w - w_k) P_k|^2`, P_k the projection on the rows of its `a`. So `w = (sum p_k w_k) (sum p_k P_k)^+`,
    which no gauge changes and which is FlexLoRA where all carry the same rows.

    Rows that nearly agree leave directions of hardly any weight between them. None is divided by less than `floor`
    times the smallest client's weight.
    """

    floor: float = 1.0
    name: str = "rank-weighted"

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        total = sum(weights)
        voters = [(u, w / total) for u, w in zip(updates, weights, strict=True) if w > 0 and u.rank]
        if not voters:
            return stacked(updates, weights)
        together = stacked([u for u, _ in voters], [total * p for _, p in voters])
        rows, coordinates = qr(together.a.T, mode="economic", check_finite=False)
        carried = np.zeros((rows.shape[1], rows.shape[1]))
        for update, p in voters:
            own = orth(update.a.T.astype(np.float64))
            held = rows.T @ own
            carried += p * (held @ held.T)
        weight, direction = eigh(carried)
        least = self.floor * min(p for _, p in voters)
        b = together.b @ coordinates.T @ (direction / np.maximum(weight, least))
        return truncated(LowRankUpdate(b, direction.T @ rows.T, 1.0, together.samples), rows.shape[1])

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        return truncated(merged, rank, scale=scale)


@dataclass(frozen=True)
class Stacking:
    """The stacked factors go to everybody whole, who adds their product to its weights and begins anew: nothing is cut,
    and what is sent down grows with the fleet."""

    name: str = "stacking"

    def merge(self, updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
        return stacked(updates, weights)

    def cut(self, merged: LowRankUpdate, rank: int, *, scale: float) -> LowRankUpdate:
        return LowRankUpdate(merged.b * (merged.scale / scale), merged.a, scale, merged.samples)


def _padded(u: LowRankUpdate, rank: int) -> LowRankUpdate:
    more = rank - u.rank
    return LowRankUpdate(np.pad(u.b, ((0, 0), (0, more))), np.pad(u.a, ((0, more), (0, 0))), u.scale, u.samples)


def _averaged(updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
    """Averages of `s b` and of `a`, times what the weights sum to; one gauge for all: the scale goes to b."""
    total = sum(weights)
    share = [w / total for w in weights] if total else list(weights)
    b = sum(w * u.scale * u.b.astype(np.float64) for u, w in zip(updates, share, strict=True))
    a = sum(w * u.a.astype(np.float64) for u, w in zip(updates, share, strict=True))
    return LowRankUpdate(np.asarray(b), np.asarray(a), total, sum(u.samples for u in updates))


AGGREGATIONS: Final[dict[str, Aggregation]] = {
    rule.name: rule for rule in (FedAvgFactors(), HetLora(), FlexLora(), RankWeighted(), Stacking())
}
