"""The two ways to draw: each time from all subsets, or never the same subset twice.

`good` of `total` subsets are attacker-free. A perfect verifier accepts those and no others; an imperfect one accepts a
contaminated subset with probability `a` and refuses an attacker-free one with probability `b`, independently in each
trial. The search stops at the first subset accepted or when the budget is spent. Everything here is a `Fraction`, exact
unless a number would take more than 2^17 bits (then it has 60 significant digits); the integers are always exact.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from robosac.budget.numbers import (
    Probability,
    all_miss,
    as_probability,
    fewest_draws,
    misses_at_most,
    power,
    smallest_power,
)
from robosac.errors import InputError

STEP_LIMIT: Final = 500  # trials that the law without repeats follows one by one
_NEGLIGIBLE: Final = Fraction(1, 10**18)  # a difference that no float shows


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


class Chances(NamedTuple):
    """What the first accepted subset is, and how long the search lasts: `clean + contaminated + none == 1`."""

    clean: Fraction
    contaminated: Fraction
    none: Fraction
    expected_trials: Fraction  # until a subset is accepted or the budget ends


@dataclass(frozen=True)
class Independent:
    """Each trial draws anew, so a subset can return: attacker-free with probability `q` every time."""

    q: Fraction

    def miss(self, trials: int) -> Fraction:
        """Probability that none of the drawn subsets is attacker-free."""
        return power(1 - self.q, trials)

    def trials_for(self, miss: Fraction) -> int | None:
        """The smallest number of trials that misses with at most this probability; None where none does."""
        return smallest_power(1 - self.q, miss)

    def reaches(self, wanted: Fraction, trials: int, a: Fraction, b: Fraction) -> bool:
        """Whether so many trials find an attacker-free subset first with at least the wanted probability."""
        count, _ = self.trials_for_clean(wanted, a, b)
        return count is not None and count <= trials

    def chances(self, trials: int, a: Fraction, b: Fraction) -> Chances:
        """What a verifier with error rates `a` and `b` makes of so many trials."""
        clean, contaminated = self.q * (1 - b), (1 - self.q) * a
        going_on = 1 - clean - contaminated
        if going_on == 1:
            return Chances(Fraction(0), Fraction(0), Fraction(1), Fraction(trials))
        none = power(going_on, trials)
        expected = (1 - none) / (1 - going_on)  # 1 + r + ... + r^(N-1)
        return Chances(clean * expected, contaminated * expected, none, expected)

    def trials_for_clean(self, wanted: Fraction, a: Fraction, b: Fraction) -> tuple[int | None, Fraction]:
        """The smallest number of trials after which the first accepted subset is attacker-free with at least the
        wanted probability, and that probability; or None and the highest that was reached."""
        clean, contaminated = self.q * (1 - b), (1 - self.q) * a
        if wanted <= 0:
            return 0, Fraction(0)
        if clean == 0:
            return None, Fraction(0)
        limit = clean / (clean + contaminated)
        count = smallest_power(1 - clean - contaminated, 1 - wanted / limit)
        return count, limit if count is None else self.chances(count, a, b).clean


@dataclass(frozen=True)
class NoRepeats:
    """No subset is drawn twice: a hypergeometric draw of `trials` of the `total` subsets."""

    good: int
    total: int

    @property
    def q(self) -> Fraction:
        """Probability that one drawn subset is attacker-free."""
        return Fraction(self.good, self.total)

    def miss(self, trials: int) -> Fraction:
        """Probability that none of the drawn subsets is attacker-free; more trials than subsets change nothing."""
        return all_miss(self.good, self.total, min(trials, self.total))

    def trials_for(self, miss: Fraction) -> int | None:
        """As `Independent.trials_for`."""
        with_repeats = self._with_repeats().trials_for(miss)  # never fewer
        return fewest_draws(self.good, self.total, miss, at_most=with_repeats) if miss < 1 else 0

    def reaches(self, wanted: Fraction, trials: int, a: Fraction, b: Fraction) -> bool:
        """As `Independent.reaches`."""
        if a == 0 and b == 0:
            return misses_at_most(self.good, self.total, min(trials, self.total), 1 - wanted)
        draws = min(trials, self.total)
        if self._repeats(draws) <= _NEGLIGIBLE:
            return self._with_repeats().chances(draws, a, b).clean >= wanted
        for clean, _, none, _, of in self._follow(min(draws, STEP_LIMIT), a, b):
            if clean * wanted.denominator >= wanted.numerator * of:
                return True
            if (clean + none) * wanted.denominator < wanted.numerator * of:  # even if all that is left came out well
                return False
        return draws > STEP_LIMIT and self.chances(trials, a, b).clean >= wanted

    def chances(self, trials: int, a: Fraction, b: Fraction) -> Chances:
        """By exchangeability in closed form for a perfect verifier, else by following every trial exactly, or by the
        law with repeats where so few of so many subsets are drawn that the two differ by less than 1e-18.

        Raises `InputError` where neither is affordable.
        """
        draws = min(trials, self.total)
        if a == 0 and b == 0:
            none = self.miss(draws)
            # the sum of C(total - n, good) / C(total, good) over n < draws, by the hockey-stick identity
            longer = NoRepeats(self.good + 1, self.total + 1).miss(draws)
            return Chances(1 - none, Fraction(0), none, Fraction(self.total + 1, self.good + 1) * (1 - longer))
        if self._repeats(draws) <= _NEGLIGIBLE:
            return self._with_repeats().chances(draws, a, b)
        if draws > STEP_LIMIT:
            raise InputError(
                f"expected at most {STEP_LIMIT} trials without repeats for an imperfect verifier, got {trials} of "
                f"{self.total} subsets; ask for fewer trials"
            )
        *_, (clean, contaminated, nothing, waited, of) = self._follow(draws, a, b)
        return Chances(Fraction(clean, of), Fraction(contaminated, of), Fraction(nothing, of), Fraction(waited, of))

    def trials_for_clean(self, wanted: Fraction, a: Fraction, b: Fraction) -> tuple[int | None, Fraction]:
        """As `Independent.trials_for_clean`."""
        if a == 0 and b == 0:
            count = self.trials_for(1 - wanted)
            return count, Fraction(self.good > 0) if count is None else 1 - self.miss(count)
        steps = min(self.total, STEP_LIMIT)
        many = self._with_repeats()  # answers where a repeat is too unlikely to matter, off its own boundary
        count, reached = many.trials_for_clean(wanted, a, b)
        if count and self._repeats(count) <= _NEGLIGIBLE:
            before = many.chances(count - 1, a, b).clean
            if reached - wanted > _NEGLIGIBLE and wanted - before > _NEGLIGIBLE:
                return count, reached
        elif count != 0 and self._repeats(steps) <= _NEGLIGIBLE:
            return None, many.chances(steps, a, b).clean
        clean, of = 0, 1
        for trials, (clean, _, _, _, of) in enumerate(self._follow(steps, a, b)):
            if clean * wanted.denominator >= wanted.numerator * of:
                return trials, Fraction(clean, of)
        return None, Fraction(clean, of)

    def _with_repeats(self) -> Independent:
        return Independent(self.q)

    def _repeats(self, draws: int) -> Fraction:
        """The birthday bound on how much drawing with repeats differs: the chance that any subset returns."""
        return Fraction(draws * (draws - 1), 2 * self.total)

    def _follow(self, draws: int, a: Fraction, b: Fraction) -> Iterator[tuple[int, int, int, int, int]]:
        """The `Chances` after 0, 1, ..., `draws` trials, as four numerators and their denominator.

        `weight[g]` is the probability that nothing was accepted so far while `g` attacker-free subsets were drawn.
        All probabilities are integers over one common denominator, so that nothing is rounded and no fraction is
        reduced on the way.
        """
        unit = math.lcm(a.denominator, b.denominator)
        refuse_bad, refuse_good = int(unit * (1 - a)), int(unit * b)
        weight = {0: 1}
        denominator, clean, contaminated, waited = 1, 0, 0, 0
        for drawn in range(draws + 1):
            none = sum(weight.values())
            yield clean, contaminated, none, waited, denominator
            if drawn == draws:
                return
            step = (self.total - drawn) * unit
            good = sum(w * (self.good - g) for g, w in weight.items())
            bad = none * (self.total - drawn) - good
            clean = clean * step + good * (unit - refuse_good)
            contaminated = contaminated * step + bad * (unit - refuse_bad)
            waited = (waited + none) * step
            denominator *= step
            after: dict[int, int] = {}
            for g, w in weight.items():
                for drawn_good, ways in (
                    (g, (self.total - self.good - drawn + g) * refuse_bad),
                    (g + 1, (self.good - g) * refuse_good),
                ):
                    if ways:
                        after[drawn_good] = after.get(drawn_good, 0) + w * ways
            weight = after


Draws: TypeAlias = Independent | NoRepeats  # a law of drawing subsets
