"""Edits of boxes as sent, in late fusion."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import BoxFlood, BoxRemove, BoxResize, BoxShift, BoxSpoof, BoxTurn
from tests.attacks.cases import Case
from tests.attacks.toy_points import late_air

COUNTED = [BoxSpoof(), BoxSpoof(boxes=40), BoxFlood(), BoxFlood(boxes=2), BoxRemove(), BoxRemove(boxes=99)]
MEASURED = [
    BoxShift(),
    BoxShift(metres=0.013),
    BoxShift(way="across"),
    BoxShift(way="together"),
    BoxResize(),
    BoxResize(share=0.05, shrink=True),
    BoxTurn(),
]
PRESETS = (
    "box_confidence",
    "box_flood",
    "box_remove",
    "box_resize",
    "box_shift",
    "box_shift_together",
    "box_spoof",
)

CASES = [Case(attack, air=late_air) for attack in dict.fromkeys([*COUNTED, *MEASURED, *map(attacks.load, PRESETS)])]
