"""When attackers act. `Scheduled` wraps any attack; who is silent in a frame sends honestly and counts as honest.

Whether an attacker acts depends on the frame's number and the scenario's seed alone, never on the order of frames, and
never on what is seen: schedules need no knowledge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from robosac.air import Air, Attacker, attacker_of
from robosac.attacks.colluders import Crew
from robosac.attacks.settings import instance, integer, real
from robosac.attacks.wrappers.base import Wrapping
from robosac.types import InputError, Message, Subset, keyed_rng


@runtime_checkable
class When(Protocol):
    """Who acts in which frame."""

    def acting(self, crew: Crew, air: Air) -> Subset:
        """Those of the crew who attack in this frame, present or not."""
        ...


@runtime_checkable
class Watches(Protocol):
    """An attacker that wants to see frames in which it is silent, for what it will remember."""

    def watch(self, air: Air) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Always:
    """In every frame."""

    def acting(self, crew: Crew, air: Air) -> Subset:
        return crew.attackers


@dataclass(frozen=True, kw_only=True)
class RandomFrames:
    """In each frame with some probability, all attackers together.

    Attributes:
        probability: of a frame, in [0, 1].
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        real(self, "probability", low=0.0, high=1.0)

    def acting(self, crew: Crew, air: Air) -> Subset:
        drawn = keyed_rng(crew.seed, air.scenario, air.index, "random frames").random()
        return crew.attackers if drawn < self.probability else frozenset()


@dataclass(frozen=True, kw_only=True)
class Bursts:
    """Bursts that begin and end by a Poisson process, counted in whole frames: lengths are geometric.

    Attributes:
        length: frames of a burst, on average.
        gap: frames between two bursts, on average.
    """

    length: float = 3.0
    gap: float = 7.0

    def __post_init__(self) -> None:
        real(self, "length", low=1.0)
        real(self, "gap", low=1.0)

    def acting(self, crew: Crew, air: Air) -> Subset:
        # drawn from the scenario's beginning each time: a frame asks for all that came before, not for its neighbours
        rng = keyed_rng(crew.seed, air.scenario, "bursts")
        burst = bool(rng.random() < self.length / (self.length + self.gap))
        end = int(rng.geometric(1.0 / (self.length if burst else self.gap)))
        while end <= air.index:
            burst = not burst
            end += int(rng.geometric(1.0 / (self.length if burst else self.gap)))
        return crew.attackers if burst else frozenset()


@dataclass(frozen=True, kw_only=True)
class EveryKth:
    """In every k-th frame.

    Attributes:
        k: 1 is always.
        phase: number of the first frame in which they act, below k.
    """

    k: int = 5
    phase: int = 0

    def __post_init__(self) -> None:
        integer(self, "k", low=1)
        integer(self, "phase", low=0)
        if self.phase >= self.k:
            raise InputError(f"expected phase of EveryKth to be below k, {self.k}, got {self.phase}")

    def acting(self, crew: Crew, air: Air) -> Subset:
        return crew.attackers if air.index % self.k == self.phase else frozenset()


@dataclass(frozen=True, kw_only=True)
class Sleeper:
    """Honest until a frame, to be trusted; from it on in every frame.

    Attributes:
        until: number of the first frame in which they act.
    """

    until: int = 10

    def __post_init__(self) -> None:
        integer(self, "until", low=0)

    def acting(self, crew: Crew, air: Air) -> Subset:
        return crew.attackers if air.index >= self.until else frozenset()


@dataclass(frozen=True, kw_only=True)
class Rotating:
    """The attackers take turns, so that whoever was caught is honest when looked at again.

    Attributes:
        period: frames of a turn.
        active: how many act in a turn; all of them, where there are no more.
    """

    period: int = 5
    active: int = 1

    def __post_init__(self) -> None:
        integer(self, "period", low=1)
        integer(self, "active", low=1)

    def acting(self, crew: Crew, air: Air) -> Subset:
        order = sorted(crew.attackers)
        first = air.index // self.period * self.active
        return frozenset(order[(first + k) % len(order)] for k in range(min(self.active, len(order))))


@dataclass(frozen=True, kw_only=True)
class Scheduled(Wrapping):
    """Another attack, in some frames or by some attackers only; see the module's head.

    Attributes:
        when: who acts in which frame.
    """

    when: When = field(default_factory=Always)

    def __post_init__(self) -> None:
        super().__post_init__()
        instance(self, "when", When)

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> ScheduledAttacker:
        crew = Crew.gather(attackers, rng)
        return ScheduledAttacker(self.when, crew, self.attack.start(scenario, attackers, rng))


@dataclass(frozen=True)
class ScheduledAttacker:
    """One scenario of a `Scheduled` attack. What is remembered is the inner attacker's, silent frames or not."""

    when: When
    crew: Crew
    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        """What the inner attack sends for those who act, what they honestly would for the rest; by attacker."""
        honest = self.crew.honest(air)
        acting = self.when.acting(self.crew, air) & set(honest)
        silent = set(honest) - acting
        if silent and isinstance(self.inner, Watches):
            self.inner.watch(_less(air, acting))
        lies = self.inner.send(_less(air, silent)) if acting else []
        return sorted([*lies, *(honest[i] for i in silent)], key=lambda m: attacker_of(m.sender))


def _less(air: Air, left_out: set[str] | Subset) -> Air:
    """The frame as it is where those left out are honest teammates like any other."""
    return replace(
        air,
        own={i: v for i, v in air.own.items() if i not in left_out},
        honest={i: m for i, m in air.honest.items() if i not in left_out},
        # not `air.others`: handing on what the inner attack may not read is not reading it
        _others={**air._others, **{i: m for i, m in air.honest.items() if i in left_out}},
    )


ATTACKS: Final[Mapping[str, type[Any]]] = {"scheduled": Scheduled}
PARTS: Final[Mapping[str, type[Any]]] = {
    "always": Always,
    "bursts": Bursts,
    "every_kth": EveryKth,
    "random_frames": RandomFrames,
    "rotating": Rotating,
    "sleeper": Sleeper,
}
