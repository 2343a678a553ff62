"""What an attacker who knows ROBOSAC's settings knows of it: how it measures and draws, not what it will draw.

The measures of `robosac.agreement` again, this time on class logits and differentiable. Logits come in as torch
tensors; nothing but their own methods is used, so that the defence goes on without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robosac.agreement import Agreement, ScoreMapOverlap, SeenScoreMap
from robosac.defenses.plans import Plan
from robosac.types import BevGrid, Id, InputError, Subset, Trial, View
from robosac.visibility import seen_cells


@dataclass(frozen=True, eq=False)
class RobosacSurrogate:
    """Implements `robosac.air.Surrogate`; made by `Robosac.surrogate`.

    It holds nothing of a running defender, neither its random numbers nor what it remembers: every frame is a first
    one to it.

    Attributes:
        agreement: the measure. `ScoreMapOverlap` and `SeenScoreMap` come out as the defence computes them, for a
            detector whose score map is the sigmoid of its class logits. Any other measure, `BoxJaccard` above all, has
            no useful gradient: the overlap of the whole score maps stands in for it, which grows and falls with it but
            is another number, held against the measure's own threshold.
        plan: which subsets are drawn.
        required: size of a subset -> agreement asked for.
    """

    agreement: Agreement
    plan: Plan
    required: Callable[[int], float]

    def against(self, reference: Any, ego: View, grid: BevGrid | None) -> Callable[[Any], Any]:
        """Class logits `(S, H, W)` -> agreement `(S,)` with `reference (H, W)`, differentiable.

        Raises:
            InputError: the measure weighs what the ego could see and no grid of that shape is given.
        """
        measure = self.agreement if isinstance(self.agreement, (ScoreMapOverlap, SeenScoreMap)) else ScoreMapOverlap()
        weight = None
        if isinstance(measure, SeenScoreMap):
            if grid is None or (grid.rows, grid.cols) != tuple(reference.shape[-2:]):
                raise InputError(
                    f"expected the grid of class logits {tuple(reference.shape)} to weigh them by what the ego sees, "
                    f"got {grid}; use ScoreMapOverlap for this detector"
                )
            seen = seen_cells(ego.points, grid)
            if not seen.any():  # an ego that sees nothing can vouch for nobody
                return lambda logits: 0.0 * logits.sum(dim=(-2, -1))
            weight = reference.new_tensor(seen + measure.unseen_weight * (1 - seen)).double()
        own = _scores(reference, measure.floor, weight)

        def agreement(logits: Any) -> Any:
            other = _scores(logits, measure.floor, weight)
            top = other.minimum(own).sum(dim=(-2, -1)) + measure.slack
            bottom = other.maximum(own).sum(dim=(-2, -1)) + measure.slack
            nothing = (bottom <= 0).double()  # two maps without any score agree fully
            return ((top + nothing) / (bottom + nothing)).to(logits.dtype)

        return agreement

    def threshold(self, size: int) -> float:
        """Agreement that a subset of `size` teammates must reach."""
        return self.required(size)

    def limits(self, teammates: int) -> dict[str, float]:
        """What else is tested: nothing."""
        return {}

    def draw(self, ids: Sequence[Id], count: int, rng: np.random.Generator) -> list[Subset]:
        """The first `count` subsets of a frame in which none is accepted; once all are drawn, those of another.

        `rng` is the attacker's. Fewer come back, or none, where the plan tries nothing.
        """
        drawn: list[Subset] = []
        while len(drawn) < count:
            orders = self.plan.start().frame(ids)
            history: list[Trial] = []
            while len(history) < min(orders.budget, count - len(drawn)):
                subsets = orders.proposer.propose(ids, tuple(history), rng, 1)
                if not subsets:
                    break
                history += [Trial(s, agreement=0.0, accepted=False, threshold=1.0) for s in subsets]
            if not history:
                break
            drawn += [t.subset for t in history]
        return drawn


def _scores(logits: Any, floor: float, weight: Any) -> Any:
    """Weighted scores in float64, those below `floor` nothing, as `robosac.agreement.overlap` takes them."""
    score = logits.sigmoid()
    kept = (score * (score >= floor)).double()
    return kept if weight is None else kept * weight
