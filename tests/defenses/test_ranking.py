"""Boxes are ranked by who shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from robosac.defenses.ranking import Ranked, Ranking
from robosac.evidence import pooled
from robosac.poses import FreeGround
from robosac.types import EGO_ALONE, Detections, InputError, Subset
from tests.evidence.written import result, shown

TEAM = frozenset("abcd")
OWN = result((0, 0))
# shown by nobody, by one, two, three and four teammates, and by the ego alone; faintly, so that the joint result's stay
SHOWN = shown(
    OWN,
    a=result((10, 0, 0.3), (20, 0, 0.3), (30, 0, 0.3), (40, 0, 0.3)),
    b=result((20, 0, 0.3), (30, 0, 0.3), (40, 0, 0.3)),
    c=result((30, 0, 0.3), (40, 0, 0.3)),
    d=result((40, 0, 0.3)),
)
EMPTY = shown(OWN, a=result(), b=result(), c=result(), d=result())
JOINT = result(*((10.0 * k, 0, 0.8) for k in range(5)), (0, 30, 0.8))


def ranked(
    joint: Detections = JOINT,
    *,
    members: Subset = TEAM,
    apart: Sequence[Subset] = (),
    own: Detections = OWN,
    free: FreeGround | None = None,
    **settings: float,
) -> Ranked:
    pool = pooled({members: joint})
    found = Ranking(**settings).of(pool, SHOWN, members, apart, own, free)  # type: ignore[arg-type]
    assert len(found.sources) == len(found.support) == len(found.result)
    assert (np.diff(found.result.scores) <= 0).all()
    return found


def weights(found: Ranked) -> dict[tuple[float, float], float]:
    """Share of its score of 0.8 that the box at each place has."""
    rows = zip(found.result.boxes, found.result.scores, strict=True)
    return {(float(b[0]), float(b[1])): round(float(score) / 0.8, 3) for b, score in rows}


FULL = {(0, 0): 1, (10, 0): 0.5, (20, 0): 0.7, (30, 0): 1, (40, 0): 1, (0, 30): 0.3}


def test_weights_go_by_witnesses() -> None:
    assert weights(ranked()) == FULL
    assert weights(ranked(nobody=0.1, one=0.2, two=0.4)) == {**FULL, (0, 30): 0.1, (10, 0): 0.2, (20, 0): 0.4}


@pytest.mark.parametrize(
    ("members", "changed"),
    [
        ("bcd", {(10, 0): 0.3, (20, 0): 0.5, (30, 0): 0.7}),
        ("d", {(10, 0): 0.3, (20, 0): 0.3, (30, 0): 0.3, (40, 0): 0.5}),
    ],
)
def test_only_members_corroborate(members: str, changed: dict[tuple[float, float], float]) -> None:
    assert weights(ranked(members=frozenset(members))) == {**FULL, **changed}


@pytest.mark.parametrize(
    ("apart", "changed"),
    [
        (["ab"], {(20, 0): 0.5, (30, 0): 0.7}),  # of two one is left, of three two, of four three
        (["bc"], {(30, 0): 0.7}),
        (["ab", "cd"], {(20, 0): 0.5, (30, 0): 0.7, (40, 0): 0.7}),
        (["ab", "bc", "ac"], {(20, 0): 0.5, (30, 0): 0.5, (40, 0): 0.5}),  # never none of several
        (["ab", "ac", "ad", "bc", "bd", "cd"], {(20, 0): 0.5, (30, 0): 0.5, (40, 0): 0.5}),
    ],
)
def test_pairs_kept_apart_count_as_one(apart: list[str], changed: dict[tuple[float, float], float]) -> None:
    assert weights(ranked(apart=[frozenset(pair) for pair in apart])) == {**FULL, **changed}


def test_support_and_sources_go_with_their_box() -> None:
    found = ranked()
    by = {tuple(b[:2]): (s, f) for b, s, f in zip(found.result.boxes, found.sources, found.support, strict=True)}
    assert by[0, 0] == (TEAM, (EGO_ALONE,)) and by[0, 30] == (TEAM, ())
    assert by[20, 0] == (TEAM, (frozenset("a"), frozenset("b")))
    two = Ranking().of(
        pooled({frozenset("ab"): result((10, 0)), frozenset("cd"): result((50, 0))}), EMPTY, TEAM, (), OWN, None
    )
    assert two.sources == (EGO_ALONE, frozenset("ab"), frozenset("cd")) and two.support == ((EGO_ALONE,), (), ())


# ---------------------------------------------------------------------------------------------------- free ground
def ring(radius_m: float = 38.0) -> FreeGround:
    """Ground all around: rays that end on it prove what they passed low enough to be free."""
    angle = np.linspace(-np.pi, np.pi, 1440, endpoint=False)
    rays = []
    for r in np.arange(4.0, radius_m, 0.5):
        z = np.full_like(angle, -1.8)
        rays.append(np.stack([r * np.cos(angle), r * np.sin(angle), z, np.ones_like(angle)], axis=1))
    return FreeGround.of(np.concatenate(rays).astype(np.float32))


FREE = ring()


def test_boxes_on_free_ground_go_unless_two_or_the_ego_show_them() -> None:
    kept = {**FULL, (20, 0): 0.21, (30, 0): 0.3}  # none is proved at 40 m, where no ray comes
    del kept[10, 0], kept[0, 30]
    assert weights(ranked(free=FREE)) == kept
    assert weights(ranked(free=FREE, drop_free=False)) == FULL
    assert weights(ranked(own=result((0, 0), (20, 0, 0.1)), free=FREE)) == kept  # shown from a score of 0.25 on


def with_singles_of_nothing(joint: Detections, own: Detections, **settings: float) -> Ranked:
    return Ranking(**settings).of(pooled({TEAM: joint}), EMPTY, TEAM, (), own, None)  # type: ignore[arg-type]


def test_what_the_ego_surely_sees_is_put_back() -> None:
    joint = result((10, 0, 0.8))
    found = with_singles_of_nothing(joint, result((0, 0, 0.8), (30, 30, 0.5), (-30, 30, 0.49)))
    assert weights(found) == {(10, 0): 0.3, (0, 0): 0.5, (30, 30): 0.312}  # half of 0.5, over 0.8
    assert found.sources == (EGO_ALONE, EGO_ALONE, TEAM) and found.support == ((EGO_ALONE,), (EGO_ALONE,), ())
    assert weights(with_singles_of_nothing(joint, result((0, 0, 0.8)), put_back=1.0)) == {(0, 0): 1, (10, 0): 0.3}
    assert weights(with_singles_of_nothing(joint, result((0, 0, 0.8)), own_score=0.81)) == {(10, 0): 0.3}


@pytest.mark.parametrize(("x", "back"), [(2.1, False), (2.2, True)])
def test_it_is_there_where_a_box_overlaps_it(x: float, back: bool) -> None:
    """By 0.3 at 2.154 m."""
    assert len(with_singles_of_nothing(result((x, 0, 0.8)), OWN).result) == 1 + back


@pytest.mark.parametrize("put_back", [0.4, 0.2, 0.0])
def test_what_members_show_and_no_joint_result_has_is_put_back(put_back: float) -> None:
    """At a share of its score, whoever shows it; once, as the best ranked of its single shows it."""
    found = ranked(result((0, 0, 0.8)), members=frozenset("ab"), put_back=put_back)
    at = [(10, 0), (20, 0), (30, 0), (40, 0)]  # of a score of 0.3
    assert weights(found) == {(0, 0): 1, **dict.fromkeys(at, round(put_back * 0.3 / 0.8, 3))}
    by = {tuple(b[:2]): (s, f) for b, s, f in zip(found.result.boxes, found.sources, found.support, strict=True)}
    assert by[10, 0] == (frozenset("a"), (frozenset("a"),))
    assert by[40, 0] == (frozenset("a"), (frozenset("a"), frozenset("b")))  # c and d are no members


def test_where_two_overlap_the_better_ranked_one_stays() -> None:
    """A joint result moves a car that three show, so far that nobody shows it there: theirs is better."""
    at, moved = result((60, 0)), result((62.1, 0, 0.8), (0, 0))  # they overlap by 0.31, and by 0.29 at 2.2 m
    three = shown(OWN, a=at, b=at, c=at)
    for far, left in ((2.1, [62.1, 0]), (2.2, [62.2, 60, 0])):
        moved.boxes[0, 0] = 60 + far
        found = Ranking().of(pooled({frozenset("abc"): moved}), three, frozenset("abc"), (), OWN, None)
        assert sorted(found.result.boxes[:, 0].tolist()) == pytest.approx(sorted(left))


def test_what_is_put_back_is_not_on_free_ground_nor_the_egos_nor_there() -> None:
    team = shown(OWN, a=result((20, 0), (38.1, 0), (0, 1)), b=result((40, 0), (12, 0)))
    joint = result((12, 0.5))
    both = frozenset("ab")

    def places_of(free: FreeGround | None) -> list[tuple[float, float]]:
        found = Ranking(own_score=1.0).of(pooled({both: joint}), team, both, (), OWN, free)
        return sorted((round(float(b[0]), 1), float(b[1])) for b in found.result.boxes)

    assert places_of(None) == [(12, 0.5), (20, 0), (38.1, 0)]  # 40 overlaps 38.1, which comes first
    assert places_of(FREE) == [(38.1, 0)]


def test_what_stood_in_for_it_may_be_dropped() -> None:
    """The ego does not *show* a box of 0.2, and here it is sure of it: what is dropped as free stands for nothing."""
    own = result((20, 0, 0.2))
    found = Ranking(own_score=0.1).of(
        pooled({TEAM: result((20.5, 0, 0.8))}), shown(own, a=result((20, 0))), TEAM, (), own, FREE
    )
    assert found.result.boxes[:, 0].tolist() == [20] and found.sources == (EGO_ALONE,)


def test_the_egos_own_result_stands_as_it_is() -> None:
    own = result((0, 0, 0.8), (20, 0, 0.2), (1, 0, 0.1))
    found = Ranking().of(pooled({EGO_ALONE: own}), shown(own, a=result((20, 0))), EGO_ALONE, (), own, None)
    assert found.result is own and found.sources == (EGO_ALONE,) * 3
    assert found.support == ((EGO_ALONE,), (), (EGO_ALONE,))


def test_nothing_at_all() -> None:
    assert len(with_singles_of_nothing(result(), result()).result) == 0


@pytest.mark.parametrize("name", ["nobody", "one", "two", "own_score", "put_back"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"expected {name} in \[0, 1\], got"):
        Ranking(**{name: value})
