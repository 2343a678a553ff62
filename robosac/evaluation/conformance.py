"""Is a detector wrapped rightly? Checks on one frame, on the user's own model.

Everything the defence concludes rests on one sentence: a result is a function of the ego and the *subset* of messages
it was made from. An adapter that caches wrongly breaks it silently: a subset that was never fused as such looks clean,
or an attacker's message leaks into subsets that it is not in. `verify_adapter` compares with an unwrapped forward where
the detector has one (`Verifiable`), and with a fresh session that never received the other messages where it has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import median
from typing import Any, TypeVar

import numpy as np

from robosac import progress
from robosac.capabilities import Differentiable, Outputs, RawSession, Verifiable
from robosac.defenses import NoDefense
from robosac.evaluation.differing import as_outputs, difference, tamper
from robosac.feature_scale import FeatureScale, sends_features
from robosac.gate import for_clocks
from robosac.subsets import draw
from robosac.types import (
    EGO_ALONE,
    Detector,
    Frame,
    Id,
    InputError,
    Message,
    Received,
    Request,
    Session,
    Subset,
    View,
)

CACHED = "a subset from the cache equals a forward with these agents only"
CHANGED = "a tampered message changes the subsets that hold it"
GRADIENTS = "gradients reach the messages"
ONCE = "asked twice, decoded once; another session says the same"
FINITE = "results of honest messages are finite"
SUBSETS = "as many subsets as are asked for"
NOBODY = "no teammates and an empty scan are frames like others"
_PARTS = 21
_REPEATS = 3
_PATIENCE_S = 4.0  # costs are measured again while less than this was taken; slow models are not run for them alone
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `passed` is None where it does not apply to this detector."""

    name: str
    passed: bool | None
    found: str


@dataclass(frozen=True)
class AdapterReport:
    """What `verify_adapter` found.

    Attributes:
        detector: its name.
        compared: the unwrapped model ("full forward"), or "fresh session" for detectors without one.
        checks: in the order in which they were made.
        bytes_sent: teammate -> bytes of its message's payload.
        scale: how large the features as sent are; None where none is sent, or one is not finite.
        trial_ms: median milliseconds of one subset from what the session holds; NaN where a check failed.
        full_ms: median milliseconds of the same subsets without it; NaN where a check failed.
    """

    detector: str
    frame: str
    compared: str
    subsets: tuple[tuple[Id, ...], ...]
    checks: tuple[Check, ...]
    bytes_sent: Mapping[Id, int]
    scale: FeatureScale | None
    trial_ms: float
    full_ms: float

    @property
    def ok(self) -> bool:
        """Whether nothing that applies failed."""
        return all(c.passed is not False for c in self.checks)

    @property
    def speed(self) -> float:
        """How many times cheaper a trial is than a full forward."""
        return self.full_ms / self.trial_ms


def verify_adapter(
    detector: Detector,
    frame: Frame,
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-6,
    n_subsets: int = 6,
) -> AdapterReport:
    """Check a detector on one frame. Of one teammate, as recordings of two agents have, there are two subsets only;
    what that leaves open is among the checks as one that does not apply.

    Args:
        tolerance: the largest difference of raw outputs that is called equal, absolute or, where outputs exceed 1, as a
            share of the largest. On one device and thread 0.0 is usual.
        n_subsets: how many subsets are compared: the ego alone, all, and random ones.

    Raises:
        InputError: if the frame holds no teammate.
    """
    if not frame.others:
        raise InputError("expected a frame with teammates, got one without; take another, like --frame 10")
    with progress.part(0, _PARTS, "everybody's messages"):
        bench = _Bench(detector, frame, tolerance)
    subsets = _subsets(bench.ids, n_subsets, rng)
    attacker = bench.ids[int(rng.integers(len(bench.ids)))]
    checks, done = [bench.admitted()], 1
    work: list[tuple[str, int, Callable[[], list[Check]]]] = [  # with the share of the time that it takes
        (FINITE, 1, lambda: [bench.finite(subsets)]),
        (CACHED, 9, lambda: [bench.cached_equals_full(subsets)]),
        (CHANGED, 6, lambda: bench.tampering(subsets, attacker, rng)),
        (GRADIENTS, 1, lambda: [bench.gradients(attacker)]),
        (ONCE, 1, lambda: [bench.once()]),
        (NOBODY, 1, lambda: [bench.nobody_and_nothing()]),
    ]
    for name, size, check in work:
        with progress.part(done, _PARTS, name, size=size):
            checks += _attempt(name, check)
        done += size
    if len(bench.ids) < 2:
        left = f"{len(subsets)} of {n_subsets}: that one teammate's message leaves others' alone is not checked"
        checks.append(Check(SUBSETS, None, left))
    trial_ms, full_ms = nan, nan
    if all(c.passed is not False for c in checks):
        with progress.part(done, _PARTS, "what a trial costs"):
            trial_ms, full_ms = bench.speed(subsets)
    return AdapterReport(
        detector=detector.name,
        frame=f"{frame.scenario} {frame.index}",
        compared="full forward" if bench.verifiable else "fresh session",
        subsets=tuple(tuple(sorted(s)) for s in subsets),
        checks=tuple(checks),
        bytes_sent={m.sender: m.bytes for m in bench.messages},
        scale=_scale(detector, bench.messages),
        trial_ms=trial_ms,
        full_ms=full_ms,
    )


