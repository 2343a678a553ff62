"""What honest frames say about a detector: scores of random honest subsets, and thresholds read off them.

A `Statistic` scores subsets of one frame's session, high where they look honest; the agreement with the ego's own
result is one. Split conformal: of `n` honest frames, the threshold for subsets of one size is the k-th smallest score,
`k = floor(alpha (n + 1))`. A further honest frame, exchangeable with these, then falls below it with probability at
most alpha, whatever the detector and the measure (Vovk et al. 2005; on average over calibrations). What one calibration
may end up with is wider: its own refusal rate is distributed as Beta(k, n + 1 - k) at most (Vovk 2012), and
`refusal_bound` gives the quantile. Who wants that rate itself below alpha with a stated confidence takes the largest k
whose quantile is; it costs laxer thresholds. Thresholds belong to a detector and a statistic together.

The scores are kept, for defences that ask how unusual one is (`Thresholds.p_value`).

How often an attack passes depends on the attack. `attacked_scores` measures it for one that is given; it promises
nothing about another. One that passes often may do little harm, as `foreign` messages do where fusion averages.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from robosac.agreement import Agreement, check_finite
from robosac.conformal import conformal_threshold, frames_needed, refusal_bound
from robosac.files import write_whole
from robosac.subsets import draw
from robosac.types import (
    EGO_ALONE,
    BevGrid,
    Detector,
    Frame,
    Id,
    InputError,
    Message,
    Request,
    Session,
    Subset,
    View,
)

Scores: TypeAlias = Mapping[str, Mapping[int, Sequence[float]]]  # statistic -> subset size -> one a frame


@runtime_checkable
class Statistic(Protocol):
    """A value that scores subsets of teammates; one about single teammates scores those of size 1."""

    @property
    def name(self) -> str:
        """Key in calibration files; it says all settings that the scores depend on."""
        ...

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        """One score a subset, high where it looks honest; None where the statistic says nothing of it."""
        ...


@dataclass(frozen=True)
class WithEgo:
    """The agreement of a subset's result with the ego's own, as a statistic.

    Attributes:
        agreement: the measure.
        disturbed: whether frames with noisy poses and late messages are asked as well; it is another statistic then.
    """

    agreement: Agreement
    disturbed: bool = False

    @property
    def name(self) -> str:
        return f"{self.agreement.name} of noisy frames too" if self.disturbed else self.agreement.name

    def scores(self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]) -> Sequence[float]:
        reference, *results = session.detect([EGO_ALONE, *subsets])
        compare = self.agreement.against(reference, ego, grid)
        return [compare(result) for result in results]


class Malicious(Protocol):
    """What an attacker sends in a frame instead of its honest message; nothing, where it keeps silent."""

    def __call__(
        self, frame: Frame, request: Request, honest: Mapping[Id, Message], attacker: Id, rng: np.random.Generator
    ) -> Sequence[Message]: ...


@dataclass(frozen=True)
class Thresholds:
    """What honest frames said about one statistic, by subset size: `thresholds` of `frames` honest frames each.

    Attributes:
        lies_accepted: share of subsets that pass with one attacker in them; `lie` says what it sent.
        confidence: with which the promise holds for this calibration; None: on average over them.
        scores: what the thresholds were read from, sorted; absent in files of older versions.
    """

    alpha: float
    thresholds: Mapping[int, float]
    frames: Mapping[int, int]
    lies_accepted: Mapping[int, float] = field(default_factory=dict)
    lie: str = ""
    confidence: float | None = None
    scores: Mapping[int, tuple[float, ...]] = field(default_factory=dict, repr=False)

    def refusals(self, size: int, *, confidence: float = 0.95) -> float:
        """What the refusal rate of honest subsets of a calibrated size stays below with this confidence."""
        return refusal_bound(self.frames[size], self.alpha, confidence=confidence, promised=self.confidence)

    def threshold(self, size: int) -> float:
        """Threshold for a subset of `size`; sizes never calibrated take the nearest smaller one, else the smallest."""
        return self.thresholds[_stands_for(size, self.thresholds)]

    def threshold_at(self, size: int, alpha: float) -> float:
        """As `threshold`, at another level, read off the scores that were kept.

        Raises:
            InputError: a calibration of an older version kept none, or there are too few.
        """
        return conformal_threshold(np.array(self._honest(size)), alpha)

    def threshold_near(self, size: int, alpha: float) -> float:
        """As `threshold_at`, at the level nearest to alpha that so many frames can tell; without scores `threshold`."""
        if not self.scores:
            return self.threshold(size)
        return self.threshold_at(size, max(alpha, 1 / (len(self._honest(size)) + 1)))

    def p_value(self, size: int, score: float) -> float:
        """How unusual a score is for a random honest subset of `size`: `(1 + #{honest scores <= score}) / (n + 1)`.

        Of a further honest frame it is at most p with a probability of at most p, for every p; it is at most alpha
        where the score is below the threshold at alpha. Sizes never calibrated as in `threshold`.

        Source: conformal p-values, Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005), 2.2.

        Raises:
            InputError: if the calibration was made by a version that kept no scores.
        """
        honest = self._honest(size)
        return (1 + bisect_right(honest, score)) / (len(honest) + 1)

    def _honest(self, size: int) -> tuple[float, ...]:
        if not self.scores:
            raise InputError("expected a calibration with its scores, got none; make it again with `robosac calibrate`")
        return self.scores[_stands_for(size, self.scores)]


def _stands_for(size: int, calibrated: Iterable[int]) -> int:
    """The nearest smaller size that was calibrated, else the smallest."""
    smaller = [s for s in calibrated if s <= size]
    return max(smaller) if smaller else min(calibrated)


@dataclass(frozen=True)
class Calibration:
    """What honest data says about one detector, by name of the agreement measure."""

    detector: str
    measures: Mapping[str, Thresholds]
    source: Mapping[str, str] = field(default_factory=dict)  # how it was made: data, seed, command

    def save(self, path: Path) -> None:
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        text = re.sub(r"\[([^][]*)\]", lambda m: f"[{' '.join(m[1].split())}]", text)  # a list of scores, a line
        write_whole(path, f"{text}\n".encode())

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read a file `save` wrote. InputError names the file and what is wrong with it."""
        from pydantic import TypeAdapter

        try:
            return TypeAdapter(Calibration).validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"expected a calibration file at {path}, found none; make one with `robosac calibrate`"
            ) from None
        except ValueError as error:
            raise InputError(f"expected {path} to be a calibration file, got {type(error).__name__}: {error}") from None


