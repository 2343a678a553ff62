"""Clients that poison: what they do to what they send. All of it fits the rank that was agreed on.

Attacks on the model change an honest update; attacks on the data (`Shifted`, `Backdoor` in the application) train an
honest step on other frames. `LittleIsEnough` knows the honest clients' updates, `Evasive` the rule of consensus, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np

from robosac.errors import InputError
from robosac.fleet.adapters import Adapter, merge, minus, moved, truncated
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.lowrank import LowRankUpdate, norm, stacked


class Poison(Protocol):
    """An attack on the model. Values: settings, repr, equality."""

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        """What is sent in place of `own`, learnt honestly from `given`; `honest` are the other clients' updates."""
        ...


class Asked(Protocol):
    """The rule of consensus, as an attacker who knows all of it can ask it, before anything is sent."""

    @property
    def worst(self) -> float:
        """The largest share by which an honest step that enters raises the verifier's loss; who raises it by more is
        the first to be left out when all together do harm."""
        ...

    def rise(self, adapter: Adapter) -> float | None:
        """By which share it raises the verifier's loss; None where it would not enter."""
        ...


@runtime_checkable
class Knowing(Poison, Protocol):
    """An attack that knows the rule."""

    def told(self, asked: Asked) -> Poison:
        """The attack of one round."""
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


@dataclass(frozen=True)
class Evasive:
    """Knows the rule, the verifier's data and all honest updates: of 27 updates the most harmful that still enters.

    Three ways lead away from the honest step: back along it, back along what all others learnt, and noise; each is
    taken as far as the rule lets it, `times` the length of the honest step at most, and no further than the worst
    honest step does harm, so that consensus leaves out somebody else first. Sent is what raises the verifier's loss
    most; the honest step where nothing enters.
    """

    times: tuple[float, ...] = (10.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3)
    asked: Asked | None = field(default=None, repr=False, compare=False)

    def told(self, asked: Asked) -> Evasive:
        """As `Knowing`."""
        return replace(self, asked=asked)

    def poison(self, given: Adapter, own: Adapter, honest: Sequence[Adapter], rng: np.random.Generator) -> Adapter:
        step = minus(own, given)
        others = merge(FlexLora(), honest, [1 / len(honest)] * len(honest)) if honest else own
        noise = minus(RegaugedNoise(1.0).poison(given, own, honest, rng), own)
        found = [(own_rise, own)] if (own_rise := self._rise(own)) is not None else []
        for way, sign in ((step, -1.0), (minus(others, given), -1.0), (noise, 1.0)):
            for times in self.times:
                sent = _sent(moved(own, way, sign * times), own)
                if (rise := self._rise(sent)) is not None:
                    found.append((rise, sent))
                    break
        return max(found, key=lambda pair: pair[0], default=(0.0, own))[1]

    def _rise(self, adapter: Adapter) -> float | None:
        if self.asked is None:
            raise InputError("expected the rule that it evades, got none: call told first")
        rise = self.asked.rise(adapter)
        return None if rise is None or rise > self.asked.worst else rise


def regauged(update: LowRankUpdate, rng: np.random.Generator) -> LowRankUpdate:
    """The same update in other factors, `(b g, g^-1 a)` for a random invertible g."""
    g = rng.normal(size=(update.rank, update.rank)) + 2 * np.eye(update.rank)
    return LowRankUpdate(update.b @ g, np.linalg.solve(g, update.a), update.scale, update.samples)


POISONS: Final[dict[str, Poison]] = {
    "sign-flip": SignFlip(),
    "scaling": Scaling(),
    "alie": LittleIsEnough(),
    "noise": RegaugedNoise(),
    "evasive": Evasive(),
}
