"""A defence behind a check of poses: what a message shows by itself is held against what the ego sees, first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from robosac.calibration import Calibration, Statistic
from robosac.capabilities import Solo
from robosac.defenses.by_agreement import RobosacAgreement
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.defenses.opening import opened
from robosac.defenses.protocol import Adaptable, Calibrated, Defender, Defense, Surrogate
from robosac.defenses.stages import Stages
from robosac.gate import Gate
from robosac.poses import FreeGround, JointCheck
from robosac.types import Detector, InputError, Message, Received, Request, Session, Verdict, View


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

    inner: Any = field(default_factory=RobosacAgreement)
    check: JointCheck = field(default_factory=JointCheck)
    shift_limit: float | None = None
    elsewhere_limit: float | None = None
    unknown: Literal["keep", "leave out"] = "keep"
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Defense):
            raise InputError(f"expected inner to be a defence, got {type(self.inner).__name__}")
        _ = self.poses  # checks its settings

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> PoseCheckedDefender:
        inner = replace(self.inner, gate=self.gate) if hasattr(self.inner, "gate") else self.inner
        return PoseCheckedDefender(self, inner.start(scenario, calibration, rng), calibration)

    def statistics(self) -> tuple[Statistic, ...]:
        """The gains of other poses, and what `inner` asks for."""
        inner = self.inner.statistics() if isinstance(self.inner, Calibrated) else ()
        return (*self.poses.gains, *inner)

    @property
    def poses(self) -> ClaimedPoses:
        """The stage that comes first."""
        return ClaimedPoses(
            check=self.check,
            shift_limit=self.shift_limit,
            elsewhere_limit=self.elsewhere_limit,
            unknown=self.unknown,
        )

    def surrogate(self, calibration: Calibration | None, detector: str) -> Surrogate:
        """That of `inner`: features do not enter the check of poses but through what they show.

        Raises:
            InputError: `inner` has none.
        """
        if not isinstance(self.inner, Adaptable):
            raise InputError(f"expected inner to be a defence that can be adapted to, got {type(self.inner).__name__}")
        return self.inner.surrogate(calibration, detector)


class PoseCheckedDefender:
    """Defends the frames of one scenario, in order."""

    def __init__(self, defense: PoseChecked, inner: Defender, calibration: Calibration | None) -> None:
        self._defense, self._inner, self._calibration = defense, inner, calibration

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Judge the poses, then let `inner` decide. Nothing a teammate sends raises."""
        defense, stages = self._defense, Stages()
        admitted, session = opened(defense.gate, stages, detector, ego, to, inbox)
        if not isinstance(session, Solo):
            raise InputError(
                f"expected {detector.name!r} to tell what a message shows by itself (robosac.capabilities.Solo), it "
                "does not; take another defence, or give its session `solo` and `claim`"
            )
        with stages.measure("poses"):
            poses = defense.poses
            ground = partial(FreeGround.of, ego.points)
            verdicts = poses.judged(session, detector.name, ground, self._calibration, session.ids)
            checked = poses.sort(admitted.messages, verdicts, to)
        # by link: a message that passed the gate came alone on its sender's, and what others brought is not looked at
        came = {r.link: r for r in inbox if isinstance(r, Received) and isinstance(r.link, str)}
        again = [replace(came[m.sender], message=m) for m in checked.messages]
        result = self._inner.step(_Opened(detector, session, admitted.messages), ego, to, again)
        return replace(
            result,
            rejected={**result.rejected, **checked.refused, **admitted.rejected},
            decodes=result.decodes + len(session.ids) + checked.changed,
            ms={**result.ms, **{f"{k}, poses": v for k, v in stages.done().items() if v > 0}},
            reason="; ".join(filter(None, (checked.reason, result.reason))),
        )


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
