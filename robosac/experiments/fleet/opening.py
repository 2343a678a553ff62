"""What a fleet begins with: of a detector or of a language model, of what is made here or of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from robosac.experiments.fleet.recorded import recorded_domains
from robosac.experiments.fleet.settings import LANGUAGE, FleetSettings, vehicles_of
from robosac.experiments.fleet.world import World
from robosac.fingerprint import fingerprint
from robosac.types import InputError

Tell = Callable[[int, int], None]
_RANKS: Final = (2, 8, 4, 16)  # of the clients of a folder's domains, in turn
_FAST: Final[dict[str, Any]] = {"rounds": 4, "steps": 3}


def base_of(detector: str, language: str, data: Path | None, *, budget_mb: float, fast: bool) -> FleetSettings:
    """Settings that all rows share, before anything else is asked for.

    Raises:
        InputError: things do not go together, or the folder holds nothing.
    """
    if not language:
        base = FleetSettings(
            detector=detector,
            budget_mb=budget_mb,
            content=_content(detector if detector.endswith(".safetensors") else "", data),
        )
        small = vehicles_of("city:8,fog:2,sparse:4,bus:4")
        if data is not None:
            small = _ranked(recorded_domains(data))
            base = replace(base, data=str(data), vehicles=small)
        return replace(base, vehicles=small, frames=(4, 1, 3), **_FAST) if fast else base
    if detector != "mean":
        raise InputError(f"expected --detector or --model, got {detector} and {language}")
    vehicles = LANGUAGE if data is None else _of_folder(data)
    made = FleetSettings(
        language=language,
        data="" if data is None else str(data),
        content=_content(language.partition(":")[2], data),
        vehicles=vehicles,
        frames=(400, 30, 150),
        rounds=20,
        lr=3e-3,
        budget_mb=budget_mb,
    )
    return replace(made, frames=(100, 10, 40), **_FAST) if fast else made


def _of_folder(folder: Path) -> tuple[tuple[str, int], ...]:
    """Two clients of each domain, a slow link and a fast one."""
    from robosac.language.items import read_folder

    return _ranked([name for name in read_folder(folder) for _ in range(2)])


def _ranked(domains: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(zip(domains, cycle(_RANKS)))


def _content(*places: object) -> str:
    """Of files that are named; nothing for what is shipped."""
    paths = [path for place in places if place and (path := Path(str(place)).expanduser()).exists()]
    return fingerprint(*paths) if paths else ""


def open_fleet(settings: FleetSettings, *, cache: Path, tell: Tell) -> World:
    """All that a fleet learns from, its clients as they are without attacks."""
    clean = replace(settings, attack="", attackers=0, method="base", defense="none")
    if settings.language:
        from robosac.experiments.fleet.language import open_language

        return open_language(clean, tell=tell)
    from robosac.experiments.fleet.vehicles import open_world

    return open_world(clean, cache=cache, tell=tell)
