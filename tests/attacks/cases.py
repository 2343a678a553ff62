"""Every attack with a frame in which it can act: the rows of the table that `test_every_attack` checks law by law.

A kind of attack has its rows in `cases_KIND.py`, a list `CASES`; this module only gathers them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from robosac.air import Air
from robosac.attacks.base import Measured
from tests.attacks.toy import make_air

FEW: Final = (0.3, 3.0)


class MakesAir(Protocol):
    def __call__(self, attackers: Sequence[str], others: Sequence[str] = ..., **more: Any) -> Air:
        """One frame; takes the keywords `index` and `knowledge` of `tests.attacks.toy.make_air`."""
        ...


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        attack: with the budget it is used with.
        air: makes a frame with some attackers among some teammates.
        budgets: others that are tried; each must be reached by no message and leave something changed. Of an attack
            that takes many steps `FEW`, where a row with fewer steps tries them all.
        remembers: whether it looks back: then the order of frames matters, and the first may be left alone.
        settle: frames it is shown before it must have changed something.
    """

    attack: Measured
    air: Callable[..., Air] = make_air
    budgets: tuple[float, ...] = field(default=(0.05, 0.1, 0.25, 0.3, 0.5, 3.0))
    remembers: bool = False
    settle: int = 0

    def __str__(self) -> str:
        return repr(self.attack)


def all_cases() -> list[Case]:
    """The rows of all kinds."""
    here = Path(__file__).parent
    kinds = sorted(path.stem for path in here.glob("cases_*.py"))
    return [case for kind in kinds for case in importlib.import_module(f"tests.attacks.{kind}").CASES]
