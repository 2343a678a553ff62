"""What an attack wants of the detector's class logits. Objectives are values that compose; a loss is to be minimised.

An objective sees only the clean logits of the same fusion, never the ground truth: the paper's attacks run on
pseudo-labels (ROBOSAC, arXiv 2303.09495, section on attacks). Logits are `(S, H, W)`, one map a subset in the loop,
and every loss is a mean over subsets, so that the expectation over random subsets needs no other objective.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.features.labels import Labels, Scores, Threshold, boundary_of, labels_of
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number, part
from robosac.types import BevGrid, InputError, Subset

Loss: TypeAlias = Callable[[Tensor], Tensor]  # logits (S, H, W) -> scalar
NO_OBJECT: Final = "no cell of the clean output scores enough to count as an object: the attack has nothing to hide"


@dataclass(frozen=True, eq=False)
class CleanFrame:
    """One frame without the attack: all that an objective may read.

    Attributes:
        logits: `(S, H, W)` class logits of the subsets in the loop, all honest, without gradient.
        grid: where the cells are in the ego frame, or None where the detector does not say.
        subsets: the S subsets in the loop.
        alone: `(H, W)` class logits of the ego alone; None where no objective asked for them.
        without: `(S, H, W)` class logits of the subsets less their attackers, so that a cell is within the
            attackers' reach where it differs from `logits`; None as above.
        agreement: the defence's measure, class logits `(S, H, W)` -> agreement with the ego `(S,)`, differentiable;
            None for an attack that does not know the defence, or where there is none.
        thresholds: `(S,)` agreement that each subset must reach; None as above.
        rng: for an objective that chooses a target; the same frame, the same choice.
        scores: what the detector's scores mean.
        note: is told what of the attack came to nothing in this frame, in words that are the same in every frame.
    """

    logits: Tensor
    grid: BevGrid | None = None
    subsets: tuple[Subset, ...] = ()
    alone: Tensor | None = None
    without: Tensor | None = None
    agreement: Callable[[Tensor], Tensor] | None = None
    thresholds: Tensor | None = None
    rng: np.random.Generator | None = None
    scores: Scores = field(default_factory=Scores)
    note: Callable[[str], None] = lambda text: None

    def marked(self, labels: Labels, logits: Tensor | None = None) -> Tensor:
        """Bool `(S, H, W)`: the cells that are objects, by the detector's score where `labels` name none; of other
        clean `logits (S', H, W)` where these are given.
        """
        marked = labels_of(labels, self.scores).mark(self.logits if logits is None else logits)
        if not bool(marked.any()):
            self.note(NO_OBJECT)
        return marked

    def boundary(self, labels: Labels) -> float:
        """The logit that divides objects from background; 0 where labels are not by score."""
        return boundary_of(labels_of(labels, self.scores))


# ------------------------------------------------------------------------------------------------- objectives
@runtime_checkable
class Objective(Protocol):
    """A goal; `make_loss` fixes it on one frame."""

    def make_loss(self, clean: CleanFrame) -> Loss: ...


@dataclass(frozen=True, kw_only=True)
class Labelled(Settings, ABC):
    """A base for objectives that read pseudo-labels from the clean frame.

    Attributes:
        labels: which cells count as an object.
    """

    labels: Labels = part(Labels, Threshold)

    @abstractmethod
    def make_loss(self, clean: CleanFrame) -> Loss: ...


@register("inverted_bce")
@dataclass(frozen=True, kw_only=True)
class InvertedBce(Labelled):
    """Binary cross-entropy towards the inverted pseudo-labels, mean over all cells (PGD and BIM in ROBOSAC).

    Nearly all cells are background, so it mostly floods the map with objects.
    """

    def make_loss(self, clean: CleanFrame) -> Loss:
        target = (~clean.marked(self.labels)).to(clean.logits.dtype)
        return lambda logits: F.binary_cross_entropy_with_logits(logits, target)


@register("balanced_inverted_bce")
@dataclass(frozen=True, kw_only=True)
class BalancedInvertedBce(Labelled):
    """As `InvertedBce`, but objects and background weigh the same: hides as hard as it floods."""

    def make_loss(self, clean: CleanFrame) -> Loss:
        marked = clean.marked(self.labels)
        target = (~marked).to(clean.logits.dtype)
        objects = marked.sum(dim=(1, 2), keepdim=True)
        background = marked[0].numel() - objects
        # each class sums to a half in every map; a class that is absent weighs nothing
        weight = torch.where(marked, 0.5 / objects.clamp(min=1), 0.5 / background.clamp(min=1)) / len(marked)
        return lambda logits: F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")


@register("margin")
@dataclass(frozen=True, kw_only=True)
class Margin(Labelled):
    """Carlini and Wagner's margin as ROBOSAC uses it: `c * max(z_true - z_other, -kappa)`, mean over all cells.

    With one logit z a cell, `z_true - z_other` is z where the pseudo-label is an object and -z where it is background,
    z counted from the logit of the score that divides them (0 for 0.5).
    Cells that are flipped by more than `kappa` are left alone, which spends the budget on those that are not.

    Attributes:
        c: weight of the margin; it matters only beside another term (see `WeightedSum`), not for a sign gradient.
        kappa: confidence (in logits) wanted of a flipped cell.
    """

    c: float = number(0.1, low=0.0)
    kappa: float = number(0.0, low=0.0)

    def make_loss(self, clean: CleanFrame) -> Loss:
        sign, boundary = torch.where(clean.marked(self.labels), 1.0, -1.0), clean.boundary(self.labels)
        return lambda logits: self.c * (sign * (logits - boundary)).clamp(min=-self.kappa).mean()


@register("weighted_sum")
@dataclass(frozen=True, kw_only=True)
class WeightedSum:
    """Several objectives at once: `sum(weight * loss)` over `terms`, pairs of weight and objective.

    A negative weight turns a goal round.
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        pairs = tuple((float(weight), objective) for weight, objective in self.terms)
        if not pairs or not all(math.isfinite(w) and isinstance(o, Objective) for w, o in pairs):
            raise InputError(f"expected terms to be one or more (finite weight, Objective) pairs, got {self.terms!r}")
        object.__setattr__(self, "terms", pairs)

    def make_loss(self, clean: CleanFrame) -> Loss:
        losses = [(weight, objective.make_loss(clean)) for weight, objective in self.terms]

        def total(logits: Tensor) -> Tensor:
            return torch.stack([weight * loss(logits) for weight, loss in losses]).sum()

        return total
