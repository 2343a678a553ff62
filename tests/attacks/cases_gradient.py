"""Gradient attacks and the noise beside them, on the toy detector."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import (
    L2,
    Apgd,
    BalancedInvertedBce,
    Bim,
    CwL2,
    CwMargin,
    Fgsm,
    GaussianNoise,
    Margin,
    MiFgsm,
    Peaks,
    Pgd,
    UniformNoise,
    WeightedSum,
)
from robosac.attacks.base import Measured
from tests.attacks.cases import FEW, Case

MIXED = WeightedSum(terms=((1.0, BalancedInvertedBce(labels=Peaks(score=0.3))), (-0.5, Margin(kappa=2.0))))
GRADIENT = [Pgd(), Bim(), CwMargin(), Pgd(epsilon=0.07, steps=3, objective=MIXED), Bim(objective=BalancedInvertedBce())]
MORE: list[Measured] = [
    Fgsm(),
    MiFgsm(),
    Apgd(),
    Pgd(norm=L2(), restarts=1, steps=4),
    Apgd(norm=L2(), restarts=1),
    Fgsm(norm=L2()),
]
SMALLEST = [CwL2(epsilon=0.5), CwL2(epsilon=5.0, turned=0.2, searches=3, steps=10)]
NOISE: list[Measured] = [GaussianNoise(), UniformNoise(epsilon=0.1), GaussianNoise(sigma_per_epsilon=20.0)]
NAMES = ("pgd", "pgd_balanced", "bim", "cw", "noise", "fgsm", "mi_fgsm", "apgd", "pgd_l2", "cw_l2")
PRESETS = [attacks.load(name) for name in NAMES]

TRIED: list[Measured] = [*GRADIENT, *MORE, *SMALLEST, *NOISE, *PRESETS]
CASES = [Case(attack, budgets=FEW) if isinstance(attack, CwL2) else Case(attack) for attack in dict.fromkeys(TRIED)]
