"""What honest frames say of claims that teammates make alone, and of how far joint results are from their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from robosac.evidence.consistency import Consistency, strain
from robosac.evidence.shown import Showing, Shown
from robosac.types import EGO_ALONE, BevGrid, Id, Session, Subset, View


def singles_of(session: Session, ids: Sequence[Id], showing: Showing) -> Shown:
    """What the ego and these teammates show, decoded in one batch."""
    own, *singles = session.detect([EGO_ALONE, *(frozenset({i}) for i in ids)])
    return Shown.of(own, dict(zip(ids, singles, strict=True)), showing)


@dataclass(frozen=True, kw_only=True)
class SoleClaims:
    """A `robosac.calibration.Statistic`: minus the most that one of a subset, or two of it together, show and neither
    the ego nor the rest of the subset does.

    Attributes:
        together: of how many.
        showing: what counts as showing.
    """

    together: int = 1
    showing: Showing = field(default_factory=Showing)

    disturbed: ClassVar[bool] = True  # asked of frames with noisy poses and late messages as well

    @property
    def name(self) -> str:
        return f"claims(of={self.together},{self.showing.name})"

    def most(self, shown: Shown, members: Subset) -> float:
        """The most that one, or two together, of these teammates claim alone."""
        claims = shown.sole(members) if self.together == 1 else shown.shared(members)
        return float(max(claims.values(), default=0))

    def scores(self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]) -> Sequence[float]:
        shown = singles_of(session, session.ids, self.showing)
        return [-self.most(shown, s) for s in subsets]


@dataclass(frozen=True, kw_only=True)
class WithMembers:
    """A `robosac.calibration.Statistic`: minus the strain between a subset's result and what its members show."""

    consistency: Consistency = field(default_factory=Consistency)
    showing: Showing = field(default_factory=Showing)

    disturbed: ClassVar[bool] = True  # asked of frames with noisy poses and late messages as well

    @property
    def name(self) -> str:
        return f"consistency({self.consistency.name};{self.showing.name})"

    def scores(self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]) -> Sequence[float]:
        shown = singles_of(session, session.ids, self.showing)
        results = session.detect(subsets)
        return [-self.consistency.of(strain(shown, s, r)) for s, r in zip(subsets, results, strict=True)]
