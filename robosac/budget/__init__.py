"""Trial budgets and subset sizes: how many random subsets of teammates to try, and how large they may be.

Of `A` teammates (`teammates`) `m` are attackers; a trial draws a subset of `s` teammates and a verifier accepts or
refuses it. Three laws say how likely a drawn subset is to be attacker-free:

- `Law.PAPER`: `q = (1 - m/A)^s`, each member drawn with replacement (arXiv 2303.09495; optimistic);
- `Law.INDEPENDENT`: `q = C(A-m, s) / C(A, s)`, the hypergeometric law of really drawn subsets, anew in each trial;
- `Law.NO_REPEATS`: the same draws, but no subset is tried twice.

Probabilities are read as the decimals you write (0.9 is 9/10), trial counts are exact integers. What cannot be done is
an answer (`count=None` and a reason); an argument that makes no sense raises `InputError`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from robosac.budget.audit import AuditLaw as AuditLaw
from robosac.budget.audit import Frames as Frames
from robosac.budget.audit import audit_frames as audit_frames
from robosac.budget.audit import pass_frames as pass_frames
from robosac.budget.audit import unchecked as unchecked
from robosac.budget.certify import Votes as Votes
from robosac.budget.certify import votes_needed as votes_needed
from robosac.budget.laws import PERFECT as PERFECT
from robosac.budget.laws import STEP_LIMIT, Draws, Independent, NoRepeats
from robosac.budget.laws import Law as Law
from robosac.budget.laws import Verifier as Verifier
from robosac.budget.numbers import Probability as Probability
from robosac.budget.numbers import as_probability as as_probability
from robosac.budget.numbers import smallest_power
from robosac.errors import InputError

MAX_TEAMMATES: Final = 1000


@dataclass(frozen=True)
class Trials:
    """How many trials; `count` is None where no number is enough and `reason` says why.

    `success` is the probability, under the same law, that the first accepted subset is attacker-free within `count`
    trials; where `count` is None, the most that any number of trials reaches.
    """

    count: int | None
    success: float
    reason: str


@dataclass(frozen=True)
class SubsetSize:
    """The largest subset that a budget affords, its probability of success, and why. Size 0 is the ego alone."""

    size: int
    success: float
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What the first accepted subset is: attacker-free, contaminated, or there is none; the three sum to 1.

    `expected_trials` counts the trials until a subset is accepted or the budget ends, whichever comes first.
    """

    clean: float
    contaminated: float
    none: float
    expected_trials: float


def trials(
    teammates: int,
    attackers: int,
    subset: int,
    confidence: Probability = 0.99,
    *,
    law: Law = Law.NO_REPEATS,
    verifier: Verifier = PERFECT,
) -> Trials:
    """The smallest number of trials after which the first accepted subset is attacker-free with this probability."""
    draws = _draws(teammates, attackers, subset, law)
    p = as_probability(confidence, "confidence")
    a, b, frame = verifier.rates
    honest = teammates - attackers
    if p == 0:
        return Trials(0, 0.0, "no confidence is asked for")
    if subset > honest:
        formula = _formula_says(draws, p) if law is Law.PAPER else ""
        return Trials(None, 0.0, f"impossible: {_only(honest)} for a subset of {subset}{formula}")
    if frame == 1:
        return Trials(None, 0.0, "impossible: the verifier refuses every frame")
    wanted = p / (1 - frame)  # of the frames that are not refused
    count, reached = draws.trials_for_clean(wanted, a, b)
    success = float(reached * (1 - frame))
    if count is None:
        return Trials(None, success, _why_impossible(p, success, draws, verifier))
    return Trials(count, success, _why(attackers, subset, count))


def paper_trials(teammates: int, attackers: int, subset: int, confidence: Probability = 0.99) -> Trials:
    """`N = ceil(ln(1-p) / ln(1-(1-m/A)^s))`, the paper's number of trials."""
    return trials(teammates, attackers, subset, confidence, law=Law.PAPER)


