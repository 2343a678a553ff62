"""The theorems of docs/certificates.md, on every small world there is and on random larger ones."""

from __future__ import annotations

from itertools import combinations, product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac import certificates
from robosac.boxes import iou_bev, pairs_reaching
from robosac.certificates import Nearby, Overlap, Witnesses, guaranteed, hiders, withstands
from robosac.types import Detections, InputError, keyed_rng

NAMES = "abcdefghijklmnopqrst"


def subsets(n: int) -> list[frozenset[str]]:
    """In the order of their bit masks."""
    return [frozenset(NAMES[i] for i in range(n) if mask >> i & 1) for mask in range(1 << n)]


def members(of: list[frozenset[str]], n: int) -> np.ndarray:
    return np.array([[NAMES[i] in s for i in range(n)] for s in of], bool).reshape(len(of), n)


def without(mask: int, n: int) -> list[int]:
    """The subsets that hold nobody of a mask, as masks."""
    return [s for s in range(1 << n) if not s & mask]


def inventors_of(n: int, shown: np.ndarray) -> list[float]:
    """For families `(N, 2^n)` of all subsets of n teammates; inf where no number suffices."""
    told = Witnesses(
        np.zeros((len(shown), 7), np.float32),
        tuple(NAMES[:n]),
        tuple(subsets(n)),
        np.where(shown, 1.0, -inf),
        np.full((*shown.shape, 7), np.nan),
    ).inventors()
    return [inf if t is None else t for t in told]


def every_family(n: int) -> np.ndarray:
    count = 1 << (1 << n)
    return (np.arange(count)[:, None] >> np.arange(1 << n) & 1).astype(bool)


# ------------------------------------------------------------------------------------------- every small world
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_invented_exactly_where_no_attacker_free_subset_shows_it(n: int) -> None:
    """Every family of subsets that may show a box, every set of attackers."""
    families = every_family(n)
    fewest = inventors_of(n, families)
    for shown, t in zip(families, fewest, strict=True):
        could = [b for b in range(1 << n) if not any(shown[s] for s in without(b, n))]
        assert t == min((b.bit_count() for b in could), default=inf)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_hidden_exactly_from_twice_the_attackers(n: int) -> None:
    """Every honest world, every set of attackers, everything that subsets with an attacker may then show."""
    families = every_family(n)
    fewest = inventors_of(n, families)
    for m in range(n + 1):
        for attackers in (b for b in range(1 << n) if b.bit_count() == m):
            free = sum(1 << s for s in without(attackers, n))
            touched = [s for s in range(1 << n) if s & attackers]
            what_they_do = [sum(bit << s for s, bit in zip(touched, bits, strict=True)) for bits in
                            product((0, 1), repeat=len(touched))]  # fmt: skip
            for honest in range(len(families)):
                if fewest[honest] > 2 * m:
                    assert min(fewest[honest & free | does] for does in what_they_do) > m
        for honest in range(len(families)):  # and it is tight: silence brings the others down
            if fewest[honest] <= 2 * m:
                assert any(
                    fewest[honest & sum(1 << s for s in without(b, n))] <= m
                    for b in range(1 << n)
                    if b.bit_count() <= m
                )


@pytest.mark.parametrize("n", [1, 2])
def test_certified_score_is_between_what_attacker_free_subsets_guarantee(n: int) -> None:
    """Every honest world with three levels of score, every set of attackers, all that they may do."""
    levels = (-inf, 0.5, 1.0)
    worlds = np.array(list(product(levels, repeat=1 << n)))
    certified = guaranteed(worlds, members(subsets(n), n))
    twice = np.concatenate([certified, np.repeat(certified[:, -1:], n, axis=1)], axis=1)
    for attackers in range(1 << n):
        m, free = attackers.bit_count(), without(attackers, n)
        honest_most = worlds[:, free].max(axis=1)
        for k in range(len(worlds)):
            seen = (worlds[:, free] == worlds[k, free]).all(axis=1)  # all that may be seen where this is the honest one
            assert (certified[seen, m] <= honest_most[k]).all()
            assert (certified[seen, m] >= twice[k, 2 * m]).all()


def test_four_teammates_by_both_computations() -> None:
    families = np.where(every_family(4)[::7], 1.0, -inf)
    held = members(subsets(4), 4)
    table = certificates._by_table(families, held, 4)
    assert (table == certificates._by_sets(families, held, 4)).all()
    bound = certificates._by_disjoint(families, held, 4)
    assert (bound <= table).all()
    assert (bound == table).mean() > 0.8


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_guaranteed_is_the_min_of_maxima(n: int, seed: int) -> None:
    """By its definition, with a sample of subsets; bounds are never optimistic."""
    rng = keyed_rng(seed, "guaranteed")
    every = subsets(n)
    sample = [every[k] for k in rng.choice(len(every), rng.integers(0, len(every) + 1), replace=False)]
    values = np.where(rng.random((3, len(sample))) < 0.5, rng.integers(0, 5, (3, len(sample))), -inf)
    held = members(sample, n)
    found = guaranteed(values, held)
    for m in range(n + 1):
        worst = np.full(3, inf)
        for out in combinations(NAMES[:n], m):
            left = [k for k, s in enumerate(sample) if not s & set(out)]
            worst = np.minimum(worst, values[:, left].max(axis=1, initial=-inf))
        assert (found[:, m] == worst).all()
    assert (certificates._by_sets(values, held, n) == found).all()
    assert (certificates._by_disjoint(values, held, n) <= found).all()
    assert (guaranteed(values, held, n + 2)[:, -1] == found[:, n]).all()


