"""Agreement thresholds from honest data.

Split conformal: of `n` honest frames, the threshold for subsets of one size is the k-th smallest agreement,
`k = floor(alpha (n + 1))`. A further honest frame, exchangeable with these, then falls below it with probability at
most alpha, whatever the detector and the measure (Vovk et al. 2005; on average over calibrations). What one calibration
may end up with is wider: its own refusal rate is distributed as Beta(k, n + 1 - k) at most (Vovk 2012), and
`refusal_bound` gives the quantile. Who wants that rate itself below alpha with a stated confidence takes the largest k
whose quantile is; it costs laxer thresholds. Thresholds belong to a detector and a measure together.

How often a lie passes depends on the lie. `lying_agreements` measures it for one that is given; it promises nothing
about another. A lie that passes often may be one that does little harm, as `foreign` ones are where fusion averages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil, floor, log
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from robosac.agreement import Agreement
from robosac.files import write_whole
from robosac.subsets import draw
from robosac.types import EGO_ALONE, Array, Detector, Frame, Id, InputError, Message, Request, Session, Subset

Agreements: TypeAlias = dict[str, dict[int, list[float]]]  # measure -> size -> one a frame


class Lie(Protocol):
    """What a liar sends in a frame instead of its honest message; nothing, where it keeps silent."""

    def __call__(
        self, frame: Frame, request: Request, honest: Mapping[Id, Message], liar: Id, rng: np.random.Generator
    ) -> Sequence[Message]: ...


def conformal_threshold(agreements: Array, alpha: float, *, confidence: float | None = None) -> float:
    """The threshold `(n,)` honest agreements give at level alpha. A further one lies below with P <= alpha: on average
    over calibrations, or, with a confidence, for that share of all calibrations.

    Needs `frames_needed(alpha, confidence)`; with fewer no finite threshold keeps the promise, and InputError says so.
    """
    values = np.sort(np.asarray(agreements, dtype=np.float64))
    return float(values[_rank(len(values), alpha, confidence) - 1])


def frames_needed(alpha: float, confidence: float | None = None) -> int:
    """The fewest honest frames that a threshold at level alpha can be read from.

    Raises:
        InputError: if alpha or confidence lies outside of (0, 1).
    """
    for name, value in (("alpha", alpha), ("confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"expected {name} inside (0, 1), got {value}; give a share like 0.02 or 0.95")
    if confidence is None:
        return ceil(1 / alpha - 1 - 1e-9)
    return ceil(log(1 - confidence) / log(1 - alpha) - 1e-9)


def refusal_bound(frames: int, alpha: float, *, confidence: float = 0.95, promised: float | None = None) -> float:
    """What the refusal rate of a threshold from `frames` honest frames stays below with this confidence.

    `promised` is the confidence that the threshold was chosen with, None for one that holds on average.

    Source: Vovk, "Conditional validity of inductive conformal predictors" (2012), proposition 2a, as a Beta quantile.
    """
    from scipy.stats import beta

    k = _rank(frames, alpha, promised)
    return float(beta.ppf(confidence, k, frames + 1 - k))


def _rank(frames: int, alpha: float, confidence: float | None = None) -> int:
    """Which of the sorted agreements is the threshold, counted from 1."""
    needed = frames_needed(alpha, confidence)
    if frames < needed:
        raise InputError(f"expected at least {needed} honest frames for alpha={alpha}, got {frames}; add frames")
    k = floor(alpha * (frames + 1) + 1e-12)
    if confidence is not None:
        from scipy.stats import beta

        ranks = np.arange(1, k + 1)
        k = max(1, int((beta.ppf(confidence, ranks, frames + 1 - ranks) <= alpha).sum()))  # grows with the rank
    return max(1, k)


@dataclass(frozen=True)
class Measure:
    """Thresholds of one agreement measure: subset size -> agreement asked for, from `frames` honest frames each.

    `lies_accepted` is the share of subsets, by size, that pass with one liar in them; `lie` says what it sent.
    """

    alpha: float
    thresholds: Mapping[int, float]
    frames: Mapping[int, int]
    lies_accepted: Mapping[int, float] = field(default_factory=dict)
    lie: str = ""
    confidence: float | None = None  # with which the promise holds for this calibration; None: on average over them

    def refusals(self, size: int, *, confidence: float = 0.95) -> float:
        """What the refusal rate of honest subsets of a calibrated size stays below with this confidence."""
        return refusal_bound(self.frames[size], self.alpha, confidence=confidence, promised=self.confidence)

    def threshold(self, size: int) -> float:
        """Threshold for a subset of `size`; sizes never calibrated take the nearest smaller one, else the smallest."""
        smaller = [s for s in self.thresholds if s <= size]
        return self.thresholds[max(smaller) if smaller else min(self.thresholds)]


@dataclass(frozen=True)
class Calibration:
    """What honest data says about one detector, by name of the agreement measure."""

    detector: str
    measures: Mapping[str, Measure]
    source: Mapping[str, str] = field(default_factory=dict)  # how it was made: data, seed, command

    def save(self, path: Path) -> None:
        write_whole(path, (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode())

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read a file `save` wrote. InputError names the file and what is wrong with it."""
        try:
            raw = json.loads(path.read_text())
            measures = {
                name: Measure(
                    alpha=float(m["alpha"]),
                    thresholds={int(k): float(v) for k, v in m["thresholds"].items()},
                    frames={int(k): int(v) for k, v in m["frames"].items()},
                    lies_accepted={int(k): float(v) for k, v in m.get("lies_accepted", {}).items()},
                    lie=str(m.get("lie", "")),
                    confidence=None if m.get("confidence") is None else float(m["confidence"]),
                )
                for name, m in raw["measures"].items()
            }
            return Calibration(str(raw["detector"]), measures, {str(k): str(v) for k, v in raw["source"].items()})
        except FileNotFoundError:
            raise InputError(
                f"expected a calibration file at {path}, found none; make one with `robosac calibrate`"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"expected {path} to be a calibration file, got {type(error).__name__}: {error}") from None