def success(teammates: int, attackers: int, subset: int, n_trials: int, *, law: Law = Law.NO_REPEATS) -> float:
    """Probability that at least one of `n_trials` drawn subsets is attacker-free.

    Under `Law.PAPER` this is what the paper's formula claims, even for a subset larger than the honest teammates.
    """
    return float(1 - _draws(teammates, attackers, subset, law).miss(_count(n_trials, "trials")))


def share(teammates: int, attackers: int, subset: int, *, law: Law = Law.NO_REPEATS) -> Fraction:
    """Probability `q` that one drawn subset is attacker-free, exactly."""
    return _draws(teammates, attackers, subset, law).q


def outcome(
    teammates: int,
    attackers: int,
    subset: int,
    n_trials: int,
    *,
    law: Law = Law.NO_REPEATS,
    verifier: Verifier = PERFECT,
) -> Outcome:
    """What a search of at most `n_trials` trials ends in.

    Raises `InputError` where an imperfect verifier without repeats would have to be followed for too many trials.
    """
    budget = _count(n_trials, "trials")
    a, b, frame = verifier.rates
    chances = _draws(teammates, attackers, subset, law).chances(budget, a, b)
    # Condition on the frame: in a refused one the whole budget is spent and nothing is accepted.
    spent = min(budget, math.comb(teammates, subset)) if law is Law.NO_REPEATS else budget
    return Outcome(
        clean=float((1 - frame) * chances.clean),
        contaminated=float((1 - frame) * chances.contaminated),
        none=float((1 - frame) * chances.none + frame),
        expected_trials=float((1 - frame) * chances.expected_trials + frame * spent),
    )


def largest_subset(
    teammates: int,
    attackers: int,
    max_trials: int,
    confidence: Probability = 0.99,
    *,
    law: Law = Law.NO_REPEATS,
    verifier: Verifier = PERFECT,
) -> SubsetSize:
    """The largest subset that is found attacker-free with this probability within `max_trials` trials.

    Never larger than the honest teammates, whatever the paper's formula says. Sizes are tried from the top, because
    without repeats a larger subset can need fewer trials: of 5 teammates with 1 attacker, 5 for 4 but 6 for 3.

    Raises `InputError` as `outcome` does.
    """
    _draws(teammates, attackers, 0, law)
    budget = _count(max_trials, "trials")
    p = as_probability(confidence, "confidence")
    a, b, frame = verifier.rates
    honest = teammates - attackers
    for size in range(honest, 0, -1):
        q = share(teammates, attackers, size, law=law)
        if q * budget * (1 - b) * (1 - frame) < p or frame == 1:  # the union bound: no law can do better
            continue
        if _draws(teammates, attackers, size, law).reaches(p / (1 - frame), budget, a, b):
            reached = outcome(teammates, attackers, size, budget, law=law, verifier=verifier).clean
            return SubsetSize(size, reached, _why_size(teammates, attackers, size, budget, p, law))
    alone = outcome(teammates, attackers, 0, budget, law=law, verifier=verifier).clean
    if honest == 0:
        return SubsetSize(0, alone, f"the ego alone: {_only(honest)}")
    return SubsetSize(0, alone, f"the ego alone: no subset of teammates reaches {float(p):.6g} in {budget} trials")


def paper_subset_size(teammates: int, attackers: int, max_trials: int, confidence: Probability = 0.99) -> int | None:
    """`s = floor(ln(1-(1-p)^(1/N)) / ln(1-m/A))` as it is written, even where that exceeds the honest teammates.

    None where it has no bound: without attackers (the formula divides by ln 1) or with nothing asked for. Where it has
    no meaning (only attackers, certainty, no trials) it is 0.
    """
    _draws(teammates, attackers, 0, Law.PAPER)
    budget = _count(max_trials, "trials")
    p = as_probability(confidence, "confidence")
    if p == 0 or (attackers == 0 and budget > 0):
        return None
    size, step = 0, 1
    while step:  # gallop up, then halve
        if _affords(teammates, attackers, size + step, budget, p):
            size, step = size + step, step * 2
        else:
            step //= 2
    return size


