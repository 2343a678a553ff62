"""Pseudo-labels: which cells of a clean output count as objects, read without the ground truth.

The score above which a cell counts is the attack's own where it names one, and else the detector's: see `scores_of`. A
detector whose scores peak at 0.45 has objects too, and an attack that looked for cells above 0.5 would find none of
them and could only flood the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.capabilities import Labelling, Reporting
from robosac.types import Detector, Session, Subset

if TYPE_CHECKING:
    from typing_extensions import Self

LABEL_SCORE: Final = 0.5  # where neither the attack, nor the detector, nor a box of its says which
REPORTED: Final = 0.1  # likewise, of the score from which boxes are reported
_LEAST: Final = 1e-6  # scores are in (0, 1): of 0 and 1 there is no logit


def logit(score: float) -> float:
    """The class logit of a score in (0, 1)."""
    return math.log(score / (1 - score))


@dataclass(frozen=True)
class Scores:
    """What a detector's scores mean: a cell counts as an object above `label`, a box is reported from `reported` on."""

    label: float = LABEL_SCORE
    reported: float = REPORTED


def scores_of(detector: Detector, session: Session, subsets: Sequence[Subset]) -> Scores:
    """The scores that a detector names (`Labelling`, `Reporting`); of one that names none, the lowest score of the
    boxes that it reports of these subsets, the honest messages fused; of one that reports none, the defaults.
    """
    reported = float(detector.reporting_threshold) if isinstance(detector, Reporting) else None
    label = float(detector.label_score) if isinstance(detector, Labelling) else reported
    if reported is None and label is None:
        lowest = [float(found.scores.min()) for found in session.detect(subsets) if len(found)]
        # just below: the box of the lowest score is an object, too, whatever a sigmoid in float32 rounds to
        reported = label = min(lowest) * (1 - 1e-4) if lowest else None
    return Scores(LABEL_SCORE if label is None else _inside(label), REPORTED if reported is None else _inside(reported))


def _inside(score: float) -> float:
    return min(max(score, _LEAST), 1 - _LEAST)


@runtime_checkable
class Labels(Protocol):
    """Which cells count as an object."""

    def mark(self, logits: Tensor) -> Tensor:
        """Logits `(S, H, W)` -> bool `(S, H, W)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Above(Settings):
    """A base for labels by score.

    Attributes:
        score: a cell is an object where its score (the sigmoid of its logit) exceeds this; None takes the detector's.
        at_most: where the detector's is higher, this.
    """

    score: float | None = number(None, low=_LEAST, high=1 - _LEAST)
    at_most: float | None = number(None, low=_LEAST, high=1 - _LEAST)

    def of(self, detector: Scores) -> Self:
        """The same with a score, a detector's where none was named."""
        least = detector.label if self.score is None else self.score
        return replace(self, score=least if self.at_most is None else min(least, self.at_most))

    @property
    def boundary(self) -> float:
        """The logit of the score."""
        return logit(float(self.of(Scores()).score or LABEL_SCORE))


@register("threshold")
@dataclass(frozen=True, kw_only=True)
class Threshold(_Above):
    """A cell is an object where its score exceeds the detector's, or `score` where that is named."""

    def mark(self, logits: Tensor) -> Tensor:
        return logits > self.boundary


@register("peaks")
@dataclass(frozen=True, kw_only=True)
class Peaks(_Above):
    """As `Threshold`, but only the local maxima of each 3x3 neighbourhood: one cell an object."""

    def mark(self, logits: Tensor) -> Tensor:
        highest = F.max_pool2d(logits[:, None], 3, stride=1, padding=1)[:, 0]
        return (logits > self.boundary) & (logits >= highest)


def labels_of(labels: Labels, detector: Scores) -> Labels:
    """Labels with the detector's score where they name none."""
    return labels.of(detector) if isinstance(labels, _Above) else labels


def boundary_of(labels: Labels) -> float:
    """The class logit that divides objects from background; 0 where labels are not by score."""
    return labels.boundary if isinstance(labels, _Above) else 0.0
