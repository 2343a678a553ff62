"""Attacks made against the very defence: they know how it measures and how it draws, but not what it will draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.adaptive.penalised import WHITE_BOX, Steered
from robosac.attacks.features.objectives import Loss, Unattacked
from robosac.attacks.features.problem import Aim, FullFusion, Problem
from robosac.attacks.settings import integer, real
from robosac.attacks.wrappers.base import Wrapping
from robosac.types import Message, Subset


def likeness(frame: Unattacked, weight: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """A measure of one's own, for who knows no defence: logits `(S, H, W)` -> likeness `(S,)` to the ego's result.

    Overlap of the score maps, `sum(min) / sum(max)`, cells counting with `weight (H, W)`. One cell of full score is
    added on either side, so that an ego that finds nothing is not unlike everything.
    """
    alone = torch.full_like(frame.logits[0], -torch.inf) if frame.alone is None else frame.alone

    def overlap(logits: Tensor) -> Tensor:
        own, other = alone.sigmoid(), logits.sigmoid()
        low, high = torch.minimum(own, other), torch.maximum(own, other)
        if weight is not None:
            low, high = low * weight, high * weight
        return (low.sum(dim=(1, 2)) + 1.0) / (high.sum(dim=(1, 2)) + 1.0)

    return overlap


@dataclass(frozen=True, kw_only=True)
class KeepsAgreement:
    """By how much the agreement that the defence measures misses what it asks for, mean over subsets; an objective.

    `max(threshold + margin - agreement, 0)`: nothing is gained by agreeing more than needed. 0 for an attack that does
    not declare `Knowledge.DEFENSE`, and where there is no defence that measures anything.

    Attributes:
        margin: agreement to spare.
    """

    margin: float = 0.01

    def __post_init__(self) -> None:
        real(self, "margin", low=-1.0, high=1.0)

    def aim(self, unattacked: Unattacked) -> Loss:
        agreement, thresholds = unattacked.agreement, unattacked.thresholds
        if agreement is None or thresholds is None:
            return lambda logits: 0.0 * logits.sum()
        return lambda logits: (thresholds.to(logits) + self.margin - agreement(logits)).clamp(min=0.0).mean()


@dataclass(frozen=True, kw_only=True)
class DrawnSubsets:
    """Subsets as the defence would draw them, those without an attacker left out; the full fusion without a defence.

    Attributes:
        count: how many are drawn.
    """

    count: int = 4

    def __post_init__(self) -> None:
        integer(self, "count", low=1)

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        everybody = FullFusion().subsets(air, attackers, rng)
        if air.defense is None:
            return everybody
        drawn = air.defense.draw(sorted(everybody[0]), self.count, rng)
        return [s for s in dict.fromkeys(drawn) if s & attackers] or everybody


@dataclass(frozen=True, kw_only=True)
class AdaptivePgd(Steered):
    """PGD that the defence is to accept: in expectation over the subsets it may draw, their agreement is kept.

    Against no defence it is the plain objective on the full fusion. What adaptive attacks owe a defence: Tramer et al.,
    "On Adaptive Attacks to Adversarial Example Defenses" (arXiv 2002.08347).

    Attributes:
        drawn: subsets drawn a frame.
        margin: agreement to spare above what the defence asks for.
    """

    drawn: int = 4
    margin: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self, "drawn", low=1)
        real(self, "margin", low=-1.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE

    def in_mind(self) -> Aim:
        return DrawnSubsets(count=self.drawn)

    def penalty(self, air: Air, problem: Problem) -> Loss | None:
        return KeepsAgreement(margin=self.margin).aim(problem.unattacked)


@dataclass(frozen=True, kw_only=True)
class Informed(Wrapping):
    """Any attack, told of the defence: what objectives like `KeepsAgreement` and aims like `DrawnSubsets` need in it.

    Where `AdaptivePgd` sends the most harmful of what is accepted, the inner attack weighs agreement against harm.
    """

    @property
    def knowledge(self) -> Knowledge:
        return self.attack.knowledge | Knowledge.DEFENSE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return InformedAttacker(self.attack.start(scenario, attackers, rng))


@dataclass(frozen=True)
class InformedAttacker:
    """One scenario of `Informed`."""

    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        """What the inner attack sends.

        Raises:
            KnowledgeError: the air hands out nothing of the defence.
        """
        if Knowledge.DEFENSE not in air.knowledge:
            _ = air.defense  # raises: the inner attack would take it for an undefended frame
        return self.inner.send(air)


ATTACKS: Final[Mapping[str, type[Any]]] = {"adaptive_pgd": AdaptivePgd, "informed": Informed}
PARTS: Final[Mapping[str, type[Any]]] = {"drawn_subsets": DrawnSubsets, "keeps_agreement": KeepsAgreement}