def a2cp_limits(teammates: int, confidence: Probability = 0.99, *, law: Law = Law.PAPER) -> dict[int, int]:
    """The most tries `{subset size: tries}` that probing for the attackers' number spends on each size, largest first.

    A2CP assumes m = 0, 1, ..., A-1 attackers in turn and tries subsets of all A-m teammates that would be honest. The
    paper's law gives its reference limits; `Law.NO_REPEATS` the tries that suffice when no subset is tried twice.

    Raises:
        InputError: the confidence is 1 where subsets can return.
    """
    limits = {}
    for attackers in range(teammates):
        count = trials(teammates, attackers, teammates - attackers, confidence, law=law).count
        if count is None:
            raise InputError(
                f"expected a confidence below 1 where subsets can return ({law.value}), got {confidence}; "
                "lower it or use no_repeats"
            )
        limits[teammates - attackers] = count
    return limits


def attackers_of_ratio(teammates: int, ratio: Probability) -> int:
    """The number of attackers that a ratio stands for, rounded up: to assume one too many only costs trials."""
    return math.ceil(as_probability(ratio, "ratio") * _count(teammates, "teammates"))


def _count(value: int, name: str, most: int | None = None) -> int:
    """A whole number >= 0; numpy's integers are welcome."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < 0 or (most is not None and value > most):
        limit = "" if most is None else f" and <= {most}"
        raise InputError(f"expected {name} to be a whole number >= 0{limit}, got {value!r}; correct {name}")
    return int(value)


def _draws(teammates: int, attackers: int, subset: int, law: Law) -> Draws:
    _count(teammates, "teammates", MAX_TEAMMATES)
    _count(attackers, "attackers", teammates)
    _count(subset, "subset", teammates)
    honest = teammates - attackers
    if law is Law.PAPER:
        return Independent(Fraction(honest, teammates) ** subset if subset else Fraction(1))
    good, total = math.comb(honest, subset), math.comb(teammates, subset)
    return NoRepeats(good, total) if law is Law.NO_REPEATS else Independent(Fraction(good, total))


def _affords(teammates: int, attackers: int, size: int, budget: int, p: Fraction) -> bool:
    """Whether the paper's formula allows this size, which need not exist."""
    count = smallest_power(1 - Fraction(teammates - attackers, teammates) ** size, 1 - p)
    return count is not None and count <= budget


def _only(honest: int) -> str:
    if honest == 0:
        return "no honest teammates"
    return f"only {honest} honest teammate{'' if honest == 1 else 's'}"


def _formula_says(draws: Draws, p: Fraction) -> str:
    count = draws.trials_for(1 - p)
    return "" if count is None else f" (the paper's formula would say {count:,} trials)"


def _why(attackers: int, subset: int, count: int) -> str:
    if subset == 0:
        return "the empty subset is the ego alone, which no attacker is in"
    if attackers == 0:
        return "no attackers: every subset is attacker-free"
    return f"{count:,} trials suffice, one fewer does not" if count > 1 else "one trial suffices"


def _why_impossible(p: Fraction, best: float, draws: Draws, verifier: Verifier) -> str:
    if p == 1 and not any(verifier.rates):
        return "impossible: subsets can return, so no number of trials is certain; draw without repeats"
    if isinstance(draws, NoRepeats) and draws.total > STEP_LIMIT and verifier.rates[2] < 1 - p:
        return f"not within {STEP_LIMIT} trials, which reach {best:.4g}; with more it was not computed"
    return f"impossible: with this verifier no number of trials reaches more than {best:.4g}"


def _why_size(teammates: int, attackers: int, size: int, budget: int, p: Fraction, law: Law) -> str:
    if attackers == 0:
        return "no attackers: all teammates can be used at once"
    if size < teammates - attackers:
        return f"a larger subset does not reach {float(p):.6g} in {budget:,} trials"
    formula = paper_subset_size(teammates, attackers, budget, p) if law is Law.PAPER else None
    beyond = f"; the paper's formula would say {formula}" if formula is not None and formula > size else ""
    return f"all {size} honest teammates{beyond}"
