"""How soon an attacker is checked where only some teammates are checked a frame.

`rate` is the share of the teammates that are checked a frame. The frames are divided into passes of `P = ceil(1/rate)`.

- `AuditLaw.ROTATION`: at the start of each pass the teammates are dealt to its frames at random, as evenly as can be:
  each frame checks `A // P` of them or one more, each teammate is checked once a pass.
- `AuditLaw.ROTATION_WORST`: the same where the attack starts at whatever frame of a pass suits the attackers best. They
  know where a pass starts, and not what was dealt nor whether they were checked already.
- `AuditLaw.ANEW`: each teammate is checked with probability `rate` in each frame, whatever was before. Nothing is
  gained by learning that one was checked: in a rotation, who learns that is free until the pass ends.

"Checked" is the first of m attackers. It is caught where the check of a teammate that attacks in this frame finds it.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from robosac.budget.numbers import Probability, as_probability, smallest_power
from robosac.errors import InputError

LEAST_RATE: Final = Fraction(1, 1000)


class AuditLaw(enum.Enum):
    """How it is chosen who is checked."""

    ROTATION = "rotation"
    ROTATION_WORST = "rotation_worst_start"
    ANEW = "anew"


@dataclass(frozen=True)
class Frames:
    """How many frames until the first attacker is checked; None where no number is enough.

    Attributes:
        count: frames after which it is, with the confidence asked for.
        reached: probability that it is by then; where `count` is None, the most that is reached.
        certain: frames after which it surely is.
        mean: frames until it is, on average; in the worst start, for the start that is worst for the mean.
    """

    count: int | None
    reached: float
    certain: int | None
    mean: float | None


def audit_frames(
    teammates: int,
    attackers: int,
    rate: Probability,
    confidence: Probability = 0.99,
    *,
    law: AuditLaw = AuditLaw.ROTATION,
) -> Frames:
    """After how many frames one of the attackers was checked with this probability.

    Raises:
        InputError: a number that makes no sense, or a rate below 1/1000.
    """
    p = as_probability(confidence, "confidence")
    r = _rate(rate)
    _team(teammates, attackers)
    if attackers == 0:
        return Frames(0 if p == 0 else None, 0.0, None, None)
    if law is AuditLaw.ANEW:
        return _anew((1 - r) ** attackers, p)
    length = pass_frames(r)
    of_pass = [_missed_in_pass(teammates, attackers, length, k) for k in range(length + 1)]
    whole = sum(of_pass)  # mean of an attack that starts with a pass
    certain, mean = of_pass.index(Fraction(0)), whole
    if law is AuditLaw.ROTATION_WORST:  # all but the surely checked frame of one pass, and of the next
        certain = 2 * certain - 1
        mean = max(sum(of_pass[:left]) + of_pass[left] * whole for left in range(1, length + 1))

    def missed(frames: int) -> Fraction:
        return unchecked(teammates, attackers, r, frames, law=law)

    count = bisect_left(range(certain), True, key=lambda k: 1 - missed(k) >= p)
    return Frames(count, float(1 - missed(count)), certain, float(mean))


def unchecked(
    teammates: int, attackers: int, rate: Probability, frames: int, *, law: AuditLaw = AuditLaw.ROTATION
) -> Fraction:
    """Probability that none of the attackers was checked within so many frames, exactly."""
    r = _rate(rate)
    _team(teammates, attackers)
    if frames < 0:
        raise InputError(f"expected frames >= 0, got {frames}")
    if law is AuditLaw.ANEW:
        return (1 - r) ** (attackers * frames)
    length = pass_frames(r)

    def missed(k: int) -> Fraction:
        return _missed_in_pass(teammates, attackers, length, min(k, length))

    if law is AuditLaw.ROTATION:
        return missed(frames) if attackers else Fraction(1)
    # the attack starts with `left` frames of a pass to come
    return max(missed(min(left, frames)) * missed(max(frames - left, 0)) for left in range(1, length + 1))


def pass_frames(rate: Probability) -> int:
    """P: frames in which a rotation checks every teammate once."""
    return math.ceil(1 / _rate(rate))


@lru_cache(maxsize=4096)
def _missed_in_pass(teammates: int, attackers: int, length: int, frames: int) -> Fraction:
    """Probability that no attacker is dealt to the first so many frames of a pass.

    All of them are then dealt to the `r` frames that remain. These hold `even * r` teammates and one more in each of Y,
    where Y of the `more` frames with one more are among them; the chance is `E C(even r + Y, m) / C(A, m)`, and with
    Vandermonde's identity `E C(Y, j) = C(more, j) C(r, j) / C(P, j)`.
    """
    even, more = divmod(teammates, length)
    rest = length - frames
    ways = sum(
        Fraction(math.comb(even * rest, attackers - j) * math.comb(more, j) * math.comb(rest, j), math.comb(length, j))
        for j in range(min(attackers, more, rest) + 1)
    )
    return Fraction(ways) / math.comb(teammates, attackers)


def _anew(missed: Fraction, p: Fraction) -> Frames:
    """Where a frame checks no attacker with probability `missed`, whatever was before."""
    count = smallest_power(missed, 1 - p)
    reached = 1.0 if count is None else float(1 - missed**count)
    return Frames(count, reached, 1 if missed == 0 else None, float(1 / (1 - missed)))


def _rate(rate: Probability) -> Fraction:
    r = as_probability(rate, "rate")
    if r < LEAST_RATE:
        raise InputError(f"expected a rate in [{float(LEAST_RATE):g}, 1], got {rate}; check more teammates a frame")
    return r


def _team(teammates: int, attackers: int) -> None:
    if not 1 <= teammates <= 1000:
        raise InputError(f"expected teammates to be 1 to 1000, got {teammates}; correct teammates")
    if not 0 <= attackers <= teammates:
        raise InputError(f"expected attackers to be 0 to {teammates}, got {attackers}; correct attackers")
