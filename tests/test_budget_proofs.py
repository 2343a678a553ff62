"""What a certificate takes and how soon an attacker is checked, against everything that can happen in small teams."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from scipy.stats import hypergeom

from robosac.budget import AuditLaw, audit_frames, pass_frames, unchecked, votes_needed
from robosac.errors import InputError

TABLE = [  # A = 5: m, s, all, with attackers, votes against inventing, and against hiding too
    (1, 1, 5, 1, 2, 3),
    (1, 2, 10, 4, 5, 9),
    (1, 3, 10, 6, 7, None),
    (1, 4, 5, 4, 5, None),
    (2, 1, 5, 2, 3, 5),
    (2, 2, 10, 7, 8, None),
    (2, 4, 5, 5, None, None),
]


@pytest.mark.parametrize(("m", "s", "total", "touched", "invented", "hidden"), TABLE)
def test_votes_of_all_subsets(
    m: int, s: int, total: int, touched: int, invented: int | None, hidden: int | None
) -> None:
    got = votes_needed(5, m, s)
    assert (got.decoded, got.touched, got.not_invented, got.not_hidden) == (total, touched, invented, hidden)
    assert got.holds == 1


@pytest.mark.parametrize(("s", "one", "both"), [(1, 3, 5), (2, None, None), (3, None, None)])
def test_disjoint_supporters(s: int, one: int | None, both: int | None) -> None:
    got = votes_needed(5, 2, s)
    assert (got.supporters, got.supporters_not_hidden) == (one, both)
    assert votes_needed(9, 2, 3).supporters == 3
    assert votes_needed(9, 2, 3, sampled=2).supporters is None


@pytest.mark.parametrize("teammates", [2, 3, 4])
def test_so_many_votes_hold_one_without_attackers_and_one_fewer_need_not(teammates: int) -> None:
    """Every team, size, set of attackers and set of votes."""
    for m in range(teammates + 1):
        for s in range(1, teammates + 1):
            every = [set(c) for c in combinations(range(teammates), s)]
            with_attackers = max(sum(bool(v & set(b)) for v in every) for b in combinations(range(teammates), m))
            got = votes_needed(teammates, m, s)
            assert got.touched == with_attackers
            for count in range(len(every) + 1):
                certain = all(
                    any(not v & set(b) for v in votes)
                    for votes in combinations(every, count)
                    for b in combinations(range(teammates), m)
                )
                assert certain == (got.not_invented is not None and count >= got.not_invented)


@pytest.mark.parametrize("p", ["0", "0.5", "0.9", "0.99", "1"])
def test_a_sample_holds_no_more_attackers_than_said_with_the_confidence_asked_for(p: str) -> None:
    """Every sample of every size, counted; and one fewer would be said with less."""
    for m, s in ((1, 2), (2, 2), (1, 3), (2, 1), (0, 2), (4, 2)):
        every = [set(c) for c in combinations(range(4), s)]
        for n in range(len(every) + 1):
            counts = Counter(sum(bool(v & set(range(m))) for v in sample) for sample in combinations(every, n))
            of = Fraction(comb(len(every), n))
            got = votes_needed(4, m, s, n, p)
            at_most = sum(c for k, c in counts.items() if k <= got.touched) / of
            assert at_most >= Fraction(p)
            assert float(at_most) == got.holds
            assert sum(c for k, c in counts.items() if k < got.touched) / of < max(Fraction(p), Fraction(1, 10**9))


def test_the_quantile_is_that_of_scipy() -> None:
    for teammates, m, s, n in ((20, 2, 2, 60), (50, 5, 3, 500), (30, 3, 1, 10)):
        total, bad = comb(teammates, s), comb(teammates, s) - comb(teammates - m, s)
        got = votes_needed(teammates, m, s, n, 0.99)
        assert got.touched == hypergeom(total, bad, n).ppf(0.99)
        assert got.holds == pytest.approx(hypergeom(total, bad, n).cdf(got.touched))


def dealings(teammates: int, length: int) -> Counter[tuple[int, ...]]:
    """Every way to deal the teammates to the frames of a pass as evenly as can be: who is in which frame."""
    even, more = divmod(teammates, length)
    found: Counter[tuple[int, ...]] = Counter()
    for longer in combinations(range(length), more):
        slots = [f for f in range(length) for _ in range(even + (f in longer))]
        found.update(permutations(slots))
    return found


@pytest.mark.parametrize(("teammates", "rate"), [(1, "1/3"), (3, "1/2"), (3, "0.3"), (4, "1/3"), (4, "1"), (2, "0.2")])
def test_a_rotation_by_every_dealing_there_is(teammates: int, rate: str) -> None:
    length = pass_frames(rate)
    deals = dealings(teammates, length)
    of = sum(deals.values())
    for m in range(1, teammates + 1):
        first = Counter[int]()  # frame of the pass in which the first attacker is checked
        last = Counter[int]()  # as seen from the end
        for deal, ways in deals.items():
            first[min(deal[:m])] += ways
            last[length - 1 - max(deal[:m])] += ways
        missed = [Fraction(sum(c for f, c in first.items() if f >= k), of) for k in range(length + 1)]
        assert missed == [Fraction(sum(c for f, c in last.items() if f >= k), of) for k in range(length + 1)]
        assert [unchecked(teammates, m, rate, k) for k in range(length + 1)] == missed
        mean = sum((f + 1) * c for f, c in first.items()) / of
        got = audit_frames(teammates, m, rate, 1)
        assert (got.count, got.certain, got.reached) == (missed.index(0), missed.index(0), 1)
        assert got.mean == pytest.approx(mean)
        worst = [
            max(missed[min(left, k)] * missed[min(k - min(left, k), length)] for left in range(1, length + 1))
            for k in range(2 * length)
        ]
        assert [unchecked(teammates, m, rate, k, law=AuditLaw.ROTATION_WORST) for k in range(2 * length)] == worst
        got = audit_frames(teammates, m, rate, 0.9, law=AuditLaw.ROTATION_WORST)
        assert got.certain == worst.index(0)
        assert got.count == next(k for k, miss in enumerate(worst) if 1 - miss >= Fraction(9, 10))


def test_the_worst_start_by_playing_it() -> None:
    """Two passes of three frames, the attack starts in any frame of the first: means and chances of every dealing."""
    deals = list(dealings(3, 3))
    waits: dict[int, list[int]] = {}
    for start in range(3):
        for one in deals:
            for two in deals:
                checked = [f for f in (one[0], 3 + two[0]) if f >= start]
                waits.setdefault(start, []).append(checked[0] - start + 1)
    worst = max(np.mean(w) for w in waits.values())
    got = audit_frames(3, 1, "1/3", law=AuditLaw.ROTATION_WORST)
    assert got.mean == pytest.approx(worst)
    assert got.certain == max(map(max, waits.values()))


def test_drawn_anew_is_geometric() -> None:
    assert unchecked(5, 2, "0.2", 3, law=AuditLaw.ANEW) == Fraction(4, 5) ** 6
    got = audit_frames(5, 1, "0.2", "0.99", law=AuditLaw.ANEW)
    assert (got.count, got.certain, got.mean) == (21, None, 5)  # 0.8^21 < 0.01 <= 0.8^20
    assert audit_frames(5, 1, "0.2", 1, law=AuditLaw.ANEW).count is None
    assert audit_frames(5, 3, 1, 1, law=AuditLaw.ANEW).count == 1


def test_a_rotation_is_never_slower_and_audit_1_checks_all() -> None:
    for rate in ("0.05", "0.2", "1/3", "1"):
        for m in (1, 2, 5):
            by_law = [audit_frames(5, m, rate, law=law).count for law in AuditLaw]
            assert by_law == sorted(by_law, key=lambda n: n or 0)
    for law in AuditLaw:
        assert audit_frames(5, 1, 1, 1, law=law).certain == 1


def test_what_makes_no_sense_is_refused() -> None:
    for wrong, message in (
        ((5, 6, 1), "attackers to be 0 to 5, got 6"),
        ((5, 1, 0), "subset to be 1 to 5, got 0"),
        ((2000, 1, 1), "teammates to be 0 to 1000"),
        ((5, 1, 2, 11), "sample 0 to 10 subsets of 2 of 5, got 11"),
    ):
        with pytest.raises(InputError, match=message):
            votes_needed(*wrong)
    with pytest.raises(InputError, match=r"rate in \[0.001, 1\], got 0"):
        audit_frames(5, 1, 0)
    with pytest.raises(InputError, match="attackers to be 0 to 5, got 6"):
        unchecked(5, 6, 0.5, 1)
    with pytest.raises(InputError, match="frames >= 0, got -1"):
        unchecked(5, 1, 0.5, -1)
    with pytest.raises(InputError, match="teammates to be 1 to 1000, got 0"):
        audit_frames(0, 0, 0.5)
    assert audit_frames(5, 0, 0.5).count is None
