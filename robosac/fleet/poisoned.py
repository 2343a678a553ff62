"""One round as attackers play it: what each sends in place of what it learnt, and what those ask who know the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from robosac.fleet.adapters import Adapter, minus
from robosac.fleet.attackers import Knowing, Poison
from robosac.fleet.consensus import Measure
from robosac.types import Id


@dataclass(frozen=True, eq=False)
class RuleAsked:
    """`robosac.fleet.attackers.Asked`: what would become of an adapter that a client sends."""

    client: Id
    given: Adapter
    measure: Measure
    worst: float

    def rise(self, adapter: Adapter) -> float | None:
        """See there."""
        said = self.measure.compared({self.client: minus(adapter, self.given)})
        return said.rises[self.client] if said.fine else None


def poisoned(
    poisons: Mapping[Id, Poison],
    given: Mapping[Id, Adapter],
    learnt: Mapping[Id, Adapter],
    measure: Callable[[], Measure],
    rng: Callable[[Id], np.random.Generator],
) -> dict[Id, Adapter]:
    """What attackers send.

    Args:
        poisons: attacks, by client.
        given: what each client was sent.
        learnt: updates that would enter; nobody looks at others.
        measure: what steps of this round are laid beside. Asked for by attacks that know the rule, whatever defence
            stands, so that rows of one attack differ by the defence alone.
        rng: of a client's draws.
    """
    honest = {i: a for i, a in learnt.items() if i not in poisons}
    active = {i: poisons[i] for i in learnt if i in poisons}
    if any(isinstance(p, Knowing) for p in active.values()):
        beside = measure()
        said = beside.compared({i: minus(a, given[i]) for i, a in honest.items()})
        worst = max((said.rises[i] for i in said.fine), default=0.0)
        for i, poison in active.items():
            if isinstance(poison, Knowing):
                active[i] = poison.told(RuleAsked(i, given[i], beside, worst))
    return {i: p.poison(given[i], learnt[i], list(honest.values()), rng(i)) for i, p in active.items()}
