"""What honest frames of a detector allow, for each number that a defence looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

from robosac.calibration import Calibration, WithEgo
from robosac.errors import warn
from robosac.evidence import SoleClaims, WithMembers

BySize: TypeAlias = Callable[[int], float]  # number of teammates -> limit
CLAIMS_LIMIT: Final = {1: 12.0, 2: 9.0}
"""For a detector that is not calibrated: boxes that one teammate, or two, show and nobody else does."""
STRAIN_LIMIT: Final = 0.9


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits by the number of teammates that a result or a comparison rests on.

    Attributes:
        agreement: asked for, at least.
        claims: boxes that one shows and neither the ego nor another does, at most.
        together: the same of two.
        strain: between a result and what its members show, at most.
        strain_at_most: the same where no result of two and more is within `strain`.
    """

    agreement: BySize
    claims: BySize
    together: BySize
    strain: BySize
    strain_at_most: BySize

    @staticmethod
    def of(
        agreement: WithEgo,
        claims: SoleClaims,
        together: SoleClaims,
        with_members: WithMembers,
        alpha: float,
        strain_alpha: float,
        calibration: Calibration | None,
        detector: str,
    ) -> Limits:
        """Calibrated limits, and stated ones with a warning where the calibration has none.

        `alpha` is the share of honest results that may be refused for their agreement or their claims, or what comes
        nearest to it where there are too few frames for so little; `strain_alpha` that of joint results of two and
        more for their strain, where others can stand in. All else has the calibration's level.
        """
        usual = {
            agreement.name: agreement.agreement.default_threshold,
            claims.name: -CLAIMS_LIMIT[1],
            together.name: -CLAIMS_LIMIT[2],
            with_members.name: -STRAIN_LIMIT,
        }
        other = calibration is not None and calibration.detector != detector
        measures = {} if calibration is None or other else dict(calibration.measures)
        kept = measures.get(with_members.name)
        if kept is not None and strain_alpha > kept.alpha and not kept.scores:  # nothing to read that level from
            del measures[with_members.name]
        if not all(name in measures for name in usual):
            why = "it is not calibrated"
            if calibration is not None:
                is_other = f"the calibration is for {calibration.detector!r}, a model of other weights or another name"
                why = is_other if other else "the calibration does not hold them"
            warn(
                f"robosac on detector {detector!r} uses its default limits: {why}; run `robosac calibrate`, or name "
                "the file that it wrote: wrap(detector, calibration=FILE)"
            )

        def by_size(name: str, sign: int, joint: float | None, of_one: float | None) -> BySize:
            """Limits at these levels; None takes the calibration's own."""
            if name not in measures:
                return lambda size: sign * usual[name]
            found = measures[name]

            @cache  # asked for by every trial, and read off hundreds of scores
            def limit(size: int) -> float:
                level = joint if size > 1 else of_one
                return sign * (found.threshold(size) if level is None else found.threshold_near(size, level))

            return limit

        return Limits(
            agreement=by_size(agreement.name, 1, alpha, alpha),
            claims=by_size(claims.name, -1, alpha, alpha),
            together=by_size(together.name, -1, alpha, alpha),
            strain=by_size(with_members.name, -1, strain_alpha, None),
            strain_at_most=by_size(with_members.name, -1, None, None),
        )
