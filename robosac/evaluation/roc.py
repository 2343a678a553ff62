"""How well suspicion tells attackers from honest teammates, whatever the threshold.

Every (frame, teammate) whose message was judged is one decision. At a threshold t those with suspicion >= t are called
attackers; the curve runs over all t. Its area is the probability that a random attacker is suspected more than a random
honest teammate, ties counted half (Mann and Whitney).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from robosac.evaluation.metrics import FrameRecord
from robosac.types import Array, InputError


@dataclass(frozen=True)
class Roc:
    """Points of the curve by falling threshold, from (0, 0) to (1, 1), and its area.

    Attributes:
        thresholds, fpr, tpr: of equal length; the first threshold is inf: nobody is called an attacker.
        auc: area under the curve.
        attackers, honest: how many decisions of each.
    """

    thresholds: tuple[float, ...]
    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    auc: float
    attackers: int
    honest: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the first threshold, which is infinite, is None."""
        return {
            "auc": self.auc,
            "attackers": self.attackers,
            "honest": self.honest,
            "thresholds": [None, *self.thresholds[1:]],
            "fpr": list(self.fpr),
            "tpr": list(self.tpr),
        }


def roc(records: Sequence[FrameRecord]) -> Roc | None:
    """The curve of a policy's suspicion over all frames; None where attackers or honest teammates are lacking."""
    pairs = [(value, who in r.attackers) for r in records for who, value in r.suspicion.items()]
    return roc_of(np.array([v for v, _ in pairs]), np.array([attacks for _, attacks in pairs], np.bool_))


def roc_of(suspicion: Array, attacks: Array) -> Roc | None:
    """The curve of `suspicion (N,)` against who really attacks, `attacks (N,)` bool; None where one kind is lacking.

    Raises:
        InputError: if a suspicion is not finite: it would be neither above nor below any threshold.
    """
    if not np.isfinite(suspicion).all():
        raise InputError("expected finite suspicions, got NaN or inf; the defence's verdict is broken")
    bad, good = int(attacks.sum()), int((~attacks).sum()) if len(attacks) else 0
    if not bad or not good:
        return None
    levels, place = np.unique(-suspicion, return_inverse=True)  # falling suspicion
    tpr = np.bincount(place, weights=attacks, minlength=len(levels)).cumsum() / bad
    fpr = np.bincount(place, weights=~attacks, minlength=len(levels)).cumsum() / good
    area = (float(rankdata(suspicion)[attacks].sum()) - bad * (bad + 1) / 2) / (bad * good)
    return Roc(
        thresholds=(float("inf"), *(float(-v) for v in levels)),
        fpr=(0.0, *map(float, fpr)),
        tpr=(0.0, *map(float, tpr)),
        auc=area,
        attackers=bad,
        honest=good,
    )
