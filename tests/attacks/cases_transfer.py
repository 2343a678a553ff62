"""Attacks that are computed on a detector of the attackers' own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from robosac.attacks import Bim, CwMargin, Pgd, Scheduled, Sleeper, Transfer
from robosac.types import Codec, Detector, View
from tests.attacks.cases import Case
from tests.attacks.toy import ToyDetector
from tests.attacks.toy_pose import posed_air


@dataclass
class OtherDetector(ToyDetector):
    """The same shapes from another encoder: channels the other way round, and fainter."""

    name: str = "other"

    def features(self, view: View) -> np.ndarray:
        return np.ascontiguousarray(0.8 * super().features(view)[::-1])

    @property
    def codec(self) -> Codec:
        return Codec("other", super().codec.arrays)


def opens(name: str) -> Detector:
    return {"toy": ToyDetector, "other": OtherDetector}[name]()


transfer_air = partial(posed_air, opens=opens)

CASES = [
    Case(attack, air=transfer_air)
    for attack in (
        Transfer(attack=Pgd(steps=3), source="other"),
        Transfer(attack=Bim(steps=2), source="toy", reads_others=True),
        Transfer(attack=CwMargin(epsilon=0.05), source="other", reads_others=True),
        Scheduled(attack=Transfer(attack=Pgd(steps=2), source="other"), when=Sleeper(until=0)),
    )
]
