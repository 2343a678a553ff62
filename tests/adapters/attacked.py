"""One defended frame with an attacker in it, as a user of an adapter plays it, and what the default must have done."""

from __future__ import annotations

import numpy as np

import robosac
from robosac.calibration import Calibration
from robosac.capabilities import Solo
from robosac.defenses import Robosac
from robosac.evaluation.play import attacked_air
from robosac.registry.attacks import open_attack
from robosac.types import Detector, Frame, Received, Request, Subset, Truth, Verdict, keyed_rng


def defended_frame(detector: Detector, taken: tuple[Frame, Truth], attack: str) -> tuple[Verdict, Subset]:
    """The default's verdict, limits from beside the model; the first teammate attacks."""
    frame, _ = taken
    defended = robosac.wrap(detector)
    to = Request.of(frame.ego)
    honest = {i: detector.encode(view, to) for i, view in frame.others.items()}
    attackers = frozenset(sorted(honest)[:1])
    malicious = open_attack(attack)
    air = attacked_air(frame, detector, to, honest, attackers, malicious.knowledge)
    sent = malicious.start(frame.scenario, attackers, keyed_rng(0, "attack")).send(air)
    messages = [*sent, *(m for i, m in honest.items() if i not in attackers)]
    assert isinstance(detector.open(frame.ego, to, messages), Solo)
    inbox = [Received.honest(m, to) for m in messages]
    return defended.receive(frame.ego, inbox, to=to), attackers


def asked_as_a_default_does(verdict: Verdict, attackers: Subset, calibration: Calibration) -> None:
    """Every single was held against its limits, poses were asked, and nobody is accused by what others sent."""
    limits = Robosac().limits(calibration, calibration.detector)
    singles = {t.subset: t for t in verdict.trials if len(t.subset) == 1}
    heard = frozenset().union(*singles)
    assert attackers <= heard | frozenset(verdict.rejected) and len(heard) >= 1
    assert all(t.threshold == limits.agreement(1) and "claims" in t.scores for t in singles.values())
    # the ego, singles, and what each shows by itself
    assert verdict.decodes >= 2 * len(heard) + 1 and "poses" in verdict.ms
    assert verdict.used <= heard and verdict.accused <= attackers and verdict.result.finite
    assert len(verdict.sources) == len(verdict.support) == len(verdict.result)
    assert np.all((verdict.result.scores >= 0) & (verdict.result.scores <= 1))
