"""What an experiment is: lists of names whose every combination is a cell, and how much data each is judged on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from robosac import plain_yaml
from robosac.feature_scale import UNIT, Amount, as_multiple
from robosac.types import InputError


class Grid(BaseModel):
    """A grid, as `grid.yaml` holds it.

    Attributes:
        dataset: `sim:PRESET`, `opv2v:PATH`, `v2xsim:PATH`, `dair:PATH`, or `data:PATH` of any known layout.
        detector: names as `robosac.registry.detectors` knows them.
        attack: presets, each with settings of its own where wanted, like `pgd:steps=5`.
        attackers: how many of a scenario's teammates attack.
        defense: presets of `configs/defenses`.
        titles: what tables call the defences, one each; left out, their names. They key the random numbers, too.
        epsilon: budgets in place of the presets', in each attack's own unit: an axis of the grid; multiples of the
            features' standard deviation, too, like 2sd, where it counts features.
        trials: trials a frame in place of the defences': an axis of the grid, for defences that make trials.
        seed, seeds: the first, and how many: each with attackers, attacks and draws of its own, and in a simulation
            with scenes of its own.
        split: of a simulated data set.
        scenes: of a data set, at most; left out, 20 of a simulation and all of a recording.
        frames, frame_step: of a scene, at most, and every how many-th; left out, 2 of a simulated scene, 5 apart, and
            all of a recorded one.
        vehicles: connected vehicles of a simulated scene, the ego included, in place of the simulation's.
        comm_range_m: who is further from the ego than this is not its teammate, in place of the data set's.
        ego: of a recording: "first", "each" or "all" (every agent in turn, a scene of its own), or an agent's name.
        classes: of a recording's objects that count as truth, as it spells them; left out, vehicles.
        pose_noise: standard deviations of the errors of all measured poses: metres, and degrees of the heading.
        delay: teammates' scans and poses are this many frames old.
        device: what detectors compute on.
        save_boxes: every result's boxes and the objects are kept, too, for `robosac ap`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    dataset: tuple[str, ...] = ("sim:mixed",)
    detector: tuple[str, ...] = ("mean",)
    attack: tuple[str, ...] = ("pgd",)
    attackers: tuple[int, ...] = (0, 1, 2)
    defense: tuple[str, ...] = ("none", "robosac", "oracle")
    titles: tuple[str, ...] = ()
    epsilon: tuple[Amount, ...] = ()
    trials: tuple[int, ...] = ()
    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=1, ge=1)
    split: Literal["train", "val", "calibration", "test"] = "test"
    scenes: int | None = Field(default=None, ge=1)
    frames: int | None = Field(default=None, ge=1)
    frame_step: int | None = Field(default=None, ge=1)
    vehicles: int | None = Field(default=None, ge=1)
    comm_range_m: float | None = Field(default=None, gt=0)
    ego: str = "first"
    classes: tuple[str, ...] | None = None
    pose_noise: tuple[float, ...] = Field(default=(), max_length=2)
    delay: int = Field(default=0, ge=0)
    device: str = "cpu"
    save_boxes: bool = False

    @field_validator("epsilon")
    @classmethod
    def _multiples(cls, value: tuple[Amount, ...]) -> tuple[Amount, ...]:
        try:
            return tuple(as_multiple(v) if isinstance(v, str) else v for v in value)
        except InputError as error:
            raise ValueError(f"expected finite numbers >= 0 or multiples like 2{UNIT}: {error}") from None

    @field_validator("dataset", "detector", "attack", "defense", "titles", "attackers", "epsilon", "trials")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"expected each value once, got {value}")
        if any(isinstance(v, (int, float)) and not 0 <= v < math.inf for v in value):
            raise ValueError(f"expected finite values >= 0, got {value}")
        return value

    @field_validator("dataset", "detector", "attack", "defense", "attackers")
    @classmethod
    def _some(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("expected at least one")
        return value

    @field_validator("ego")
    @classmethod
    def _every_ego(cls, value: str) -> str:
        return "each" if value == "all" else value

    @field_validator("classes")
    @classmethod
    def _some_classes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value:
            raise ValueError("expected names of classes like Car,Truck, got none")
        return value

    @field_validator("pose_noise")
    @classmethod
    def _sizes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= v < math.inf for v in value):
            raise ValueError(f"expected finite sizes >= 0, got {value}")
        return value

    @property
    def every_seed(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def make_grid(config: Path | None, named: Mapping[str, Any]) -> Grid:
    """The grid of a YAML file and of what the command line names, which wins; None there means not named.

    Raises:
        InputError: an unknown setting, a value that is none, or a file that is no mapping.
    """
    held: Any = {}
    if config is not None:
        held = plain_yaml.read(config) or {}
        if not isinstance(held, dict):
            raise InputError(f"expected {config} to hold settings of a grid, got {type(held).__name__}")
        several = {k for k, f in Grid.model_fields.items() if "tuple" in str(f.annotation)}
        several -= {k for k, v in held.items() if k in several and v is None and Grid.model_fields[k].default is None}
        held = {k: tuple(v if isinstance(v, list) else [v]) if k in several else v for k, v in held.items()}
    given = {k: _listed(k, v) if isinstance(v, (list, tuple)) else v for k, v in named.items() if v is not None}
    try:
        return Grid.model_validate({**held, **given})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "grid"
        known = f"; settings are {', '.join(Grid.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}{known}") from None


def _listed(key: str, values: Sequence[str]) -> tuple[Any, ...]:
    """The values of a repeatable option, as numbers where they are."""
    kinds: dict[str, Callable[[str], Any]] = {"attackers": int, "trials": int, "epsilon": _amount, "pose_noise": float}
    kind = kinds.get(key, str)
    try:
        return tuple(kind(name) for name in names_of([str(v) for v in values]))
    except ValueError:
        wanted = "whole numbers like 0,1,2" if kind is int else "numbers like 0,1,2"
        wanted += f" or multiples of the features' standard deviation like 2{UNIT}" if kind is _amount else ""
        option = key.replace("_", "-")
        raise InputError(f"expected --{option} to be {wanted}; got {', '.join(map(str, values))}") from None


def budget_of(text: str) -> Amount:
    """A budget as the command line has it: a number, or a multiple like `2sd`. InputError where it is neither."""
    found: Sequence[Amount] = _listed("epsilon", [text])
    if len(found) != 1:
        raise InputError(f"expected --epsilon to be one budget, got {text!r}")
    return found[0]


def _amount(text: str) -> Amount:
    return as_multiple(text) if text.strip().endswith(UNIT) else float(text)


def names_of(values: Sequence[str]) -> tuple[str, ...]:
    """Values of a repeatable option, each of which may itself be a comma list; commas after a colon are settings."""
    found: list[str] = []
    for value in values:
        for part in value.split(","):
            if found and "=" in part and ":" not in part and ":" in found[-1]:
                found[-1] += f",{part}"
            elif part.strip():
                found.append(part.strip())
    return tuple(found)
