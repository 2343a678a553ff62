"""Cars put in and taken out, on a street of boxes."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import RemoveCar, SpoofCar
from tests.attacks.cases import Case
from tests.attacks.toy_points import late_air, street_air

ROWS = [SpoofCar(), SpoofCar(cars=3), RemoveCar(), RemoveCar(cars=2, pick="best")]
PRESETS = [attacks.load(name) for name in ("spoof_car", "remove_car")]

CASES = [
    *(Case(attack, air=street_air, budgets=(0.9, 3.0)) for attack in dict.fromkeys([*ROWS, *PRESETS])),
    *(Case(attack, air=late_air, budgets=(1.0,)) for attack in (SpoofCar(nearest_m=5.0), RemoveCar(min_score=0.2))),
]