def _scale(detector: Detector, messages: Sequence[Message]) -> FeatureScale | None:
    if not sends_features(detector):
        return None
    try:
        return FeatureScale.of(messages)
    except InputError:
        return None


def _attempt(name: str, work: Callable[[], list[Check]]) -> list[Check]:
    """The checks of `work`; whatever the user's code raises is the finding."""
    try:
        return work()
    except Exception as error:
        return [Check(name, False, f"{type(error).__name__}: {error}")]


def _subsets(ids: Sequence[Id], wanted: int, rng: np.random.Generator) -> list[Subset]:
    """The ego alone, all, and random subsets of sizes in between, without repeats."""
    found = [EGO_ALONE, frozenset(ids)]
    for attempt in range(20 * wanted):
        if len(found) >= wanted:
            break
        found.append(draw(ids, 1 + attempt % max(1, len(ids) - 1), rng))
        found = list(dict.fromkeys(found))
    return found


class _Bench:
    """One detector, one frame, and what the checks share."""

    def __init__(self, detector: Detector, frame: Frame, tolerance: float) -> None:
        self.detector, self.frame = detector, frame
        self.request: Request = Request.of(frame.ego)
        self.messages: list[Message] = [detector.encode(view, self.request) for view in frame.others.values()]
        self.session: Session = detector.open(frame.ego, self.request, self.messages)
        self.ids: tuple[Id, ...] = tuple(self.session.ids)
        self.fulls_ms = list[float]()  # what a full forward of honest messages took, teammates included
        self.verifiable = isinstance(detector, Verifiable) and isinstance(self.session, RawSession)
        everyone = self.outputs(self.session, frozenset(self.ids)).values()
        finite = (np.abs(v)[np.isfinite(v)] for v in everyone)  # a masked logit of -inf is no scale
        self.tolerance = tolerance * max([1.0, *(float(v.max(initial=0.0)) for v in finite)])

    def open(self, messages: Sequence[Message]) -> Session:
        return self.detector.open(self.frame.ego, self.request, messages)

    def outputs(self, session: Session, subset: Subset) -> Outputs:
        """What is compared: the model's raw outputs, or the detections of a model that shows none."""
        if self.verifiable and isinstance(session, RawSession):
            return session.outputs(subset)
        return as_outputs(session.detect([subset])[0])

    def full(self, subset: Subset, tampered: Sequence[Message] = ()) -> Outputs:
        """The same without what a session of all messages could have cached."""
        if self.verifiable and isinstance(self.detector, Verifiable):
            views = [self.frame.others[i] for i in sorted(subset)]
            held = [m for m in tampered if m.sender in subset]
            start = time.perf_counter()
            outputs = self.detector.full(self.frame.ego, views, self.request, held)
            if subset and not tampered:
                self.fulls_ms.append(1e3 * (time.perf_counter() - start))
            return outputs
        instead = {m.sender: m for m in tampered}
        held = [instead.get(m.sender, m) for m in self.messages if m.sender in subset]
        return as_outputs(self.open(held).detect([subset])[0])

    # ------------------------------------------------------------------------------------------------- the checks
    def admitted(self) -> Check:
        inbox = [Received.honest(m, self.request) for m in self.messages]
        gate = for_clocks(NoDefense(), self.frame.clocks_ahead_ms).gate
        refused = gate.admit(self.request, self.detector.codec, inbox).rejected
        found = "; ".join(f"{i}: {why}" for i, why in refused.items()) or f"all {len(self.messages)}"
        return Check("honest messages pass the gate", not refused, found)

    def finite(self, subsets: Sequence[Subset]) -> Check:
        """A NaN compares equal to a NaN and is above no threshold: a broken model would pass all else."""
        broken = [sorted(s) for s in subsets if not self.session.detect([s])[0].finite]  # each as it is compared
        found = f"NaN or inf, or a failure, with {broken}" if broken else f"{len(subsets)} subsets"
        return Check(FINITE, not broken, found)

    def cached_equals_full(self, subsets: Sequence[Subset]) -> Check:
        pairs = progress.parts(((self.outputs(self.session, s), self.full(s)) for s in subsets), len(subsets))
        worst = max(difference(cached, full) for cached, full in pairs)
        return Check(CACHED, worst <= self.tolerance, f"max |difference| {worst:.3g} over {len(subsets)} subsets")

    def tampering(self, subsets: Sequence[Subset], attacker: Id, rng: np.random.Generator) -> list[Check]:
        """One message is replaced: who holds it changes and equals the full forward, who does not stays to the bit."""
        sent = [tamper(m, self.detector.codec, rng) if m.sender == attacker else m for m in self.messages]
        changed, malicious = self.open(sent), [m for m in sent if m.sender == attacker]
        subsets = list(dict.fromkeys([*subsets, frozenset({attacker})]))
        holds = [s for s in subsets if attacker in s]
        moved = {s: difference(self.outputs(changed, s), self.outputs(self.session, s)) for s in subsets}
        leaked = [sorted(s) for s in subsets if attacker not in s and moved[s] != 0]
        still = [sorted(s) for s in holds if moved[s] == 0]
        pairs = ((self.outputs(changed, s), self.full(s, malicious)) for s in holds)
        worst = max(difference(cached, full) for cached, full in progress.parts(pairs, len(holds)))
        return [
            Check(
                CHANGED,
                not still,
                f"{len(holds) - len(still)} of {len(holds)} changed" + (f", not {still}" if still else ""),
            ),
            Check(
                "and no other",
                not leaked,
                f"{len(subsets) - len(holds)} others " + (f"changed: {leaked}" if leaked else "equal to the bit"),
            ),
            Check(
                "a tampered subset equals a forward with the tampered message",
                worst <= self.tolerance,
                f"max |difference| {worst:.3g} over {len(holds)} subsets",
            ),
        ]

    def gradients(self, teammate: Id) -> Check:
        if not isinstance(self.session, Differentiable):
            return Check(GRADIENTS, None, "no `logits`: attacks by gradient cannot be tried on it")
        import torch

        sent = next(m for m in self.messages if m.sender == teammate).payload
        payload: dict[str, Any] = {
            k: torch.from_numpy(np.array(v)).requires_grad_(v.dtype.kind == "f") for k, v in sent.items()
        }
        logits = self.session.logits({teammate: payload}, [frozenset({teammate})])
        logits.square().mean().backward()
        grads = {k: t.grad for k, t in payload.items() if t.grad is not None}
        finite = all(bool(torch.isfinite(g).all()) for g in grads.values())
        reached = {k: float((g != 0).float().mean()) for k, g in grads.items()}
        found = ", ".join(f"{k}: {share:.0%} of values" for k, share in reached.items()) or "none"
        return Check(GRADIENTS, finite and any(reached.values()), found + ("" if finite else ", not all finite"))

    def once(self) -> Check:
        subset = frozenset(self.ids[:1])
        first, second = self.session.detect([subset, subset])
        again = difference(as_outputs(first), as_outputs(self.open(self.messages).detect([subset])[0]))
        found = "the same object" if first is second else "decoded twice"
        return Check(ONCE, first is second and again == 0, found)

    def nobody_and_nothing(self) -> Check:
        """No teammates, and a teammate whose scan is empty: both happen."""
        self.open([]).detect([EGO_ALONE])
        silent = self.detector.encode(_without_points(next(iter(self.frame.others.values()))), self.request)
        self.open([silent]).detect([frozenset({silent.sender})])
        return Check(NOBODY, True, "both decoded")

    def speed(self, subsets: Sequence[Subset]) -> tuple[float, float]:
        """Median milliseconds of a trial and of a full forward, same subsets; what a frame pays once is not in it.

        Forwards that were compared have been measured; where they are slow, that is enough.
        """
        asked, trials, fulls = [s for s in subsets if s], list[float](), list(self.fulls_ms)
        start = time.perf_counter()
        for _ in range(_REPEATS):
            session = self.open(self.messages)
            session.detect([EGO_ALONE])
            for s in asked:
                trials.append(_ms(session.detect, [s]))
                if not fulls or time.perf_counter() - start < _PATIENCE_S:
                    fulls.append(_ms(self._full_detections, s))
            if time.perf_counter() - start >= _PATIENCE_S:
                break
        return median(trials), median(fulls)

    def _full_detections(self, subset: Subset) -> None:
        """What a trial costs who caches nothing."""
        if self.verifiable:
            self.full(subset)
        else:
            views = [self.frame.others[i] for i in sorted(subset)]
            self.open([self.detector.encode(v, self.request) for v in views]).detect([subset])


def _without_points(view: View) -> View:
    """A plain view from the same place that saw nothing."""
    return View(view.id, view.kind, view.t_ns, np.zeros((0, 4), np.float32), view.world_T_sensor)


def _ms(work: Callable[[T], object], argument: T) -> float:
    start = time.perf_counter()
    work(argument)
    return 1e3 * (time.perf_counter() - start)
