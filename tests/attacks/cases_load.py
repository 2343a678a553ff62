"""A flood of proposals by gradient."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Bim, Flood
from tests.attacks.cases import Case

CASES = [Case(attacks.load("proposal_flood")), Case(Bim(steps=2, objective=Flood(spacing=1, score=0.6)))]
