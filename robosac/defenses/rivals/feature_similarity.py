"""Feature similarity (FLD): the cosine of two maps and the overlap of where they respond, a threshold each.

Source: the feature-level detector in "Pretend Benign" (ICCV 2025): no forward pass; a teammate stays whose masked
features are alike enough in direction and whose responses are in the same places.

Left open there, and chosen here. *The mask*: cells that both maps cover and where one of them responds, which is
where a map's mean over channels is above its own mean; *the overlap*: of these two masks. *The thresholds*: scores
that 1 % of honest teammates stay below, each, so that together at most 2 % are refused. Boxes that are sent are
drawn as score maps first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.agreement import DEFAULT_GRID
from robosac.calibration import Calibration, Statistic
from robosac.defenses.rivals.frame import Choice, Look, Peer, Shared, asked, check_shares, known, of_each, shared
from robosac.gate import Gate
from robosac.types import BevGrid, Session, Subset, Trial, View


def likeness(own: Shared, sent: Shared, level: float = 0.15) -> tuple[float, float]:
    """Cosine and overlap, 0 where nothing is covered by both or the maps differ in shape."""
    if own.features.shape != sent.features.shape:
        return 0.0, 0.0
    both = own.valid & sent.valid
    x, y = (np.clip(s.features[:, both], -1e6, 1e6).astype(np.float64).ravel() for s in (own, sent))
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    high = float(np.quantile(np.abs(own.features), 0.99)) or float(np.abs(own.features).max(initial=0.0))
    a, b = np.abs(x) > level * high, np.abs(y) > level * high
    if length <= 0 or not (a | b).any():
        return 0.0, 0.0
    return float(x @ y) / length, float((a & b).sum() / (a | b).sum())


@dataclass(frozen=True)
class Likeness:
    """A `robosac.calibration.Statistic` of single teammates: the cosine (`of=0`) or the overlap (`of=1`)."""

    of: int
    level: float = 0.15

    @property
    def name(self) -> str:
        return "feature-cosine" if self.of == 0 else f"feature-overlap(level={self.level:g})"

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        own = shared(session, None, grid or DEFAULT_GRID)
        sent = [shared(session, next(iter(s)), grid or DEFAULT_GRID) if len(s) == 1 else None for s in subsets]
        return [None if own is None or m is None else likeness(own, m, self.level)[self.of] for m in sent]


@dataclass(frozen=True, kw_only=True)
class FeatureSimilarity:
    """Both thresholds must be reached; where the detector shows no maps nobody is told apart and all are fused.

    Attributes:
        alpha: share of honest teammates that may stay below each threshold.
        stated_cosine, stated_overlap: thresholds where nothing is calibrated.
    """

    alpha: float = 0.01
    stated_cosine: float = 0.3
    stated_overlap: float = 0.1
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "alpha", "stated_cosine", "stated_overlap")

    def statistics(self) -> tuple[Statistic, ...]:
        """Cosine and overlap."""
        return Likeness(0), Likeness(1)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        def decide(look: Look) -> Choice:
            names = [s.name for s in self.statistics()]
            held = known(calibration, look.detector.name, names, "feature-similarity")
            limits = [
                asked(held.get(n), 1, self.alpha, stated)
                for n, stated in zip(names, (self.stated_cosine, self.stated_overlap), strict=True)
            ]
            own = look.own_map
            trials = []
            for i in look.ids:
                sent = look.map_of(i)
                found = (1.0, 1.0) if own is None or sent is None else likeness(own, sent)
                passed = all(f >= at for f, at in zip(found, limits, strict=True))
                trials.append(Trial(frozenset({i}), found[0], passed, limits[0], {names[1]: found[1]}))
            return of_each(trials)

        return Peer(self.gate, decide)
