"""False poses, in a world where poses matter."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import BalancedInvertedBce, Drift, GpsOffset, HeadingBias, PoseGradient
from tests.attacks.cases import FEW, Case
from tests.attacks.toy_pose import posed_air

FIXED = [GpsOffset(), GpsOffset(offset_m=0.3), HeadingBias(), HeadingBias(bias_deg=90.0)]
SEARCHED = [
    PoseGradient(steps=3),
    PoseGradient(limit_m=0.5, degrees_per_m=0.0, steps=2, objective=BalancedInvertedBce()),
]
GROWING = [Drift(), Drift(limit_m=0.2, metres_per_second=3.0)]
PRESETS = [attacks.load(name) for name in ("gps_offset", "heading_bias", "pose_gradient")]

CASES = [
    *(Case(attack, air=posed_air) for attack in dict.fromkeys([*FIXED, *SEARCHED, *PRESETS[:2]])),
    Case(PRESETS[2], posed_air, FEW),
    *(
        Case(attack, air=posed_air, remembers=True, settle=1)
        for attack in dict.fromkeys([*GROWING, attacks.load("drift")])
    ),
]
