"""Exact integers from probabilities, whatever their size.

A budget is "the smallest n with x^n <= y". Floating point gets it wrong exactly where it matters, on the boundary
(`1 - 0.1^2 >= 0.99`), and cannot hold the numbers of large teams at all. So probabilities are fractions. Where powers
and binomials are too large to be compared as integers, logarithms are intervals (mpmath), and the precision grows until
both ends name the same integer.
"""

from __future__ import annotations

import decimal
import math
from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from robosac.errors import InputError

Probability: TypeAlias = float | str | Fraction | Decimal

EXACT_BITS: Final = 1 << 17  # a power or binomial of at most this many bits stays an exact fraction
DIGITS: Final = 100  # where intervals begin; they are made anew with twice as many until these suffice
_MOST_DIGITS: Final = 1000  # of a probability as it is written


def as_probability(value: Probability, name: str = "probability") -> Fraction:
    """Read a probability in [0, 1] as the decimal or fraction that was written: 0.9 is 9/10, not its nearest double.

    Raises `InputError` for anything outside [0, 1], not finite or not a number.
    """
    complaint = InputError(f"expected {name} to be a number in [0, 1], got {value!r}; write it like 0.99 or 2/3")
    if isinstance(value, bool):
        raise complaint
    if isinstance(value, Fraction | int):
        exact = Fraction(value)
    else:
        try:
            text = (
                value.strip() if isinstance(value, str) else str(value if isinstance(value, Decimal) else float(value))
            )
            if "/" in text and len(text) <= _MOST_DIGITS:
                exact = Fraction(text)
            else:  # as Decimal first: Fraction would write out every zero of 1e-999999999
                number = Decimal(text)
                if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS or len(text) > _MOST_DIGITS:
                    raise complaint
                exact = Fraction(number)
        except (ValueError, TypeError, ZeroDivisionError, decimal.InvalidOperation):
            raise complaint from None
    if not 0 <= exact <= 1:
        raise complaint
    return exact


def smallest_power(base: Fraction, bound: Fraction) -> int | None:
    """The smallest n >= 0 with `base**n <= bound`, for a base in [0, 1]; None where no n is large enough."""
    if bound >= 1:
        return 0
    if bound >= 0 and base <= bound:
        return 1
    if bound <= 0 or base == 1:
        return None
    bits, bits_of_bound = base.denominator.bit_length(), bound.denominator.bit_length()
    if max(bits, bits_of_bound) < 900:  # within what a float's logarithm takes: it proposes, integers decide
        count = max(1, math.ceil(_log(bound) / _log(base)))
        if (count + 1) * bits <= EXACT_BITS:
            while base**count > bound:
                count += 1
            while base ** (count - 1) <= bound:
                count -= 1
            return count
    digits = DIGITS
    while True:
        log = ln(base, digits)
        if 0 not in log:
            count, most = ceilings(ln(bound, digits) / log)
            if count == most:
                return count
            # Undecided: either more digits tell, or base**count == bound. In lowest terms that needs denominators that
            # are equal too, which only a small count allows.
            if (bits - 1) * count <= bits_of_bound and base**count == bound:
                return count
        digits *= 2


def _log(value: Fraction) -> float:
    return math.log1p(-float(1 - value)) if value > 0.5 else math.log(value)


def power(base: Fraction, count: int) -> Fraction:
    """`base**count` for a base in [0, 1]: exact where that is affordable, else to 60 significant digits."""
    if base in (0, 1) or count * base.denominator.bit_length() <= EXACT_BITS:
        return base**count
    return _exp(lambda digits: count * ln(base, digits))


# ------------------------------------------------------------------------------------- draws that are not put back
def all_miss(good: int, total: int, draws: int) -> Fraction:
    """`C(total - good, draws) / C(total, draws)`: the probability that so many different draws hit none of the good
    ones; exact where that is affordable, else to 60 significant digits.
    """
    if draws > total - good:
        return Fraction(0)
    if min(draws, good) * total.bit_length() <= EXACT_BITS:
        return Fraction(*_ways(good, total, draws))
    return _exp(lambda digits: log_miss(good, total, draws, digits))


