"""The laws of drawing subsets against literal enumeration in rational arithmetic, tables and edges."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import combinations, permutations, product
from math import comb
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.budget import (
    Law,
    Trials,
    Verifier,
    a2cp_limits,
    attackers_of_ratio,
    largest_subset,
    outcome,
    paper_subset_size,
    paper_trials,
    share,
    success,
    trials,
)
from robosac.budget.laws import Chances, Draws, Independent, NoRepeats
from robosac.errors import InputError

TEAMS = [(A, m, s) for A in range(9) for m in range(A + 1) for s in range(A + 1)]
CONFIDENCES = [Fraction(c, 1000) for c in (1, 500, 750, 900, 990, 999)]


@cache
def enumerated(A: int, m: int, s: int) -> tuple[int, int]:
    """Clean subsets and all subsets, counted one by one; teammates 0..m-1 attack."""
    subsets = list(combinations(range(A), s))
    return sum(min(members, default=m) >= m for members in subsets), len(subsets)


@cache
def paper_share(A: int, m: int, s: int) -> Fraction:
    """The paper's share: tuples of members drawn with replacement, counted one by one where that is possible."""
    if A**s > 5000:
        return paper_share(A, m, s - 1) * Fraction(A - m, A)
    tuples = list(product(range(A), repeat=s))
    return Fraction(sum(min(members, default=m) >= m for members in tuples), len(tuples))


@cache
def search_by_hand(good: int, bad: int, left: int, a: Fraction, b: Fraction, repeats: bool) -> Chances:
    """What comes of `left` more trials, trial by trial, seen from the next one."""
    if left == 0 or good + bad == 0:
        return Chances(Fraction(0), Fraction(0), Fraction(1), Fraction(0))
    q = Fraction(good, good + bad)
    total = [q * (1 - b), (1 - q) * a, Fraction(0), Fraction(1)]
    for chance, after in (
        (q * b, (good, bad) if repeats else (good - 1, bad)),
        ((1 - q) * (1 - a), (good, bad) if repeats else (good, bad - 1)),
    ):
        if chance:
            rest = search_by_hand(*after, left - 1, a, b, repeats)
            total = [have + chance * more for have, more in zip(total, rest, strict=True)]
    return Chances(*total)


@pytest.mark.parametrize(("A", "m", "s"), TEAMS)
def test_laws_agree_with_enumeration(A: int, m: int, s: int) -> None:
    good, total = enumerated(A, m, s)
    assert share(A, m, s) == share(A, m, s, law=Law.INDEPENDENT) == Fraction(good, total)
    assert share(A, m, s, law=Law.PAPER) == paper_share(A, m, s)
    missed = {Law.PAPER: Fraction(1), Law.INDEPENDENT: Fraction(1), Law.NO_REPEATS: Fraction(1)}
    for n in range(total + 3):
        assert Independent(paper_share(A, m, s)).miss(n) == missed[Law.PAPER]
        assert Independent(Fraction(good, total)).miss(n) == missed[Law.INDEPENDENT]
        assert NoRepeats(good, total).miss(n) == missed[Law.NO_REPEATS]
        assert all(success(A, m, s, n, law=law) == float(1 - missed[law]) for law in Law)
        missed[Law.PAPER] *= 1 - paper_share(A, m, s)
        missed[Law.INDEPENDENT] *= Fraction(total - good, total)
        if n < total:
            missed[Law.NO_REPEATS] *= Fraction(max(0, total - good - n), total - n)


@pytest.mark.parametrize(("A", "m", "s"), [t for t in TEAMS if comb(t[0], t[2]) <= 6])
def test_draws_without_repeats_agree_with_every_order_of_subsets(A: int, m: int, s: int) -> None:
    clean = [min(members, default=m) >= m for members in combinations(range(A), s)]
    for n in range(len(clean) + 1):
        orders = list(permutations(clean, n))
        assert NoRepeats(sum(clean), len(clean)).miss(n) == Fraction(sum(not any(o) for o in orders), len(orders))


@pytest.mark.parametrize(("A", "m", "s"), TEAMS)
def test_trials_are_the_smallest_that_suffice(A: int, m: int, s: int) -> None:
    good, total = enumerated(A, m, s)
    by_law: dict[Law, Draws] = {
        Law.PAPER: Independent(paper_share(A, m, s)),
        Law.INDEPENDENT: Independent(Fraction(good, total)),
        Law.NO_REPEATS: NoRepeats(good, total),
    }
    for law, draws in by_law.items():
        on_the_boundary = [1 - draws.miss(n) for n in (1, 2, 5)]
        for p in [*CONFIDENCES, *on_the_boundary]:
            found = trials(A, m, s, p, law=law)
            if p == 0:
                assert found.count == 0
            elif s > A - m or (p == 1 and law is not Law.NO_REPEATS and draws.miss(1)):
                assert found.count is None
                assert found.reason.startswith("impossible")
            else:
                assert found.count is not None
                assert draws.miss(found.count) <= 1 - p < draws.miss(found.count - 1)
                assert found.success == float(1 - draws.miss(found.count))