def honest_agreements(
    detector: Detector, frames: Iterable[Frame], measures: Sequence[Agreement], rng: np.random.Generator
) -> Agreements:
    """Agreements `{measure: {size: [one per frame]}}` of random honest subsets, one of each size a frame."""
    found: Agreements = {m.name: {} for m in measures}
    for frame in frames:
        request = Request.of(frame.ego)
        session = detector.open(frame.ego, request, [detector.encode(v, request) for v in frame.others.values()])
        subsets = [draw(session.ids, size, rng) for size in range(1, len(session.ids) + 1)]
        _compare(found, detector, frame, session, subsets, measures)
    return found


def lying_agreements(
    detector: Detector, frames: Iterable[Frame], measures: Sequence[Agreement], lie: Lie, rng: np.random.Generator
) -> Agreements:
    """Agreements `{measure: {size: [one per frame]}}` of random subsets that hold one liar, a random teammate."""
    found: Agreements = {m.name: {} for m in measures}
    for frame in frames:
        if not frame.others:
            continue
        request = Request.of(frame.ego)
        honest = {i: detector.encode(view, request) for i, view in frame.others.items()}
        liar = str(rng.choice(sorted(honest)))
        inbox = [*(m for i, m in honest.items() if i != liar), *lie(frame, request, honest, liar, rng)]
        session = detector.open(frame.ego, request, inbox)
        if liar not in session.ids:  # it kept silent
            continue
        rest = [i for i in session.ids if i != liar]
        subsets = [draw(rest, size, rng) | {liar} for size in range(len(session.ids))]
        _compare(found, detector, frame, session, subsets, measures)
    return found


def foreign(detector: Detector, elsewhere: Frame) -> Lie:
    """The lie that any codec allows: under its own name, pose and time the liar sends what an agent of the frame
    `elsewhere` saw. Without anybody there it keeps silent.
    """

    def lie(
        frame: Frame, request: Request, honest: Mapping[Id, Message], liar: Id, rng: np.random.Generator
    ) -> Sequence[Message]:
        if not elsewhere.others:
            return []
        stranger = elsewhere.others[str(rng.choice(sorted(elsewhere.others)))]
        seen = detector.encode(stranger, Request.of(elsewhere.ego)).payload
        return [replace(honest[liar], payload=seen)]

    return lie


def _compare(
    found: Agreements,
    detector: Detector,
    frame: Frame,
    session: Session,
    subsets: Sequence[Subset],
    measures: Sequence[Agreement],
) -> None:
    """Add what each measure says of each subset."""
    reference, *results = session.detect([EGO_ALONE, *subsets])
    for measure in measures:
        compare = measure.against(reference, frame.ego, detector.grid)
        for subset, result in zip(subsets, results, strict=True):
            found[measure.name].setdefault(len(subset), []).append(compare(result))


def fit(
    detector: str,
    agreements: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    alpha: float,
    source: Mapping[str, str] | None = None,
    lies: Mapping[str, Mapping[int, Sequence[float]]] | None = None,
    lie: str = "",
    confidence: float | None = None,
) -> Calibration:
    """Thresholds from `{measure: {size: agreements of honest frames}}`; sizes with too few frames are left out.

    With `lies`, those of `lying_agreements`, the share of these that the thresholds let pass; `lie` is their name.
    """
    needed = frames_needed(alpha, confidence)
    fitted: dict[str, Measure] = {}
    for name, by_size in agreements.items():
        enough = {size: values for size, values in sorted(by_size.items()) if len(values) >= needed}
        if not enough:
            most = max((len(v) for v in by_size.values()), default=0)
            raise InputError(f"expected at least {needed} honest frames for alpha={alpha}, got {most}; add frames")
        thresholds = {
            size: conformal_threshold(np.array(v), alpha, confidence=confidence) for size, v in enough.items()
        }
        told = (lies or {}).get(name, {})
        fitted[name] = Measure(
            alpha=alpha,
            thresholds=thresholds,
            frames={size: len(v) for size, v in enough.items()},
            lies_accepted={s: float(np.mean(np.array(told[s]) >= t)) for s, t in thresholds.items() if s in told},
            lie=lie if told else "",
            confidence=confidence,
        )
    return Calibration(detector, fitted, dict(source or {}))


def calibrate(
    detector: Detector,
    frames: Iterable[Frame],
    measures: Sequence[Agreement],
    *,
    alpha: float,
    rng: np.random.Generator,
    source: Mapping[str, str] | None = None,
    confidence: float | None = None,
) -> Calibration:
    """Thresholds for each measure and subset size from honest frames."""
    found = honest_agreements(detector, frames, measures, rng)
    return fit(detector.name, found, alpha=alpha, source=source, confidence=confidence)
