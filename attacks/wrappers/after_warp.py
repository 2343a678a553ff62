"""The paper's perturbation after warping, under its own name: stronger than anything an attacker can send to a victim
that warps what it receives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from robosac.air import Air, Attacker
from robosac.attacks.base import Measured, Stage
from robosac.attacks.features.gradient import Pgd
from robosac.attacks.wrappers.base import Wrapping
from robosac.types import InputError, Message, Subset


@dataclass(frozen=True, kw_only=True)
class AfterWarp(Wrapping):
    """An attack on features where the maps lie in the ego's frame, as ROBOSAC's code has it (arXiv 2303.09495).

    The attack is the inner one; what differs is the detector. Evaluation reads `needs_ego_frame` and plays it on a
    detector whose teammates warp their maps before they send (`BevDetector.in_ego_frame`). There no sample of the warp
    averages the perturbation away, and the whole budget arrives in every cell that the sender's map reaches.
    """

    attack: Measured = field(default_factory=Pgd)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attack.stage is not Stage.FEATURES:
            raise InputError(
                f"expected attack of AfterWarp to act on features, got one on {self.attack.stage.value}; what acts "
                "elsewhere is not warped, use it as it is"
            )

    @property
    def needs_ego_frame(self) -> bool:
        return True

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> AfterWarpAttacker:
        return AfterWarpAttacker(self.attack.start(scenario, attackers, rng))


@dataclass(frozen=True)
class AfterWarpAttacker:
    """One scenario of `AfterWarp`. What is remembered is the inner attacker's."""

    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        """What the inner attack sends.

        Raises:
            InputError: honest messages do not lie in the ego's frame.
        """
        if not all(np.array_equal(m.world_T_payload, air.to.world_T_ego) for m in air.honest.values()):
            raise InputError(
                "expected messages in the ego's frame, got some in their senders' own, which the ego warps; play "
                "AfterWarp on `detector.in_ego_frame()`, or its inner attack as it is"
            )
        return self.inner.send(air)


ATTACKS: Final[Mapping[str, type[Any]]] = {"after_warp": AfterWarp}
