"""MADE: two statistics of each teammate, conformal p-values, Benjamini-Hochberg.

Source: arXiv 2310.11901. Each teammate is inspected by itself: the match loss between the ego's result and that of
the ego with it, and the reconstruction loss of an autoencoder of honest residual features. A statistic's p-values
are conformal; Benjamini-Hochberg at 5 % says who is refused.

Left open there, and chosen here. *The match loss*: one less the overlap of a one-to-one matching by IoU times score
(`matching`). *The autoencoder*: theirs is convolutional; ours looks at patches of 4 x 4 cells that do not overlap,
512-96-24-96-512, which is a convolution too, needs no torch where it runs and weighs 0.4 MB. *How two tests become
one*: a teammate is refused if either procedure refuses it, as theirs does. Detectors that send boxes, and those of
which no autoencoder was trained, are judged by the match loss alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.calibration import Calibration, Statistic
from robosac.defenses.rivals.frame import (
    Choice,
    Look,
    Peer,
    Shared,
    check_shares,
    known,
    of_each,
    p_value,
    scores_of_singles,
)
from robosac.defenses.rivals.learned import AUTOENCODER, Network, learned, p_of_loss, patches
from robosac.defenses.rivals.matching import match_loss
from robosac.defenses.rivals.surrogates import OfSingles, by_score_maps
from robosac.gate import Gate
from robosac.types import BevGrid, Id, InputError, Session, Subset, Trial, View


@dataclass(frozen=True)
class MatchLoss:
    """A `robosac.calibration.Statistic` of singles: minus the match loss with the ego's own result."""

    name: str = "match-loss"

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        return scores_of_singles(session, subsets, lambda own, results: [-match_loss(own, r) for r in results])


@dataclass(frozen=True, kw_only=True)
class Made:
    """Both tests, or one of them.

    Attributes:
        level: of false alarms, that Benjamini-Hochberg keeps among honest teammates.
        tests: which statistics: "match", "reconstruction".
        stated: match loss above which a teammate is refused where nothing is calibrated.
    """

    level: float = 0.05
    tests: tuple[str, ...] = ("match", "reconstruction")
    stated: float = 0.6
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "level", "stated")
        object.__setattr__(self, "tests", tuple(self.tests))
        if not self.tests or not set(self.tests) <= {"match", "reconstruction"}:
            raise InputError(f"expected tests of Made among match, reconstruction, got {self.tests!r}")

    def statistics(self) -> tuple[Statistic, ...]:
        """The match loss; honest reconstruction losses are kept beside the autoencoder."""
        return (MatchLoss(),) if "match" in self.tests else ()

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        def decide(look: Look) -> Choice:
            names = [s.name for s in self.statistics()]
            held = known(calibration, look.detector.name, names, "made")
            p: dict[str, dict[Id, float]] = {}
            if "match" in self.tests:
                own, measure = look.own, held.get(MatchLoss().name)
                p["match"] = {i: p_value(measure, -match_loss(own, r), -self.stated) for i, r in look.singles().items()}
            if "reconstruction" in self.tests:
                p["reconstruction"] = reconstruction_p(look)
            refused = frozenset().union(*(refused_by(by, self.level) for by in p.values()))
            worst = {i: min((by[i] for by in p.values() if i in by), default=1.0) for i in look.ids}
            trials = (
                Trial(
                    frozenset({i}), worst[i], i not in refused, self.level, {k: by[i] for k, by in p.items() if i in by}
                )
                for i in look.ids
            )
            return of_each(trials, {i: 1.0 - worst[i] for i in look.ids})

        return Peer(self.gate, decide)

    def surrogate(self, calibration: Calibration | None, detector: str) -> OfSingles:
        """The overlap of score maps in place of the match loss, which has no useful gradient; the autoencoder's test is
        not in it."""
        return by_score_maps(calibration, detector, self.level)


def reconstruction_p(look: Look) -> dict[Id, float]:
    """p-values of the teammates of whom the autoencoder can tell; nobody where none was trained for the detector."""
    arrays = learned(look.detector.name)
    network, honest, own = Network.of(arrays, AUTOENCODER), arrays.get(f"{AUTOENCODER}.honest"), look.own_map
    found: dict[Id, float] = {}
    for i in look.ids:
        sent = look.map_of(i)
        if network is not None and honest is not None and own is not None and sent is not None:
            loss = reconstruction(network, own, sent)
            if loss is not None:
                found[i] = p_of_loss(honest, loss)
    return found


def reconstruction(network: Network, own: Shared, sent: Shared) -> float | None:
    """Mean loss on the patches of a residual; None where there are none, or the network is for other maps."""
    found = patches(own, sent)
    if not len(found) or found.shape[1] != len(network.mean):
        return None
    standard = network.standard(found)
    return float(np.mean((network(standard) - standard) ** 2))


def refused_by(p: Mapping[Id, float], level: float) -> Subset:
    """Benjamini-Hochberg: the k smallest p-values are refused, for the largest k with `p_(k) <= k level / n`."""
    order = sorted(p, key=lambda i: (p[i], i))
    held = [k for k, i in enumerate(order, start=1) if p[i] <= k * level / len(order)]
    return frozenset(order[: max(held, default=0)])
