"""Schedules around attacks of several packages. Each acts in the last frame that it is shown alone, frame `settle`."""

from __future__ import annotations

from robosac import attacks
from robosac.attacks import (
    Always,
    Bim,
    Bursts,
    Drift,
    Drop,
    EveryKth,
    GaussianNoise,
    GpsOffset,
    Pgd,
    RandomFrames,
    Rotating,
    Scheduled,
    Sleeper,
    SoldAsFresh,
)
from tests.attacks.cases import Case
from tests.attacks.toy import make_air
from tests.attacks.toy_pose import posed_air

SHORT = Pgd(steps=2)
CASES = [
    Case(Scheduled(attack=SHORT, when=Always())),
    Case(Scheduled(attack=Bim(steps=2), when=RandomFrames(probability=0.99))),
    Case(Scheduled(attack=GpsOffset(), when=Bursts(length=50.0, gap=1.0)), air=posed_air),
    Case(Scheduled(attack=SHORT, when=EveryKth(k=3, phase=2)), settle=2),
    Case(Scheduled(attack=GaussianNoise(), when=Sleeper(until=2)), settle=2),
    Case(Scheduled(attack=SHORT, when=Rotating(period=2, active=1))),
    Case(Scheduled(attack=Drop(), when=EveryKth(k=2)), budgets=(1.0,)),
    Case(Scheduled(attack=Drift(), when=Rotating(period=1)), air=posed_air, remembers=True, settle=4),
    Case(
        Scheduled(attack=SoldAsFresh(frames=2), when=Sleeper(until=2)),
        air=posed_air,
        budgets=(1.0, 3.0),
        remembers=True,
        settle=3,
    ),
    Case(Scheduled(attack=Scheduled(attack=SHORT, when=EveryKth(k=2)), when=Sleeper(until=1)), settle=2),
    *(
        Case(attacks.load(name), air=make_air, settle=settle)
        for name, settle in (("sleeper_pgd", 10), ("every_kth_pgd", 5), ("rotating_pgd", 0))
    ),
]
