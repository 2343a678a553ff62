"""Exact numbers of trial budgets: how probabilities are read, and numbers too large to be counted."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from math import comb
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.budget import Law, Verifier, attackers_of_ratio, numbers, outcome, success, trials
from robosac.budget.laws import Independent, NoRepeats
from robosac.budget.numbers import as_probability, power, smallest_power
from robosac.errors import InputError


def test_probabilities_are_read_as_they_are_written() -> None:
    assert as_probability(0.9) == as_probability("0.9") == as_probability("9/10") == Fraction(9, 10)
    # q = 9/10: one trial gives 0.9 exactly, two give 0.99; the nearest doubles would ask for one more
    assert [trials(10, 1, 1, p, law=Law.INDEPENDENT).count for p in (0.9, 0.99, 0.999)] == [1, 2, 3]
    assert as_probability("0." + "1" * 998) == Fraction(int("1" * 998), 10**998)  # 1000 digits are read, no more
    assert as_probability("1/" + "3" * 998) == Fraction(1, int("3" * 998))
    assert attackers_of_ratio(5, 0.4) == attackers_of_ratio(5, "2/5") == 2
    assert attackers_of_ratio(5, 0.41) == 3
    assert attackers_of_ratio(10, 0.7) == 7


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "inf",
        "-0.1",
        "1.1",
        "x",
        "1/0",
        "",
        "1e-999999999",
        "1e999999999",
        pytest.param("0." + "1" * 999, id="1001 digits"),
        True,
        None,
    ],
)
def test_what_is_no_probability_is_refused(text: object) -> None:
    with pytest.raises(InputError, match=r"expected confidence to be a number in \[0, 1\], got .*; write it like"):
        trials(5, 2, 3, text)  # type: ignore[arg-type]


@given(st.fractions(0, 1, max_denominator=40), st.integers(0, 12), st.fractions(0, 1, max_denominator=400))
def test_the_smallest_power(base: Fraction, n: int, bound: Fraction) -> None:
    for y in (bound, base**n, base**n - Fraction(1, 10**40), base**n + Fraction(1, 10**40)):
        found = smallest_power(base, y)
        if found is None:
            assert y < 0 or (y == 0 < base) or (base == 1 > y)
        else:
            assert base**found <= y
            assert found == 0 or base ** (found - 1) > y


@pytest.mark.parametrize("miss", [Fraction(1, 100), Fraction(1, 2), Fraction(1, 10**9), Fraction(99, 100)])
@pytest.mark.parametrize(("good", "total"), [(1, 20_000), (3, 50_000), (200, 10**6), (40_000, 10**9), (10**5, 10**7)])
def test_numbers_too_large_to_count_agree_with_counting(
    good: int, total: int, miss: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    law = NoRepeats(good, total)
    n = law.trials_for(miss)
    assert n is not None
    assert law.miss(n) <= miss < law.miss(n - 1)
    counted = law.miss(n)
    monkeypatch.setattr(numbers, "EXACT_BITS", 0)
    assert law.trials_for(miss) == n
    assert abs(law.miss(n) / counted - 1) < Fraction(1, 10**30) if counted else law.miss(n) == 0


def test_the_smallest_power_of_what_no_float_tells_from_one() -> None:
    base, hair = 1 - Fraction(1, 10**300), Fraction(1, 10**1500)
    assert [smallest_power(base, base**2 + change) for change in (hair, 0, -hair)] == [2, 2, 3]


@settings(max_examples=30)
@given(st.integers(0, 6), st.integers(0, 6), st.fractions(0, Fraction(99, 100), max_denominator=200))
def test_the_fewest_draws(good: int, bad: int, miss: Fraction) -> None:
    total = good + bad
    missed = [numbers.all_miss(good, total, n) for n in range(total + 1)]
    for bound in (miss, *(m for m in missed if m < 1)):
        assert [numbers.misses_at_most(good, total, n, bound) for n in range(total + 1)] == [m <= bound for m in missed]
        fewest = next((n for n, m in enumerate(missed) if m <= bound), None)
        assert numbers.fewest_draws(good, total, bound, at_most=None) == fewest
        assert fewest is None or numbers.fewest_draws(good, total, bound, at_most=fewest) == fewest


@pytest.mark.parametrize("miss", [Fraction(1, 100), Fraction(1, 2), Fraction(999, 1000)])
@pytest.mark.parametrize(("good", "total"), [(1, 20_000), (50, 10**6), (9_000, 20_000), (3, 10**60)])
def test_the_estimate_is_next_to_the_fewest_draws(good: int, total: int, miss: Fraction) -> None:
    """However good it is, integers decide after it, one step at a time."""
    estimate = numbers._estimate(good, total, miss)
    assert numbers.misses_at_most(good, total, estimate + 2, miss)
    assert not numbers.misses_at_most(good, total, max(estimate - 2, 0), miss)


@pytest.mark.parametrize("off", [-3, -1, 1, 3])
def test_the_fewest_draws_are_exact_however_wrong_the_estimate(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = numbers.fewest_draws(50, 10**6, Fraction(1, 10), at_most=None)
    assert exact is not None
    monkeypatch.setattr(numbers, "_estimate", lambda *_: exact + off)
    assert numbers.fewest_draws(50, 10**6, Fraction(1, 10), at_most=None) == exact


def test_large_teams_against_plain_logarithms_and_another_implementation() -> None:
    A, m, s = 1000, 400, 500
    good, total = comb(A - m, s), comb(A, s)
    n = trials(A, m, s).count
    assert n is not None
    with mpmath.workdps(900):
        lg = mpmath.loggamma

        def log(k: int) -> object:
            bad = total - good
            return lg(bad + 1) + lg(total - k + 1) - lg(bad - k + 1) - lg(total + 1)

        assert log(n) <= mpmath.log(mpmath.mpf(1) / 100) < log(n - 1)
        held = numbers.log_miss(good, total, n, 450)
        assert log(n) in held
        assert held.delta < 1e-100
    # found before by Stirling's series in decimal arithmetic, with its own bound on the error
    assert (len(str(n)), n % 10**30) == (185, 660905961193063949662333707384)
    assert success(A, m, s, n) == pytest.approx(0.99, abs=1e-12)
    assert outcome(A, m, s, n).expected_trials == pytest.approx(0.99 * float(Fraction(total, good)), rel=1e-9)


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("team", [(1000, 1, 999), (1000, 999, 1), (1000, 500, 500), (1000, 10, 3), (1000, 0, 1000)])
def test_large_teams_have_finite_answers(law: Law, team: tuple[int, int, int]) -> None:
    n = trials(*team, law=law).count
    assert n is not None
    assert success(*team, n, law=law) >= 0.99 - 1e-12
    assert success(*team, n - 1, law=law) <= 0.99 + 1e-12
    assert 0 <= outcome(*team, 100, law=law, verifier=Verifier(0.01, 0.1)).expected_trials <= 100


READ = {
    " 0.5 ": Fraction(1, 2),
    " 1/2 ": Fraction(1, 2),
    Decimal("0.1"): Fraction(1, 10),
    np.float64(0.1): Fraction(1, 10),
    np.float32(0.1): Fraction("0.10000000149011612"),
    0.1: Fraction(1, 10),
    1: Fraction(1),
    Fraction(1, 3): Fraction(1, 3),
    "1e-1000": Fraction(1, 10**1000),
    "1.0": Fraction(1),
    "-0": Fraction(0),
}


def test_every_way_to_write_a_probability() -> None:
    assert {value: as_probability(value) for value in READ} == READ


@pytest.mark.parametrize(
    "value",
    [
        *(False, True, -1, 2, Fraction(-1, 10**9), 1 + Fraction(1, 10**9), Decimal("NaN"), Decimal("sNaN"), "1e-1001"),
        *(Decimal("Infinity"), [], "1/2/3", "1e1001", "1/" + "3" * 999, float("nan"), "0." + "0" * 999),
    ],
    ids=lambda v: str(v)[:12],
)
def test_the_name_of_what_is_no_probability_is_said(value: Any) -> None:
    with pytest.raises(InputError, match=r"^expected probability to be a number in \[0, 1\], got "):
        as_probability(value)
    with pytest.raises(InputError, match=r"^expected odds to be a number in \[0, 1\], got "):
        as_probability(value, "odds")


@pytest.mark.parametrize("off", [0.5, 0.9, 1.1, 2.0])
def test_the_smallest_power_is_exact_however_wrong_the_logarithms(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    base, bound = Fraction(9, 10), Fraction(9, 10) ** 20
    monkeypatch.setattr(numbers, "_log", lambda value: math.log(value) * (off if value < Fraction(1, 2) else 1))
    for change, count in ((0, 20), (-Fraction(1, 10**9), 21), (Fraction(1, 10**9), 20)):
        assert smallest_power(base, bound + change) == count


@pytest.mark.parametrize("digits", [20, 300])
@pytest.mark.parametrize("times", [Fraction(1, 1000), Fraction(1, 3), Fraction(50)])
def test_powers_of_what_is_almost_one_have_60_digits(digits: int, times: Fraction) -> None:
    base, count = 1 - Fraction(1, 10**digits), int(times * 10**digits)
    with mpmath.workdps(digits * 2 + 100):
        wanted = (mpmath.mpf(base.numerator) / base.denominator) ** count
        found = power(base, count)
        assert abs(mpmath.mpf(found.numerator) / found.denominator / wanted - 1) < mpmath.mpf(10) ** -60


@pytest.mark.parametrize("count", [1, 100, 1000, 1100])
def test_small_powers_are_no_less_exact(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "EXACT_BITS", 0)
    assert abs(power(Fraction(1, 3), count) * 3**count - 1) < Fraction(1, 10**60)
    assert (power(Fraction(0), count), power(Fraction(1), count)) == (0, 1)
    assert power(Fraction(1, 3), 2000) == 0  # 1e-954


@pytest.mark.parametrize("draws", [40, 100])
def test_rare_misses_have_60_digits(draws: int, monkeypatch: pytest.MonkeyPatch) -> None:
    good, total = 60, 10**80
    exact = numbers.all_miss(good, total, draws)
    monkeypatch.setattr(numbers, "EXACT_BITS", 0)
    assert abs(numbers.all_miss(good, total, draws) / exact - 1) < Fraction(1, 10**60)


@pytest.mark.parametrize(("good", "total"), [(1, 2), (2, 7), (5, 9), (10, 30)])
def test_misses_are_compared_exactly_by_intervals_too(good: int, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = [numbers.all_miss(good, total, n) for n in range(total + 1)]
    monkeypatch.setattr(numbers, "EXACT_BITS", 0)
    for n, miss in enumerate(missed):
        assert abs(numbers.all_miss(good, total, n) - miss) < Fraction(1, 10**60)
        for change in (Fraction(0), Fraction(1, 10**100), -Fraction(1, 10**100)):
            if miss + change > 0:
                assert numbers.misses_at_most(good, total, n, miss + change) == (miss <= miss + change)


def test_powers_that_stay_exact_and_powers_that_do_not() -> None:
    assert power(Fraction(9, 10), 50) == Fraction(9**50, 10**50)
    tiny = Fraction(1, 10**300)
    assert float((1 - power(1 - tiny, 10**300)) - Fraction(6321205588285577, 10**16)) == pytest.approx(0, abs=1e-15)
    assert power(Fraction(1, 2), 10**30) == 0


def test_rare_repeats_let_the_law_with_repeats_answer() -> None:
    law = NoRepeats(10**28, 10**30)
    near, far = law.chances(400, Fraction(1, 50), Fraction(1, 10)), Independent(Fraction(1, 100))
    assert near == far.chances(400, Fraction(1, 50), Fraction(1, 10))
    errors = Fraction(1, 50), Fraction(1, 10)
    assert law.trials_for_clean(Fraction(99, 100), *errors) == (None, far.chances(500, *errors).clean)
    assert NoRepeats(0, 9).trials_for_clean(Fraction(1, 2), Fraction(0), Fraction(0)) == (None, 0)
    few = NoRepeats(10, 10**6)
    for ask in (few.chances, lambda *args: few.reaches(Fraction(1, 10**4), *args)):
        with pytest.raises(InputError, match="expected at most 500 trials without repeats for an imperfect verifier"):
            ask(501, Fraction(0), Fraction(99, 100))
    assert not few.reaches(Fraction(1, 2), 501, Fraction(1, 50), Fraction(0))  # 500 trials show that it cannot be


@pytest.mark.parametrize("total", [1, 2, 10, 365])
def test_the_birthday_bound_on_repeats(total: int) -> None:
    """Where a repeat is negligible, the law with repeats answers; how likely one is, is bounded and nearly so much."""
    law = NoRepeats(1, total)
    different = Fraction(1)
    for n in range(1, total + 1):
        assert 1 - different <= law._repeats(n) <= (1 - different) / max(different, Fraction(1, 10**9))
        different *= Fraction(total - n, total)
    assert (law._repeats(0), law._repeats(1), law._repeats(2)) == (0, 0, Fraction(1, total))