def honest_scores(
    detector: Detector, frames: Iterable[Frame], statistics: Sequence[Statistic | Agreement], rng: np.random.Generator
) -> dict[str, dict[int, list[float]]]:
    """Scores `{statistic: {size: [one per frame]}}` of random honest subsets, one of each size a frame."""
    found: dict[str, dict[int, list[float]]] = {s.name: {} for s in statistics}
    for frame in frames:
        request = Request.of(frame.ego)
        session = detector.open(frame.ego, request, [detector.encode(v, request) for v in frame.others.values()])
        subsets = [draw(session.ids, size, rng) for size in range(1, len(session.ids) + 1)]
        check_finite(detector.name, session.detect([EGO_ALONE, *subsets]))
        _add(found, detector, frame, session, subsets, statistics)
    return found


def attacked_scores(
    detector: Detector,
    frames: Iterable[Frame],
    statistics: Sequence[Statistic | Agreement],
    malicious: Malicious,
    rng: np.random.Generator,
) -> dict[str, dict[int, list[float]]]:
    """Scores `{statistic: {size: [one per frame]}}` of random subsets that hold one attacker, a random teammate."""
    found: dict[str, dict[int, list[float]]] = {s.name: {} for s in statistics}
    for frame in frames:
        if not frame.others:
            continue
        request = Request.of(frame.ego)
        honest = {i: detector.encode(view, request) for i, view in frame.others.items()}
        attacker = str(rng.choice(sorted(honest)))
        sent = malicious(frame, request, honest, attacker, rng)
        session = detector.open(frame.ego, request, [*(m for i, m in honest.items() if i != attacker), *sent])
        if attacker not in session.ids:  # it kept silent
            continue
        rest = [i for i in session.ids if i != attacker]
        subsets = [draw(rest, size, rng) | {attacker} for size in range(len(session.ids))]
        _add(found, detector, frame, session, subsets, statistics)
    return found


