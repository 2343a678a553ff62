"""How many votes or disjoint supporters it takes before a box can be certified: counting alone, no box is looked at.

Of `A` teammates at most `m` attack; subsets of `s` are decoded, and a subset that shows the box gives it a vote. Of all
`C(A, s)` subsets m attackers are in `K = C(A, s) - C(A - m, s)`. So `K + 1` votes hold one of an attacker-free subset:
the box is not invented. Attackers can take `K` votes away and leave `K + 1` where there were `2K + 1`: it is not hidden
either. Of N sampled subsets, drawn without repeats and not foreseen by the attackers, the touched ones follow the
hypergeometric law; with probability `confidence` they are at most its quantile, which then takes the place of K, for
all boxes of a frame at once. Disjoint supporters need no counting: `m + 1` of them, and `2m + 1`.

Who voted tells more than how many did: `robosac.certificates` certifies whatever these numbers do, and more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from robosac.budget.numbers import Probability, as_probability
from robosac.errors import InputError


@dataclass(frozen=True)
class Votes:
    """What a certificate takes; None where so many cannot be had.

    Attributes:
        decoded: subsets that are decoded, all of their size or a sample.
        touched: of them, those that hold an attacker, at most (with the confidence asked for).
        not_invented, not_hidden: votes it takes.
        supporters, supporters_not_hidden: disjoint subsets that show the box it takes instead.
        holds: probability with which a certificate by votes holds; 1 where it is certain.
    """

    decoded: int
    touched: int
    not_invented: int | None
    not_hidden: int | None
    supporters: int | None
    supporters_not_hidden: int | None
    holds: float


def votes_needed(
    teammates: int, attackers: int, subset: int, sampled: int | None = None, confidence: Probability = 1
) -> Votes:
    """What it takes to certify a box against m attackers by the subsets of one size.

    Args:
        teammates: A.
        attackers: m.
        subset: s >= 1.
        sampled: N subsets drawn without repeats; None: all of them.
        confidence: with a sample, how sure its count of attackers must be.

    Raises:
        InputError: a number that makes no sense.
    """
    for name, value, least, most in (
        ("teammates", teammates, 0, 1000), ("attackers", attackers, 0, teammates), ("subset", subset, 1, teammates),
    ):  # fmt: skip
        if not least <= value <= most:
            raise InputError(f"expected {name} to be {least} to {most}, got {value}; correct {name}")
    total = math.comb(teammates, subset)
    clean = math.comb(teammates - attackers, subset)
    n = total if sampled is None else sampled
    if not 0 <= n <= total:
        raise InputError(f"expected to sample 0 to {total} subsets of {subset} of {teammates}, got {sampled}")
    p = as_probability(confidence, "confidence")
    touched, holds = _quantile(total, total - clean, n, p)
    fit = teammates // subset if sampled is None else min(n, teammates // subset)

    def needs(count: int, of: int) -> int | None:
        return count if count <= of else None

    return Votes(
        decoded=n,
        touched=touched,
        not_invented=needs(touched + 1, n),
        not_hidden=needs(2 * touched + 1, n),
        supporters=needs(attackers + 1, fit),
        supporters_not_hidden=needs(2 * attackers + 1, fit),
        holds=float(holds),
    )


def _quantile(total: int, bad: int, draws: int, p: Fraction) -> tuple[int, Fraction]:
    """The smallest number that a hypergeometric count of bad ones exceeds with probability at most `1 - p`, and the
    probability that it does not; exact."""
    least, most = max(0, draws - (total - bad)), min(draws, bad)
    if p == 1 or least == most:
        return most, Fraction(1)
    of = math.comb(total, draws)
    ways = math.comb(bad, least) * math.comb(total - bad, draws - least)
    below = ways
    count = least
    while below * p.denominator < p.numerator * of:
        # C(bad, x + 1) C(good, n - x - 1) from C(bad, x) C(good, n - x)
        ways = ways * (bad - count) * (draws - count) // ((count + 1) * (total - bad - draws + count + 1))
        count += 1
        below += ways
    return count, Fraction(below, of)
