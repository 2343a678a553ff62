"""What no few attackers can have done to a box: invented it, hidden it, moved it.

Decodes of several subsets of the teammates are at hand. A box is *shown* by a subset whose result has a match of it
within a tolerance; `F` are the subsets that show it. At most m teammates attack, unknown which, and what a subset with
an attacker shows is arbitrary; the ego is honest, names are authentic. Then, with `t(F)` the fewest teammates that meet
every set of F (the transversal number, None where the ego alone shows the box):

- invented by m attackers only if `t(F) <= m`: else some attacker-free subset shows it;
- hidden by m attackers only if `t(F) <= 2m`: else it stays beyond what m could invent, whatever any m now send;
- `certified score`, min over |L| = m of max over S without L of the score in D(S): what some attacker-free subset
  gives the box at least, whoever attacks;
- where it is: with `t(F) > 2m` the interval [max over L of min, min over L of max] of a coordinate is not empty and
  is within what attacker-free subsets say.

docs/certificates.md has the proofs. All of it is relative to one reference box: "is a match of" is not transitive, so
nothing here is said of a group. Every family of decoded subsets will do; the more are decoded, the more is certified.

Figures are exact up to `TABLE_TEAMMATES`, and beyond for as many attackers as there are at most `MOST_SETS` sets of;
`t(F)` beyond wherever a short search finds it (`robosac.transversal`). Elsewhere they are bounds from disjoint sets,
never optimistic: fewer attackers, lower scores, no place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf
from typing import Final, Protocol

import numpy as np

from robosac.boxes import pairs_reaching, wrap_angle
from robosac.transversal import fewest_meeting
from robosac.types import Array, Bool, Detections, Float32, Float64, Id, InputError, Int64, Subset

TABLE_TEAMMATES: Final = 14  # to here all 2^A subsets are looked at, as bit masks
MOST_SETS: Final = 2100  # of attackers, beyond that; two of 64 teammates are 2016
_AT_ONCE: Final = 1 << 22  # numbers held at a time


class Tolerance(Protocol):
    """What counts as a match of a box."""

    def pairs(self, references: Array, others: Array) -> tuple[Int64, Int64, Float64]:
        """Which `others` `(M, 7)` are matches of which `references` `(N, 7)`: their positions, and a closeness that is
        larger for better matches, `(P,)` each."""
        ...


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """A match overlaps by at least `iou`, seen from above.

    1 - IoU is a metric, so that two matches of one box overlap by at least `2 iou - 1`.
    """

    iou: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise InputError(f"expected iou in (0, 1], got {self.iou}")

    def pairs(self, references: Array, others: Array) -> tuple[Int64, Int64, Float64]:
        return pairs_reaching(references, others, self.iou)


@dataclass(frozen=True, kw_only=True)
class Nearby:
    """A match's centre is at most `metres` away, seen from above; two matches of one box at most twice that."""

    metres: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.metres < inf:
            raise InputError(f"expected metres to be finite and above 0, got {self.metres}")

    def pairs(self, references: Array, others: Array) -> tuple[Int64, Int64, Float64]:
        from scipy.spatial import KDTree

        trees = [KDTree(np.asarray(b, np.float64)[:, :2]) for b in (references, others)]
        found = trees[0].sparse_distance_matrix(trees[1], self.metres, output_type="ndarray")
        return found["i"].astype(np.int64), found["j"].astype(np.int64), -found["v"].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Witnesses:
    """How each of N reference boxes is shown by each of S decoded subsets of A teammates.

    Attributes:
        references: `(N, 7)` in the ego frame.
        ids: the A teammates whose messages could be decoded.
        subsets: the S decoded ones.
        scores: `(N, S)` of the best match in each result; -inf where there is none.
        boxes: `(N, S, 7)` that match; NaN where there is none.
    """

    references: Float32
    ids: tuple[Id, ...]
    subsets: tuple[Subset, ...]
    scores: Float64
    boxes: Float64

    @staticmethod
    def of(
        references: Float32, decodes: Mapping[Subset, Detections], ids: Sequence[Id], tolerance: Tolerance
    ) -> Witnesses:
        """Match references `(N, 7)` with each result. Boxes that are not finite match nothing.

        Raises:
            InputError: a subset holds who is not among the `ids`.
        """
        subsets = tuple(decodes)
        if strangers := frozenset().union(*subsets) - set(ids):
            raise InputError(f"expected subsets of the teammates {sorted(ids)}, got {sorted(strangers)} in one")
        boxes = np.concatenate([np.zeros((0, 7)), *(d.boxes for d in decodes.values())]).astype(np.float64)
        scores = np.concatenate([np.zeros(0), *(d.scores for d in decodes.values())]).astype(np.float64)
        owner = np.repeat(np.arange(len(subsets)), [len(d) for d in decodes.values()])
        fit = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        boxes, scores, owner = boxes[fit], scores[fit], owner[fit]
        sound = np.flatnonzero(np.isfinite(references).all(axis=1))
        i, j, close = tolerance.pairs(references[sound], boxes)
        order = np.lexsort((close, scores[j]))  # the best of a result comes last and stays
        row, j = sound[i[order]], j[order]
        best = np.full((len(references), len(subsets)), -inf)
        where = np.full((len(references), len(subsets), 7), np.nan)
        best[row, owner[j]], where[row, owner[j]] = scores[j], boxes[j]
        return Witnesses(references, tuple(ids), subsets, best, where)

    def take(self, rows: Array) -> Witnesses:
        """Those of some of the boxes, by their positions."""
        return Witnesses(self.references[rows], self.ids, self.subsets, self.scores[rows], self.boxes[rows])

    @property
    def members(self) -> Bool:
        """Who is in which subset, `(S, A)`."""
        held = [[i in subset for i in self.ids] for subset in self.subsets]
        return np.array(held, np.bool_).reshape(len(self.subsets), len(self.ids))

    def shown(self, min_score: float = 0.0) -> Bool:
        """Which subsets show which box, with at least this score: `(N, S)`."""
        return np.asarray((self.scores >= min_score) & np.isfinite(self.scores))

    def inventors(self, min_score: float = 0.0) -> tuple[int | None, ...]:
        """For each box, how many attackers it takes at least to invent it: `t(F)`, see the module.

        0: no subset shows it with this score. None: no number suffices, the ego alone shows it.
        """
        shown = self.shown(min_score)
        masks = [sum(1 << self.ids.index(i) for i in subset) for subset in self.subsets]
        rows, which = np.unique(shown, axis=0, return_inverse=True)  # mostly a few: one car, the same results
        found = [self._invented([m for m, held in zip(masks, row, strict=True) if held]) for row in rows]
        return tuple(found[k] for k in which.reshape(-1))

    def _invented(self, sets: Sequence[int]) -> int | None:
        """`t(F)` of a family of subsets, as bit masks of the teammates."""
        if 0 in sets:
            return None
        fewest = fewest_meeting(sets)
        if fewest.exact or len(self.ids) > TABLE_TEAMMATES:
            return fewest.least
        members = np.array([[bool(mask >> k & 1) for k in range(len(self.ids))] for mask in sets])
        held = guaranteed(np.ones((1, len(sets))), members)
        return int(np.isfinite(held).sum())  # with so many left out, nothing need be left

    def certified_scores(self, attackers: int) -> Float64:
        """`(N,)`: what an attacker-free subset gives a box at least, whoever the attackers are; -inf where so many
        could have invented it."""
        return guaranteed(self.scores, self.members, attackers)[:, -1]

    def places(self, attackers: int) -> tuple[Float64, Bool]:
        """The median rule: boxes `(N, 7)`, and for which of them `(N,)` no so many attackers can have moved it.

        Each coordinate is the middle of the interval that is certified. Headings are compared as axes, modulo a half
        turn, and keep the reference's direction. Where the interval is empty its two ends are swapped: a value between
        the supporters that is not certified. A box that the attackers could have invented stays as it is.
        """
        own = self.references.astype(np.float64)
        values = self.boxes - own[:, None]
        values[..., 6] = wrap_angle(2 * values[..., 6]) / 2
        flat = values.transpose(0, 2, 1).reshape(-1, len(self.subsets))
        said = ~np.isnan(flat)
        high, low = (
            sign * guaranteed(np.where(said, sign * flat, -inf), self.members, attackers)[:, -1].reshape(-1, 7)
            for sign in (1, -1)
        )
        known = np.isfinite(high).all(axis=1)
        own[known] += (high[known] + low[known]) / 2
        return own, np.asarray(known & (low <= high).all(axis=1))


