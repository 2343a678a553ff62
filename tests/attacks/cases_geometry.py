"""Feature maps moved about, on the toy detector's map of 4 x 5 cells."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import FeatureErase, FeatureFlip, FeatureMix, FeatureRotate, FeatureShift
from tests.attacks.cases import Case

MOVED = [FeatureShift(cells=1), FeatureRotate(degrees=40.0), FeatureRotate(degrees=180.0)]
SHARES = [FeatureErase(), FeatureFlip(share=0.5), FeatureMix(share=0.6, block=2), FeatureMix(share=1.0)]

CASES = [
    *(Case(a) for a in dict.fromkeys([*MOVED, attacks.load("feature_shift"), attacks.load("feature_rotate")])),
    *(
        Case(a, budgets=(0.0, 0.3, 0.5, 1.0))
        for a in dict.fromkeys([*SHARES, *map(attacks.load, ("feature_erase", "feature_flip", "feature_mix"))])
    ),
]
