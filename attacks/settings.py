"""Settings that check themselves: plain Python numbers, so that a `repr` round-trips and can be the key of a result.

A setting says beside its default what it may be: `steps: int = number(15, low=0)`. What depends on several settings is
checked in a `__post_init__` that calls `super().__post_init__()` first. A setting in the units of the features may be
given as a multiple of their standard deviation, `2sd` (`robosac.feature_scale`); `scaled` puts numbers in their place.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from robosac.feature_scale import UNIT, Amount, as_multiple, multiple
from robosac.types import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

_CHECK: Final = "check"
T = TypeVar("T")
Check: TypeAlias = Callable[[object, str], None]  # the owner and the name of a setting


def number(
    default: float | None, *, low: float = -math.inf, high: float = math.inf, whole: bool = False, sd: bool = False
) -> Any:
    """A setting that is a finite number in [low, high], a whole one where its default is; None where that is.

    With `sd` it is in the units of the features and may be a multiple of their standard deviation.
    """
    kind: Check = partial(_integer, low=low) if whole or type(default) is int else partial(real, low=low, high=high)
    kind = partial(_amount, check=kind) if sd else kind
    return field(default=default, metadata={_CHECK: partial(_unless_none, check=kind) if default is None else kind})


def choice(default: str, *options: str) -> Any:
    """A setting that is one of these words."""
    return field(default=default, metadata={_CHECK: partial(_one_of, options=options)})


def part(protocol: Any, make: Any = MISSING) -> Any:
    """A setting that does what `protocol` (a runtime-checkable one) asks; `make` makes its default."""
    return field(default_factory=make, metadata={_CHECK: partial(instance, protocol=protocol)})


@dataclass(frozen=True)
class Settings:
    """A base for values that are made of settings.

    Raises:
        InputError: (when it is made) a setting is not what it may be.
    """

    def __post_init__(self) -> None:
        for name, check in _checks_of(type(self)).items():
            check(self, name)

    def scaled(self, std: float) -> Self:
        """The same with numbers in place of all multiples of the features' standard deviation, which is `std`."""
        return scaled(self, std)


def scaled(value: T, std: float) -> T:
    """A value, or a tuple of values, with `2 * std` in place of every `2sd` in it, however deep."""
    if isinstance(value, tuple):
        made: Any = tuple(scaled(part, std) for part in value)
        return made if any(a is not b for a, b in zip(made, value, strict=True)) else value
    if not isinstance(value, Settings):
        return value
    held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    asked = dict(multiples(value, deep=False))
    changed: dict[str, Any] = {n: multiple(asked[n]) * std if n in asked else scaled(v, std) for n, v in held.items()}
    changed = {n: v for n, v in changed.items() if v is not held[n]}
    return dataclasses.replace(value, **changed) if changed else value


def multiples(value: Any, *, deep: bool = True) -> Iterator[tuple[str, str]]:
    """Every setting that is a multiple, its name and the multiple: ("epsilon", "2sd"); those of values in it, too."""
    if isinstance(value, tuple):
        for part_of in value:
            yield from multiples(part_of)
    if not isinstance(value, Settings):
        return
    amounts = {n for n, check in _checks_of(type(value)).items() if getattr(check, "func", None) is _amount}
    for f in dataclasses.fields(value):
        held = getattr(value, f.name)
        if f.name in amounts and isinstance(held, str):
            yield f.name, held
        elif deep:
            yield from multiples(held)


def plain_number(amount: Amount, what: str) -> float:
    """An amount in the units of the features, as a number.

    Raises:
        InputError: it is a multiple of a standard deviation that nobody has measured; says how to.
    """
    if isinstance(amount, str):
        raise InputError(
            f"expected {what} as a number, got {amount}; measure the detector's features and send with "
            "attack.scaled(FeatureScale.measured(detector, frames).unit()) (robosac.feature_scale)"
        )
    return float(amount)


def _checks_of(kind: type[Any]) -> Mapping[str, Check]:
    """By setting; a subclass that gives another default keeps the check of its base."""
    known = [getattr(c, "__dataclass_fields__", {}) for c in reversed(kind.__mro__)]
    return {name: f.metadata[_CHECK] for fields in known for name, f in fields.items() if _CHECK in f.metadata}


def instance(owner: object, name: str, protocol: Any) -> None:
    """Check that a setting is a value that does what `protocol` asks.

    Raises:
        InputError: it does not, or it is the class instead of a value of it.
    """
    value = getattr(owner, name)
    if isinstance(value, type) or not isinstance(value, protocol):
        noun = "bool" if protocol is bool else f"{protocol.__name__} value"
        article = "an" if noun[0] in "AEIOU" else "a"
        raise InputError(f"expected {_label(owner, name)} to be {article} {noun}, got {value!r}")


def real(owner: object, name: str, *, low: float = -math.inf, high: float = math.inf) -> None:
    """Check that a setting is a finite number in [low, high], and store it as a Python float.

    Raises:
        InputError: it is not.
    """
    value = getattr(owner, name)
    ok = not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)
    if not ok or not low <= value <= high:
        raise InputError(f"expected {_label(owner, name)} to be a finite number {_range(low, high)}, got {value!r}")
    object.__setattr__(owner, name, float(value))


def _amount(owner: object, name: str, *, check: Check) -> None:
    value = getattr(owner, name)
    if not isinstance(value, str):
        check(owner, name)
        return
    try:
        object.__setattr__(owner, name, as_multiple(value))
    except InputError:
        raise InputError(
            f"expected {_label(owner, name)} to be a finite number >= 0, or a multiple above 0 of the features' "
            f"standard deviation like 2{UNIT}; got {value!r}"
        ) from None


def _integer(owner: object, name: str, *, low: float) -> None:
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise InputError(f"expected {_label(owner, name)} to be an integer >= {low}, got {value!r}")
    object.__setattr__(owner, name, int(value))


def _one_of(owner: object, name: str, *, options: Sequence[str]) -> None:
    if getattr(owner, name) not in options:
        words = " or ".join([", ".join(map(repr, options[:-1])), repr(options[-1])])
        raise InputError(f"expected {_label(owner, name)} to be {words}, got {getattr(owner, name)!r}")


def _unless_none(owner: object, name: str, *, check: Check) -> None:
    if getattr(owner, name) is not None:
        check(owner, name)


def _label(owner: object, name: str) -> str:
    return f"{name} of {type(owner).__name__}"


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return "" if math.isinf(low) else f">= {low:g}"
    return f"in [{low:g}, {high:g}]"