def hiders(inventors: int | None) -> int | None:
    """The fewest attackers m that can bring a box down to what m can invent, from how many it takes to invent it.

    None: no number can, the ego alone shows it.
    """
    return None if inventors is None else -(-inventors // 2)


def withstands(certificates: Sequence[int | None], attackers: int) -> Bool:
    """Which boxes `(N,)` so many attackers cannot have invented, from a verdict's `certificates`."""
    return np.array([fewest is None or fewest > attackers for fewest in certificates], np.bool_)


# ------------------------------------------------------------------------------------------ the one computation
def guaranteed(values: Float64, members: Bool, attackers: int | None = None) -> Float64:
    """Column m: the min over sets L of m teammates of the max over subsets without L of their values, `(N, m + 1)`.

    Args:
        values: `(N, S)`, -inf where a subset says nothing.
        members: `(S, A)` who is in which subset.
        attackers: m up to here; None: up to all A. More than A are as A.

    Returns:
        Exact, or a lower bound, as the module says; -inf where some L leaves nothing.
    """
    if attackers is not None and attackers < 0:
        raise InputError(f"expected attackers >= 0, got {attackers}")
    teammates = members.shape[1]
    most = teammates if attackers is None else min(attackers, teammates)
    # boxes of one car are mostly shown by the same boxes of each result
    rows, which = np.unique(np.asarray(values, np.float64), axis=0, return_inverse=True)
    sets = sum(comb(teammates, m) for m in range(most + 1))
    dense = teammates <= TABLE_TEAMMATES and teammates << teammates <= sets * len(members)
    found = (_by_table if dense else _by_sets)(rows, members, most)[which.reshape(-1)]
    again = 0 if attackers is None else attackers - most
    return np.concatenate([found, np.repeat(found[:, -1:], again, axis=1)], axis=1)


def _by_table(values: Float64, members: Bool, most: int) -> Float64:
    """By the best value within every one of the 2^A subsets: `best[T] = max over S <= T`, bit by bit."""
    teammates = members.shape[1]
    masks = members @ (1 << np.arange(teammates, dtype=np.int64))
    size = np.array([mask.bit_count() for mask in range(1 << teammates)])
    out = np.full((len(values), most + 1), -inf)
    for rows in _blocks(len(values), 1 << teammates):
        best = np.full((len(values[rows]), 1 << teammates), -inf)
        for mask, column in zip(masks, values[rows].T, strict=True):
            best[:, mask] = np.maximum(best[:, mask], column)
        for bit in range(teammates):
            halves = best.reshape(len(best), -1, 2, 1 << bit)
            np.maximum(halves[:, :, 1], halves[:, :, 0], out=halves[:, :, 1])
        for m in range(most + 1):
            out[rows, m] = best[:, size == teammates - m].min(axis=1)
    return out


def _by_sets(values: Float64, members: Bool, most: int) -> Float64:
    """By every set of attackers while they are few; then by disjoint supporters, of which each attacker meets one."""
    teammates = members.shape[1]
    out = _by_disjoint(values, members, most)
    for m in range(most + 1):
        if teammates > TABLE_TEAMMATES and comb(teammates, m) > MOST_SETS:
            break
        left_out = np.zeros((comb(teammates, m), teammates), np.float32)
        for row, chosen in enumerate(combinations(range(teammates), m)):
            left_out[row, list(chosen)] = 1
        without = left_out @ members.T.astype(np.float32) == 0  # (L, S)
        for rows in _blocks(len(values), without.size):
            out[rows, m] = np.where(without, values[rows, None], -inf).max(axis=2, initial=-inf).min(axis=1)
    return out


def _by_disjoint(values: Float64, members: Bool, most: int) -> Float64:
    """A lower bound: the m + 1-st value of disjoint subsets, taken greedily, best values and small subsets first."""
    out = np.full((len(values), most + 1), -inf)
    taken = np.zeros((len(values), members.shape[1]), np.bool_)
    count = np.zeros(len(values), np.int64)
    small_first = np.argsort(members.sum(axis=1), kind="stable")
    order = small_first[np.argsort(-values[:, small_first], axis=1, kind="stable")]
    every = np.arange(len(values))
    for subset in order.T:
        here = members[subset]
        value = values[every, subset]
        alone = ~here.any(axis=1)
        new = np.isfinite(value) & ~(taken & here).any(axis=1) & ~alone & (count <= most)
        out[every[new], count[new]] = value[new]
        taken |= here & new[:, None]
        count += new
    ego = np.where(members.any(axis=1), -inf, values).max(axis=1, initial=-inf)  # no attacker is in it
    return np.asarray(np.maximum(out, ego[:, None]))


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(width, 1))
    return (slice(start, start + step) for start in range(0, rows, step))
