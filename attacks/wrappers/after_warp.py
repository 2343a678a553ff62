"""The paper's perturbation after warping, under its own name: stronger than anything an attacker can send to a victim
that warps what it receives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Measured, Stage
from robosac.attacks.features.gradient import Pgd
from robosac.attacks.registry import register
from robosac.attacks.wrappers.base import Wrapping
from robosac.types import InputError


@register("after_warp")
@dataclass(frozen=True, kw_only=True)
class AfterWarp(Wrapping):
    """An attack on features where the maps are in the ego's frame, as ROBOSAC's code has it (arXiv 2303.09495).

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

    def check(self, air: Air) -> None:
        """InputError where honest messages are not in the ego's frame."""
        if not all(np.array_equal(m.world_T_payload, air.to.world_T_ego) for m in air.honest.values()):
            raise InputError(
                "expected messages in the ego's frame, got some in their senders' own, which the ego warps; play "
                "AfterWarp on `detector.in_ego_frame()`, or its inner attack as it is"
            )
