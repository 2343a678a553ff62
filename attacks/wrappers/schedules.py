"""Who acts in which frame. It depends on the frame's number and the scenario's seed alone, never on the order of
frames, and never on what is seen: schedules need no knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from robosac.air import Air
from robosac.attacks.colluders import Colluders
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.types import InputError, Subset, keyed_rng


@runtime_checkable
class When(Protocol):
    """Who acts in which frame."""

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        """Those of the colluders who attack in this frame, present or not."""
        ...


@register("always")
@dataclass(frozen=True, kw_only=True)
class Always:
    """In every frame."""

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        return colluders.attackers


@register("random_frames")
@dataclass(frozen=True, kw_only=True)
class RandomFrames(Settings):
    """In each frame with some probability, all attackers together.

    Attributes:
        probability: of a frame, in [0, 1].
    """

    probability: float = number(0.5, low=0.0, high=1.0)

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        drawn = keyed_rng(colluders.seed, air.scenario, air.index, "random frames").random()
        return colluders.attackers if drawn < self.probability else frozenset()


@register("bursts")
@dataclass(frozen=True, kw_only=True)
class Bursts(Settings):
    """Bursts that begin and end by a Poisson process, counted in whole frames: lengths are geometric.

    Attributes:
        length: frames of a burst, on average.
        gap: frames between two bursts, on average.
    """

    length: float = number(3.0, low=1.0)
    gap: float = number(7.0, low=1.0)

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        # drawn from the scenario's beginning each time: a frame asks for all that came before, not for its neighbours
        rng = keyed_rng(colluders.seed, air.scenario, "bursts")
        burst = bool(rng.random() < self.length / (self.length + self.gap))
        end = int(rng.geometric(1.0 / (self.length if burst else self.gap)))
        while end <= air.index:
            burst = not burst
            end += int(rng.geometric(1.0 / (self.length if burst else self.gap)))
        return colluders.attackers if burst else frozenset()


@register("every_kth")
@dataclass(frozen=True, kw_only=True)
class EveryKth(Settings):
    """In every k-th frame.

    Attributes:
        k: 1 is always.
        phase: number of the first frame in which they act, below k.
    """

    k: int = number(5, low=1)
    phase: int = number(0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phase >= self.k:
            raise InputError(f"expected phase of EveryKth to be below k, {self.k}, got {self.phase}")

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        return colluders.attackers if air.index % self.k == self.phase else frozenset()


@register("sleeper")
@dataclass(frozen=True, kw_only=True)
class Sleeper(Settings):
    """Honest until a frame, to be trusted; from it on in every frame.

    Attributes:
        until: number of the first frame in which they act.
    """

    until: int = number(10, low=0)

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        return colluders.attackers if air.index >= self.until else frozenset()


@register("rotating")
@dataclass(frozen=True, kw_only=True)
class Rotating(Settings):
    """The attackers take turns, so that whoever was caught is honest when looked at again.

    Attributes:
        period: frames of a turn.
        active: how many act in a turn; all of them, where there are no more.
    """

    period: int = number(5, low=1)
    active: int = number(1, low=1)

    def acting(self, colluders: Colluders, air: Air) -> Subset:
        order = sorted(colluders.attackers)
        first = air.index // self.period * self.active
        return frozenset(order[(first + k) % len(order)] for k in range(min(self.active, len(order))))