RATES = [(Fraction(1, 50), Fraction(1, 10)), (Fraction(0), Fraction(1, 3)), (Fraction(1, 4), Fraction(0))]
RATES += [
    (Fraction(1), Fraction(1)),
    (Fraction(0), Fraction(1)),
    (Fraction(1), Fraction(0)),
    (Fraction(0), Fraction(0)),
]


@pytest.mark.parametrize(("a", "b"), RATES)
def test_an_imperfect_verifier_agrees_with_the_search_followed_by_hand(a: Fraction, b: Fraction) -> None:
    for good, total in sorted({enumerated(*team) for team in TEAMS}):
        for n in sorted({0, 1, 2, 3, 7, min(total, 12), total + 1 if total < 12 else 12}):
            for law, repeats in ((Independent(Fraction(good, total)), True), (NoRepeats(good, total), False)):
                found = law.chances(n, a, b)
                assert found == search_by_hand(good, total - good, n, a, b, repeats)
                assert found.clean + found.contaminated + found.none == 1


@pytest.mark.parametrize("law", Law)
def test_a_refused_frame_is_conditioned_on(law: Law) -> None:
    n, frame = 9, 0.25
    whole = outcome(5, 2, 3, n, law=law, verifier=Verifier(0.02, frame_reject=frame))
    kept = outcome(5, 2, 3, n, law=law, verifier=Verifier(0.02))
    assert whole.clean == pytest.approx((1 - frame) * kept.clean)
    assert whole.contaminated == pytest.approx((1 - frame) * kept.contaminated)
    assert whole.none == pytest.approx((1 - frame) * kept.none + frame)
    assert whole.expected_trials == pytest.approx((1 - frame) * kept.expected_trials + frame * n)
    # More trials mend refusals that fall on trials, but never those that fall on frames.
    assert outcome(5, 2, 1, 400, law=Law.PAPER, verifier=Verifier(0, false_reject=frame)).none < 1e-9
    assert outcome(5, 2, 1, 400, law=Law.PAPER, verifier=Verifier(0, frame_reject=frame)).none == pytest.approx(frame)


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("errors", [(0, 0), (0, 0.1), (0.02, 0.1)])
def test_more_than_the_frames_that_are_not_refused_cannot_be_had(law: Law, errors: tuple[float, float]) -> None:
    found = trials(5, 2, 2, 0.95, law=law, verifier=Verifier(*errors, frame_reject=0.1))
    best = outcome(5, 2, 2, 400, law=law, verifier=Verifier(*errors)).clean
    assert found.count is None
    assert found.success == pytest.approx(0.9 * best, abs=1e-9)
    assert "no number of trials reaches more than" in found.reason


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("verifier", [Verifier(0.01, 0.2), Verifier(0.01, frame_reject=0.05), Verifier(0, 0.1, 0.05)])
def test_trials_with_an_imperfect_verifier_are_the_smallest(law: Law, verifier: Verifier) -> None:
    for team in [(5, 2, 2), (5, 1, 3), (8, 3, 2), (6, 0, 4)]:
        found = trials(*team, 0.8, law=law, verifier=verifier)
        n = found.count
        assert n is not None and n > 0
        assert found.success == pytest.approx(outcome(*team, n, law=law, verifier=verifier).clean)
        assert found.success >= 0.8
        assert outcome(*team, n - 1, law=law, verifier=verifier).clean < 0.8


class Published(NamedTuple):
    """A row of the field's table: the paper's law, the exact one, what the paper's N is worth, N without repeats."""

    team: tuple[int, int, int]
    q_paper: float
    n_paper: int
    q_exact: float
    n_exact: int
    true_success: float
    n_no_repeats: int


TABLE = [
    Published((5, 1, 2), 0.640, 5, 0.600, 6, 0.990, 4),
    Published((5, 1, 3), 0.512, 7, 0.400, 10, 0.972, 6),
    Published((5, 1, 4), 0.410, 9, 0.200, 21, 0.866, 5),
    Published((5, 2, 2), 0.360, 11, 0.300, 13, 0.980, 7),
    Published((5, 2, 3), 0.216, 19, 0.100, 44, 0.865, 10),
    Published((5, 3, 2), 0.160, 27, 0.100, 44, 0.942, 10),
    Published((5, 4, 1), 0.200, 21, 0.200, 21, 0.991, 5),
    Published((9, 2, 4), 0.366, 11, 0.278, 15, 0.972, 14),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.team))
