"""Attacks by name: a preset of `configs/attacks`, with settings of its own where wanted: `pgd:steps=5,epsilon=1e-2`."""

from __future__ import annotations

from typing import Any

from robosac import plain_yaml
from robosac.types import InputError


def open_attack(text: str, *, budget: float | None = None) -> Any:
    """The attack (`robosac.attacks.base.Measured`) of a preset and its settings; `budget` in place of its own.

    Raises:
        InputError: an unknown preset or setting, or a value out of range; says which there are.
    """
    from robosac import attacks

    name, _, rest = text.partition(":")
    found = attacks.load(name, **_settings(text, rest))
    if budget is None:
        return found
    try:
        return found.with_budget(budget)
    except InputError as error:
        raise InputError(
            f"expected epsilon to be a budget of {text} ({found.unit}), got {budget:g}: {error}"
        ) from error


def _settings(text: str, rest: str) -> dict[str, Any]:
    settings = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"expected an attack like pgd or pgd:steps=5,epsilon=0.1, got {text!r}")
        settings[key.strip()] = plain_yaml.parse_text(value, f"the value of {key} in {text!r}")
    return settings
