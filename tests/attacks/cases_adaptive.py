"""Attacks that know, or guess, how they will be judged; with a defence in the air and without."""

from __future__ import annotations

from functools import partial

from robosac import attacks
from robosac.attacks import (
    AdaptivePgd,
    BlackBox,
    BlindArea,
    Evasive,
    Framed,
    FrameUp,
    Ghosts,
    HideUnseen,
    InvertedBce,
    KnowsSeed,
    LargestSubsets,
    Pgd,
    PosePert,
    PretendBenign,
    Reranked,
    Shifted,
)
from tests.attacks.cases import FEW, Case
from tests.attacks.toy_adaptive import defended_air

undefended_air = partial(defended_air, defense=None)
ADAPTIVE = [
    AdaptivePgd(steps=6),
    KnowsSeed(steps=5, rounds=2),
    BlackBox(attack=Pgd(steps=3), queries=8),
    BlindArea(steps=4),
    PretendBenign(steps=6),
    FrameUp(steps=6),
    PosePert(steps=5, bearing_deg=0.0, radius_m=0.7),
    Evasive(steps=4, epsilon=0.5, restarts=1),
    Evasive(steps=3, harm=HideUnseen()),
    Evasive(steps=3, harm=Reranked()),
    Evasive(steps=3, harm=Shifted(way="bearing", metres=0.5), subsets=LargestSubsets()),
    Evasive(steps=3, harm=Ghosts(count=2, single=0.15), checks=()),
    Evasive(steps=3, harm=Framed(), subsets=LargestSubsets()),
]
PRESETS = [
    attacks.load(name) for name in ("adaptive_pgd", "bac", "frame_up", "informed_pgd", "knows_seed", "pretend_benign")
]

EVASIVE = [name for name in attacks.names() if name.startswith("evasive_")]

CASES = [
    *(Case(attack, defended_air) for attack in ADAPTIVE),
    *(Case(attack, defended_air, FEW) for attack in [*PRESETS, attacks.load("pose_pert", radius_m=0.7)]),
    *(Case(attacks.load(name, steps=3), defended_air, FEW) for name in EVASIVE),
    Case(AdaptivePgd(steps=5, objective=InvertedBce()), undefended_air),
    Case(KnowsSeed(steps=3), undefended_air),
    Case(FrameUp(steps=3), undefended_air),
]
