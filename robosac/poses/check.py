"""What a claimed pose is worth: fine, corrected, refused, or unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from robosac.boxes import yaw_of
from robosac.capabilities import Claim
from robosac.poses.fitting import PoseEstimate, estimates
from robosac.poses.free import FreeGround
from robosac.poses.hypotheses import Limits
from robosac.poses.objects import Objects
from robosac.poses.offset import Offset
from robosac.poses.refining import Fit, Problem
from robosac.types import EGO_ALONE, Detections, InputError, Subset

Kind = Literal["fine", "corrected", "refused", "unknown"]
TOLD: Final = ("fine", "corrected")  # a pose is known, and goes on
SHIFT_LIMIT, ELSEWHERE_LIMIT = 12.0, 20.0
"""For a detector that is not calibrated. With noise and delay a few per cent of honest teammates exceed them; these are
mended or unknown, and seldom refused (docs/poses.md)."""
_SURE: Final = 3.0  # standard deviations from none, from which on a small error is worth mending


@dataclass(frozen=True)
class PoseVerdict:
    """What was decided about one claimed pose.

    Attributes:
        kind: `fine` (within honest errors), `corrected` (`offset` mends it), `refused` (off, and not to be mended) or
            `unknown` (too little in common to tell, or several answers).
        seen: objects in common by the motion that was decided for.
        why: in words.
        offset: what mends it; no motion unless it is corrected.
        sigma_m: standard deviation of a coordinate of what the message shows, once mended.
        estimate: what the objects say, where they say anything.
        near: where a refused pose would be mended to, were that known well enough; None where it may not be mended.
        witnesses: teammates that the verdict rests on besides the ego; none where the ego saw enough itself.
        hearsay: whether the ego saw too little for any verdict, so that all of it is the word of `witnesses`.
    """

    kind: Kind
    seen: int
    why: str
    offset: Offset = field(default_factory=Offset)
    sigma_m: float = math.inf
    estimate: PoseEstimate | None = None
    near: Offset | None = None
    witnesses: Subset = EGO_ALONE
    hearsay: bool = False


@dataclass(frozen=True, kw_only=True)
class PoseCheck:
    """Rules by which a claimed pose is judged.

    Attributes:
        common: with fewer objects in common there is no telling.
        lead: by how much a motion must be better than any other, in units of a chi square.
        mend_m, mend_deg: larger errors are refused, however well they are known.
        mend_sigma_m: so well must a motion be known where the message shows something.
        min_score: boxes below it are not looked at.
        limits: how far off poses are looked for.
    """

    common: int = 3
    lead: float = 4.0
    mend_m: float = 10.0
    mend_deg: float = 12.0
    mend_sigma_m: float = 0.14
    min_score: float = 0.25
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.common < 2:
            raise InputError(f"expected common >= 2, got {self.common}: one object fits anywhere")
        for name in ("lead", "mend_m", "mend_deg", "mend_sigma_m"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"expected {name} to be >= 0 and finite, got {getattr(self, name)}")

    def look(
        self, own: Detections, shown: Detections, claim: Claim, ground: FreeGround | None = None
    ) -> PoseEstimate | None:
        """What the ego's own result and a message's solo result, both in the ego's frame, say of its claim."""
        return self.looks([(own, shown, claim, ground)])[0]

    def looks(
        self, asked: Sequence[tuple[Detections, Detections, Claim, FreeGround | None]]
    ) -> list[PoseEstimate | None]:
        """What `look` says of each of several claims, at once: many times as fast."""
        objects: dict[int, Objects] = {}
        for own, shown, _, _ in asked:
            for found in (own, shown):
                if id(found) not in objects:
                    objects[id(found)] = Objects.of(found, min_score=self.min_score)
        problems: dict[int, Problem] = {}
        for k, (own, shown, claim, ground) in enumerate(asked):
            pose, mine, theirs = claim.ego_T_payload, objects[id(own)], objects[id(shown)]
            if not np.isfinite(pose).all() or np.abs(pose[:2, 3]).max() > 1e4 or not len(mine) or not len(theirs):
                continue
            x, y = map(float, pose[:2, 3])
            body = theirs.with_body(x, y, yaw_of(pose)) if np.hypot(x, y) > 1.0 else theirs
            problems[k] = Problem(mine, body, np.array([x, y]), claim.age_s, ground)
        said = dict(zip(problems, estimates(list(problems.values()), self.limits), strict=True))
        return [said.get(k) for k in range(len(asked))]

    def judge(
        self, found: PoseEstimate | None, shown: Detections, shift_limit: float, elsewhere_limit: float
    ) -> PoseVerdict:
        """Decide, by the gains that honest frames do not exceed.

        Args:
            shown: the message's solo result in the ego's frame: mending must be sure where it shows something.
        """
        if found is None:
            return PoseVerdict("unknown", 0, "nothing in common with what the ego sees")
        off = self._off(found, shift_limit, elsewhere_limit)
        if off is not None:
            return self._mend(found, off, shown)
        honest = found.honest
        if honest is None or len(honest.pairs) < self.common:
            seen = 0 if honest is None else len(honest.pairs)
            return PoseVerdict("unknown", seen, f"{seen} objects in common, {self.common} are needed", estimate=found)
        seen = len(honest.pairs)
        if found.lead_of_honest < -self.lead:
            return PoseVerdict("unknown", seen, "another pose fits as well", estimate=found)
        sigma = self._sigma(found, honest, shown)
        if sigma <= self.mend_sigma_m and honest.deviations() > _SURE:
            # the claim no longer pulls on what it is surely not
            freed = math.inf if found.shift is None else self._sigma(found, found.shift, shown)
            if found.shift is not None and freed <= self.mend_sigma_m:
                return self._corrected(found, found.shift, freed)
            return self._corrected(found, honest, sigma)
        return PoseVerdict("fine", seen, f"fits {seen} objects", sigma_m=sigma, estimate=found)

    def _off(self, found: PoseEstimate, shift_limit: float, elsewhere_limit: float) -> Fit | None:
        """The motion that explains the objects better than any honest one; None where the claim may be honest."""
        if found.gain > elsewhere_limit and len(found.free.pairs) >= self.common:
            return found.free
        shift = found.shift
        if shift is not None and found.gain_of_shift > shift_limit and len(shift.pairs) >= self.common:
            return shift
        return None

    def _mend(self, found: PoseEstimate, off: Fit, shown: Detections) -> PoseVerdict:
        seen, offset, sigma = len(off.pairs), found.offset(off), self._sigma(found, off, shown)
        if found.lead_of_free < self.lead and off is found.free:
            kept = 0 if found.honest is None else len(found.honest.pairs)
            if kept >= self.common or seen == self.common:
                return PoseVerdict("unknown", seen, "several poses fit", sigma_m=sigma, estimate=found)
            return PoseVerdict("refused", seen, "several poses fit, the claimed one does not", estimate=found)
        small = offset.metres <= self.mend_m and abs(offset.yaw_rad) <= math.radians(self.mend_deg)
        if small and sigma <= self.mend_sigma_m:
            return self._corrected(found, off, sigma)
        why = "not known well enough to mend" if small else "too far off to mend"
        said = f"{_words('off by', offset, sigma)}, {why}"
        return PoseVerdict("refused", seen, said, sigma_m=sigma, estimate=found, near=offset if small else None)

    def _corrected(self, found: PoseEstimate, fit: Fit, sigma: float) -> PoseVerdict:
        offset = found.offset(fit)
        return PoseVerdict("corrected", len(fit.pairs), _words("off by", offset, sigma), offset, sigma, found)

    def _sigma(self, found: PoseEstimate, fit: Fit, shown: Detections) -> float:
        places = shown.boxes[shown.scores >= self.min_score, :2].astype(np.float64)
        return fit.sigma_m(places if len(places) else found.pivot[None], found.pivot)


def _words(verb: str, offset: Offset, sigma: float) -> str:
    return f"{verb} {offset.metres:.2f} m and {math.degrees(offset.yaw_rad):+.1f} degrees (+- {sigma:.2f} m)"
