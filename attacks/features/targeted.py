"""One object put in or taken out, everything else pinned to the clean output: one box changes.

An objective here concerns one cell, which depends on the frame alone: `target` says which, so that success can be
measured by looking for a box there. The cell is within the attackers' reach, where the output with them differs from
that without; where there is none, `target` is None and only the pin is left to minimise.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.features.labels import Peaks, Scores, logit
from robosac.attacks.features.objectives import CleanFrame, Loss
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.types import InputError

Cell = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class _Targeted(Settings, ABC):
    """A base: which cells may be chosen, how far around the chosen one the output is free, how hard the rest is pinned.

    Attributes:
        pin: weight of the pin: the squared change of score, summed over the cells that are not free. 0 pins nothing.
        free_cells: the output is free within a square of this half-width around the chosen cell.
        margin: confidence wanted beyond the score that is wanted, in logits.
    """

    pin: float = number(1.0, low=0.0)
    free_cells: int = number(3, low=0)
    margin: float = number(1.0, low=0.0)

    @abstractmethod
    def candidates(self, clean: CleanFrame) -> Tensor:
        """Bool `(H, W)`: cells worth choosing, in the attackers' reach or not."""

    @abstractmethod
    def wanted(self, logits: Tensor, cell: Cell, scores: Scores) -> Tensor:
        """How far logits `(S, H, W)` are from the goal, a scalar, 0 where it is reached."""

    def target(self, clean: CleanFrame) -> Cell | None:
        """Row and column of the chosen cell; the same for the same frame however often it is asked."""
        some = self.candidates(clean) & within_reach(clean)
        cells = some.nonzero().tolist()
        if not cells:
            return None
        rng = np.random.default_rng(0) if clean.rng is None else copy.deepcopy(clean.rng)
        row, col = cells[int(rng.integers(len(cells)))]
        return int(row), int(col)

    def make_loss(self, clean: CleanFrame) -> Loss:
        cell = self.target(clean)
        scores = clean.logits.sigmoid()
        pinned = torch.ones_like(scores[0])
        if cell is not None:
            pinned[_around(cell, self.free_cells)] = 0.0

        def loss(logits: Tensor) -> Tensor:
            moved = ((logits.sigmoid() - scores).square() * pinned).sum() / len(scores)
            reached = logits.new_zeros(()) if cell is None else self.wanted(logits, cell, clean.scores)
            return reached + self.pin * moved

        return loss


@register("fake_one")
@dataclass(frozen=True, kw_only=True)
class FakeOne(_Targeted):
    """An object where there is none: the score of one cell in free space is raised.

    Attributes:
        score: wanted of the cell.
        background: no cell within `clear_cells` of it scores more without the attack.
        clear_cells: half-width of the square that must be free, and how far the cell is from the map's border.
    """

    score: float = number(0.6, low=1e-6, high=1 - 1e-6)
    background: float = number(0.1, low=1e-6, high=1 - 1e-6)
    clear_cells: int = number(4, low=0)

    def candidates(self, clean: CleanFrame) -> Tensor:
        wide = 2 * self.clear_cells + 1
        most = clean.logits.amax(dim=0)
        around = F.max_pool2d(most[None, None], wide, stride=1, padding=self.clear_cells)[0, 0]
        inner = torch.zeros_like(around, dtype=torch.bool)
        c = self.clear_cells
        inner[c : inner.shape[0] - c, c : inner.shape[1] - c] = True
        return (around < logit(self.background)) & inner

    def wanted(self, logits: Tensor, cell: Cell, scores: Scores) -> Tensor:
        """A hinge on the cell, so that the budget goes to the pin once the object is there."""
        return (logit(self.score) + self.margin - logits[:, cell[0], cell[1]]).clamp(min=0).mean()


@register("hide_one")
@dataclass(frozen=True, kw_only=True)
class HideOne(_Targeted):
    """An object that is there disappears: no cell within `hidden_cells` of its peak keeps a score.

    Attributes:
        min_score: of an object worth hiding, in every subset of the loop; None takes the score from which a cell of the
            detector counts as an object.
        score: that no cell of it may keep; None takes the score from which the detector reports a box.
        hidden_cells: half-width of the square that must be empty.
        apart_cells: no other object's peak is in this half-width around it, where there is such an object.
    """

    min_score: float | None = number(None, low=1e-6, high=1 - 1e-6)
    score: float | None = number(None, low=1e-6, high=1 - 1e-6)
    hidden_cells: int = number(2, low=0)
    apart_cells: int = number(3, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_cells > self.free_cells:
            raise InputError(
                f"expected hidden_cells of HideOne to be at most free_cells, {self.free_cells}, got "
                f"{self.hidden_cells}: what is hidden cannot be pinned"
            )

    def candidates(self, clean: CleanFrame) -> Tensor:
        least = clean.logits.amin(dim=0)
        peaks = clean.marked(Peaks(score=self.min_score), least[None])[0]
        wide = 2 * self.apart_cells + 1
        many = F.avg_pool2d(peaks[None, None].float(), wide, stride=1, padding=self.apart_cells)[0, 0] * wide**2 > 1.5
        alone = peaks & ~many & within_reach(clean)
        return alone if bool(alone.any()) else peaks

    def wanted(self, logits: Tensor, cell: Cell, scores: Scores) -> Tensor:
        """The largest excess counts as much as their mean: one cell left is an object left."""
        rows, cols = _around(cell, self.hidden_cells)
        square = logits[:, rows, cols].flatten(1)
        kept = scores.reported if self.score is None else self.score
        over = (square - logit(kept) + self.margin).clamp(min=0)
        return (over.amax(dim=1) + over.mean(dim=1)).mean()


def within_reach(clean: CleanFrame) -> Tensor:
    """Bool `(H, W)`: where what the attackers honestly send changes the output of every subset in the loop.

    Raises:
        InputError: the output without the attackers is not known.
    """
    if clean.without is None:
        raise InputError("expected the logits without the attackers in `CleanFrame.without`, got none; make a Problem")
    changed = (clean.logits - clean.without).abs() > REACH
    return changed.all(dim=0)


REACH: Final = 0.1  # logits: less is an echo of the head's wide view


def _around(cell: Cell, half: int) -> tuple[slice, slice]:
    return slice(max(cell[0] - half, 0), cell[0] + half + 1), slice(max(cell[1] - half, 0), cell[1] + half + 1)
