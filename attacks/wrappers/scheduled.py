"""Any attack, in some frames or by some attackers only. Who is silent sends honestly and counts as honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from robosac.air import Air, Attacker, attacker_of
from robosac.attacks.colluders import Colluders
from robosac.attacks.registry import register
from robosac.attacks.settings import part
from robosac.attacks.wrappers.base import Wrapping
from robosac.attacks.wrappers.schedules import Always, When
from robosac.types import Message, Subset


@runtime_checkable
class Watches(Protocol):
    """An attacker that wants to see frames in which it is silent, for what it will remember."""

    def watch(self, air: Air) -> None: ...


@register("scheduled")
@dataclass(frozen=True, kw_only=True)
class Scheduled(Wrapping):
    """Another attack, in some frames or by some attackers only; see `schedules`.

    Attributes:
        when: who acts in which frame.
    """

    when: When = part(When, Always)

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> ScheduledAttacker:
        colluders = Colluders.gather(attackers, rng)
        return ScheduledAttacker(self.when, colluders, self.attack.start(scenario, attackers, rng))


@dataclass(frozen=True)
class ScheduledAttacker:
    """One scenario of a `Scheduled` attack. What is remembered is the inner attacker's, silent frames or not."""

    when: When
    colluders: Colluders
    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        """What the inner attack sends for those who act, what they honestly would for the rest; by attacker."""
        honest = self.colluders.honest(air)
        acting = self.when.acting(self.colluders, air) & set(honest)
        silent = set(honest) - acting
        if silent and isinstance(self.inner, Watches):
            self.inner.watch(_less(air, acting))
        sent = self.inner.send(_less(air, silent)) if acting else []
        return sorted([*sent, *(honest[i] for i in silent)], key=lambda m: attacker_of(m.sender))


def _less(air: Air, left_out: set[str] | Subset) -> Air:
    """The frame as it is where those left out are honest teammates like any other."""
    return replace(
        air,
        own={i: v for i, v in air.own.items() if i not in left_out},
        honest={i: m for i, m in air.honest.items() if i not in left_out},
        # not `air.others`: handing on what the inner attack may not read is not reading it
        _others={**air._others, **{i: m for i, m in air.honest.items() if i in left_out}},
    )