def test_the_published_table(row: Published) -> None:
    assert float(share(*row.team, law=Law.PAPER)) == pytest.approx(row.q_paper, abs=5e-4)
    assert float(share(*row.team)) == pytest.approx(row.q_exact, abs=5e-4)
    assert paper_trials(*row.team).count == row.n_paper
    assert trials(*row.team, law=Law.INDEPENDENT).count == row.n_exact
    assert trials(*row.team, law=Law.NO_REPEATS).count == row.n_no_repeats
    assert success(*row.team, row.n_paper, law=Law.INDEPENDENT) == pytest.approx(row.true_success, abs=5e-4)


def test_probing_limits_and_the_papers_table_of_trials_for_one_teammate() -> None:
    assert [paper_trials(5, m, 1).count for m in (1, 2, 3, 4)] == [3, 6, 10, 21]
    assert a2cp_limits(5) == {5: 1, 4: 9, 3: 19, 2: 27, 1: 21}
    assert list(a2cp_limits(5)) == [5, 4, 3, 2, 1]
    assert a2cp_limits(5, law=Law.INDEPENDENT) == {5: 1, 4: 21, 3: 44, 2: 44, 1: 21}
    assert a2cp_limits(5, law=Law.NO_REPEATS) == {5: 1, 4: 5, 3: 10, 2: 10, 1: 5}
    assert a2cp_limits(5, 1, law=Law.NO_REPEATS) == {s: comb(5, s) for s in (5, 4, 3, 2, 1)}
    assert a2cp_limits(0) == {}
    with pytest.raises(InputError, match="expected a confidence below 1"):
        a2cp_limits(5, 1)


def test_the_papers_set_size_is_never_larger_than_the_honest_teammates() -> None:
    assert paper_subset_size(5, 1, 20) == 7
    answer = largest_subset(5, 1, 20, law=Law.PAPER)
    assert answer.size == 4
    assert "the paper's formula would say 7" in answer.reason
    assert largest_subset(5, 1, 20, law=Law.INDEPENDENT).size == 3
    assert largest_subset(5, 1, 20).size == 4


@pytest.mark.parametrize(("A", "m", "p"), [(5, 1, "0.99"), (9, 2, "0.5"), (20, 1, "0.9")])
def test_the_papers_set_size_is_the_largest_that_its_formula_allows(A: int, m: int, p: str) -> None:
    for n in (*range(1, 12), 40):
        size = paper_subset_size(A, m, n, p)
        q = [Fraction(A - m, A) ** s for s in (size or 0, (size or 0) + 1)]
        assert (1 - q[0]) ** n <= 1 - Fraction(p) < (1 - q[1]) ** n


def test_reasons_tell_what_the_papers_formula_would_say_and_only_of_it() -> None:
    assert trials(5, 3, 3, law=Law.PAPER).reason.endswith("(the paper's formula would say 70 trials)")
    assert largest_subset(5, 1, 20).reason == largest_subset(5, 1, 9, law=Law.PAPER).reason == "all 4 honest teammates"
    assert trials(20, 10, 10, verifier=Verifier(0, 0.1)).reason.startswith("not within 500 trials")
    assert trials(20, 10, 10, verifier=Verifier(0, 0, 0.1)).reason.startswith("impossible: with this verifier")
    assert trials(5, 3, 3).reason == "impossible: only 2 honest teammates for a subset of 3"
    assert largest_subset(5, 1, 5, law=Law.PAPER).reason == "a larger subset does not reach 0.99 in 5 trials"


def test_set_sizes_at_the_edges() -> None:
    assert paper_subset_size(5, 0, 20) is paper_subset_size(5, 0, 1) is None  # the formula divides by ln 1
    assert paper_subset_size(5, 5, 20) == paper_subset_size(5, 1, 0) == paper_subset_size(5, 1, 20, 1) == 0  # and ln 0
    for law in Law:
        assert largest_subset(5, 0, 1, law=law).size == 5
        assert largest_subset(5, 5, 9, law=law).reason == "the ego alone: no honest teammates"
        assert largest_subset(5, 2, 0, law=law).success == 0
        assert largest_subset(5, 2, 20, law=law, verifier=Verifier(frame_reject=1)).size == 0
    assert largest_subset(5, 2, 10, 1).size == 3


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("errors", [(0,), (0, 0, 0.2), (0.01, 0.1), (0.01, 0, 0.1), (1,)])
def test_the_largest_subset_is_the_largest(law: Law, errors: tuple[float, ...]) -> None:
    verifier = Verifier(*errors)
    for A, m, n in product(range(1, 8), range(8), (0, 1, 2, 5, 10, 30)):
        if m > A:
            continue
        counts = {s: trials(A, m, s, 0.85, law=law, verifier=verifier).count for s in range(1, A + 1)}
        fits = [s for s, count in counts.items() if count is not None and count <= n]
        found = largest_subset(A, m, n, 0.85, law=law, verifier=verifier)
        assert found.size == max(fits, default=0)
        assert found.success == outcome(A, m, found.size, n, law=law, verifier=verifier).clean