def test_beyond_the_table_exact_for_few_attackers_and_a_sound_bound_for_more() -> None:
    n = 20
    held = np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)])
    values = np.full((2, n + 1), -inf)
    values[0, 1:8] = np.arange(7)  # seven singles show it
    values[1, 0], values[1, 5] = 2.0, 9.0  # the ego does, and one other
    found = guaranteed(values, held, 8)
    assert found[0].tolist() == [6, 5, 4, 3, 2, 1, 0, -inf, -inf]
    assert found[1].tolist() == [9] + [2] * 8
    pairs = members([frozenset(NAMES[k : k + 2]) for k in range(0, 6, 2)] + [frozenset("ab"), frozenset("bc")], n)
    assert guaranteed(np.ones((1, 5)), pairs, 4)[0].tolist() == [1, 1, 1, -inf, -inf]


def test_more_subsets_never_take_a_certificate_away() -> None:
    rng = keyed_rng(0, "more subsets")
    every = subsets(5)
    values = np.where(rng.random((200, 32)) < 0.4, rng.random((200, 32)), -inf)
    few = rng.choice(32, 10, replace=False)
    held = members(every, 5)
    assert (guaranteed(values[:, few], held[few]) <= guaranteed(values, held)).all()


# ------------------------------------------------------------------------------------------------ what is told
def test_what_a_number_means() -> None:
    assert [hiders(t) for t in (0, 1, 2, 3, 4, 5, None)] == [0, 1, 1, 2, 2, 3, None]
    assert withstands((0, 1, 2, None), 1).tolist() == [False, False, True, True]
    assert withstands((0, 1, 2, None), 0).tolist() == [False, True, True, True]
    assert withstands((), 1).tolist() == []


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="expected attackers >= 0, got -1"):
        guaranteed(np.zeros((1, 1)), np.zeros((1, 2), bool), -1)
    with pytest.raises(InputError, match=r"expected iou in \(0, 1\], got 0"):
        Overlap(iou=0)
    with pytest.raises(InputError, match="expected metres to be finite and above 0, got inf"):
        Nearby(metres=inf)
    with pytest.raises(InputError, match=r"subsets of the teammates \['a'\], got \['b'\]"):
        Witnesses.of(boxes_at([(0, 0)]), {frozenset("b"): found([(0, 0)])}, "a", Overlap())


# ---------------------------------------------------------------------------------------------------- matching
def boxes_at(centres: list[tuple[float, float]] | np.ndarray, yaw: float = 0.0) -> np.ndarray:
    boxes = np.zeros((len(centres), 7), np.float32)
    boxes[:, :2] = np.asarray(centres, np.float32).reshape(-1, 2)
    boxes[:, 3:7] = 4, 2, 1.5, yaw
    return boxes


def found(centres: list[tuple[float, float]] | np.ndarray, score: float = 0.9) -> Detections:
    return Detections(boxes_at(centres), np.full(len(centres), score, np.float32))


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    boxes = boxes_at(rng.uniform(-6, 6, (n, 2)))
    boxes[:, 3:5] *= rng.uniform(0.5, 2, (n, 2))
    boxes[:, 6] = rng.uniform(-4, 4, n)
    return boxes


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_pairs_reaching_is_the_overlap_of_all(seed: int, iou: float) -> None:
    rng = keyed_rng(seed, "pairs")
    a, b = random_boxes(rng, 9), random_boxes(rng, 30)
    a[0, 0], b[1, 3], b[2, 6] = np.nan, 0, np.inf
    i, j, shared = pairs_reaching(a, b, iou)
    dense = iou_bev(a, b)
    assert set(zip(i, j, strict=True)) == set(zip(*np.nonzero(dense >= iou - 1e-5), strict=True))
    assert shared == pytest.approx(dense[i, j])


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_nearby_is_the_distance_of_centres(seed: int, metres: float) -> None:
    rng = keyed_rng(seed, "nearby")
    a, b = random_boxes(rng, 7), random_boxes(rng, 20)
    i, j, close = Nearby(metres=metres).pairs(a, b)
    apart = np.linalg.norm(a[:, None, :2].astype(float) - b[None, :, :2], axis=2)
    assert set(zip(i, j, strict=True)) == set(zip(*np.nonzero(apart <= metres), strict=True))
    assert -close == pytest.approx(apart[i, j])


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_matches_of_one_box_match_each_other_by_the_tolerance_that_is_stated(seed: int) -> None:
    rng = keyed_rng(seed, "metric")
    a, b, c = (random_boxes(rng, 12) for _ in range(3))
    ab, bc, ac = iou_bev(a, b), iou_bev(b, c), iou_bev(a, c)
    assert (ac[:, None, :] >= ab[:, :, None] + bc[None, :, :] - 1 - 1e-6).all()


