"""What an attacker knows of rivals that judge teammates one by one, or in groups, by a measure on results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robosac.agreement import Agreement, ScoreMapOverlap
from robosac.calibration import Calibration
from robosac.defenses.plans import Unknown
from robosac.defenses.rivals.frame import asked
from robosac.defenses.surrogate import RobosacSurrogate
from robosac.types import BevGrid, Id, Subset, View


@dataclass(frozen=True, eq=False)
class OfGroups:
    """Implements `robosac.defenses.protocol.Surrogate`: groups that are halved must agree with the ego.

    Attributes:
        agreement: the measure; one that looks at boxes is stood in for by the overlap of score maps.
        required: size of a group -> agreement asked for.
    """

    agreement: Agreement
    required: Callable[[int], float]

    def against(self, reference: Any, ego: View, grid: BevGrid | None) -> Callable[[Any], Any]:
        """As `RobosacSurrogate.against`."""
        return RobosacSurrogate(self.agreement, Unknown(), self.required).against(reference, ego, grid)

    def threshold(self, size: int) -> float:
        """Agreement that a group of `size` teammates must reach."""
        return self.required(size)

    def draw(self, ids: Sequence[Id], count: int, rng: np.random.Generator) -> list[Subset]:
        """Everybody, then groups of a random halving, then of another."""
        drawn: list[Subset] = []
        while ids and len(drawn) < count:
            groups = [[ids[k] for k in rng.permutation(len(ids))]]
            while groups and len(drawn) < count:
                group = groups.pop(0)
                drawn.append(frozenset(group))
                if len(group) > 1:
                    groups += [group[: len(group) // 2], group[len(group) // 2 :]]
        return drawn


@dataclass(frozen=True, eq=False)
class OfSingles:
    """Implements `robosac.defenses.protocol.Surrogate`: each teammate alone with the ego must agree; joint results are
    fused without a further test.

    Attributes:
        agreement: as of `OfGroups`.
        required: agreement asked of a single.
    """

    agreement: Agreement
    required: float

    def against(self, reference: Any, ego: View, grid: BevGrid | None) -> Callable[[Any], Any]:
        """As `RobosacSurrogate.against`."""
        return RobosacSurrogate(self.agreement, Unknown(), self.threshold).against(reference, ego, grid)

    def threshold(self, size: int) -> float:
        """What a single must reach; nothing is asked of more."""
        return self.required if size == 1 else -1.0

    def draw(self, ids: Sequence[Id], count: int, rng: np.random.Generator) -> list[Subset]:
        """Everybody and each single: all are decoded in every frame, so that `count` is not asked for."""
        return list(dict.fromkeys([frozenset(ids), *(frozenset({i}) for i in ids)]))


def by_score_maps(calibration: Calibration | None, detector: str, level: float) -> OfSingles:
    """The overlap of score maps with the threshold that a share `level` of honest singles stay below, in place of a
    measure without a useful gradient."""
    agreement = ScoreMapOverlap()
    held = calibration.measures.get(agreement.name) if calibration and calibration.detector == detector else None
    return OfSingles(agreement, asked(held, 1, level, agreement.default_threshold))
