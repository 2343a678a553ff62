"""Several results as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.boxes import iou_bev
from robosac.evidence import pooled
from robosac.types import EGO_ALONE, Detections, InputError, Subset
from tests.evidence.written import places, result


def pool(**results: Detections) -> Any:
    """`ab=...` is the result of a and b."""
    return pooled({frozenset(name): r for name, r in results.items()})


def test_none_is_told() -> None:
    with pytest.raises(InputError, match="at least one result to pool, got none"):
        pooled({})


def test_one_result_is_itself() -> None:
    only = result((0, 0, 0.7), (1, 0, 0.6), (30, 0, 0.1))  # not even what overlaps is thinned out
    for subset in (EGO_ALONE, frozenset("ab")):
        found = pooled({subset: only})
        assert found.result is only and found.subsets == ((subset,),) * 3


def test_a_score_is_the_mean_of_what_all_say() -> None:
    found = pool(ab=result((0, 0, 0.8)), cd=result((0, 0, 0.4)))
    assert found.result.scores.tolist() == pytest.approx([0.6])
    assert found.subsets == ((frozenset("ab"), frozenset("cd")),)


def test_what_one_of_two_shows_has_half() -> None:
    found = pool(ab=result((0, 0), (20, 0)), cd=result((0, 0)))
    assert found.result.scores.tolist() == pytest.approx([0.9, 0.45])
    assert found.result.boxes[:, 0].tolist() == [0, 20]
    assert found.subsets == ((frozenset("ab"), frozenset("cd")), (frozenset("ab"),))


def test_a_place_is_the_larger_subsets() -> None:
    for small in ("c", "0"):  # whatever comes first in the alphabet
        found = pool(**{small: result((0.5, 0)), "ab": result((0, 0))})
        assert places(found.result) == [(0, 0)] and len(found.subsets[0]) == 2


def test_a_better_score_goes_before_the_larger_subset() -> None:
    """At IoU 1/3 they are one object and not one box: the mean of one is not that of the other."""
    found = pool(ab=result((0, 0, 0.5)), c=result((2, 0, 0.9)))
    assert places(found.result) == [(2, 0)] and found.result.scores.tolist() == pytest.approx([0.45])


def test_what_overlaps_little_stays() -> None:
    found = pool(ab=result((0, 0)), cd=result((2.2, 0)))
    assert places(found.result) == [(0, 0), pytest.approx((2.2, 0))]


def test_maps_are_averaged_where_every_result_has_one() -> None:
    one, two = (Detections(*_parts(result((0, 0))), np.full((2, 3), v, np.float32)) for v in (0.2, 0.6))
    found = pool(ab=one, cd=two).result.score_map
    assert found.dtype == np.float32 and found == pytest.approx(np.full((2, 3), 0.4))
    assert pool(ab=one, cd=result((0, 0))).result.score_map is None


def _parts(found: Detections) -> tuple[Any, Any]:
    return found.boxes, found.scores


@pytest.mark.parametrize("empty", [(0,), (0, 1)])
def test_empty_results_count(empty: tuple[int, ...]) -> None:
    parts = [result() if k in empty else result((0, 0)) for k in range(2)]
    found = pool(ab=parts[0], cd=parts[1])
    assert found.result.scores.tolist() == pytest.approx([0.45] * (2 - len(empty)))
    assert found.result.boxes.shape == (2 - len(empty), 7)


NAMES = [frozenset(s) for s in ("abc", "abd", "acd", "ab", "cd")]
some = st.lists(
    st.tuples(st.floats(-10, 10, width=32), st.sampled_from([-3.0, 0.0, 1.0, 9.0]), st.floats(0, 1, width=32)),
    max_size=6,
).map(lambda cars: result(*cars))
results = st.dictionaries(st.sampled_from(NAMES), some, min_size=2)


@given(results, st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(found: Mapping[Subset, Detections], random: Any) -> None:
    order = list(found)
    random.shuffle(order)
    a, b = pooled(found), pooled({s: found[s] for s in order})
    np.testing.assert_array_equal(a.result.boxes, b.result.boxes)
    np.testing.assert_array_equal(a.result.scores, b.result.scores)
    assert a.subsets == b.subsets


@given(results)
def test_nothing_is_invented_and_nothing_lost(found: Mapping[Subset, Detections]) -> None:
    pool = pooled(found)
    assert len(pool.subsets) == len(pool.result)
    assert (np.diff(pool.result.scores) <= 0).all()
    every = np.concatenate([r.boxes for r in found.values()])
    if len(every):
        assert iou_bev(every, pool.result.boxes).max(axis=1).min() > 0.3  # each is there, or a better one over it
    best = max((float(r.scores.max(initial=0)) for r in found.values()), default=0)
    assert pool.result.scores.max(initial=0) <= best + 1e-6
    apart = iou_bev(pool.result.boxes, pool.result.boxes) - np.eye(len(pool.result))
    assert (apart <= 0.3 + 1e-4).all()
    for box, subsets in zip(pool.result.boxes, pool.subsets, strict=True):
        for s, r in found.items():
            there = bool(((iou_bev(box[None], r.boxes) >= 0.5 - 1e-5) & (r.scores > 0)).any())
            assert there == (s in subsets)
