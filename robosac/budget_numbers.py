"""Exact integers from probabilities, whatever their size.

A budget is "the smallest n with x^n <= y". Floating point gets it wrong exactly where it matters, on the boundary
(`1 - 0.1^2 >= 0.99`), and cannot hold the numbers of large teams at all. So probabilities are fractions, logarithms are
decimals with an error bound, and the precision grows until both ends of the error interval name the same integer.
Standard library only: `robosac budget` must start at once.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Final, TypeAlias

from robosac.errors import InputError

Probability: TypeAlias = float | str | Fraction | Decimal

EXACT_BITS: Final = 1 << 17  # a power or binomial of at most this many bits stays an exact fraction
_MOST_DIGITS: Final = 1000  # of a probability as it is written
_ACCURACY: Final = 60  # significant digits of what is too large to stay exact


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
    digits = 30 + 2 * _nines(base) + _nines(bound)
    while True:
        low, high = _log_ratio(bound, base, digits)
        count = _ceil(low)
        if count == _ceil(high):
            return count
        # Undecided: either more digits tell, or base**count == bound. In lowest terms that needs denominators that
        # are equal too, which only a small count allows.
        bits = (base.denominator.bit_length() - 1) * count
        if bits <= bound.denominator.bit_length() and base**count == bound:
            return count
        digits *= 2


def power(base: Fraction, count: int) -> Fraction:
    """`base**count` for a base in [0, 1]: exact where that is affordable, else to 60 significant digits."""
    if base in (0, 1) or count * base.denominator.bit_length() <= EXACT_BITS:
        return base**count
    digits = _ACCURACY + 2 * _nines(base) + _digits(count)
    context = decimal_context(digits)
    return exp(context.multiply(Decimal(count), _ln(base, context)), digits)


def exp(log: Decimal, digits: int) -> Fraction:
    """`e**log` as a fraction; 0 where it is far below what a float can hold."""
    value = decimal_context(digits).exp(log)
    return Fraction(value) if value and value.adjusted() > -(400 + digits) else Fraction(0)


def log_miss(good: int, total: int, draws: int, digits: int) -> tuple[Decimal, Decimal]:
    """Natural log of `C(total - good, draws) / C(total, draws)`, and a bound on its absolute error.

    By Stirling's series, for numbers of any size; needs `draws <= total - good`.
    """
    bad = total - good
    with decimal.localcontext(decimal_context(digits)) as context:
        above = _ln_factorial(bad, context) + _ln_factorial(total - draws, context)
        below = _ln_factorial(bad - draws, context) + _ln_factorial(total, context)
        error = 4 * Decimal(total + 2) * (total.bit_length() + digits) * Decimal(10) ** (3 - digits)
        return above - below, error


def ln(value: Fraction, digits: int) -> Decimal:
    """Natural logarithm of a positive fraction."""
    return _ln(value, decimal_context(digits))


def _digits(number: int) -> int:
    return number.bit_length() * 30103 // 100000 + 1


def _nines(value: Fraction) -> int:
    """How many digits tell a value in (0, 1) from 1, rounded up."""
    return 1 + _digits(value.denominator) - _digits(value.denominator - value.numerator)


def decimal_context(digits: int) -> decimal.Context:
    """So many significant digits, and no underflow or overflow in sight."""
    return decimal.Context(
        prec=digits,
        Emin=decimal.MIN_EMIN,
        Emax=decimal.MAX_EMAX,
        traps=[decimal.InvalidOperation, decimal.DivisionByZero],
    )


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=decimal.ROUND_CEILING))


def _ln(value: Fraction, context: decimal.Context) -> Decimal:
    return context.ln(context.divide(Decimal(value.numerator), Decimal(value.denominator)))


def _log_ratio(upper: Fraction, lower: Fraction, digits: int) -> tuple[Decimal, Decimal]:
    """An interval that surely holds `ln(upper) / ln(lower)`, both in (0, 1)."""
    with decimal.localcontext(decimal_context(digits)) as context:
        top, bottom = -_ln(upper, context), -_ln(lower, context)
        top_slack, bottom_slack = (40 * (1 + log) * Decimal(10) ** -digits for log in (top, bottom))
        return (top - top_slack) / (bottom + bottom_slack), (top + top_slack) / (bottom - bottom_slack)


@cache
def _bernoulli(index: int) -> Fraction:
    """The Bernoulli number B_index."""
    if index == 0:
        return Fraction(1)
    if index > 1 and index % 2:
        return Fraction(0)
    return -sum((math.comb(index + 1, j) * _bernoulli(j) for j in range(index)), Fraction(0)) / (index + 1)


def _ln_factorial(number: int, context: decimal.Context) -> Decimal:
    """`ln(number!) - ln(2 pi) / 2`; the constant cancels wherever as many factorials stand above as below."""
    shift = max(0, 2 * context.prec - number)  # Stirling's series is good enough from here on
    with decimal.localcontext(context):
        n = Decimal(number + shift)
        total = (n + Decimal("0.5")) * n.ln() - n
        for k in range(1, context.prec):
            factor = _bernoulli(2 * k) / (2 * k * (2 * k - 1))
            term = Decimal(factor.numerator) / Decimal(factor.denominator) / n ** (2 * k - 1)
            if term.adjusted() < -context.prec:  # the error is smaller than the first term left out
                break
            total += term
        return total - Decimal(math.perm(number + shift, shift)).ln() if shift else total
