"""Exact integers from probabilities, whatever their size.

A budget is "the smallest n with x^n <= y". Floating point gets it wrong exactly where it matters, on the boundary
(`1 - 0.1^2 >= 0.99`), and cannot hold the numbers of large teams at all. So probabilities are fractions. Where powers
and binomials are too large to be compared as integers, logarithms are intervals (mpmath), and the precision grows until
both ends name the same integer.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from robosac.errors import InputError

Probability: TypeAlias = float | str | Fraction | Decimal

EXACT_BITS: Final = 1 << 17  # a power or binomial of at most this many bits stays an exact fraction
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
    digits = 30 + 2 * _nines(base) + _nines(bound)
    while True:
        ratio = ln(bound, digits) / ln(base, digits)
        count, most = ceilings(ratio)
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
    digits = 60 + 2 * _nines(base) + _digits(count)
    return exp(count * ln(base, digits), digits)


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


def _digits(number: int) -> int:
    return number.bit_length() * 30103 // 100000 + 1


def _nines(value: Fraction) -> int:
    """How many digits tell a value in (0, 1) from 1, rounded up."""
    return 1 + _digits(value.denominator) - _digits(value.denominator - value.numerator)