def test_a_larger_subset_can_need_fewer_trials_without_repeats() -> None:
    assert [trials(5, 1, s).count for s in (3, 4)] == [6, 5]
    assert largest_subset(5, 1, 5).size == 4


@pytest.mark.parametrize("law", Law)
def test_edges_have_honest_answers(law: Law) -> None:
    assert trials(5, 3, 3, law=law).reason.startswith("impossible: only 2 honest teammates for a subset of 3")
    assert trials(5, 5, 1, law=law).reason.startswith("impossible: no honest teammates")
    assert trials(1, 1, 1, law=law).count is None
    assert trials(1, 0, 1, law=law) == Trials(1, 1.0, "no attackers: every subset is attacker-free")
    assert trials(5, 5, 0, law=law).count == 1
    assert trials(5, 2, 3, 0, law=law) == Trials(0, 0.0, "no confidence is asked for")
    refused = trials(5, 2, 3, 0.5, law=law, verifier=Verifier(frame_reject=1))
    assert refused == Trials(None, 0.0, "impossible: the verifier refuses every frame")
    assert success(5, 2, 3, 0, law=law) == 0
    assert success(0, 0, 0, 1, law=law) == 1


def test_certainty_needs_draws_without_repeats() -> None:
    assert trials(5, 2, 3, 1).count == 10
    assert "draw without repeats" in trials(5, 2, 3, 1, law=Law.INDEPENDENT).reason
    assert trials(5, 2, 3, 1, law=Law.PAPER).count is None
    assert trials(5, 0, 3, 1, law=Law.PAPER).count == 1


def test_a_verifier_that_errs_bounds_what_trials_can_reach() -> None:
    answer = trials(5, 2, 3, 0.9, law=Law.INDEPENDENT, verifier=Verifier(0.02, 0.1))
    assert answer.count is None
    assert answer.success == pytest.approx(0.09 / (0.09 + 0.018))
    assert "no number of trials reaches more than 0.8333" in answer.reason


@pytest.mark.parametrize(
    ("team", "message"),
    [
        ((5, 6, 1), "expected attackers to be a whole number >= 0 and <= 5, got 6"),
        ((5, -1, 1), "expected attackers to be a whole number >= 0 and <= 5, got -1"),
        ((5, 2, 6), "expected subset to be a whole number >= 0 and <= 5, got 6"),
        ((5, 2, -1), "expected subset"),
        ((-1, 0, 0), "expected teammates to be a whole number >= 0 and <= 1000, got -1"),
        ((1001, 0, 0), "expected teammates"),
        ((5, 1.5, 1), "expected attackers"),
        ((5, True, 1), "expected attackers"),
    ],
)
def test_teams_that_cannot_be_are_refused(team: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trials(*team)


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda: success(5, 2, 3, -1), "trials to be a whole number >= 0, got -1;"),
        (lambda: outcome(5, 2, 3, -1), "trials"),
        (lambda: largest_subset(5, 2, -1), "trials"),
        (lambda: largest_subset(5, 6, 9), "attackers"),
        (lambda: largest_subset(5, 2, 9, 2), "confidence"),
        (lambda: paper_subset_size(5, 2, -1), "trials"),
        (lambda: paper_subset_size(5, 6, 9), "attackers"),
        (lambda: paper_subset_size(5, 2, 9, 2), "confidence"),
        (lambda: attackers_of_ratio(5, 2), "ratio"),
        (lambda: attackers_of_ratio(-1, 0.4), "teammates"),
        (lambda: Verifier(false_accept=2), "false_accept"),
        (lambda: Verifier(false_reject=2), "false_reject"),
        (lambda: Verifier(frame_reject=2), "frame_reject"),
    ],
)
def test_the_argument_that_makes_no_sense_is_named(ask: Callable[[], object], name: str) -> None:
    with pytest.raises(InputError, match=f"^expected {name}"):
        ask()


@given(st.integers(1, 12), st.data())
def test_drawing_without_repeats_is_never_worse(A: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(0, A))
    s, n = data.draw(st.integers(0, A)), data.draw(st.integers(0, 40))
    assert success(A, m, s, n) >= success(A, m, s, n, law=Law.INDEPENDENT)
    if s <= A - m:
        assert success(A, m, s, n, law=Law.PAPER) >= success(A, m, s, n, law=Law.INDEPENDENT)  # the paper's optimism
