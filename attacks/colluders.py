"""What every attacker of a scenario shares: who acts in this frame, and randomness that does not depend on order."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from robosac.air import Air
from robosac.types import Id, Message, Subset, keyed_rng


@dataclass(frozen=True)
class Colluders:
    """The colluding attackers of one scenario.

    Attributes:
        attackers: their ids; who is not in a frame is simply absent from it.
        seed: drawn once a scenario; frames are keyed by it and may run in any order.
    """

    attackers: Subset
    seed: int

    @staticmethod
    def gather(attackers: Subset, rng: np.random.Generator) -> Colluders:
        """The colluders of a scenario; takes one number from `rng`."""
        return Colluders(frozenset(attackers), int(rng.integers(2**62)))

    def honest(self, air: Air) -> dict[Id, Message]:
        """What those present in this frame would honestly send, in the order of their ids."""
        return {i: air.honest[i] for i in sorted(self.attackers) if i in air.own and i in air.honest}

    def framed(self, others: Iterable[Id], scenario: str) -> Id | None:
        """The honest teammate that they make look guilty, the same whoever else comes and goes; None of nobody."""
        return min(others, key=lambda i: int(keyed_rng(self.seed, scenario, "framed", i).integers(2**62)), default=None)

    def rng(self, air: Air, *role: Hashable) -> np.random.Generator:
        """The stream of one role (for instance attacker and array name) in one frame."""
        return keyed_rng(self.seed, air.scenario, air.index, 0, *role)  # 0 keeps the streams of published figures
