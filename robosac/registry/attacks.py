"""Attacks by name: a preset of `configs/attacks`, with settings of its own where wanted: `pgd:steps=5,epsilon=1e-2`.

Budgets may be multiples of the standard deviation of the features, `pgd:epsilon=2sd`; `fitted` puts numbers in their
place, which takes the detector and some frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from robosac import plain_yaml
from robosac.air import Knowledge
from robosac.feature_scale import Amount, FeatureScale, in_words
from robosac.registry.settings import plain
from robosac.types import Detector, Frame, InputError

T = TypeVar("T")

KNOWS: Final = {  # beside its own agents' data, which every attacker has
    Knowledge.MODEL: "the model",
    Knowledge.TEAMMATES: "other teammates' messages",
    Knowledge.VICTIM: "the victim's view",
    Knowledge.DEFENSE: "the defence",
    Knowledge.SEED: "its random numbers",
}


def open_attack(text: str, *, budget: Amount | None = None) -> Any:
    """The attack (`robosac.attacks.base.Measured`) of a preset and its settings; `budget` in place of its own.

    What is given as a multiple, `2sd`, stays one: see `fitted`.

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
            f"expected epsilon to be a budget of {text} ({found.unit}), got {in_words(budget)}: {error}"
        ) from error


def in_multiples(attack: Any) -> list[str]:
    """The multiples of a standard deviation among an attack's settings: `2sd`; most attacks have none."""
    from robosac.attacks.settings import multiples

    return list(dict.fromkeys(text for _, text in multiples(attack)))


def fitted(attack: T, detector: Detector, frames: Callable[[], Iterable[Frame]]) -> T:
    """The attack with numbers in place of multiples of the standard deviation of what is honestly sent in `frames`,
    which are only called for where there are multiples.

    Raises:
        InputError: no features can be measured, or all are alike.
    """
    if not in_multiples(attack):
        return attack
    made: Any = attack
    scaled: T = made.scaled(FeatureScale.measured(detector, frames()).unit())
    return scaled


def _settings(text: str, rest: str) -> dict[str, Any]:
    settings = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"expected an attack like pgd or pgd:steps=5,epsilon=0.1, got {text!r}")
        settings[key.strip()] = plain_yaml.parse_text(value, f"the value of {key} in {text!r}")
    return settings


def described(name: str) -> dict[str, Any]:
    """All there is to say of a preset, with settings of its own where the name has some, as plain data."""
    from robosac.attacks.presets import preset

    attack, found = open_attack(name), preset(name.partition(":")[0])
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
