"""PASAC and CP-uniGuard: groups that agree with the ego are accepted whole, others are halved.

Sources: CP-Guard, arXiv 2412.12000 (PASAC and the collaborative consistency loss); CP-uniGuard, arXiv 2506.22890
(an adaptive threshold by two sliding windows: alpha 0.2, gamma 0.02, window 30, start 0.3).

Left open there, and chosen here. *The consistency loss*: theirs belongs to their heads (class maps of a
segmentation or of anchors); ours is one less the overlap of the score maps, which every detector has, and which
falls as theirs does. *PASAC's threshold*: that which 2 % of honest subsets of the same size stay below, by
calibration. *CP-uniGuard's start of 0.3*: it belongs to their loss; on ours it refuses honest teammates as well, so
that the start is the calibrated threshold of singles, and a number can be set. *The last fusion*: everybody who was
in an accepted group; it is not verified again, in theirs neither. *The rule of the windows*, which is given by its
constants only: one window holds the losses of what was accepted, one of what was refused. The threshold goes a
share alpha towards the middle between both means, and where nobody was refused yet, towards the mean of the
accepted plus as much again; it never moves by more than gamma a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import Agreement, ScoreMapOverlap
from robosac.calibration import Calibration, WithEgo
from robosac.defenses.rivals.frame import Choice, Look, Peer, asked, check_shares, known
from robosac.defenses.rivals.surrogates import OfGroups
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Id, InputError, Subset, Trial


@dataclass(frozen=True, kw_only=True)
class Halving:
    """PASAC.

    Attributes:
        agreement: one less the consistency loss.
        alpha: share of honest subsets that may be refused; its score is the threshold.
        stated: threshold where nothing is calibrated.
    """

    agreement: Agreement = field(default_factory=ScoreMapOverlap)
    alpha: float = 0.02
    stated: float = 0.5
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "alpha", "stated")

    def statistics(self) -> tuple[WithEgo]:
        """The agreement of honest subsets of every size."""
        return (WithEgo(self.agreement),)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Halves(self, calibration, rng).decide)

    def required(self, calibration: Calibration | None, detector: str) -> Callable[[int], float]:
        """Agreement asked for, by size."""
        measure = known(calibration, detector, [self.agreement.name], "pasac").get(self.agreement.name)
        return lambda size: asked(measure, size, self.alpha, self.stated)

    def surrogate(self, calibration: Calibration | None, detector: str) -> OfGroups:
        """The measure, and the groups of a first halving."""
        return OfGroups(self.agreement, self.required(calibration, detector))


@dataclass(frozen=True, kw_only=True)
class AdaptiveHalving:
    """CP-uniGuard: PASAC, its threshold on the loss moved by two sliding windows.

    Attributes:
        agreement: one less the consistency loss.
        start_loss: the first threshold on the loss; None takes the calibrated one of single teammates at `first_alpha`.
        first_alpha: share of honest singles that it may refuse.
        alpha: share of the way towards the middle that it goes a frame; `gamma`: the most it moves by.
        window: losses that each window holds.
    """

    agreement: Agreement = field(default_factory=ScoreMapOverlap)
    start_loss: float | None = None
    first_alpha: float = 0.02
    alpha: float = 0.2
    gamma: float = 0.02
    window: int = 30
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "first_alpha", "alpha", "gamma", *(() if self.start_loss is None else ("start_loss",)))
        if self.window < 1:
            raise InputError(f"expected window of AdaptiveHalving to be at least 1, got {self.window}")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, _Windowed(self, calibration, rng).decide)

    def statistics(self) -> tuple[WithEgo, ...]:
        """The agreement, where the first threshold is read off it."""
        return (WithEgo(self.agreement),) if self.start_loss is None else ()

    def first(self, calibration: Calibration | None, detector: str) -> float:
        """The first threshold on the loss."""
        if self.start_loss is not None:
            return self.start_loss
        measure = known(calibration, detector, [self.agreement.name], "cp-uniguard").get(self.agreement.name)
        return 1.0 - asked(measure, 1, self.first_alpha, self.agreement.default_threshold)

    def surrogate(self, calibration: Calibration | None, detector: str) -> OfGroups:
        """As of `Halving`, at the first threshold."""
        first = self.first(calibration, detector)
        return OfGroups(self.agreement, lambda size: 1.0 - first)


class Windows:
    """The threshold on the loss, and the losses that move it."""

    def __init__(self, start: float, alpha: float, gamma: float, window: int) -> None:
        self.threshold, self._alpha, self._gamma = start, alpha, gamma
        self._passed: deque[float] = deque(maxlen=window)
        self._refused: deque[float] = deque(maxlen=window)

    def learn(self, trials: Sequence[Trial]) -> None:
        """Take in the losses of a frame and move the threshold once."""
        for t in trials:
            (self._passed if t.accepted else self._refused).append(1.0 - t.agreement)
        if not self._passed:
            return
        low = float(np.mean(self._passed))
        middle = (low + float(np.mean(self._refused))) / 2 if self._refused else 2 * low
        step = self._alpha * (middle - self.threshold)
        self.threshold += float(np.clip(step, -self._gamma, self._gamma))


@dataclass
class _Halves:
    """One scenario of `Halving`."""

    of: Halving
    calibration: Calibration | None
    rng: np.random.Generator

    def decide(self, look: Look) -> Choice:
        required = self.of.required(self.calibration, look.detector.name)
        return halved(look, self.of.agreement, required, self.rng)


@dataclass
class _Windowed:
    """One scenario of `AdaptiveHalving`."""

    of: AdaptiveHalving
    calibration: Calibration | None
    rng: np.random.Generator
    windows: Windows | None = None

    def decide(self, look: Look) -> Choice:
        if self.windows is None:
            first = self.of.first(self.calibration, look.detector.name)
            self.windows = Windows(first, self.of.alpha, self.of.gamma, self.of.window)
        allowed = self.windows.threshold
        found = halved(look, self.of.agreement, lambda size: 1.0 - allowed, self.rng)
        self.windows.learn(found.trials)
        return found


def halved(look: Look, agreement: Agreement, required: Callable[[int], float], rng: np.random.Generator) -> Choice:
    """Everybody in a group that agrees; a group that does not is split at random, down to single teammates."""
    compare = agreement.against(look.own, look.ego, look.grid)
    order = [look.ids[k] for k in rng.permutation(len(look.ids))]
    groups: list[list[Id]] = [order]
    trials: list[Trial] = []
    while groups:
        group = groups.pop()
        subset: Subset = frozenset(group)
        trial = Trial.judged(subset, compare(look.result(subset)), required(len(group)))
        trials.append(trial)
        if not trial.accepted and len(group) > 1:
            groups += [group[len(group) // 2 :], group[: len(group) // 2]]
    used = frozenset().union(*(t.subset for t in trials if t.accepted)) if trials else EGO_ALONE
    refused = frozenset(i for t in trials if len(t.subset) == 1 and not t.accepted for i in t.subset)
    return Choice(used, f"{len(used)} of {len(order)} teammates after {len(trials)} checks", refused, {}, tuple(trials))
