"""What published defences share: a frame to look at, a choice to make, and a defender that turns both into a verdict.

Most rivals differ in a score of each teammate and in a rule that turns scores into a choice. A rival is a frozen
dataclass; its `start` gives a `Peer` with a function from a `Look` to a `Choice`. What is remembered within a scenario
lives in an object whose method that function is, not in a closure: attacks that simulate a defence copy it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

from robosac.agreement import DEFAULT_GRID
from robosac.calibration import Calibration, Thresholds
from robosac.capabilities import Contributing, Contribution, Solo
from robosac.conformal import frames_needed
from robosac.defenses.opening import opened
from robosac.defenses.stages import Stages
from robosac.errors import warn
from robosac.gate import Gate
from robosac.score_maps import rasterise_boxes
from robosac.types import (
    EGO_ALONE,
    BevGrid,
    Bool,
    Detections,
    Detector,
    Float32,
    Id,
    InputError,
    Received,
    Request,
    Session,
    Subset,
    Trial,
    Verdict,
    View,
)


@dataclass(frozen=True, eq=False)
class Look:
    """One frame as a rival sees it. What is decoded is decoded once, timed and counted.

    Attributes:
        session: of the messages that passed the gate.
        ego: the ego's own view; `to`: what it asked for.
        detector: for its grid and its name, and for those that open a session of their own.
    """

    session: Session
    ego: View
    to: Request
    detector: Detector
    stages: Stages = field(default_factory=Stages)
    decoded: set[Subset] = field(default_factory=set)

    @property
    def ids(self) -> Sequence[Id]:
        """The teammates whose messages are at hand."""
        return self.session.ids

    @property
    def grid(self) -> BevGrid:
        """The detector's, or the usual one where it gives boxes and has none."""
        return self.detector.grid or DEFAULT_GRID

    def results(self, subsets: Sequence[Subset]) -> list[Detections]:
        """What these subsets show, fused with the ego; one that is not finite shows nothing."""
        self.decoded.update(subsets)
        with self.stages.measure("decode"):
            found = self.session.detect(subsets)
        return [r if r.finite else Detections.empty() for r in found]

    def result(self, subset: Subset) -> Detections:
        """What one subset shows."""
        return self.results([subset])[0]

    @property
    def own(self) -> Detections:
        """What the ego shows alone."""
        return self.result(EGO_ALONE)

    def singles(self) -> dict[Id, Detections]:
        """What each teammate shows alone with the ego, decoded in one batch."""
        return dict(zip(self.ids, self.results([frozenset({i}) for i in self.ids]), strict=True))

    def each(self) -> dict[Id, Detections]:
        """What each teammate shows by itself, without the ego; its single where the detector does not tell."""
        if not isinstance(self.session, Solo):
            return self.singles()
        try:
            with self.stages.measure("decode"):
                found = self.session.solo(self.ids)
        except InputError:  # the model does not tell
            return self.singles()
        return dict(zip(self.ids, found, strict=True))

    @cached_property
    def own_map(self) -> Shared | None:
        """The ego's own map."""
        return shared(self.session, None, self.grid)

    def map_of(self, teammate: Id) -> Shared | None:
        """What a teammate sent, as a map in the ego's frame; None where the detector shows no such thing."""
        return shared(self.session, teammate, self.grid)


@dataclass(frozen=True, eq=False)
class Shared:
    """One agent's map `(C, H, W)` in the ego's frame, and where `(H, W)` it holds something."""

    features: Float32
    valid: Bool


def shared(session: Session, teammate: Id | None, grid: BevGrid) -> Shared | None:
    """What an agent sent, as one map: its features, or its boxes drawn as a score map where boxes are sent.

    Where there are maps of several scales the first is taken. Not finite values count as 0.
    """
    if not isinstance(session, Contributing):
        return None
    try:
        found: Contribution = session.contribution(teammate)
    except InputError:  # maps that are never brought to the ego's frame
        return None
    if found.features:
        maps = np.nan_to_num(next(iter(found.features.values())), posinf=0.0, neginf=0.0).astype(np.float32)
        valid = np.ones(maps.shape[1:], np.bool_) if found.valid is None else found.valid
        return Shared(maps, valid)
    if found.detections is not None:
        drawn = rasterise_boxes(found.detections.boxes, found.detections.scores, grid)
        return Shared(drawn[None], np.ones(drawn.shape, np.bool_))
    return None


