"""Attacks by name: presets in `configs/attacks/*.yaml`, checked strictly, and the values they stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from robosac import plain_yaml
from robosac.attacks.adaptive import agreement as adaptive
from robosac.attacks.adaptive import blind, framing
from robosac.attacks.adaptive import knows_seed as rehearsed
from robosac.attacks.base import Measured
from robosac.attacks.boxes import edits as boxes
from robosac.attacks.features import (
    apgd,
    carlini,
    geometry,
    goals,
    gradient,
    noise,
    norms,
    objectives,
    problem,
    targeted,
)
from robosac.attacks.features import flood as flooding
from robosac.attacks.features import target_subsets as aims
from robosac.attacks.link import messages as link
from robosac.attacks.link import staleness
from robosac.attacks.points import cars as points
from robosac.attacks.pose import offsets as pose
from robosac.attacks.pose import pose_gradient, posepert
from robosac.attacks.wrappers import after_warp as warped
from robosac.attacks.wrappers import schedules, transfer
from robosac.types import InputError

_MODULES: Final[tuple[Any, ...]] = (  # each names its attacks and parts itself
    adaptive,
    aims,
    apgd,
    blind,
    carlini,
    boxes,
    flooding,
    framing,
    geometry,
    goals,
    gradient,
    link,
    noise,
    norms,
    objectives,
    points,
    pose,
    pose_gradient,
    posepert,
    problem,
    rehearsed,
    schedules,
    staleness,
    targeted,
    transfer,
    warped,
)
ATTACKS: Final[Mapping[str, type[Any]]] = {k: v for m in _MODULES for k, v in getattr(m, "ATTACKS", {}).items()}
PARTS: Final[Mapping[str, type[Any]]] = {k: v for m in _MODULES for k, v in getattr(m, "PARTS", {}).items()}
Novelty = Literal["seen", "unseen", "hard"]


class Preset(BaseModel):
    """One file of `configs/attacks`.

    Attributes:
        attack: the name of a class in `ATTACKS`.
        source: where the settings come from: paper, section or table; or that they are ours.
        novelty: "seen" where defences were tuned against it (PGD, BIM, C&W), "unseen" where hardly any was, "hard"
            for those made to pass a consensus.
        settings: the class's settings; a nested value is a mapping with its `kind` (one of `PARTS`, or of `ATTACKS`
            where an attack wraps another).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    attack: str
    source: str = Field(min_length=10)
    novelty: Novelty
    settings: dict[str, JsonValue]

    def build(self, **overrides: Any) -> Measured:
        """The attack's value; overrides replace settings by name (plain values, mappings with `kind`, or objects)."""
        made: Measured = _make(_pick(ATTACKS, "attack", self.attack), {**self.settings, **overrides})
        return made


def names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def preset(name: str) -> Preset:
    """Read and check a preset.

    Raises:
        InputError: there is no such preset, or its file says something it must not.
    """
    if name not in names():
        raise InputError(f"expected an attack preset, one of {', '.join(names())}; got {name!r}")
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
        InputError: unknown preset or setting, or a value out of range.
    """
    return preset(name).build(**overrides)


def _folder() -> Path:
    root = Path(__file__).resolve().parent.parent
    folders = [root / "configs" / "attacks", root / "robosac" / "configs" / "attacks"]  # a checkout, an installed wheel
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _pick(registry: Mapping[str, type[Any]], what: str, name: object) -> type[Any]:
    if not isinstance(name, str) or name not in registry:
        raise InputError(f"expected {what} to be one of {', '.join(sorted(registry))}; got {name!r}")
    return registry[name]


def _make(kind: type[Any], settings: Mapping[str, Any]) -> Any:
    known = [f.name for f in dataclasses.fields(kind)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(f"expected settings of {kind.__name__} among {', '.join(known)}; got {', '.join(unknown)}")
    return kind(**{name: _value(value) for name, value in settings.items()})


def _value(value: Any) -> Any:
    """YAML's mappings with a `kind` become objects, its lists tuples."""
    if isinstance(value, Mapping):
        return _make(
            _pick({**ATTACKS, **PARTS}, "kind", value.get("kind")), {k: v for k, v in value.items() if k != "kind"}
        )
    return tuple(_value(v) for v in value) if isinstance(value, (list, tuple)) else value
