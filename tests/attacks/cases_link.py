"""Duplicates, invented senders, silence."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Drop, Duplicate, Pgd, Sybil
from tests.attacks.cases import Case
from tests.attacks.toy_pose import posed_air

COUNTED = [Duplicate(), Sybil(), Sybil(identities=1, spread_m=0.0), Sybil(identities=2, carries=Pgd(steps=2))]
PRESETS = [attacks.load(name) for name in ("duplicate", "sybil", "sybil_pgd", "drop")]

CASES = [
    *(Case(attack, air=posed_air, budgets=(1.0, 2.5, 6.0)) for attack in dict.fromkeys([*COUNTED, *PRESETS[:3]])),
    *(Case(attack, budgets=(0.5, 1.0)) for attack in dict.fromkeys([Drop(), PRESETS[3]])),
]
