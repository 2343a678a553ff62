"""Checks of attack settings: plain Python numbers, so that a `repr` round-trips and can be the key of a result."""

from __future__ import annotations

import math
import numbers
from typing import Any

from robosac.types import InputError


def real(owner: object, name: str, *, low: float = -math.inf, high: float = math.inf) -> None:
    """Check the setting `name` of a frozen dataclass and store it as a Python float.

    Raises:
        InputError: it is no finite number in [low, high].
    """
    value = getattr(owner, name)
    ok = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    if not ok or not low <= value <= high:
        raise InputError(f"expected {_label(owner, name)} to be a finite number {_range(low, high)}, got {value!r}")
    object.__setattr__(owner, name, float(value))


def integer(owner: object, name: str, *, low: int) -> None:
    """Check the setting `name` of a frozen dataclass and store it as a Python int.

    Raises:
        InputError: it is no integer >= low.
    """
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise InputError(f"expected {_label(owner, name)} to be an integer >= {low}, got {value!r}")
    object.__setattr__(owner, name, int(value))


def instance(owner: object, name: str, protocol: Any) -> None:
    """Check that the setting `name` does what `protocol` (a runtime-checkable one) asks.

    Raises:
        InputError: it does not, or it is the class instead of a value of it.
    """
    value = getattr(owner, name)
    if isinstance(value, type) or not isinstance(value, protocol):
        raise InputError(f"expected {_label(owner, name)} to be {_article(protocol.__name__)} value, got {value!r}")


def _label(owner: object, name: str) -> str:
    return f"{name} of {type(owner).__name__}"


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return "" if math.isinf(low) else f">= {low:g}"
    return f"in [{low:g}, {high:g}]"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"
