"""One-sided goals beside the inverted pseudo-labels: all objects vanish, objects everywhere, and Tu et al.'s loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.features.labels import Threshold, labels_of
from robosac.attacks.features.objectives import CleanFrame, Labelled, Loss
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.types import InputError


@register("hide")
@dataclass(frozen=True, kw_only=True)
class Hide(Labelled):
    """All objects vanish: cross-entropy of the cells marked as objects towards background, mean over those.

    Cells of background are free. A map without objects weighs nothing.
    """

    def make_loss(self, clean: CleanFrame) -> Loss:
        return _towards(clean.marked(self.labels), value=0.0)


@register("spoof")
@dataclass(frozen=True, kw_only=True)
class Spoof(Labelled):
    """Objects everywhere: cross-entropy of the cells marked as background towards an object, mean over those.

    Nothing is hidden: the cells of objects are left out.
    """

    def make_loss(self, clean: CleanFrame) -> Loss:
        return _towards(~labels_of(self.labels, clean.scores).mark(clean.logits), value=1.0)


@register("tu")
@dataclass(frozen=True, kw_only=True)
class Tu(Settings):
    """Tu et al., "Adversarial attacks on multi-agent communication" (arXiv 2101.06784), section on the objective.

    Proposals of the clean output that are confident are to lose their score, `-log(1 - s)`; those that were
    rejected, but not out of the question, are to gain one, `-weight * (1 - s)^gamma * log(s)`; the rest are free. Both
    are means over the cells they concern. The paper multiplies by the overlap of a box with itself before the attack;
    here a proposal stays in its cell and the overlap is taken as 1.

    Attributes:
        confident: score above which a proposal is to lose it; where the clean output has none so confident, the score
            from which the detector's cells count as objects.
        rejected: score below `confident` above which one is to gain.
        weight: lambda.
        gamma: of the focal factor, which leaves alone those that have gained enough.
    """

    confident: float = number(0.7, low=1e-6, high=1 - 1e-6)
    rejected: float = number(0.001, low=0.0, high=1 - 1e-6)
    weight: float = number(1.0, low=0.0)
    gamma: float = number(1.0, low=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rejected > self.confident:
            raise InputError(
                f"expected rejected of Tu to be at most confident, {self.confident}, got {self.rejected}; a proposal "
                "cannot be both"
            )

    def make_loss(self, clean: CleanFrame) -> Loss:
        scores = clean.logits.sigmoid()
        lose = scores > self.confident
        if not bool(lose.any()):
            lose = clean.marked(Threshold(at_most=self.confident))
        gain = (scores > self.rejected) & ~lose

        def loss(logits: Tensor) -> Tensor:
            falling = _mean(F.softplus(logits), lose)  # -log(1 - s)
            focal = (-logits).sigmoid() ** self.gamma  # 1 - s
            return falling + self.weight * _mean(focal * F.softplus(-logits), gain)

        return loss


def _towards(marked: Tensor, *, value: float) -> Loss:
    """Cross-entropy of the marked cells towards `value`: mean over the cells of a map, then over maps."""

    def loss(logits: Tensor) -> Tensor:
        target = torch.full_like(logits, value)
        return _mean(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), marked)

    return loss


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of `values (S, H, W)` over the cells `where`, map by map; a map with none counts 0. Then over maps."""
    weight = where.to(values.dtype)
    return ((values * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1.0)).mean()
