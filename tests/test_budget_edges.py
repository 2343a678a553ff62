"""Edges of the laws of drawing subsets: nothing asked for, exactly what can be had, and what repeats hardly change."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from robosac.budget import Law, Verifier, largest_subset, outcome, paper_subset_size
from robosac.budget.laws import STEP_LIMIT, Draws, Independent, NoRepeats
from robosac.errors import InputError

NONE, SOME = (Fraction(0), Fraction(0)), (Fraction(1, 50), Fraction(1, 10))
HAIR = Fraction(1, 10**40)
MANY = NoRepeats(10**19, 10**20)  # a repeat within five trials is as likely as 1e-19
SMALL: list[Draws] = [NoRepeats(good, total) for total in range(1, 6) for good in range(total + 1)]
SMALL += [Independent(Fraction(good, 4)) for good in range(5)]


@pytest.mark.parametrize("draws", [*SMALL, MANY, NoRepeats(10**28, 10**30)], ids=str)
@pytest.mark.parametrize("wanted", [Fraction(0), Fraction(-1, 2)])
def test_nothing_wanted_takes_no_trials(draws: Draws, wanted: Fraction) -> None:
    for rates in (NONE, SOME):
        assert draws.trials_for_clean(wanted, *rates) == (0, 0)
        assert draws.reaches(wanted, 0, *rates)


@pytest.mark.parametrize("draws", SMALL, ids=str)
def test_a_budget_reaches_what_its_chances_say_on_the_boundary_too(draws: Draws) -> None:
    for a, b in product((Fraction(0), Fraction(1, 50), Fraction(1)), (Fraction(0), Fraction(1, 10), Fraction(1))):
        clean = [draws.chances(n, a, b).clean for n in range(8)]
        for n, found in enumerate(clean):
            for wanted in (found, found - HAIR, found + HAIR, Fraction(1)):
                assert draws.reaches(wanted, n, a, b) == (found >= wanted)
            if found > max(clean[:n], default=Fraction(0)):
                assert draws.trials_for_clean(found, a, b) == (n, found)
                assert draws.trials_for_clean(found - HAIR, a, b) == (n, found)


def test_what_cannot_be_had_names_the_most_that_can() -> None:
    assert Independent(Fraction(0)).trials_for_clean(HAIR, *SOME) == (None, 0)
    limit = Fraction(9, 10) / (Fraction(9, 10) + Fraction(1, 50))
    assert Independent(Fraction(1, 2)).trials_for_clean(limit + HAIR, *SOME) == (None, limit)
    assert Independent(Fraction(1, 2)).trials_for_clean(limit, *SOME) == (None, limit)  # nearer and nearer
    assert Independent(Fraction(1, 2)).trials_for_clean(Fraction(1, 10**9), *SOME)[0] == 1
    assert NoRepeats(0, 9).trials_for_clean(Fraction(1), *NONE) == (None, 0)
    assert NoRepeats(3, 9).trials_for_clean(Fraction(2), *NONE) == (None, 1)


@pytest.mark.parametrize("n", range(1, 6))
def test_on_its_boundary_the_law_with_repeats_does_not_answer_for_the_other(n: int) -> None:
    """There a chance of 1e-19 decides: the exact numbers are those of the law without repeats."""
    *_, (clean, _, _, _, of) = MANY._follow(n, *SOME)
    exact, near = Fraction(clean, of), Independent(MANY.q).chances(n, *SOME).clean
    assert 0 <= exact - near < Fraction(1, 10**18)
    assert MANY.trials_for_clean(exact, *SOME) == MANY.trials_for_clean(near, *SOME) == (n, exact)
    assert MANY.trials_for_clean(exact + HAIR, *SOME)[0] == n + 1
    for off in (Fraction(1, 10**17), Fraction(1, 10**6)):  # off it the other answers
        assert MANY.trials_for_clean(near - off, *SOME) == (n, near)


def test_more_trials_than_are_followed_are_named_where_a_repeat_is_too_rare_to_matter() -> None:
    rare = NoRepeats(10**28, 10**30)
    limit = Fraction(9, 1000) / (Fraction(9, 1000) + Fraction(99, 5000))
    found = rare.trials_for_clean(limit * (1 - Fraction(1, 10**8)), *SOME)
    assert found == Independent(rare.q).trials_for_clean(limit * (1 - Fraction(1, 10**8)), *SOME)
    assert found[0] is not None and found[0] > STEP_LIMIT and found[1] == rare.chances(found[0], *SOME).clean
    assert rare.reaches(Fraction(1, 1000), STEP_LIMIT, *SOME)
    few = NoRepeats(10, 10**6)
    followed = few.chances(STEP_LIMIT, *SOME)
    assert followed.clean + followed.contaminated + followed.none == 1
    assert few.trials_for_clean(Fraction(1, 2), *SOME) == (None, followed.clean)
    assert few.reaches(followed.clean, STEP_LIMIT, *SOME)
    with pytest.raises(InputError, match=r"got 501 of 1000000 subsets"):
        few.chances(STEP_LIMIT + 1, *SOME)


@pytest.mark.parametrize(("law", "spent"), [(Law.NO_REPEATS, 10), (Law.INDEPENDENT, 400), (Law.PAPER, 400)])
def test_a_refused_frame_takes_every_subset_once_or_the_whole_budget(law: Law, spent: int) -> None:
    kept, refused = (
        outcome(5, 2, 3, 400, law=law, verifier=Verifier(frame_reject=f)).expected_trials for f in (0, 0.5)
    )
    assert refused == pytest.approx((kept + spent) / 2)


@pytest.mark.parametrize("confidence", [0.5, 0.99])
def test_the_reason_names_what_the_formula_says_at_this_confidence(confidence: float) -> None:
    formula = paper_subset_size(5, 1, 20, confidence)
    reason = largest_subset(5, 1, 20, confidence, law=Law.PAPER).reason
    assert reason.endswith(f"the paper's formula would say {formula}")
