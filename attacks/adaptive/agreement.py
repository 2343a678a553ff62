"""Attacks made against the very defence: they know how it measures and how it draws, but not what it will draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.adaptive.penalised import PenalisedPgd
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.attacks.features.objectives import CleanFrame, Loss
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.target_subsets import DrawnSubsets, TargetSubsets
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.attacks.wrappers.base import Wrapping


def similarity(frame: CleanFrame, weight: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """A measure of one's own, for who knows no defence: logits `(S, H, W)` -> similarity `(S,)` to the ego's result.

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


@register("keeps_agreement")
@dataclass(frozen=True, kw_only=True)
class KeepsAgreement(Settings):
    """By how much the agreement that the defence measures misses what it asks for, mean over subsets; an objective.

    `max(threshold + margin - agreement, 0)`: nothing is gained by agreeing more than needed. 0 for an attack that does
    not declare `Knowledge.DEFENSE`, and where there is no defence that measures anything.

    Attributes:
        margin: agreement to spare.
    """

    margin: float = number(0.01, low=-1.0, high=1.0)

    def make_loss(self, clean: CleanFrame) -> Loss:
        agreement, thresholds = clean.agreement, clean.thresholds
        if agreement is None or thresholds is None:
            return lambda logits: 0.0 * logits.sum()
        return lambda logits: (thresholds.to(logits) + self.margin - agreement(logits)).clamp(min=0.0).mean()


@register("adaptive_pgd")
@dataclass(frozen=True, kw_only=True)
class AdaptivePgd(PenalisedPgd):
    """PGD that the defence is to accept: in expectation over the subsets it may draw, their agreement is kept.

    Against no defence it is the plain objective on the full fusion. What adaptive attacks owe a defence: Tramer et al.,
    "On Adaptive Attacks to Adversarial Example Defenses" (arXiv 2002.08347).

    Attributes:
        drawn: subsets drawn a frame.
        margin: agreement to spare above what the defence asks for.
    """

    drawn: int = number(4, low=1)
    margin: float = number(0.01, low=-1.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE

    def targets(self) -> TargetSubsets:
        return DrawnSubsets(count=self.drawn)

    def penalty(self, air: Air, problem: Problem) -> Loss | None:
        return KeepsAgreement(margin=self.margin).make_loss(problem.clean)


@register("informed")
@dataclass(frozen=True, kw_only=True)
class Informed(Wrapping):
    """Any attack that may know the defence: objectives like `KeepsAgreement` and `DrawnSubsets` need that inside it.

    Where `AdaptivePgd` sends the most harmful of what is accepted, the inner attack weighs agreement against harm.
    """

    @property
    def knowledge(self) -> Knowledge:
        return self.attack.knowledge | Knowledge.DEFENSE

    def check(self, air: Air) -> None:
        """KnowledgeError where the air hands out nothing of the defence."""
        if Knowledge.DEFENSE not in air.knowledge:
            _ = air.defense  # raises: the inner attack would take it for an undefended frame
