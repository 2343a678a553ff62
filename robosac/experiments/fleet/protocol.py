"""The fleet board's protocol: what no row may change, frozen in a file, with a hash that every entry carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac import plain_yaml
from robosac.detectors import WEIGHTS
from robosac.experiments.fleet.settings import FleetSettings, vehicles_of
from robosac.fingerprint import fingerprint
from robosac.registry.settings import CONFIGS
from robosac.types import InputError

SHIPPED: Final = CONFIGS / "benchmarks" / "fleet_board.yaml"
_DIGITS: Final = 12
_LANGUAGE_WEIGHTS: Final = Path(__file__).parents[2] / "language" / "weights"
_FREE: Final = {"method", "attack", "attackers", "defense", "seed", "rounds"}  # what a row chooses; rounds: fewer


class Track(BaseModel):
    """One model and its fleet: the fields of `FleetSettings` that are fixed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    detector: str = "mean"
    language: str = ""
    vehicles: str
    frames: tuple[int, int, int]
    rounds: int = Field(ge=1)
    steps: int = Field(ge=1)
    lr: float = Field(gt=0)
    budget_mb: float = Field(gt=0)

    @property
    def settings(self) -> FleetSettings:
        """As rows have them."""
        held = self.model_dump()
        return FleetSettings(**{**held, "vehicles": vehicles_of(self.vehicles)})

    @property
    def weights(self) -> Path:
        """The shipped file that it begins with."""
        return (
            _LANGUAGE_WEIGHTS / f"{self.language}.safetensors"
            if self.language
            else WEIGHTS / f"{self.detector}.safetensors"
        )


class FleetProtocol(BaseModel):
    """A file like `configs/benchmarks/fleet_board.yaml`.

    Attributes:
        name, version: what entries are called by.
        seeds: that stand behind a figure of a complete row.
        methods: rows without attackers.
        attacks, attackers, defenses: rows with them, and defences of a fleet without.
        tracks: models and their fleets.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    version: int = Field(ge=1)
    seeds: int = Field(ge=1)
    methods: tuple[str, ...] = Field(min_length=1)
    attacks: tuple[str, ...]
    attackers: tuple[int, ...]
    defenses: tuple[str, ...]
    tracks: dict[str, Track] = Field(min_length=1)

    @property
    def hash(self) -> str:
        """Of the whole file and of the weights that it names."""
        weights = {name: track.weights for name, track in self.tracks.items()}
        return fingerprint(self.model_dump(mode="json"), weights)[:_DIGITS]

    @property
    def plain(self) -> dict[str, Any]:
        """What an entry says of it."""
        return {"name": self.name, "version": self.version, "hash": self.hash}

    def track(self, name: str) -> Track:
        """By name.

        Raises:
            InputError: there is none of it.
        """
        if name not in self.tracks:
            raise InputError(f"expected a track of the fleet board, {' or '.join(self.tracks)}, got {name!r}")
        return self.tracks[name]

    def why_not(self, track: str, settings: FleetSettings) -> str:
        """What keeps a row off a track; "" for nothing. Fewer rounds and seeds are allowed, and shown."""
        frozen, own = self.tracks[track].settings.plain(), settings.plain()
        odd = [f"{k} {own[k]}" for k, v in frozen.items() if k not in _FREE and own[k] != v]
        for name, value, known in (
            ("method", settings.method, self.methods),
            ("attack", settings.attack, ("", *self.attacks)),
            ("attackers", settings.attackers, self.attackers),
            ("defense", settings.defense, self.defenses),
        ):
            odd += [] if value in known else [f"{name} {value}"]
        return ", ".join(odd + ([f"rounds {settings.rounds}"] if settings.rounds > frozen["rounds"] else []))


def read_protocol(path: Path = SHIPPED) -> FleetProtocol:
    """The protocol of a file.

    Raises:
        InputError: it is none.
    """
    held: Any = plain_yaml.read(path)
    try:
        return FleetProtocol.model_validate(_tuples(held))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"expected {path} to be a protocol of the fleet board; {where}: {first['msg']}") from None


def _tuples(held: Any) -> Any:
    if isinstance(held, dict):
        return {k: _tuples(v) for k, v in held.items()}
    return tuple(held) if isinstance(held, list) else held
