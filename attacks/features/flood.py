"""Work for the victim: as many proposals above the score threshold as possible (CP-Freezer).

Suppression compares pairs of boxes, and a consensus defence suppresses once a trial. `Flood` is an objective for any
gradient attack; late fusion is flooded by `robosac.attacks.boxes.counted.BoxFlood`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robosac.attacks.features.labels import logit
from robosac.attacks.features.objectives import CleanFrame, Loss
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number


@register("flood")
@dataclass(frozen=True, kw_only=True)
class Flood(Settings):
    """Every cell of a lattice becomes a peak above the threshold: as many boxes as fit on a map.

    A hinge lifts the lattice's cells to `score` with a margin, another keeps the cells between them lower: a decoder
    that reads boxes from local maxima takes no two cells side by side. With `spacing` 1 all cells are lifted.

    Attributes:
        score: what a proposal must reach, at least what the detector reports; a low one is enough to be suppressed, and
            easier to reach.
        spacing: of the lattice, in cells.
        margin: in logits, over the threshold.
        lead: in logits, by which the cells between stay lower.
    """

    score: float = number(0.3, low=1e-6, high=1 - 1e-6)
    spacing: int = number(2, low=1)
    margin: float = number(1.0, low=0.0)
    lead: float = number(0.3, low=0.0)

    def make_loss(self, clean: CleanFrame) -> Loss:
        high, wide = clean.logits.shape[-2:]
        wanted = logit(max(self.score, clean.scores.reported)) + self.margin
        lattice = torch.zeros(high, wide, dtype=torch.bool, device=clean.logits.device)
        lattice[:: self.spacing, :: self.spacing] = True

        def loss(logits: Tensor) -> Tensor:
            total = (wanted - logits[:, lattice]).clamp(min=0).mean()
            if self.spacing > 1:
                total = total + (logits[:, ~lattice] - (wanted - self.lead)).clamp(min=0).mean()
            return total

        return loss
