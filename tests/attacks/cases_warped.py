"""Attacks after warping, on the toy detector: its maps are all in the ego's frame."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import AfterWarp, Apgd, Pgd, Scheduled, Sleeper
from tests.attacks.cases import Case

CASES = [
    Case(AfterWarp(attack=Pgd(steps=3))),
    Case(AfterWarp(attack=Apgd(steps=3))),
    Case(Scheduled(attack=AfterWarp(attack=Pgd(steps=2)), when=Sleeper(until=0))),
    Case(attacks.load("pgd_after_warp")),
]
