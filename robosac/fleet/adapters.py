"""A whole adapter: a low-rank update a layer. What is done to one layer in `lowrank` and `aggregation`, done to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from robosac.fleet import lowrank
from robosac.fleet.aggregation import Aggregation
from robosac.fleet.lowrank import LowRankUpdate
from robosac.randomness import keyed_rng

Adapter: TypeAlias = Mapping[str, LowRankUpdate]
Shapes: TypeAlias = Mapping[str, tuple[int, int]]
"""Layer -> `(m, n)` of its weights."""

ALPHA = 16.0
LARGEST = 1e30  # whatever is cut from an adapter of numbers up to here fits float32


def layer_rank(rank: int, shape: tuple[int, int]) -> int:
    """The rank of a client's factors in a layer: its own, but never more than the layer can have."""
    return min(rank, *shape)


def blank(shapes: Shapes) -> dict[str, LowRankUpdate]:
    """No change to any layer."""
    return {layer: lowrank.zero(*shape) for layer, shape in shapes.items()}


def merge(rule: Aggregation, adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, LowRankUpdate]:
    """All clients' adapters as one, layer by layer."""
    return {layer: rule.merge([a[layer] for a in adapters], weights) for layer in adapters[0]}


def cut(rule: Aggregation, merged: Adapter, rank: int, seed: int, *, alpha: float = ALPHA) -> dict[str, LowRankUpdate]:
    """What a client of `rank` is given: scale alpha / rank, and where there is less than its rank holds, directions to
    train that are the same for all clients."""
    given = {}
    for layer, update in merged.items():
        r = layer_rank(rank, update.shape)
        held = rule.cut(update, r, scale=alpha / rank)
        given[layer] = lowrank.filled(held, max(r, held.rank), keyed_rng(seed, "fill", layer))
    return given


def minus(x: Adapter, y: Adapter) -> dict[str, LowRankUpdate]:
    """What was learnt: an adapter less the one that it began as."""
    return {layer: update.minus(y[layer]) for layer, update in x.items()}


def moved(start: Adapter, step: Adapter, factor: float) -> dict[str, LowRankUpdate]:
    """An adapter, `factor` times a step away from where it began; of the sum of both ranks."""
    return {layer: lowrank.stacked([start[layer], step[layer]], [1.0, factor]) for layer in start}


def truncated(x: Adapter, rank: int, *, alpha: float = ALPHA) -> dict[str, LowRankUpdate]:
    """The nearest adapter of a rank, as it can be sent."""
    return {
        layer: lowrank.filled(
            lowrank.truncated(u, layer_rank(rank, u.shape), scale=alpha / rank),
            layer_rank(rank, u.shape),
            np.random.default_rng(0),
        )
        for layer, u in x.items()
    }


def gram(adapters: Sequence[Adapter]) -> NDArray[np.float64]:
    """Inner products `(K, K)` of the products of all layers together."""
    return np.asarray(sum(lowrank.gram([a[layer] for a in adapters]) for layer in adapters[0]))


def sendable(x: Adapter) -> bool:
    """Whether clients can be sent it, in float32."""
    return all(
        u.finite and max(np.abs(u.scale * u.b).max(initial=0), np.abs(u.a).max(initial=0)) <= LARGEST
        for u in x.values()
    )


def parameters(x: Adapter) -> int:
    """Numbers in the factors."""
    return sum(u.a.size + u.b.size for u in x.values())
