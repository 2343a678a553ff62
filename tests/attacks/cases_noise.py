"""Noise, and features that are broken."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Dropout, NonFinite, Saturation
from tests.attacks.cases import Case

BROKEN = [Dropout(share=0.5), Saturation(share=0.2), NonFinite(share=0.1), NonFinite(share=0.1, kind="inf")]
PRESETS = [attacks.load("dropout"), attacks.load("saturation")]  # one in a hundred of the toy's 60 features is none

CASES = [
    *(Case(a, budgets=(0.02, 0.1, 0.5, 1.0)) for a in [*BROKEN, *PRESETS]),
    Case(attacks.load("uniform_noise")),
]
