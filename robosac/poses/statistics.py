"""What honest frames say of claimed poses: by how much another pose fits better, near the claimed one and anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from robosac.capabilities import Solo
from robosac.poses.check import PoseCheck
from robosac.poses.free import FreeGround
from robosac.types import EGO_ALONE, BevGrid, Session, Subset, View


@dataclass(frozen=True, kw_only=True)
class PoseGain:
    """A `robosac.calibration.Statistic` about single teammates: minus the gain of a pose other than the claimed one.

    Attributes:
        where: `near` the claim, or `anywhere`.
        check: rules by which poses are looked for.
    """

    where: Literal["near", "anywhere"]
    check: PoseCheck = field(default_factory=PoseCheck)

    disturbed: ClassVar[bool] = True  # asked of frames with noisy poses and late messages as well

    @property
    def name(self) -> str:
        c = self.check
        limits = f"{c.limits.metres:g}m,{c.limits.degrees:g}deg"
        return f"pose-gain({self.where},common={c.common},min_score={c.min_score:g},{limits})"

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        alone = [next(iter(s)) for s in subsets if len(s) == 1]
        if not alone or not isinstance(session, Solo):
            return [None] * len(subsets)
        own, ground = session.detect([EGO_ALONE])[0], FreeGround.of(ego.points)
        said: dict[str, float | None] = {}
        asked = [(own, d, session.claim(i), ground) for i, d in zip(alone, session.solo(alone), strict=True)]
        for teammate, found in zip(alone, self.check.looks(asked), strict=True):
            said[teammate] = None
            if found is not None:
                fit, gain = found.free, found.gain
                if self.where == "near":
                    fit, gain = found.shift or found.free, found.gain_of_shift
                said[teammate] = -gain if len(fit.pairs) >= self.check.common else 0.0
        return [said[next(iter(s))] if len(s) == 1 else None for s in subsets]
