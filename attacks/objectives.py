"""What an attack wants of the detector's class logits. Objectives are values that compose; a loss is to be minimised.

An objective sees only the unattacked logits of the same fusion, never the ground truth: the paper's attacks run on
pseudo-labels (ROBOSAC, arXiv 2303.09495, section on attacks). Logits are `(S, H, W)`, one map a subset in the loop,
and every loss is a mean over subsets, so that the expectation over random subsets needs no other objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.settings import instance, real
from robosac.types import BevGrid, InputError

Loss: TypeAlias = Callable[[Tensor], Tensor]  # logits (S, H, W) -> scalar


@dataclass(frozen=True, eq=False)
class Unattacked:
    """What the detector would say without the attack.

    Attributes:
        logits: `(S, H, W)` class logits, without gradient.
        grid: where the cells lie in the ego frame, or None where the detector does not say.
    """

    logits: Tensor
    grid: BevGrid | None = None


# ---------------------------------------------------------------------------------------------- pseudo-labels
@runtime_checkable
class Labels(Protocol):
    """Which cells count as an object."""

    def mark(self, logits: Tensor) -> Tensor:
        """Logits `(S, H, W)` -> bool `(S, H, W)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A cell is an object where its score (the sigmoid of its logit) exceeds `score`."""

    score: float = 0.5

    def __post_init__(self) -> None:
        real(self, "score", low=1e-6, high=1 - 1e-6)

    def mark(self, logits: Tensor) -> Tensor:
        return logits > math.log(self.score / (1 - self.score))


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """As `Threshold`, but only the local maxima of each 3x3 neighbourhood: one cell an object."""

    score: float = 0.5

    def __post_init__(self) -> None:
        real(self, "score", low=1e-6, high=1 - 1e-6)

    def mark(self, logits: Tensor) -> Tensor:
        highest = F.max_pool2d(logits[:, None], 3, stride=1, padding=1)[:, 0]
        return Threshold(score=self.score).mark(logits) & (logits >= highest)


# ------------------------------------------------------------------------------------------------- objectives
@runtime_checkable
class Objective(Protocol):
    """A goal; `aim` fixes it on one frame."""

    def aim(self, unattacked: Unattacked) -> Loss: ...


@dataclass(frozen=True, kw_only=True)
class InvertedBce:
    """Binary cross-entropy towards the inverted pseudo-labels, mean over all cells (PGD and BIM in ROBOSAC).

    Nearly all cells are background, so it mostly floods the map with objects.
    """

    labels: Labels = Threshold()

    def __post_init__(self) -> None:
        instance(self, "labels", Labels)

    def aim(self, unattacked: Unattacked) -> Loss:
        target = (~self.labels.mark(unattacked.logits)).to(unattacked.logits.dtype)
        return lambda logits: F.binary_cross_entropy_with_logits(logits, target)


@dataclass(frozen=True, kw_only=True)
class BalancedInvertedBce:
    """As `InvertedBce`, but objects and background weigh the same: hides as hard as it floods."""

    labels: Labels = Threshold()

    def __post_init__(self) -> None:
        instance(self, "labels", Labels)

    def aim(self, unattacked: Unattacked) -> Loss:
        marked = self.labels.mark(unattacked.logits)
        target = (~marked).to(unattacked.logits.dtype)
        objects = marked.sum(dim=(1, 2), keepdim=True)
        background = marked[0].numel() - objects
        # each class sums to a half in every map; a class that is absent weighs nothing
        weight = torch.where(marked, 0.5 / objects.clamp(min=1), 0.5 / background.clamp(min=1)) / len(marked)
        return lambda logits: F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Carlini and Wagner's margin as ROBOSAC uses it: `c * max(z_true - z_other, -kappa)`, mean over all cells.

    With one logit z a cell, `z_true - z_other` is z where the pseudo-label is an object and -z where it is background.
    Cells that are flipped by more than `kappa` are left alone, which spends the budget on those that are not.

    Attributes:
        c: weight of the margin; it matters only beside another term (see `WeightedSum`), not for a sign gradient.
        kappa: confidence (in logits) wanted of a flipped cell.
    """

    labels: Labels = Threshold()
    c: float = 0.1
    kappa: float = 0.0

    def __post_init__(self) -> None:
        instance(self, "labels", Labels)
        real(self, "c", low=0.0)
        real(self, "kappa", low=0.0)

    def aim(self, unattacked: Unattacked) -> Loss:
        sign = torch.where(self.labels.mark(unattacked.logits), 1.0, -1.0)
        return lambda logits: self.c * (sign * logits).clamp(min=-self.kappa).mean()


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

    def aim(self, unattacked: Unattacked) -> Loss:
        losses = [(weight, objective.aim(unattacked)) for weight, objective in self.terms]

        def total(logits: Tensor) -> Tensor:
            return torch.stack([weight * loss(logits) for weight, loss in losses]).sum()

        return total
