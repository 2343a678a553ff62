"""Attacks on what the ego cannot check: little where it sees for itself, much where it is blind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from robosac.air import Air
from robosac.attacks.adaptive.agreement import KeepsAgreement, similarity
from robosac.attacks.adaptive.penalised import PenalisedPgd
from robosac.attacks.base import plain_budget
from robosac.attacks.features.objectives import Loss
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.projection import Reaches
from robosac.attacks.features.regions import regional_reach
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Message
from robosac.visibility import seen_cells


@register("blind_area")
@dataclass(frozen=True, kw_only=True)
class BlindArea(PenalisedPgd):
    """BAC: blind-area confusion (GCP, arXiv 2501.02450): `epsilon` inside the ego's blind area, a share of it outside.

    Who cannot look cannot disagree. No agreement is kept on purpose.

    Attributes:
        seen_share: budget where the ego sees for itself, as a share of `epsilon`.
    """

    seen_share: float = number(0.2, low=0.0, high=1.0)

    def reach(self, air: Air, message: Message) -> Reaches:
        return regional_reach(air, message, blind=plain_budget(self), seen=self.seen_share * plain_budget(self))


@register("pretend_benign")
@dataclass(frozen=True, kw_only=True)
class PretendBenign(BlindArea):
    """Pretend-Benign (ICCV 2025): budgets by region, and the result kept as close to the ego's as if all were honest.

    It knows no defence. What it keeps up is the overlap of the score maps with the ego's own: `honest_share` of what
    the same fusion has without the attack.

    Attributes:
        honest_share: overlap kept, as a share of the honest one; 1 looks as benign as the honest messages.
        blind_weight: how much cells count there that the ego cannot see; those it sees count 1.
    """

    steps: int = 40
    honest_share: float = number(0.9, low=0.0)
    blind_weight: float = number(0.3, low=0.0, high=1.0)

    def penalty(self, air: Air, problem: Problem) -> Loss | None:
        frame, weight = problem.clean, None
        if frame.grid is not None:
            seen = torch.from_numpy(seen_cells(air.ego.points, frame.grid)).to(frame.logits)
            weight = seen + self.blind_weight * (1 - seen)
        measure = similarity(frame, weight)
        wanted = self.honest_share * measure(frame.logits)
        return KeepsAgreement(margin=0.0).make_loss(replace(frame, agreement=measure, thresholds=wanted))
