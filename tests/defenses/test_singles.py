"""What teammates show alone: who is trusted, who is accused, and that nobody is by what others show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.agreement import BoxJaccard
from robosac.defenses.limits import Limits
from robosac.defenses.singles import CLAIMS, Singles
from robosac.evidence import Showing
from robosac.types import Detections
from tests.evidence.written import result

OWN = result((0, 0), (0, 10), (0, 20), (0, 30))
FAR = [(10.0 + 8 * k, 0.0) for k in range(9)]


def allow(agreement: float = 0.25, one: Any = 3, two: Any = 2) -> Limits:
    """Limits of every size, or by size."""

    def by(size: Any) -> Any:
        return size if callable(size) else lambda _: float(size)

    return Limits(by(agreement), by(one), by(two), by(1.0), by(1.0))


def judged(own: Detections = OWN, limits: Limits | None = None, /, **singles: Detections) -> Singles:
    compare = BoxJaccard().against(own)
    return Singles.of(own, singles, compare, limits or allow(), Showing(), 1.5)


def also(*cars: tuple[float, float]) -> Detections:
    """What the ego shows, and more."""
    return result((0, 0), (0, 10), (0, 20), (0, 30), *cars)


def test_who_shows_what_honest_ones_do_is_trusted() -> None:
    found = judged(a=also(FAR[0]), b=also(FAR[1], FAR[2]), c=OWN)
    assert found.trusted == ("a", "b", "c") and not found.accused and not found.apart
    assert [t.subset for t in found.trials] == [frozenset(i) for i in "abc"]
    assert [t.scores[CLAIMS] for t in found.trials] == pytest.approx([1 / 3, 2 / 3, 0])


def test_too_many_claims() -> None:
    """Three are allowed: of four it is not trusted, from five on, 1.5 times as many, accused."""
    for claims, accused in ((3, ""), (4, ""), (5, "a")):
        found = judged(a=also(*FAR[:claims]), b=OWN)
        assert found.trusted == ("b",) if claims > 3 else ("a", "b")
        assert found.accused == frozenset(accused)


@pytest.mark.parametrize(("shared", "accused"), [(2, "a"), (3, "a"), (4, "")])
def test_far_off_from_the_ego(shared: int, accused: str) -> None:
    """Asked for is 0.8: 1.5 times as far off is below 0.7. Two of four is 0.5, three 0.75."""
    found = judged(OWN, allow(agreement=0.8), a=result(*((0, 10 * k) for k in range(shared))))
    assert found.trusted == (("a",) if shared == 4 else ())
    assert found.accused == (frozenset() if shared >= 3 else frozenset(accused))


def test_who_disagrees_explains_nothing() -> None:
    """The claims of those who agree are not excused by one who does not: it would say yes to every one."""
    stranger = result(*FAR)
    found = judged(a=also(*FAR[:4]), z=stranger)
    assert found.trusted == () and found.accused == frozenset("z")
    both = judged(a=also(*FAR[:4]), z=also(*FAR[:4]))
    assert both.trusted == ("a", "z") and both.apart == (frozenset("az"),)  # together they hold four for themselves


def test_a_third_who_shows_it_too_makes_it_no_claim_of_two() -> None:
    found = judged(a=also(*FAR[:4]), b=also(*FAR[:4]), c=also(*FAR[:4]))
    assert found.trusted == ("a", "b", "c") and not found.apart


def test_a_limit_below_one_box_is_one_box() -> None:
    found = judged(OWN, allow(one=0, two=0), a=also(FAR[0]), b=also(FAR[1]))
    assert found.trusted == ("a", "b")
    assert judged(OWN, allow(one=0), a=also(*FAR[:2])).accused == frozenset("a")


@pytest.mark.parametrize("asked", [0.0, 0.25])
def test_what_is_not_finite_is_not_trusted(asked: float) -> None:
    """Nor where honest frames may agree in nothing at all."""
    boxes = OWN.boxes.copy()
    boxes[0, 0] = np.nan
    found = judged(OWN, allow(agreement=asked), a=Detections(boxes, OWN.scores), b=OWN)
    assert found.trusted == ("b",) and found.trials[0].scores == {"finite": 0.0}


def test_nobody() -> None:
    found = judged()
    assert found.trusted == () and not found.trials and not found.accused and not found.apart


# ------------------------------------------------------------------------------------------- whatever others show
SPOTS = [(0.0, 10.0 * k) for k in range(4)] + FAR
some = st.dictionaries(st.sampled_from(SPOTS), st.sampled_from([0.1, 0.3, 0.9]), max_size=13).map(
    lambda cars: result(*((x, y, score) for (x, y), score in cars.items()))
)
anything = st.one_of(
    some, some.map(lambda r: Detections(np.full_like(r.boxes, np.nan), r.scores)), st.just(Detections.empty())
)
by_size = st.lists(st.integers(0, 8), min_size=7, max_size=7).map(lambda v: lambda n: float(v[n]))


@given(some, st.dictionaries(st.sampled_from("abcde"), anything), st.floats(0, 1), by_size, by_size)
def test_nobody_is_accused_by_what_others_show(
    single: Detections, others: Mapping[str, Detections], asked: float, one: Any, two: Any
) -> None:
    limits = allow(asked, one, two)
    alone = judged(OWN, limits, me=single)
    among = judged(OWN, limits, me=single, **others)
    assert among.accused & {"me"} <= alone.accused
    assert among.trials[0].agreement == alone.trials[0].agreement


@given(st.dictionaries(st.sampled_from("abcde"), anything), st.floats(0, 1), by_size, by_size)
def test_whatever_all_show(singles: Mapping[str, Detections], asked: float, one: Any, two: Any) -> None:
    found = judged(OWN, allow(asked, one, two), **singles)
    trusted = frozenset(found.trusted)
    assert trusted <= set(singles) and not trusted & found.accused
    assert all(singles[i].finite for i in trusted)
    assert all(len(pair) == 2 and pair <= trusted for pair in found.apart)
    assert trusted == frozenset().union(*(t.subset for t in found.trials if t.accepted))
    again = judged(OWN, allow(asked, one, two), **dict(reversed(singles.items())))
    assert (frozenset(again.trusted), again.accused, set(again.apart)) == (trusted, found.accused, set(found.apart))


@given(st.dictionaries(st.sampled_from("abcde"), anything), st.floats(0, 1))
def test_a_broken_ego_trusts_nobody(singles: Mapping[str, Detections], asked: float) -> None:
    own = Detections(np.full_like(OWN.boxes, np.nan), OWN.scores)
    found = judged(own, allow(asked), **singles)
    assert found.trusted == () and not found.accused


def test_an_ego_that_sees_nothing_accuses_nobody() -> None:
    """It agrees with nobody, which is nobody's fault."""
    limits = allow(agreement=0.8)
    assert Singles.of(OWN, {"a": also(*FAR)}, lambda _: 0.0, limits, Showing(), 1.5).accused == frozenset()
    assert judged(OWN, limits, a=result(*FAR)).accused == frozenset("a")
