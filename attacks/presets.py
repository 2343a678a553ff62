"""Attacks by name: presets in `configs/attacks/*.yaml`, checked strictly, and the values they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from robosac import plain_yaml
from robosac.attacks.registry import attack_kinds, kinds
from robosac.building import made, pick
from robosac.errors import did_you_mean
from robosac.types import InputError

if TYPE_CHECKING:
    from robosac.attacks.base import Measured

Novelty = Literal["seen", "unseen", "hard"]


class Preset(BaseModel):
    """One file of `configs/attacks`.

    Attributes:
        attack: the registered name of an attack.
        source: where the settings come from: paper, section or table; or that they are ours.
        novelty: "seen" where defences were tuned against it (PGD, BIM, C&W), "unseen" where hardly any was, "hard"
            for those made to pass a consensus.
        settings: the class's settings; a nested value is a mapping with its `kind`, another registered name.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    attack: str
    source: str = Field(min_length=10)
    novelty: Novelty
    settings: dict[str, JsonValue]

    def build(self, **overrides: Any) -> Measured:
        """The attack's value; overrides replace settings by name (plain values, mappings with `kind`, or objects)."""
        attack: Measured = _made(pick("attack to be", attack_kinds(), self.attack), {**self.settings, **overrides})
        return attack


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def preset(name: str) -> Preset:
    """Read and check a preset; for a registered attack without one, its defaults.

    Raises:
        InputError: there is no such preset or attack, or its file says something it must not.
    """
    if name not in names():
        if name not in attack_kinds():
            without = sorted(set(attack_kinds()) - set(names()))
            raise InputError(
                f"expected an attack preset, one of {', '.join(names())}, or an attack by its registered name, one of "
                f"{', '.join(without)}; got {name!r}{did_you_mean(name, [*names(), *without])}"
            )
        return Preset(attack=name, source="no preset: the defaults of its class", novelty="unseen", settings={})
    path = _folder() / f"{name}.yaml"
    try:
        return Preset.model_validate(plain_yaml.read(path))
    except (ValidationError, InputError) as error:
        raise InputError(
            f"expected {path.name} to hold attack, source, novelty and settings; correct it: {error}"
        ) from error


def load(name: str, **overrides: Any) -> Measured:
    """The attack of a preset, some of its settings replaced: `load("pgd", epsilon=0.1)`.

    Raises:
        InputError: unknown preset or setting, a value out of range or missing.
    """
    return preset(name).build(**overrides)


def _folder() -> Path:
    root = Path(__file__).resolve().parent.parent
    folders = [root / "configs" / "attacks", root / "robosac" / "configs" / "attacks"]  # a checkout, an installed wheel
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _value(value: Any) -> Any:
    """YAML's mappings with a `kind` become objects, its lists tuples."""
    if isinstance(value, Mapping):
        return _made(pick("kind to be", kinds(), value.get("kind")), {k: v for k, v in value.items() if k != "kind"})
    return tuple(_value(v) for v in value) if isinstance(value, (list, tuple)) else value


def _made(kind: type[Any], settings: Mapping[str, Any]) -> Any:
    return made(kind.__name__, kind, {name: _value(value) for name, value in settings.items()})
