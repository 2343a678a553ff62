"""Who shows what: claims of one and of two by hand, and against sets of places."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.evidence import Showing, Shown
from robosac.types import Detections, InputError
from tests.evidence.written import result, shown

SPOTS = [(10.0 * k, 0.0) for k in range(8)]  # far apart: two boxes are of one object where they are at one spot
NAMES = "abcd"
seen = st.sets(st.sampled_from(SPOTS))


def test_one_threshold_says_what_is_shown() -> None:
    """A box just below it neither is a claim nor takes one from who shows it."""
    found = shown(result((0, 0)), a=result((0, 0), (10, 0, 0.25), (20, 0, 0.24)), b=result((20, 0)))
    assert found.scores.min() >= np.float32(0.25) and len(found.boxes) == 4
    assert found.sole("ab") == {"a": 1, "b": 1}


def test_claims_of_pairs_by_hand() -> None:
    found = shown(result(), a=result((10, 0), (20, 0)), b=result((10, 0)), c=result((20, 0), (30, 0)))
    assert found.sole("abc") == {"a": 0, "b": 0, "c": 1}
    assert found.shared("abc") == {("a", "b"): 1, ("a", "c"): 1, ("b", "c"): 0}


def test_only_the_members_are_asked() -> None:
    """Who is not among them neither claims nor takes a claim away."""
    found = shown(result(), a=result((10, 0), (20, 0)), b=result((10, 0)), c=result((20, 0), (30, 0)))
    assert found.sole("ab") == {"a": 1, "b": 0} and found.shared("ab") == {("a", "b"): 1}
    assert found.sole("a") == {"a": 2} and found.shared("a") == {} and found.sole("") == {}


def test_what_the_ego_shows_nobody_claims() -> None:
    found = shown(result((0, 0), (2, 30)), a=result((2.15, 0), (4.2, 30)), b=result((2.15, 0)))
    assert found.sole("a") == {"a": 1}  # 2.15 m off overlaps by just over 0.3, 2.2 m by less
    assert found.shared("ab") == {("a", "b"): 0}


def test_two_boxes_of_one_object_are_two_claims_of_who_shows_them() -> None:
    found = shown(result(), a=result((10, 0), (10, 0.8)), b=result((10, 0.4)))
    assert found.shared("ab") == found.shared("ba") == {("a", "b"): 2} and found.sole("ab") == {"a": 0, "b": 0}


def test_by_is_who_shows_an_object_at_each_box() -> None:
    found = shown(result((0, 0)), a=result((1, 0), (10, 0)), b=result((10, 0), (0, 0, 0.1)))
    assert found.by.tolist() == [[True, True, False], [True, True, False], [False, True, True], [False, True, True]]
    assert found.source.tolist() == [0, 1, 1, 2]
    assert found.ego_in_place.tolist() == [True, True, False, False]
    assert found.supporters(result((0.5, 0), (30, 0)).boxes).tolist() == [[True, True, False], [False, False, False]]


def test_one_object_may_be_at_another_place() -> None:
    """IoU 0.4 is the same car, 0.5 would be the same place."""
    found = shown(result((0, 0)), a=result((1.7, 0)))
    assert found.by.tolist() == [[True, True]] * 2 and found.ego_in_place.tolist() == [True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_result_that_is_not_finite_shows_nothing(bad: float) -> None:
    good = result((10, 0), (20, 0))
    boxes = good.boxes.copy()
    boxes[1, 0] = bad
    score_map = np.full((2, 2), bad, np.float32)
    for broken in (replace(good, boxes=boxes), replace(good, score_map=score_map)):
        assert shown(result(), a=broken, b=good).sole("ab") == {"a": 0, "b": 2}


def test_nobody_shows_anything() -> None:
    found = Shown.of(Detections.empty(), {}, Showing())
    assert found.sole([]) == {} and found.supporters(result((0, 0)).boxes).tolist() == [[False]]


@given(seen, st.lists(seen, min_size=4, max_size=4), st.sets(st.sampled_from(NAMES)))
def test_claims_are_differences_of_sets(own: Any, theirs: list[Any], members: set[str]) -> None:
    sets = dict(zip(NAMES, theirs, strict=True))
    found = shown(result(*own), **{i: result(*s) for i, s in sets.items()})
    alone = {i: len(sets[i] - own.union(*(sets[j] for j in members - {i}))) for i in members}
    assert found.sole(members) == alone
    both = {
        (i, j): len((sets[i] & sets[j]) - own.union(*(sets[k] for k in members - {i, j})))
        for i, j in combinations(sorted(members), 2)
    }
    assert found.shared(members) == both


@given(seen, st.lists(seen, min_size=4, max_size=4), st.sets(st.sampled_from(NAMES)))
def test_the_fewer_are_asked_the_more_each_claims(own: Any, theirs: list[Any], members: set[str]) -> None:
    found = shown(result(*own), **{i: result(*s) for i, s in zip(NAMES, theirs, strict=True)})
    everybody = found.sole(NAMES)
    assert all(found.sole(members)[i] >= everybody[i] for i in members)
    assert all(count >= found.shared(NAMES)[pair] for pair, count in found.shared(members).items())


@pytest.mark.parametrize("name", ["score", "same", "place"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, float("nan")])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"expected {name} inside \(0, 1\), got"):
        Showing(**{name: value})


def test_the_name_says_every_setting() -> None:
    assert Showing().name == "score=0.25,same=0.3,place=0.5"
    assert len({Showing().name, Showing(score=0.3).name, Showing(same=0.4).name, Showing(place=0.6).name}) == 4
