"""Stale messages: each attack has lived as many frames as its budget asks before it must have changed something."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import Freeze, Replay, SoldAsFresh
from tests.attacks.cases import Case
from tests.attacks.toy_pose import posed_air

STALE = [Replay(frames=2), SoldAsFresh(frames=2), Freeze(frames=2)]
PRESETS = [attacks.load(name) for name in ("replay", "sold_as_fresh", "freeze")]

CASES = [
    Case(attack, air=posed_air, budgets=(0.5, 1.0, 3.0), remembers=True, settle=max(attack.frames, 3))
    for attack in dict.fromkeys([*STALE, *PRESETS])
]