def foreign(detector: Detector, elsewhere: Frame) -> Malicious:
    """What any codec allows: under its own name, pose and time the attacker sends what an agent of the frame
    `elsewhere` saw. Without anybody there it keeps silent.
    """

    def sent(
        frame: Frame, request: Request, honest: Mapping[Id, Message], attacker: Id, rng: np.random.Generator
    ) -> Sequence[Message]:
        if not elsewhere.others:
            return []
        stranger = elsewhere.others[str(rng.choice(sorted(elsewhere.others)))]
        seen = detector.encode(stranger, Request.of(elsewhere.ego)).payload
        return [replace(honest[attacker], payload=seen)]

    return sent


def _add(
    found: dict[str, dict[int, list[float]]],
    detector: Detector,
    frame: Frame,
    session: Session,
    subsets: Sequence[Subset],
    statistics: Sequence[Statistic | Agreement],
) -> None:
    """Add what each statistic says of each subset."""
    for given in statistics:
        statistic = given if isinstance(given, Statistic) else WithEgo(given)
        for subset, score in zip(subsets, statistic.scores(session, frame.ego, detector.grid, subsets), strict=True):
            if score is not None:
                found[given.name].setdefault(len(subset), []).append(score)


def merged(parts: Iterable[Scores]) -> dict[str, dict[int, list[float]]]:
    """The scores of several frames in one, in this order."""
    found: dict[str, dict[int, list[float]]] = {}
    for part in parts:
        for statistic, by_size in part.items():
            held = found.setdefault(statistic, {})
            for size, values in by_size.items():
                held.setdefault(size, []).extend(values)
    return found


def fit(
    detector: str,
    scores: Scores,
    *,
    alpha: float,
    source: Mapping[str, str] | None = None,
    attacked: Scores | None = None,
    attack: str = "",
    confidence: float | None = None,
) -> Calibration:
    """Thresholds from the scores of honest frames; sizes and statistics with too few frames are left out.

    With `attacked`, those of `attacked_scores`, the share of these that the thresholds let pass; `attack` names them.
    """
    needed = frames_needed(alpha, confidence)
    most = max((len(v) for by_size in scores.values() for v in by_size.values()), default=0)
    if most < needed:
        raise InputError(f"expected at least {needed} honest frames for alpha={alpha}, got {most}; add frames")
    fitted: dict[str, Thresholds] = {}
    for name, by_size in scores.items():
        enough = {size: values for size, values in sorted(by_size.items()) if len(values) >= needed}
        if not enough:  # it tells nothing of most frames, or of this detector; who asks it has limits of its own
            continue
        thresholds = {
            size: conformal_threshold(np.array(v), alpha, confidence=confidence) for size, v in enough.items()
        }
        tried = (attacked or {}).get(name, {})
        fitted[name] = Thresholds(
            alpha=alpha,
            thresholds=thresholds,
            frames={size: len(v) for size, v in enough.items()},
            lies_accepted={s: float(np.mean(np.array(tried[s]) >= t)) for s, t in thresholds.items() if s in tried},
            lie=attack if tried else "",
            confidence=confidence,
            scores={size: tuple(sorted(map(float, v))) for size, v in enough.items()},
        )
    return Calibration(detector, fitted, dict(source or {}))


def calibrate(
    detector: Detector,
    frames: Iterable[Frame],
    statistics: Sequence[Statistic | Agreement],
    *,
    alpha: float,
    rng: np.random.Generator,
    source: Mapping[str, str] | None = None,
    confidence: float | None = None,
) -> Calibration:
    """Thresholds for each statistic (an agreement is one) and subset size from honest frames."""
    found = honest_scores(detector, frames, statistics, rng)
    return fit(detector.name, found, alpha=alpha, source=source, confidence=confidence)
