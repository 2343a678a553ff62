"""An entry of the fleet board: one row of one track over its seeds, a JSON file in `results/fleet/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac.experiments.fleet.protocol import FleetProtocol
from robosac.experiments.fleet.settings import FleetSettings
from robosac.experiments.provenance import command_line
from robosac.files import write_whole
from robosac.types import InputError

FORMAT: Final = 1


class SeedResult(BaseModel):
    """One run. `out_attackers`, `out_honest`: percent of their updates that did not enter; `refused`: messages that
    were not what was agreed; `precision`: float32 where a detector was not trained in bfloat16, as is usual."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    seed: int
    figures: dict[str, dict[str, float]]
    bytes: int
    server_s: float | None = None
    seconds: float
    peak_mb: float
    attackers: tuple[str, ...] = ()
    out_attackers: float | None = None
    out_honest: float | None = None
    refused: int = 0
    vanished: float | None = None
    precision: str = ""


class FleetEntry(BaseModel):
    """One file.

    Attributes:
        protocol: name, version and hash of what was played.
        track: of the protocol.
        title: of the row.
        rounds: that were played; fewer than the protocol's are shown as such.
        settings: of the row, without its seed.
        command: what to type for these figures.
        versions: of what figures depend on.
        seeds: a run each.
        notes: added by hand; kept when the entry is played again.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    protocol: dict[str, Any]
    track: str
    title: str
    rounds: int = Field(ge=1)
    settings: dict[str, Any]
    command: str = ""
    versions: dict[str, str] = {}
    seeds: tuple[SeedResult, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Of the row."""
        return "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", n).strip("-") for n in (self.track, self.title)) + ".json"

    @property
    def row(self) -> FleetSettings:
        """Its settings, of the first seed."""
        held = {**self.settings, "vehicles": tuple((d, r) for d, r in self.settings["vehicles"])}
        return FleetSettings(**{**held, "frames": tuple(held["frames"]), "seed": self.seeds[0].seed})


def entries_of(
    protocol: FleetProtocol, track: str, rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str]
) -> list[FleetEntry]:
    """Entries of rows that `robosac fleet` ran.

    Raises:
        InputError: a row is not of the protocol; says why.
    """
    found = []
    for title in dict.fromkeys(r["title"] for r in rows):
        some = [r for r in rows if r["title"] == title]
        settings = {k: v for k, v in some[0]["settings"].items() if k != "seed"}
        made = FleetEntry(
            protocol=protocol.plain,
            track=track,
            title=title,
            rounds=settings["rounds"],
            settings=settings,
            versions=dict(versions),
            seeds=tuple(_seed(r) for r in some),
        )
        if why := protocol.why_not(track, made.row):
            raise InputError(f"expected a row of the protocol {protocol.name} {protocol.version}, got {why}")
        found.append(made.model_copy(update={"command": _command(made, protocol)}))
    return found


def _seed(row: Mapping[str, Any]) -> SeedResult:
    out = row.get("left_out", {})
    return SeedResult(
        seed=row["settings"]["seed"],
        figures=row["figures"],
        bytes=row["bytes"],
        server_s=row.get("server_s"),
        seconds=row["seconds"],
        peak_mb=row["peak_mb"],
        attackers=tuple(row["attackers"]),
        out_attackers=out.get("attackers"),
        out_honest=out.get("honest"),
        refused=sum(len(r) for r in row.get("refused", {}).values()),
        vanished=row.get("vanished"),
        precision=row.get("precision", ""),
    )


def _command(entry: FleetEntry, protocol: FleetProtocol) -> str:
    s = entry.row
    rounds = None if s.rounds == protocol.tracks[entry.track].rounds else s.rounds
    if s.attack:
        rows: dict[str, Any] = {"attack": s.attack, "attackers": s.attackers, "defense": s.defense, "method": ""}
    else:
        rows = {"honest": s.defense, "method": ""} if s.defense != "none" else {"method": s.method}
    seeds = max(run.seed for run in entry.seeds) + 1
    return command_line("robosac fleet", board=entry.track, **rows, rounds=rounds, seeds=seeds)


def merged(new: FleetEntry, old: FleetEntry | None) -> FleetEntry:
    """The new entry with the old one's notes, and its seeds where both are of the same protocol, settings and rounds.
    An old entry of more rounds or seeds of the same protocol is not replaced by less."""
    if old is None:
        return new
    noted = new.model_copy(update={"notes": old.notes})
    if old.protocol != new.protocol:
        return noted
    if old.rounds > new.rounds:
        return old
    if (old.settings, old.rounds) != (_plain(new.settings), new.rounds):
        return noted
    seeds = {run.seed: run for run in (*old.seeds, *new.seeds)}
    return noted.model_copy(update={"seeds": tuple(seeds[k] for k in sorted(seeds))})


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    vehicles = [list(v) for v in settings["vehicles"]]
    return {**settings, "vehicles": vehicles, "frames": list(settings["frames"])}


def write_entry(folder: Path, entry: FleetEntry) -> Path:
    """Write an entry to its file, joined with what is there."""
    path = folder / entry.file_name
    kept = merged(entry, read_entry(path) if path.exists() else None)
    write_whole(path, (kept.model_dump_json(indent=1) + "\n").encode())
    return path


def read_entry(path: Path) -> FleetEntry:
    """The entry of a file.

    Raises:
        InputError: it is none.
    """
    try:
        found = FleetEntry.model_validate_json(path.read_bytes())
        _ = found.row
    except (OSError, ValidationError, InputError, KeyError, TypeError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise InputError(f"expected {path} to be an entry of the fleet board; {why}") from None
    if found.format != FORMAT:
        raise InputError(f"expected an entry of format {FORMAT} in {path}, got {found.format}; play it again")
    return found


def read_entries(folder: Path) -> list[FleetEntry]:
    """All entries of a folder, by file name; none where there is no such folder."""
    return [read_entry(p) for p in sorted(folder.glob("*.json"))] if folder.is_dir() else []
