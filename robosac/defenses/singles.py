"""What each teammate shows alone with the ego, judged: who is trusted, who is accused, who is kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from robosac.agreement import Compare
from robosac.defenses.limits import Limits
from robosac.defenses.protocol import FINITE
from robosac.evidence import Showing, Shown
from robosac.types import Detections, Id, Subset, Trial

CLAIMS: Final = "claims"  # a single's score: boxes that nobody else shows, as a multiple of what is allowed


@dataclass(frozen=True, eq=False)
class Singles:
    """What the singles of one frame say.

    Attributes:
        shown: who shows what.
        trials: one for each teammate or unit, accepted where its single is what honest ones are.
        trusted: whose was.
        accused: whose is so far off that no honest one is.
        apart: pairs that show too much together that nobody else does.
    """

    shown: Shown
    trials: tuple[Trial, ...]
    trusted: tuple[Id, ...]
    accused: Subset
    apart: tuple[Subset, ...]

    @staticmethod
    def of(
        own: Detections,
        singles: Mapping[Id, Detections],
        compare: Compare,
        limits: Limits,
        showing: Showing,
        beyond: float,
        units: Mapping[Id, Subset] | None = None,
    ) -> Singles:
        """Judge each single by its agreement first; the claims of those who agree are held against one another.

        Where several teammates were decoded as one, `units` says who they are; for what its unit shows, nobody is
        accused.
        """
        of = units or {i: frozenset({i}) for i in singles}
        shown = Shown.of(own, singles, showing)
        agrees = {i: compare(single) for i, single in singles.items()}
        asked = {i: limits.agreement(len(of[i])) for i in singles}
        # numbers that are none agree with nothing, also where honest frames may agree in nothing
        plausible = [i for i, value in agrees.items() if value >= asked[i] and own.finite and singles[i].finite]
        claims = shown.sole(plausible)
        beyond_ego = {i: shown.sole([i])[i] for i in singles}
        allowed, allowed_of_one = limits.claims(len(plausible)), limits.claims(1)
        sees = own.finite and compare(own) > 0  # an ego without eyes, or broken, agrees with nobody, itself neither
        trials, accused = [], []
        for i, value in agrees.items():
            claimed = claims.get(i, beyond_ego[i]) / max(allowed, 1.0)
            fits = i in claims and claimed <= 1
            scores = {CLAIMS: claimed} if singles[i].finite else {FINITE: 0.0}
            trials.append(Trial(of[i], value, fits, asked[i], scores))
            # what others show cannot make anybody's own single disagree with the ego or show more than the ego does
            far = 1 - value > beyond * (1 - asked[i]) or beyond_ego[i] > beyond * max(allowed_of_one, 1.0)
            if sees and not fits and far and len(of[i]) == 1:
                accused.append(i)
        trusted = tuple(i for i, t in zip(singles, trials, strict=True) if t.accepted)
        most = limits.together(len(trusted)) if trusted else 0.0
        apart = tuple(frozenset(pair) for pair, count in shown.shared(trusted).items() if count > most)
        return Singles(shown, tuple(trials), trusted, frozenset(accused), apart)
