"""Attacks by name: a preset of `configs/attacks`, with settings of its own where wanted: `pgd:steps=5,epsilon=1e-2`."""

from __future__ import annotations

import inspect
from typing import Any, Final

from robosac import plain_yaml
from robosac.air import Knowledge
from robosac.registry.settings import plain
from robosac.types import InputError

KNOWS: Final = {  # beside its own agents' data, which every attacker has
    Knowledge.MODEL: "the model",
    Knowledge.TEAMMATES: "other teammates' messages",
    Knowledge.VICTIM: "the victim's view",
    Knowledge.DEFENSE: "the defence",
    Knowledge.SEED: "its random numbers",
}


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


def described(name: str) -> dict[str, Any]:
    """All there is to say of a preset, as plain data."""
    from robosac import attacks
    from robosac.attacks.presets import preset

    attack, found = attacks.load(name), preset(name)
    return {
        "name": name,
        "attack": found.attack,
        "stage": attack.stage.value,
        "knows": ["own data", *(text for part, text in KNOWS.items() if part in attack.knowledge)],
        "budget": attack.budget,
        "unit": attack.unit,
        "novelty": found.novelty,
        "source": " ".join(found.source.split()),
        "settings": plain(attack),
        "about": inspect.cleandoc(type(attack).__doc__ or "").partition("\n\n")[0].replace("\n", " "),
    }
