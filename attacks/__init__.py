"""Attacks on a collaborative detector. An attack is a value: settings, `repr`, equality; `load` makes one by name."""

from attacks.gradient import Bim, CwMargin, Pgd
from attacks.noise import GaussianNoise, UniformNoise
from attacks.objectives import BalancedInvertedBce, InvertedBce, Margin, Peaks, Threshold, WeightedSum
from attacks.presets import load, names
from attacks.problem import FullFusion

__all__ = [
    "BalancedInvertedBce",
    "Bim",
    "CwMargin",
    "FullFusion",
    "GaussianNoise",
    "InvertedBce",
    "Margin",
    "Peaks",
    "Pgd",
    "Threshold",
    "UniformNoise",
    "WeightedSum",
    "load",
    "names",
]
