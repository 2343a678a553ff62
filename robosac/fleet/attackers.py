"""Clients that poison: what they do to what they send. All of it fits the rank that was agreed on.

Attacks on the model change an honest update; attacks on the data (`Shifted`, `Backdoor` in the application) train an
honest step on other frames. Who knows the honest clients' updates is said by `informed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from robosac.fleet.adapters import Adapter, minus, moved, truncated
from robosac.fleet.lowrank import LowRankUpdate, norm, stacked


class Poison(Protocol):
    """An attack on the model. Values: settings, repr, equality."""

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        """What is sent in place of `own`, learnt honestly from `given`; `honest` are the other clients' updates."""
        ...


def _rank(adapter: Adapter) -> int:
    return max(u.rank for u in adapter.values())


def _sent(adapter: Adapter, like: Adapter) -> dict[str, LowRankUpdate]:
    """An adapter as one of the agreed rank and scale."""
    rank = _rank(like)
    alpha = next(iter(like.values())).scale * rank
    return truncated(adapter, rank, alpha=alpha)


@dataclass(frozen=True)
class SignFlip:
    """A step of the same length the other way, or `times` as long."""

    times: float = 1.0

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        return _sent(moved(given, minus(own, given), -self.times), own)


@dataclass(frozen=True)
class Scaling:
    """The honest step, `times` as long: its sender decides alone."""

    times: float = 10.0

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        return _sent(moved(given, minus(own, given), self.times), own)


@dataclass(frozen=True)
class LittleIsEnough:
    """ALIE (arXiv 1902.06156): the mean of the honest updates less `z` of their standard deviations, number by number
    of the products, cut to the attacker's rank. Needs to know the others' updates."""

    z: float = 1.5

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        known = [own, *honest]
        made = {}
        for layer in own:
            products = np.stack([a[layer].dense for a in known])
            wanted = products.mean(axis=0) - self.z * products.std(axis=0)
            made[layer] = LowRankUpdate(wanted, np.eye(wanted.shape[1]))
        return _sent(made, own)


@dataclass(frozen=True)
class RegaugedNoise:
    """Noise `times` as long as the honest step, in factors of a random gauge: no distance between factors says anything
    about it."""

    times: float = 3.0

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        made = {}
        for layer, update in own.items():
            step = norm(update.minus(given[layer]))
            noise = LowRankUpdate(rng.normal(size=update.b.shape), rng.normal(size=update.a.shape))
            noise = noise.times(self.times * step / max(norm(noise), 1e-12))
            made[layer] = stacked([update, noise], [1.0, 1.0])
        return {layer: regauged(update, rng) for layer, update in _sent(made, own).items()}


def regauged(update: LowRankUpdate, rng: np.random.Generator) -> LowRankUpdate:
    """The same update in other factors, `(b g, g^-1 a)` for a random invertible g."""
    g = rng.normal(size=(update.rank, update.rank)) + 2 * np.eye(update.rank)
    return LowRankUpdate(update.b @ g, np.linalg.solve(g, update.a), update.scale, update.samples)


POISONS: Final[dict[str, Poison]] = {
    "sign-flip": SignFlip(),
    "scaling": Scaling(),
    "alie": LittleIsEnough(),
    "noise": RegaugedNoise(),
}