@dataclass(frozen=True, eq=False)
class Choice:
    """What a rival decided.

    Attributes:
        used: who is fused, or whose boxes enter `result`.
        reason: in words.
        accused: against whom its evidence speaks; published defences accuse whom they leave out for cause.
        suspicion: teammate -> [0, 1].
        trials: what was judged.
        result: where it is not the fusion of `used`; `sources`: for each of its boxes, on whom it rests.
    """

    used: Subset
    reason: str
    accused: Subset = EGO_ALONE
    suspicion: Mapping[Id, float] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    result: Detections | None = None
    sources: tuple[Subset, ...] = ()


Decide: TypeAlias = Callable[[Look], Choice]


class Peer:
    """Defends the frames of one scenario, in order: the gate, a session, the rival's choice, the fusion of it."""

    def __init__(self, gate: Gate, decide: Decide) -> None:
        self._gate, self._decide = gate, decide

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Nothing that a teammate sends makes it raise."""
        stages = Stages()
        admitted, session = opened(self._gate, stages, detector, ego, to, inbox)
        look = Look(session, ego, to, detector, stages)
        choice = self._decide(look) if session.ids else Choice(EGO_ALONE, admitted.nobody or "nobody sent anything")
        used, result, sources = choice.used, choice.result, choice.sources
        if result is None:
            look.decoded.add(used)
            with stages.measure("decode"):
                result = session.detect([used])[0]
        if not result.finite:  # an overflow of what was fused: the ego's own stands
            used, sources, result = EGO_ALONE, (), look.own
        return Verdict(
            result=result,
            used=used,
            accused=choice.accused & frozenset(session.ids),
            suspicion={i: float(choice.suspicion.get(i, i not in used)) for i in session.ids},
            trials=choice.trials,
            decodes=len(look.decoded),
            ms=stages.done(),
            reason=choice.reason,
            rejected=admitted.rejected,
            sources=sources,
        )


def check_shares(owner: object, *names: str) -> None:
    """That these settings are numbers in [0, 1]. InputError says which is not."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise InputError(f"expected {name} of {type(owner).__name__} in [0, 1], got {value!r}")


def of_each(trials: Iterable[Trial], suspicion: Mapping[Id, float] | None = None) -> Choice:
    """Who passed a test of its own is fused, who did not is left out and accused."""
    judged = tuple(trials)
    passed = frozenset(i for t in judged if t.accepted for i in t.subset)
    refused = frozenset(i for t in judged if not t.accepted for i in t.subset)
    reason = f"{len(passed)} of {len(judged)} teammates passed"
    return Choice(passed, reason, refused, suspicion or {}, judged)


def scores_of_singles(
    session: Session, subsets: Sequence[Subset], score: Callable[[Detections, list[Detections]], Sequence[float]]
) -> list[float | None]:
    """As of a `robosac.calibration.Statistic`: what `score` says of the ego's result and of singles, None of others."""
    singles = [s for s in subsets if len(s) == 1]
    own, *results = session.detect([EGO_ALONE, *singles])
    found = dict(zip(singles, score(own, results), strict=True))
    return [found.get(s) for s in subsets]


def known(calibration: Calibration | None, detector: str, names: Collection[str], rival: str) -> dict[str, Thresholds]:
    """What honest frames of this detector said about these statistics; a warning where some are missing."""
    fits = calibration is not None and calibration.detector == detector
    held = {n: calibration.measures[n] for n in names if n in calibration.measures} if calibration and fits else {}
    if missing := sorted(set(names) - set(held)):
        warn(
            f"{rival} on detector {detector!r} uses stated limits: its calibration does not hold {', '.join(missing)}; "
            f"run `robosac calibrate --add --defense {rival}`"
        )
    return held


def asked(measure: Thresholds | None, size: int, alpha: float, stated: float) -> float:
    """The score that a share `alpha` of honest subsets of this size stays below; `stated` where nothing is known."""
    if measure is None:
        return stated
    enough = bool(measure.scores) and min(map(len, measure.scores.values())) >= frames_needed(alpha)
    return measure.threshold_at(size, alpha) if enough else measure.threshold(size)


def p_value(measure: Thresholds | None, score: float, stated: float) -> float:
    """How unusual the score of a single is among honest ones; without any, 1 or 0 by a stated limit."""
    if measure is None or not measure.scores:
        return float(score >= stated)
    return measure.p_value(1, score)
