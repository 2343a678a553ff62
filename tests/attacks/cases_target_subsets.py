"""Gradient attacks with other target subsets than the full fusion."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Apgd, Bim, Pgd, RandomSubsets, Subsets
from tests.attacks.cases import Case

CASES = [
    Case(Pgd(steps=3, target_subsets=RandomSubsets(count=3, size=2))),
    Case(Bim(steps=3, target_subsets=Subsets(named=(("x", "a"), ("b",))))),
    Case(Apgd(steps=3, target_subsets=RandomSubsets())),
    Case(attacks.load("pgd_expectation")),
]
