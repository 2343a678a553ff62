"""A classifier of residual features, as CP-Guard+ has one: no decode, a learned yes or no for each teammate.

Source: CP-Guard+, arXiv 2502.07807: a network tells benign from malicious residuals (what was sent less the ego's
own features), trained on a bench of attacks with a loss that pulls both kinds to centres of their own.

Left open, or out of reach, and chosen here. *The network*: a residual is described by four numbers a channel (mean,
mean size, spread, largest size), which two layers of 32 judge; theirs is a convolutional network on a GPU. *Trained
on*: honest messages and PGD, C&W, noise and shifted features of training scenes (`robosac train-rivals`), by
logistic loss with a pull towards one centre a kind. *The limit*: the probability that 2 % of honest teammates of
calibration scenes exceed. Detectors that send boxes show no features: everybody is fused there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robosac.calibration import Calibration
from robosac.defenses.rivals.frame import Choice, Look, Peer, Shared, check_shares, of_each
from robosac.defenses.rivals.learned import CLASSIFIER, Network, described, learned
from robosac.errors import warn
from robosac.gate import Gate
from robosac.types import Trial


def probability(network: Network, own: Shared, sent: Shared) -> float | None:
    """That a message is malicious; None where nothing overlaps, or the network is for other maps."""
    found = described(own, sent)
    if found is None or len(found) != len(network.mean):
        return None
    logit = float(network(network.standard(found[None]))[0, 0])
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50.0, 50.0))))


@dataclass(frozen=True, kw_only=True)
class ResidualClassifier:
    """Whoever's residual looks malicious is left out.

    Attributes:
        alpha: share of honest teammates that may be refused.
    """

    alpha: float = 0.02
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        check_shares(self, "alpha")

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Peer:
        return Peer(self.gate, self.decide)

    def decide(self, look: Look) -> Choice:
        """One frame; there is no memory."""
        arrays = learned(look.detector.name)
        network, honest, own = Network.of(arrays, CLASSIFIER), arrays.get(f"{CLASSIFIER}.honest"), look.own_map
        if network is None or honest is None:
            warn(
                f"residual-classifier knows nothing of detector {look.detector.name!r} and fuses everybody; "
                "run `robosac train-rivals --detector NAME`"
            )
        trials, suspicion = [], {}
        limit = 1.0 if honest is None else float(np.quantile(honest, 1.0 - self.alpha))
        for i in look.ids:
            sent = look.map_of(i)
            p = None if network is None or own is None or sent is None else probability(network, own, sent)
            suspicion[i] = 0.0 if p is None else p
            trials.append(Trial(frozenset({i}), 1.0 - suspicion[i], suspicion[i] <= limit, 1.0 - limit))
        return of_each(trials, suspicion)
