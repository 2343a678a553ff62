"""Settings check themselves when a value is made, and subclasses keep the checks of their bases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from robosac.attacks.features.gradient import Pgd
from robosac.attacks.registry import attack_kinds
from robosac.attacks.settings import Settings, choice, number
from robosac.attacks.wrappers.base import Wrapping
from robosac.types import InputError


@dataclass(frozen=True, kw_only=True)
class Base(Settings):
    share: float = number(0.5, low=0.0, high=1.0)
    steps: int = number(3, low=0)
    bearing: float | None = number(None, low=-180.0, high=180.0)
    way: str = choice("left", "left", "right")


@dataclass(frozen=True, kw_only=True)
class Longer(Base):
    steps: int = 40


def test_numbers_become_plain_and_none_stays() -> None:
    made = Longer(share=1, bearing=90)
    assert (made.share, made.bearing, made.steps) == (1.0, 90.0, 40) and type(made.share) is type(made.bearing) is float
    assert Base().bearing is None and repr(Base(share=1)) == repr(Base(share=1.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": -1}, "expected steps of Longer to be an integer >= 0, got -1"),
        ({"steps": 1.0}, "expected steps of Longer to be an integer >= 0, got 1.0"),
        ({"share": 1.5}, r"expected share of Longer to be a finite number in \[0, 1\], got 1.5"),
        ({"share": None}, "expected share of Longer to be a finite number"),
        ({"bearing": 181}, "expected bearing of Longer to be a finite number"),
        ({"way": "up"}, "expected way of Longer to be 'left' or 'right', got 'up'"),
    ],
)
def test_another_default_does_not_lose_the_check(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Longer(**wrong)
    with pytest.raises(InputError, match=message):
        replace(Longer(), **wrong)


def test_every_number_of_every_attack_is_checked() -> None:
    """NaN is no number that any attack can use."""
    unchecked = set()
    for kind in attack_kinds().values():
        for name in (f for f, spec in kind.__dataclass_fields__.items() if isinstance(spec.default, (int, float))):
            inner = {"attack": Pgd()} if issubclass(kind, Wrapping) else {}
            try:
                kind(**inner, **{name: float("nan")})
            except InputError:
                continue
            unchecked.add((kind.__name__, name))
    assert unchecked - {("Transfer", "reads_others")} == set()
