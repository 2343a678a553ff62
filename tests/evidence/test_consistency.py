"""Strain: each number by hand, and what holds for every result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.evidence import Consistency, Showing, Shown, Strain
from robosac.evidence.consistency import strain
from robosac.types import Detections, InputError
from tests.evidence.written import result, shown

OWN = [(0, 0), (0, 10)]
A = [(0, 0), (0, 10), (10, 0), (10, 10), (10, 20)]
B = [(0, 0), (20, 0)]
ALL = [*OWN, *A[2:], (20, 0)]
SHOWN = shown(result(*OWN), a=result(*A), b=result(*B))
NONE = Strain(gone=0, gone_of_one=0, gone_of_ego=0, gone_of_two=0, moved=0, moved_of_one=0, extra=0)


def without(*cars: tuple[int, int]) -> Detections:
    return result(*(c for c in ALL if c not in cars))


def check(found: Strain, **expected: float) -> None:
    assert asdict(found) == pytest.approx({**asdict(NONE), **expected}, abs=1e-6)


@pytest.mark.parametrize(
    ("joint", "expected"),
    [
        # one of four that members alone show; one of a's five; the worst member's one box is forgiven
        (without((10, 0)), {"gone": 1 / 7, "gone_of_two": (1 / 8 + 0) / 2}),
        # one of two of a's three is forgiven
        (without((10, 0), (10, 10)), {"gone": 2 / 7, "gone_of_one": 1 / 5, "gone_of_two": (2 / 8 + 0) / 2}),
        # b's only one is forgiven as well
        (without((20, 0)), {"gone": 1 / 7, "gone_of_two": (1 / 5 + 0) / 2}),
        (without((20, 0), (10, 0)), {"gone": 2 / 7, "gone_of_two": (1 / 5 + 1 / 8) / 2}),
        # what the ego shows, too, is not new of anybody
        (without((0, 0)), {"gone_of_ego": 1 / 5, "gone_of_two": (1 / 8 + 1 / 5) / 2}),
        (without((0, 10)), {"gone_of_ego": 1 / 5, "gone_of_two": (1 / 8 + 0) / 2}),
        # nothing is left: nothing is where it was, either
        (
            result(),
            {"gone": 4 / 7, "gone_of_one": 2 / 5, "gone_of_ego": 2 / 5, "gone_of_two": (5 / 8 + 2 / 5) / 2}
            | {"moved": 1, "moved_of_one": 1},
        ),
        # all are 1 m off: still in place
        (result(*((x + 1, y) for x, y in ALL)), {"moved": 0.4, "moved_of_one": 0.4}),
        # of a, whose five are asked by themselves, three; all nine together stay
        (
            result(*((x + (x == 10), y) for x, y in ALL)),
            {"moved_of_one": 0.4},
        ),
        (result(*ALL, (30, 0), (40, 0), (50, 0, 0.24)), {"extra": 2}),
        # 1.7 m beside a's: the same object, no extra, yet not in its place
        (
            result(*((x + 1.7 * (x == 20), y) for x, y in ALL)),
            {"gone": 1 / 7, "gone_of_two": (1 / 5 + 0) / 2},
        ),
    ],
)
def test_strain_by_hand(joint: Detections, expected: dict[str, float]) -> None:
    check(strain(SHOWN, frozenset("ab"), joint), **expected)


@pytest.mark.parametrize(("score", "gone"), [(0.45, 0), (0.449, 1), (0.9, 0)])
def test_half_of_the_score_is_asked_for(score: float, gone: int) -> None:
    joint = result(*(c for c in ALL if c != (10, 0)), (10, 0, score))
    check(strain(SHOWN, frozenset("ab"), joint), gone=gone / 7, gone_of_two=gone / 16)


def test_each_member_is_asked_by_its_own_score() -> None:
    """A weak box of one does not stand for the strong box of another at the same place."""
    found = shown(result(), a=result((10, 0, 0.3)), b=result((10, 0, 0.9)))
    check(strain(found, frozenset("ab"), result((10, 0, 0.3))), gone=1 / 5, gone_of_two=(1 / 4) / 2, moved=0.5)


def test_the_ego_alone() -> None:
    check(strain(SHOWN, frozenset(), result(*OWN)))
    check(strain(SHOWN, frozenset(), result()), gone_of_ego=2 / 5, moved=1)
    check(strain(SHOWN, frozenset(), result(*ALL)), extra=4)


def test_one_member_of_two() -> None:
    """The other is not asked: what it shows is extra, and nothing of it is gone."""
    check(strain(SHOWN, frozenset("a"), result(*A)))
    check(strain(SHOWN, frozenset("a"), result(*ALL)), extra=1)


def test_nobody_shows_anything() -> None:
    nothing = shown(result(), a=result())
    check(strain(nothing, frozenset("a"), result()))
    check(strain(nothing, frozenset("a"), result((0, 0))), extra=1)


SPOTS = [(8.0 * k, 12.0 * j) for k in range(5) for j in range(2)]
cars = st.dictionaries(st.sampled_from(SPOTS), st.sampled_from([0.2, 0.3, 0.6, 0.9, 1.0]), max_size=8).map(
    lambda found: [(*at, score) for at, score in found.items()]
)
teams = st.fixed_dictionaries(dict.fromkeys("abc", cars))
members_of = st.sets(st.sampled_from("abc")).map(frozenset)
Cars = Sequence[tuple[float, float, float]]


def of(own: Cars, team: Mapping[str, Cars]) -> Shown:
    return Shown.of(result(*own), {i: result(*c) for i, c in team.items()}, Showing())


@given(cars, teams, members_of)
def test_what_members_show_together_is_without_strain(own: Cars, team: dict[str, Cars], members: Any) -> None:
    joint = result(*own, *(c for i in sorted(members) for c in team[i]))
    check(strain(of(own, team), members, joint))


@given(cars, teams, cars, members_of, st.permutations("abc"))
def test_the_order_of_teammates_does_not_matter(
    own: Cars, team: dict[str, Cars], joint: Cars, members: Any, order: Sequence[str]
) -> None:
    again = strain(of(own, {i: team[i] for i in order}), members, result(*joint))
    assert strain(of(own, team), members, result(*joint)) == again


@given(cars, teams, cars, members_of)
def test_who_is_no_member_is_not_asked(own: Cars, team: dict[str, Cars], joint: Cars, members: Any) -> None:
    only = of(own, {i: c for i, c in team.items() if i in members})
    assert strain(only, members, result(*joint)) == strain(of(own, team), members, result(*joint))


@given(cars, teams, cars, members_of)
def test_with_fewer_boxes_more_is_gone(own: Cars, team: dict[str, Cars], joint: Cars, members: Any) -> None:
    found = of(own, team)
    more, less = (strain(found, members, result(*joint[skip:])) for skip in (0, 1))
    for name in ("gone", "gone_of_one", "gone_of_ego", "gone_of_two", "moved", "moved_of_one"):
        assert getattr(less, name) >= getattr(more, name)
    assert less.extra <= more.extra


@given(cars, teams, cars, members_of)
def test_shares_stay_shares(own: Cars, team: dict[str, Cars], joint: Cars, members: Any) -> None:
    found = strain(of(own, team), members, result(*joint))
    for f in fields(found):
        assert getattr(found, f.name) >= 0 and (f.name == "extra" or getattr(found, f.name) <= 1)


# ------------------------------------------------------------------------------------------------- Consistency
@pytest.mark.parametrize("name", [f.name for f in fields(Consistency)])
def test_the_worst_number_counts_as_a_multiple_of_what_is_usual(name: str) -> None:
    usual = Consistency()
    twice = replace(NONE, **{name: 2 * getattr(usual, name)})
    assert usual.of(NONE) == 0 and usual.of(twice) == pytest.approx(2)
    assert replace(usual, **{name: 4 * getattr(usual, name)}).of(twice) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_settings_are_checked(value: float) -> None:
    for f in fields(Consistency):
        with pytest.raises(InputError, match=f"expected {f.name} > 0, got"):
            Consistency(**{f.name: value})


def test_the_name_says_every_setting() -> None:
    names = {replace(Consistency(), **{f.name: 0.77}).name for f in fields(Consistency)}
    assert len(names | {Consistency().name}) == 8
