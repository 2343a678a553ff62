"""Several teammates at once: those that the ego cannot judge by itself are judged by others that it could.

What the ego's own objects say of a pose stands first; no number of teammates changes such a verdict. A teammate that
has too little in common with the ego is mended, or found fine, where at least `witnesses` teammates whose own poses the
ego has confirmed or mended say the same; so up to `witnesses - 1` attackers among those cannot move it. On the word of
others nobody is refused. The pose graph then places all of them together; its motion is taken where it agrees with
what was found one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robosac.capabilities import Claim
from robosac.poses.check import TOLD, Kind, PoseCheck, PoseVerdict
from robosac.poses.free import FreeGround
from robosac.poses.graph import Agent, Placed, solve
from robosac.poses.objects import Objects
from robosac.poses.offset import Offset
from robosac.poses.refining import sigma_of
from robosac.types import Detections, Id, InputError

_AGREE_M = 0.5  # witnesses say the same where their motions differ by less


@dataclass(frozen=True, kw_only=True)
class JointCheck:
    """Rules by which the claimed poses of a frame are judged together.

    Attributes:
        alone: the rules for one teammate.
        witnesses: teammates that must agree about one that the ego cannot judge; 0: nobody is asked.
        deviations: how far the graph's motion may be from what was found one by one.
    """

    alone: PoseCheck = field(default_factory=PoseCheck)
    witnesses: int = 2
    deviations: float = 3.0

    def __post_init__(self) -> None:
        if self.witnesses < 0 or not self.deviations >= 0:
            raise InputError(
                f"expected witnesses and deviations to be >= 0, got {self.witnesses} and {self.deviations}"
            )

    def judge(
        self,
        own: Detections,
        shown: Mapping[Id, Detections],
        claims: Mapping[Id, Claim],
        ground: FreeGround | None,
        shift_limit: float,
        elsewhere_limit: float,
    ) -> dict[Id, PoseVerdict]:
        """A verdict for each teammate; arguments as those of `PoseCheck`, solo results in the ego's frame."""
        limits = (shift_limit, elsewhere_limit)
        said = self.alone.looks([(own, shown[i], claims[i], ground) for i in shown])
        alone = {i: self.alone.judge(found, shown[i], *limits) for i, found in zip(shown, said, strict=True)}
        trusted = {i: v for i, v in alone.items() if v.kind in TOLD}
        asked = {i for i, v in alone.items() if v.kind == "unknown" and len(shown[i])}
        witnessed: dict[Id, PoseVerdict] = {}
        if asked and self.witnesses and len(trusted) >= self.witnesses:
            witnessed = self._witnessed(sorted(asked), trusted, shown, claims, limits)
        return self._together(own, shown, claims, {**alone, **witnessed})

    def _witnessed(
        self,
        asked: Sequence[Id],
        trusted: Mapping[Id, PoseVerdict],
        shown: Mapping[Id, Detections],
        claims: Mapping[Id, Claim],
        limits: tuple[float, float],
    ) -> dict[Id, PoseVerdict]:
        """What trusted teammates say of the poses of others, where enough of them agree."""
        placed = {j: Detections(v.offset.boxes(shown[j].boxes), shown[j].scores) for j, v in trusted.items()}
        pairs = [(who, j) for who in asked for j in trusted]
        told: dict[Id, dict[Id, PoseVerdict]] = {who: {} for who in asked}
        looks = self.alone.looks([(placed[j], shown[who], claims[who], None) for who, j in pairs])
        for (who, j), found in zip(pairs, looks, strict=True):
            said = self.alone.judge(found, shown[who], *limits)
            if said.kind in TOLD:
                told[who][j] = said
        agreed = {who: self._agreed(told[who], shown[who]) for who in asked}
        return {who: verdict for who, verdict in agreed.items() if verdict is not None}

    def _agreed(self, told: Mapping[Id, PoseVerdict], shown: Detections) -> PoseVerdict | None:
        """What the largest group of witnesses that agree says of a pose; None where too few do."""
        places = shown.boxes[:, :2]
        groups = [
            [b for b in told if _apart_m(told[a].offset, told[b].offset, places) <= _AGREE_M] for a in sorted(told)
        ]
        group = max(groups, key=len, default=[])
        if len(group) < self.witnesses or 2 * len(group) <= len(told):
            return None
        best = min((told[j] for j in group), key=lambda v: v.sigma_m)
        kind: Kind = "corrected" if any(told[j].kind == "corrected" for j in group) else "fine"
        why = f"{', '.join(sorted(group))} agree: {best.why}"
        return replace(best, kind=kind, why=why, witnesses=frozenset(group), hearsay=True)

    def _together(
        self,
        own: Detections,
        shown: Mapping[Id, Detections],
        claims: Mapping[Id, Claim],
        verdicts: Mapping[Id, PoseVerdict],
    ) -> dict[Id, PoseVerdict]:
        """The verdicts with the motions of the graph where these agree and are better known."""
        if not any(_movable(v) for v in verdicts.values()):
            return dict(verdicts)  # what the graph would say of the others changes nothing
        agents = {}
        for i, v in verdicts.items():
            start = v.near if v.kind == "refused" else v.offset
            if v.kind != "unknown" and start is not None:
                pivot = claims[i].ego_T_payload[:2, 3].astype(np.float64)
                agents[i] = Agent(Objects.of(shown[i], min_score=self.alone.min_score), pivot, start.vector)
        if len(agents) < 2:
            return dict(verdicts)
        placed = solve(Objects.of(own, min_score=self.alone.min_score), agents)
        return {i: self._better(v, placed.get(i), shown[i]) for i, v in verdicts.items()}

    def _better(self, verdict: PoseVerdict, placed: Placed | None, shown: Detections) -> PoseVerdict:
        before = verdict.near if verdict.kind == "refused" else verdict.offset
        if placed is None or before is None or not _movable(verdict):
            return verdict
        x, y, yaw = map(float, placed.vector)
        after = Offset(x, y, yaw, before.pivot_m)
        places = shown.boxes[shown.scores >= self.alone.min_score, :2].astype(np.float64)
        sigma = sigma_of(placed.vector, placed.covariance, places, np.asarray(before.pivot_m))
        pulled = _apart_m(after, before, places)
        if pulled > self.deviations * verdict.sigma_m * math.sqrt(2) or sigma > self.alone.mend_sigma_m:
            return verdict  # the others pull it away from what the ego's own objects say, or it is not known any better
        others = frozenset(placed.shares) - {""}
        if verdict.kind == "corrected":
            return replace(verdict, offset=after, witnesses=verdict.witnesses | others)
        why = f"off by {after.metres:.2f} m (+- {sigma:.2f} m) with what {', '.join(sorted(others)) or 'the ego'} show"
        return replace(verdict, kind="corrected", offset=after, sigma_m=sigma, why=why, witnesses=others)


def _movable(verdict: PoseVerdict) -> bool:
    """Whether the graph's motion may take the place of what was found."""
    return verdict.kind == "corrected" or (verdict.kind == "refused" and verdict.near is not None)


def _apart_m(a: Offset, b: Offset, places: np.ndarray) -> float:
    """How far two motions bring places `(N, 2)` from each other, RMS."""
    if not len(places):
        return math.inf
    return float(np.sqrt(((a.points(places) - b.points(places)) ** 2).sum(axis=1).mean()))
