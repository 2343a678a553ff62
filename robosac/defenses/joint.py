"""A joint result, judged: does it agree with the ego, is it what its members show, may its members be together?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from robosac.agreement import Compare
from robosac.defenses.limits import Limits
from robosac.defenses.protocol import FINITE
from robosac.defenses.singles import Singles
from robosac.evidence import Consistency
from robosac.evidence.consistency import strain
from robosac.types import Detections, Subset, Trial

STRAIN: Final = "strain"  # a joint result's: distance from what its members show, as a multiple of what is allowed
LEAST_STRAIN: Final = 0.01  # a limit below it would refuse what rounding makes
TOGETHER: Final = "together"  # a joint result's: 1 where two of its members claim more together than is allowed


@dataclass(frozen=True, eq=False)
class JointRules:
    """What joint results of one frame are judged by.

    Attributes:
        compare: with the ego's own result.
        seen: the singles of all members, or of some of them.
        consistency: how far a joint result may be from what these show.
    """

    compare: Compare
    seen: Singles
    limits: Limits
    consistency: Consistency

    def judged(self, subset: Subset, result: Detections) -> Trial:
        """The joint result of the ego and a subset."""
        trial = Trial.judged(subset, self.compare(result), self.limits.agreement(len(subset)))
        if not result.finite:
            return replace(trial, accepted=False, scores={FINITE: 0.0})
        off = self.consistency.of(strain(self.seen.shown, subset, result))
        scores = {
            STRAIN: off / max(self.limits.strain(len(subset)), LEAST_STRAIN),
            TOGETHER: float(any(pair <= subset for pair in self.seen.apart)),
        }
        fits = trial.accepted and scores[STRAIN] <= 1 and not scores[TOGETHER]
        return replace(trial, accepted=fits, scores=scores)
