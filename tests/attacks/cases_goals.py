"""One-sided and targeted objectives under a gradient attack."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Bim, FakeOne, HideOne, Pgd, Tu
from tests.attacks.cases import FEW, Case
from tests.attacks.toy_pose import posed_air

PRESETS = [attacks.load(name) for name in ("pgd_hide", "pgd_spoof", "tu", "sombra")]
TARGETED = [  # on a map of 4 x 5 cells nothing is far from anything
    Pgd(steps=3, objective=FakeOne(clear_cells=0, free_cells=1)),
    Bim(steps=3, objective=HideOne(hidden_cells=0, free_cells=1, min_score=0.3)),
    attacks.load("hide_one"),
    attacks.load("fake_one", objective=FakeOne(clear_cells=0, background=0.5, pin=5.0)),
]

CASES = [
    Case(Pgd(steps=3, objective=Tu(rejected=0.0))),
    *(Case(attack, budgets=FEW) for attack in PRESETS),
    *(Case(attack, posed_air) for attack in TARGETED[:2]),
    *(Case(attack, posed_air, FEW) for attack in TARGETED[2:]),
]