def fewest_draws(good: int, total: int, miss: Fraction, *, at_most: int | None) -> int | None:
    """The smallest number of different draws that miss all of the good ones with at most the probability `miss` < 1;
    None where there are no good ones, or `miss` is below 0. `at_most` is a bound that is known already.
    """
    bad = total - good
    if good == 0 or miss < 0:
        return None
    if miss == 0:
        return bad + 1  # for certainty all bad ones and one more
    upper = bad + 1 if at_most is None else min(at_most, bad + 1)
    if upper <= 10_000:
        return bisect_left(range(upper + 1), True, key=lambda n: misses_at_most(good, total, n, miss))
    count = _estimate(good, total, miss)
    while not misses_at_most(good, total, count, miss):
        count += 1
    while misses_at_most(good, total, count - 1, miss):
        count -= 1
    return count


def misses_at_most(good: int, total: int, draws: int, miss: Fraction) -> bool:
    """Whether `all_miss(good, total, draws) <= miss`, never decided by rounding."""
    if draws > total - good:
        return miss >= 0  # not all of them can be bad
    if min(draws, good) * total.bit_length() <= 16 * EXACT_BITS:
        missed, of = _ways(good, total, draws)
        return missed * miss.denominator <= miss.numerator * of
    digits = first = 60 + total.bit_length() // 3
    while True:
        excess = log_miss(good, total, draws, digits) - ln(miss, digits)
        # Numbers of millions of bits that still agree at eight times the digits count as equal.
        if 0 not in excess or digits >= 8 * first:
            return bool(excess.a <= 0)
        digits *= 2


def _ways(good: int, total: int, draws: int) -> tuple[int, int]:
    """Numerator and denominator of `all_miss`, in the shorter of its two forms."""
    if draws <= good:
        return math.comb(total - good, draws), math.comb(total, draws)
    return math.comb(total - draws, good), math.comb(total, good)


def _estimate(good: int, total: int, miss: Fraction) -> int:
    """About `fewest_draws`, from the usual approximation of the law: a few dozen off at worst, mostly none."""
    digits = DIGITS + total.bit_length()
    share = 1 - exp(ln(miss, digits) / good, digits)
    return min(int((total - Fraction(good - 1, 2)) * share) + 1, total - good)


# ---------------------------------------------------------------------------------------------- intervals, by mpmath
@lru_cache(maxsize=16)
def intervals(digits: int) -> Any:
    """mpmath's interval arithmetic of so many significant digits: what it returns surely holds the exact value.

    mpmath is loaded when the first number is too large to be exact; small teams never ask for it.
    """
    from mpmath.ctx_iv import MPIntervalContext

    context = MPIntervalContext()
    context.dps = digits
    return context


def ln(value: Fraction, digits: int) -> Any:
    """An interval that holds the natural logarithm of a positive fraction."""
    context = intervals(digits)
    return context.log(context.mpf(value.numerator) / value.denominator)


def exp(log: Any, digits: int) -> Fraction:
    """`e**log` as a fraction, from the middle of an interval; 0 where it is far below what a float can hold."""
    from mpmath.libmp import to_rational

    value = intervals(digits).exp(log).mid._mpi_[0]
    _, mantissa, exponent, bits = value
    return Fraction(*to_rational(value)) if mantissa and exponent + bits > -4 * (400 + digits) else Fraction(0)


def _exp(log: Callable[[int], Any]) -> Fraction:
    """e to a logarithm that is known to as many digits as one asks for, to 60 significant digits."""
    digits = DIGITS
    while not (found := log(digits)).delta < 1e-61:
        digits *= 2
    return exp(found, digits)


def log_miss(good: int, total: int, draws: int, digits: int) -> Any:
    """An interval that holds ln of `C(total - good, draws) / C(total, draws)`; needs `draws <= total - good`."""
    context, bad = intervals(digits), total - good
    above, below = (bad, total - draws), (bad - draws, total)
    terms = [[context.loggamma(context.mpf(n + 1)) for n in numbers] for numbers in (above, below)]
    return terms[0][0] + terms[0][1] - terms[1][0] - terms[1][1]


def ceilings(interval: Any) -> tuple[int, int]:
    """Both ends of an interval, rounded up."""
    from mpmath.libmp import to_int

    low, high = (to_int(end, "c") for end in interval._mpi_)
    return int(low), int(high)
