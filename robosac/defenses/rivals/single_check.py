"""Single checks: each teammate alone with the ego must agree with the ego; all who do are fused.

Source: the plain test behind ROBOSAC's trials at subset size 1 (arXiv 2303.09495) and behind MADE's first statistic
(arXiv 2310.11901), with none of their procedures around it. 1 + A decodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import Agreement, SeenScoreMap
from robosac.calibration import Calibration, WithEgo
from robosac.defenses.rivals.frame import Choice, Look, Peer, asked, check_shares, known, of_each
from robosac.defenses.rivals.surrogates import OfSingles
from robosac.gate import Gate
from robosac.types import Trial


@dataclass(frozen=True, kw_only=True)
class SingleCheck:
    """A threshold on the agreement of each single.

    Attributes:
        agreement: how a single is compared with the ego.
        alpha: share of honest singles that may be refused.
        stated: the threshold where nothing is calibrated.
    """

    agreement: Agreement = field(default_factory=SeenScoreMap)
    alpha: float = 0.02
    stated: float = 0.45
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "alpha", "stated")

    def statistics(self) -> tuple[WithEgo]:
        """The agreement."""
        return (WithEgo(self.agreement),)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        def decide(look: Look) -> Choice:
            compare = self.agreement.against(look.own, look.ego, look.grid)
            required = self.required(calibration, look.detector.name)
            singles = look.singles()
            return of_each(Trial.judged(frozenset({i}), compare(r), required) for i, r in singles.items())

        return Peer(self.gate, decide)

    def required(self, calibration: Calibration | None, detector: str) -> float:
        """Agreement asked of a single."""
        held = known(calibration, detector, [self.agreement.name], "single-check")
        return asked(held.get(self.agreement.name), 1, self.alpha, self.stated)

    def surrogate(self, calibration: Calibration | None, detector: str) -> OfSingles:
        """The measure and its threshold."""
        return OfSingles(self.agreement, self.required(calibration, detector))
