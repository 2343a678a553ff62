"""Joint results, judged: does one agree with the ego, and is it what its members show?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from robosac.agreement import Compare
from robosac.consensus import Consensus
from robosac.defenses.limits import Limits
from robosac.defenses.protocol import FINITE
from robosac.defenses.singles import Singles
from robosac.evidence import Consistency
from robosac.evidence.consistency import strain
from robosac.types import EGO_ALONE, Detections, Subset, Trial

STRAIN: Final = "strain"  # a joint result's: distance from what its members show, as a multiple of what is allowed
LEAST_STRAIN: Final = 0.01  # a limit below it would refuse what rounding makes
TOGETHER: Final = "together"  # a joint result's: 1 where two of its members claim more together than is allowed


@dataclass(frozen=True, eq=False)
class JointResults:
    """Judges the joint results of one frame, a `robosac.consensus.Judge`.

    Attributes:
        seen: what the singles say.
        compare: with the ego's own result.
    """

    seen: Singles
    compare: Compare
    limits: Limits
    consistency: Consistency

    def __call__(self, reference: Detections, subset: Subset, result: Detections) -> Trial:
        size = len(subset)
        trial = Trial.judged(subset, self.compare(result), self.limits.agreement(size))
        if not result.finite:
            return replace(trial, accepted=False, scores={FINITE: 0.0})
        off = self.consistency.of(strain(self.seen.shown, subset, result))
        scores = {
            STRAIN: off / max(self.limits.strain(size), LEAST_STRAIN),
            TOGETHER: float(any(pair <= subset for pair in self.seen.apart)),
        }
        fits = trial.accepted and scores[STRAIN] <= 1 and not scores[TOGETHER]
        return replace(trial, accepted=fits, scores=scores)


def second_look(trials: Sequence[Trial], limits: Limits, pool: int) -> tuple[Trial, ...]:
    """Where no joint result of two and more was accepted: those whose strain honest ones stay within after all.

    Of these the largest, and `pool - 1` sizes below.
    """
    if any(t.accepted and len(t.subset) > 1 for t in trials):
        return tuple(trials)
    again = [_within_all(t, limits) for t in trials]
    largest = max((len(t.subset) for t in again if t.accepted), default=0)
    return tuple(replace(t, accepted=t.accepted and len(t.subset) > largest - pool) for t in again)


def nearly(trials: Sequence[Trial], limits: Limits, pool: int) -> Subset:
    """Who is in a joint result that honest ones are like, if not as a rule, and that would have been pooled.

    Whom attackers spoil every joint result for but that of the honest is refused where that one is, by chance.
    """
    largest = max((len(t.subset) for t in trials if t.accepted), default=0)
    close = [t.subset for t in trials if len(t.subset) > largest - pool and _within_all(t, limits).accepted]
    return EGO_ALONE.union(*close)


def _within_all(trial: Trial, limits: Limits) -> Trial:
    """The trial by `strain_at_most` in place of `strain`."""
    size, scores = len(trial.subset), trial.scores
    if size < 2 or STRAIN not in scores or scores[TOGETHER] or trial.agreement < trial.threshold:
        return trial
    off = scores[STRAIN] * max(limits.strain(size), LEAST_STRAIN) / max(limits.strain_at_most(size), LEAST_STRAIN)
    return replace(trial, accepted=off <= 1, scores={**scores, STRAIN: off})


def clearly(share: float, trial: Trial) -> bool:
    """Whether the strain of a joint result is within so large a share of its limit."""
    return trial.scores.get(STRAIN, 1.0) <= share


def in_words(found: Consensus[Detections], n_trusted: int, n_ids: int) -> str:
    """What came of a search among so many who are fine alone, of all."""
    if not found.reference.finite:
        return "the ego's own result is not finite: the detector's weights or its code are broken"
    held = [t.subset for t in found.trials if t.accepted]
    left_out = n_ids - n_trusted
    if held:
        used = EGO_ALONE.union(*held)
        return (
            f"{len(used)} of {n_ids} teammates, in {len(held)} of {len(found.trials)} joint results that are what "
            f"their members show; {left_out} were left out for what they show alone"
        )
    if not n_trusted:
        return f"none of {n_ids} teammates shows what honest ones do; the ego's own result stands"
    return (
        f"none of {len(found.trials)} joint results is what its members show, {left_out} of {n_ids} teammates were "
        "left out for what they show alone; the ego's own result stands"
    )
