"""Gradient attacks and the noise beside them, on the toy detector."""

from __future__ import annotations

import attacks
from attacks import (
    BalancedInvertedBce,
    Bim,
    CwMargin,
    GaussianNoise,
    Margin,
    Peaks,
    Pgd,
    UniformNoise,
    WeightedSum,
)
from tests.attacks.cases import Case

MIXED = WeightedSum(terms=((1.0, BalancedInvertedBce(labels=Peaks(score=0.3))), (-0.5, Margin(kappa=2.0))))
GRADIENT = [Pgd(), Bim(), CwMargin(), Pgd(epsilon=0.07, steps=3, objective=MIXED), Bim(objective=BalancedInvertedBce())]
NOISE = [GaussianNoise(), UniformNoise(epsilon=0.1), GaussianNoise(sigma_per_epsilon=20.0)]
PRESETS = [attacks.load(name) for name in ("pgd", "pgd_balanced", "bim", "cw", "noise")]

CASES = [Case(attack) for attack in dict.fromkeys([*GRADIENT, *NOISE, *PRESETS])]