def test_a_match_is_the_best_of_a_result_and_what_is_not_finite_matches_nothing() -> None:
    shifted = Detections(
        np.concatenate([boxes_at([(0.5, 0), (0.2, 0), (9, 9)]), np.full((1, 7), np.nan, np.float32)]),
        np.array([0.8, 0.6, 0.7, 1.0], np.float32),
    )
    decodes = {frozenset(): found([]), frozenset("a"): shifted}
    for tolerance in (Overlap(), Nearby(metres=1.0)):
        got = Witnesses.of(
            np.concatenate([boxes_at([(0, 0)]), np.full((1, 7), np.inf, np.float32)]), decodes, "ab", tolerance
        )
        assert got.scores[0].tolist() == [-inf, pytest.approx(0.8)]
        assert got.boxes[0, 1, 0] == 0.5
        assert not got.shown()[1].any()
        assert got.inventors() == (1, 0)
        assert got.inventors(min_score=0.85) == (0, 0)
    assert Witnesses.of(boxes_at([]), {frozenset(): found([])}, "", Overlap()).inventors() == ()


def test_certificates_are_of_one_box_since_matching_is_not_transitive() -> None:
    """a matches b and b matches c, but not a c: each has a certificate of its own."""
    line = [(0.0, 0.0), (1.8, 0.0), (3.6, 0.0)]
    decodes = {frozenset(name): found([at]) for name, at in zip("abc", line, strict=True)}
    assert Witnesses.of(boxes_at(line), decodes, "abc", Nearby(metres=2.0)).inventors() == (2, 3, 2)


# ------------------------------------------------------------------------------------------------- where it is
def singles(boxes: np.ndarray) -> Witnesses:
    """One teammate a box."""
    names = NAMES[: len(boxes)]
    decodes = {frozenset(n): Detections(b[None], np.ones(1, np.float32)) for n, b in zip(names, boxes, strict=True)}
    return Witnesses.of(boxes[:1], decodes, names, Nearby(metres=50))


@settings(max_examples=40)
@given(st.integers(0, 3), st.integers(0, 10**6))
def test_with_just_enough_singles_it_is_the_median(m: int, seed: int) -> None:
    boxes = random_boxes(keyed_rng(seed, "median"), 2 * m + 1)
    boxes[:, 6] = boxes[0, 6] + keyed_rng(seed, "yaw").uniform(-0.7, 0.7, len(boxes))
    places, holds = singles(boxes).places(m)
    assert holds.all()
    assert places[0] == pytest.approx(np.median(boxes, axis=0), abs=1e-5)


@settings(max_examples=40)
@given(st.integers(1, 2), st.integers(0, 10**6))
def test_no_attacker_moves_a_box_out_of_what_honest_subsets_say(m: int, seed: int) -> None:
    """All subsets of five; those with an attacker say anything."""
    rng = keyed_rng(seed, "moved")
    every = subsets(5)
    attackers = set(rng.permutation(list(NAMES[:5]))[:m])
    free = np.array([not s & attackers for s in every])
    shown = rng.random(32) < 0.7
    boxes = np.where(free[:, None], random_boxes(rng, 32) * 0.1, random_boxes(rng, 32) + rng.uniform(-8, 8))
    boxes[:, 3:6] = np.abs(boxes[:, 3:6]) + 0.1
    boxes[:, 6] = rng.uniform(-0.4, 0.4, 32)
    decodes = {
        s: Detections(boxes[k : k + 1].astype(np.float32), np.ones(1, np.float32)) if shown[k] else Detections.empty()
        for k, s in enumerate(every)
    }
    got = Witnesses.of(np.zeros((1, 7), np.float32), decodes, NAMES[:5], Nearby(metres=100))
    places, holds = got.places(m)
    if hiders(got.inventors()[0]) is None or (got.inventors()[0] or 0) > 2 * m:
        assert holds.all()
    if holds[0]:
        said = got.boxes[0][free & shown]
        assert (said.min(axis=0) - 1e-5 <= places[0]).all()
        assert (places[0] <= said.max(axis=0) + 1e-5).all()


def test_headings_are_axes() -> None:
    boxes = boxes_at([(0, 0)] * 3)
    boxes[:, 6] = 3.0, 3.2 - np.pi, 3.1
    places, holds = singles(boxes).places(1)
    assert holds.all()
    assert places[0, 6] == pytest.approx(3.1, abs=1e-5)


def test_what_could_be_invented_stays_where_it_is() -> None:
    boxes = boxes_at([(0, 0), (2, 0)])
    places, holds = singles(boxes).places(2)
    assert (places == boxes[:1]).all()
    assert not holds.any()
    places, holds = singles(boxes).places(1)  # two witnesses, one of whom may attack: between them, not certified
    assert places[0, 0] == 1
    assert not holds.any()
