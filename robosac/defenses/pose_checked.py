"""A defence behind a check of poses: what a message shows by itself is held against what the ego sees, first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from robosac.calibration import Calibration, Statistic
from robosac.capabilities import Solo
from robosac.defenses.protocol import Adaptable, Calibrated, Defender, Defense, Surrogate
from robosac.defenses.robosac import Robosac
from robosac.defenses.stages import Stages
from robosac.errors import warn
from robosac.gate import Gate
from robosac.poses import FreeGround, JointCheck, PoseGain, PoseVerdict, mended
from robosac.poses.check import ELSEWHERE_LIMIT, SHIFT_LIMIT
from robosac.types import EGO_ALONE, Detector, Id, InputError, Message, Received, Request, Session, Verdict, View


@dataclass(frozen=True, kw_only=True)
class PoseChecked:
    """Claimed poses are verified before `inner` decides: mended where that is sure, refused where they are off.

    A refused message is left out as the gate leaves out, and is no accusation: a broken receiver looks the same.

    Attributes:
        inner: the defence that sees the rest.
        check: how poses are judged.
        shift_limit, elsewhere_limit: gains of another pose that honest ones may have; None takes the calibrated ones.
        unknown: whether messages of which there is no telling are kept, for `inner` to judge, or left out.
        gate: what may enter at all.
    """

    inner: Any = field(default_factory=Robosac)
    check: JointCheck = field(default_factory=JointCheck)
    shift_limit: float | None = None
    elsewhere_limit: float | None = None
    unknown: Literal["keep", "leave out"] = "keep"
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Defense):
            raise InputError(f"expected inner to be a defence, got {type(self.inner).__name__}")
        if self.unknown not in ("keep", "leave out"):
            raise InputError(f"expected unknown to be 'keep' or 'leave out', got {self.unknown!r}")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> PoseCheckedDefender:
        inner = replace(self.inner, gate=self.gate) if hasattr(self.inner, "gate") else self.inner
        return PoseCheckedDefender(self, inner.start(scenario, calibration, rng), calibration)

    def statistics(self) -> tuple[Statistic, ...]:
        """The gains of other poses, and what `inner` asks for."""
        inner = self.inner.statistics() if isinstance(self.inner, Calibrated) else ()
        return (*self.gains, *inner)

    @property
    def gains(self) -> tuple[PoseGain, PoseGain]:
        return PoseGain(where="near", check=self.check.alone), PoseGain(where="anywhere", check=self.check.alone)

    def surrogate(self, calibration: Calibration | None, detector: str) -> Surrogate:
        """That of `inner`: features do not enter the check of poses but through what they show.

        Raises:
            InputError: `inner` has none.
        """
        if not isinstance(self.inner, Adaptable):
            raise InputError(f"expected inner to be a defence that can be adapted to, got {type(self.inner).__name__}")
        return self.inner.surrogate(calibration, detector)

    def allowed(self, calibration: Calibration | None, detector: str) -> tuple[float, float]:
        """Gains near the claim and anywhere that honest messages may have."""
        given = (self.shift_limit, self.elsewhere_limit)
        usual = (SHIFT_LIMIT, ELSEWHERE_LIMIT)
        found = []
        for limit, default, gain in zip(given, usual, self.gains, strict=True):
            measures: Mapping[str, Any] = {}
            if calibration is not None and calibration.detector == detector:
                measures = calibration.measures
            if limit is not None:
                found.append(limit)
            elif gain.name in measures:
                found.append(-measures[gain.name].threshold(1))
            else:
                warn(
                    f"{gain.name} on detector {detector!r} uses its default limit {default}: it is not calibrated; "
                    "run `robosac calibrate --defense robosac-poses --pose-noise 0.2,0.2 --delay 1`"
                )
                found.append(default)
        return found[0], found[1]


class PoseCheckedDefender:
    """Defends the frames of one scenario, in order."""

    def __init__(self, defense: PoseChecked, inner: Defender, calibration: Calibration | None) -> None:
        self._defense, self._inner, self._calibration = defense, inner, calibration

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Judge the poses, then let `inner` decide. Nothing a teammate sends raises."""
        defense, stages = self._defense, Stages()
        with stages.measure("gate"):
            admitted = defense.gate.admit(to, detector.codec, inbox)
        with stages.measure("encode"):
            session = detector.open(ego, to, admitted.messages)
        if not isinstance(session, Solo):
            raise InputError(
                f"expected {detector.name!r} to tell what a message shows by itself (robosac.capabilities.Solo), it "
                "does not; take another defence, or give its session `solo` and `claim`"
            )
        with stages.measure("poses"):
            verdicts = self.judged(session, detector, ego)
        kept, refused = self._sorted(admitted.messages, verdicts, to)
        # by link: a message that passed the gate came alone on its sender's, and what others brought is not looked at
        came = {r.link: r for r in inbox if isinstance(r, Received) and isinstance(r.link, str)}
        again = [replace(came[sender], message=message) for sender, message in kept.items()]
        result = self._inner.step(_Opened(detector, session, admitted.messages), ego, to, again)
        return replace(
            result,
            rejected={**result.rejected, **refused, **admitted.rejected},
            decodes=result.decodes + len(session.ids) + (len(kept) < len(session.ids) or _changed(verdicts)),
            ms={**result.ms, **{f"{k}, poses": v for k, v in stages.done().items() if v > 0}},
            reason=_reason(verdicts, result.reason),
        )

    def judged(self, session: Solo, detector: Detector, ego: View) -> dict[Id, PoseVerdict]:
        """A verdict on the pose of each teammate of a session."""
        if not session.ids:
            return {}
        defense = self._defense
        limits = defense.allowed(self._calibration, detector.name)
        own, ground = session.detect([EGO_ALONE])[0], FreeGround.of(ego.points)
        shown = dict(zip(session.ids, session.solo(session.ids), strict=True))
        return defense.check.judge(own, shown, {i: session.claim(i) for i in session.ids}, ground, *limits)

    def _sorted(
        self, messages: Sequence[Message], verdicts: Mapping[Id, PoseVerdict], to: Request
    ) -> tuple[dict[Id, Message], dict[Id, str]]:
        """What goes on, mended or as it is, and why the rest does not."""
        kept, refused = {}, {}
        for m in messages:
            v = verdicts[m.sender]
            if v.kind == "corrected":
                kept[m.sender] = mended(m, v.offset, to.world_T_ego)
            elif v.kind == "refused" or (v.kind == "unknown" and self._defense.unknown == "leave out"):
                refused[m.sender] = f"pose {v.kind}: {v.why}"
            else:
                kept[m.sender] = m
        return kept, refused


def _changed(verdicts: Mapping[Id, PoseVerdict]) -> bool:
    return any(v.kind == "corrected" for v in verdicts.values())


def _reason(verdicts: Mapping[Id, PoseVerdict], rest: str) -> str:
    told = [f"{i} {v.kind} ({v.why})" for i, v in sorted(verdicts.items()) if v.kind in ("corrected", "refused")]
    return "; ".join([*(["poses: " + ", ".join(told)] if told else []), rest])


class _Opened:
    """A detector whose session of these very messages is open already; others are opened anew."""

    def __init__(self, detector: Detector, session: Session, messages: Sequence[Message]) -> None:
        self._detector, self._session, self._messages = detector, session, tuple(messages)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Session:
        same = len(messages) == len(self._messages) and all(
            a is b for a, b in zip(messages, self._messages, strict=True)
        )
        return self._session if same else self._detector.open(ego, to, messages)
