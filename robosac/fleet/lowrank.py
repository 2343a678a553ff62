"""Low-rank updates of a weight matrix, added, compared and cut without forming their products.

An update of a layer `(m, n)` is `scale * b @ a` with `b (m, r)` and `a (r, n)`. A convolution `(out, in, k, k)` is the
matrix `(out, in * k * k)`. The same update has many factors, `(b g, g^-1 a)` for every invertible `g` (its *gauge*);
everything here depends on the product alone.

Sums of K updates of ranks r_k are kept as stacked factors of rank R = sum r_k. Their singular value decomposition is
that of a core of at most R x R between two thin orthogonal matrices: O((m + n) R^2 + R^3) instead of O(m n min(m, n)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, svd

from robosac.errors import InputError

Matrix: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class LowRankUpdate:
    """`scale * b @ a`, learnt from so many samples.

    Attributes:
        b: `(m, r)`.
        a: `(r, n)`.
        scale: LoRA's alpha / r.
        samples: that its sender says it was trained on.
    """

    b: Matrix
    a: Matrix
    scale: float = 1.0
    samples: int = 1

    def __post_init__(self) -> None:
        if self.b.ndim != 2 or self.a.ndim != 2 or self.b.shape[1] != self.a.shape[0]:
            raise InputError(f"expected b (m, r) and a (r, n), got {self.b.shape} and {self.a.shape}")
        if self.samples < 0:
            raise InputError(f"expected samples >= 0, got {self.samples}")

    @property
    def rank(self) -> int:
        """Columns of `b`; the product's rank is at most that."""
        return int(self.b.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """`(m, n)` of the product."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def dense(self) -> Matrix:
        """The product `(m, n)`: for tests and for merging into weights."""
        return np.asarray(self.scale * (self.b @ self.a))

    @property
    def finite(self) -> bool:
        """Whether it holds no NaN and no inf."""
        return bool(np.isfinite(self.b).all() and np.isfinite(self.a).all() and np.isfinite(self.scale))

    def times(self, factor: float) -> LowRankUpdate:
        """The update times a number."""
        return replace(self, scale=self.scale * factor)

    def minus(self, other: LowRankUpdate) -> LowRankUpdate:
        """The difference, of the sum of both ranks."""
        return replace(stacked([self, other], [1.0, -1.0]), samples=self.samples)


def zero(m: int, n: int) -> LowRankUpdate:
    """No change, of rank 0."""
    return LowRankUpdate(np.zeros((m, 0)), np.zeros((0, n)))


def stacked(updates: Sequence[LowRankUpdate], weights: Sequence[float]) -> LowRankUpdate:
    """`sum_k w_k s_k b_k a_k`, exactly, as one update of rank R = sum r_k and scale 1, in float64.

    Raises:
        InputError: there is none, their shapes differ, or there are not as many weights.
    """
    shapes = {u.shape for u in updates}
    if len(shapes) != 1 or len(weights) != len(updates):
        raise InputError(
            f"expected updates of one shape and a weight each, got shapes {shapes} and {len(weights)} weights"
        )
    b = np.concatenate([u.b.astype(np.float64) * (w * u.scale) for u, w in zip(updates, weights, strict=True)], axis=1)
    a = np.concatenate([u.a.astype(np.float64) for u in updates])
    return LowRankUpdate(b, a, 1.0, sum(u.samples for u in updates))


def inner(x: LowRankUpdate, y: LowRankUpdate) -> float:
    """The inner product of two products, `<X, Y> = s_x s_y sum((b_x' b_y) * (a_x a_y'))`, none of them formed."""
    return float(x.scale * y.scale * np.sum((x.b.T @ y.b) * (x.a @ y.a.T), dtype=np.float64))


def norm(x: LowRankUpdate) -> float:
    """Frobenius norm of the product."""
    return float(np.linalg.norm(singular_values(x)))


def gram(updates: Sequence[LowRankUpdate]) -> NDArray[np.float64]:
    """Inner products `(K, K)` of all pairs of products: `R x R` numbers in between and no product."""
    together = stacked(updates, [1.0] * len(updates))
    pairs = (together.b.T @ together.b) * (together.a @ together.a.T)
    ranks = [u.rank for u in updates]
    summed = np.zeros((len(updates), len(updates)))
    ends = np.cumsum(ranks)
    for i, (end, rank) in enumerate(zip(ends, ranks, strict=True)):
        rows = pairs[end - rank : end].sum(axis=0)
        summed[i] = [rows[e - r : e].sum() for e, r in zip(ends, ranks, strict=True)]
    return summed


def decomposed(x: LowRankUpdate) -> tuple[Matrix, Matrix, Matrix]:
    """Singular value decomposition `u (m, q), s (q,), vt (q, n)` of the product, q = min(m, n, r), by the core."""
    if x.rank == 0:
        m, n = x.shape
        return np.zeros((m, 0)), np.zeros(0), np.zeros((0, n))
    qb, rb = qr(x.b.astype(np.float64), mode="economic", check_finite=False)
    qa, ra = qr(x.a.T.astype(np.float64), mode="economic", check_finite=False)
    u, s, vt = svd(x.scale * (rb @ ra.T), full_matrices=False, check_finite=False)
    return qb @ u, s, vt @ qa.T


def singular_values(x: LowRankUpdate) -> Matrix:
    """Singular values `(q,)` of the product, largest first."""
    if x.rank == 0:
        return np.zeros(0)
    rb = qr(x.b.astype(np.float64), mode="r", check_finite=False)[0][: min(x.b.shape)]
    ra = qr(x.a.T.astype(np.float64), mode="r", check_finite=False)[0][: min(x.a.shape)]
    return np.asarray(svd(x.scale * (rb @ ra.T), compute_uv=False, check_finite=False))


def truncated(x: LowRankUpdate, rank: int, *, scale: float = 1.0) -> LowRankUpdate:
    """The nearest product of a rank (Eckart and Young), `a` with orthonormal rows: FlexLoRA's what a client is given.

    Of `rank` as asked for, or of min(m, n, r) where that is less.
    """
    u, s, vt = decomposed(x)
    return LowRankUpdate(u[:, :rank] * (s[:rank] / scale), vt[:rank], scale, x.samples)


def filled(x: LowRankUpdate, rank: int, rng: np.random.Generator) -> LowRankUpdate:
    """The same product with factors of `rank`: what is missing gets rows of `a` at right angles to those that are
    there, and nothing in `b`, so that they can be trained. Where `rank` exceeds n, rows are random.

    Raises:
        InputError: its rank is larger.
    """
    missing = rank - x.rank
    if missing < 0:
        raise InputError(f"expected a rank of at least {x.rank}, got {rank}; cut it with truncated")
    if missing == 0:
        return x
    m, n = x.shape
    rows = rng.normal(size=(missing, n))
    basis = qr(x.a.T.astype(np.float64), mode="economic")[0].T if x.rank else np.zeros((0, n))
    rows -= rows @ basis.T @ basis
    if missing <= n - x.rank:
        rows = qr(rows.T, mode="economic")[0].T
    else:
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return replace(x, b=np.concatenate([x.b, np.zeros((m, missing))], axis=1), a=np.concatenate([x.a, rows]))
