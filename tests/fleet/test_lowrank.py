"""Low-rank algebra: what is done on factors is what is done on products."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.fleet import lowrank
from robosac.fleet.attackers import regauged
from robosac.fleet.lowrank import LowRankUpdate, gram, inner, norm, stacked, truncated
from robosac.types import InputError

SHAPES = {"square": (40, 40), "wide": (12, 90), "tall": (90, 12), "conv 3x3": (32, 16 * 9), "conv 1x1": (64, 128)}
RANKS = (2, 2, 4, 8)


def updates(shape: tuple[int, int], ranks: tuple[int, ...] = RANKS, seed: int = 0) -> list[LowRankUpdate]:
    rng = np.random.default_rng(seed)
    m, n = shape
    return [LowRankUpdate(rng.normal(size=(m, r)), rng.normal(size=(r, n)), 16 / r, r * 3) for r in ranks]


def relative(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.norm(x - y) / np.linalg.norm(y))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_factored_equals_dense(shape: tuple[int, int]) -> None:
    given = updates(shape)
    weights = [0.1, 0.2, 0.3, 0.4]
    dense = sum(w * u.dense for w, u in zip(weights, given, strict=True))
    together = stacked(given, weights)
    assert relative(together.dense, np.asarray(dense)) < 1e-12
    u, s, vt = np.linalg.svd(np.asarray(dense), full_matrices=False)
    q = min(*shape, sum(RANKS))
    assert np.allclose(lowrank.singular_values(together), s[:q], rtol=1e-6)
    for rank in (1, 3, 8):
        best = (u[:, :rank] * s[:rank]) @ vt[:rank]  # Eckart and Young
        cut = truncated(together, rank, scale=16 / rank)
        assert relative(cut.dense, best) < 1e-6 and cut.rank == rank
        assert np.allclose(cut.a @ cut.a.T, np.eye(rank))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_inner_products_are_those_of_the_products(shape: tuple[int, int]) -> None:
    given = updates(shape)
    dense = np.array([[np.vdot(x.dense, y.dense) for y in given] for x in given])
    assert np.allclose(gram(given), dense, rtol=1e-9)
    assert inner(given[0], given[3]) == pytest.approx(dense[0, 3], rel=1e-9)
    assert norm(given[1]) == pytest.approx(dense[1, 1] ** 0.5, rel=1e-9)


def test_nothing_depends_on_the_gauge() -> None:
    rng = np.random.default_rng(5)
    given = updates((24, 30))
    other = [regauged(u, rng) for u in given]
    assert np.linalg.norm(other[3].b - given[3].b) > 1  # the factors are far apart
    assert np.allclose(gram(other), gram(given), rtol=1e-8)
    one, two = (truncated(stacked(x, [0.25] * 4), 5).dense for x in (given, other))
    assert relative(one, two) < 1e-9
    assert norm(given[3].minus(other[3])) < 1e-8 * norm(given[3])


def test_a_merge_larger_than_the_matrix_is_exact_too() -> None:
    given = updates((6, 9), (4, 4, 4))
    dense = sum(u.dense for u in given)
    assert relative(truncated(stacked(given, [1.0] * 3), 12).dense, np.asarray(dense)) < 1e-12


def test_filling_changes_no_product_and_its_rows_are_new() -> None:
    rng = np.random.default_rng(0)
    x = truncated(updates((10, 20), (3,))[0], 3)
    more = lowrank.filled(x, 8, rng)
    assert more.rank == 8 and np.allclose(more.dense, x.dense)
    assert np.allclose(more.a @ more.a.T, np.eye(8), atol=1e-9)
    assert lowrank.filled(lowrank.zero(4, 3), 5, rng).rank == 5  # more than n: rows repeat themselves
    nested = [lowrank.filled(lowrank.zero(10, 20), r, np.random.default_rng(1)).a for r in (2, 8)]
    assert np.allclose(nested[0], nested[1][:2])  # a small client's first directions are those of a large one
    with pytest.raises(InputError, match="expected a rank of at least 3"):
        lowrank.filled(x, 2, rng)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LowRankUpdate(np.zeros((3, 2)), np.zeros((1, 4))), "expected b"),
        (lambda: LowRankUpdate(np.zeros((3, 2)), np.zeros((2, 4)), 1.0, -1), "expected samples"),
        (lambda: stacked(updates((3, 4), (1,)) + updates((4, 3), (1,)), [1, 1]), "expected updates of one shape"),
        (lambda: stacked(updates((3, 4), (1,)), [1, 1]), "a weight each"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]
