"""What one asks of a trial budget, and the answers: laws, the verifier's errors, results. See `robosac.budget`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from robosac.budget_numbers import Probability, as_probability


class Law(enum.Enum):
    """How subsets are drawn, or are thought to be."""

    PAPER = "paper"
    INDEPENDENT = "independent"
    NO_REPEATS = "no_repeats"


@dataclass(frozen=True)
class Verifier:
    """How often the check of a subset errs.

    Attributes:
        false_accept: probability that a contaminated subset is accepted, in each trial independently.
        false_reject: probability that an attacker-free subset is refused, in each trial independently.
        frame_reject: probability that the frame refuses every subset, contaminated or not, however often one draws: an
            ego that sees almost nothing agrees with nobody. More trials do not help against it.
    """

    false_accept: Probability = 0
    false_reject: Probability = 0
    frame_reject: Probability = 0

    def __post_init__(self) -> None:
        for name in ("false_accept", "false_reject", "frame_reject"):
            as_probability(getattr(self, name), name)

    @property
    def rates(self) -> tuple[Fraction, Fraction, Fraction]:
        """The three rates as exact fractions."""
        return as_probability(self.false_accept), as_probability(self.false_reject), as_probability(self.frame_reject)


PERFECT: Final = Verifier()


@dataclass(frozen=True)
class Trials:
    """How many trials; `count` is None where no number is enough and `reason` says why.

    `success` is the probability, under the same law, that the first accepted subset is attacker-free within `count`
    trials; where `count` is None, the most that any number of trials reaches.
    """

    count: int | None
    success: float
    reason: str


@dataclass(frozen=True)
class SubsetSize:
    """The largest subset that a budget affords, its probability of success, and why. Size 0 is the ego alone."""

    size: int
    success: float
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What the first accepted subset is: attacker-free, contaminated, or there is none; the three sum to 1.

    `expected_trials` counts the trials until a subset is accepted or the budget ends, whichever comes first.
    """

    clean: float
    contaminated: float
    none: float
    expected_trials: float
