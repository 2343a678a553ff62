"""An entry of the board: one defence on one detector, a JSON file in `results/`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from robosac.experiments.board.cells import CellResult, Figure
from robosac.files import write_whole
from robosac.fingerprint import fingerprint
from robosac.types import InputError

FORMAT: Final = 1


class Link(BaseModel):
    """Who broke it: in words, and where to read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    url: str


class BoardEntry(BaseModel):
    """One file.

    Attributes:
        protocol: name, version and hash of what was played.
        defense, detector: the row; `reference` where it is none that defends.
        settings: the defence's, spelled out, for one attacker where it is told the number.
        source: where they come from.
        identity: of the detector: weights, region, calibration.
        command: what to type for these figures.
        versions: of what figures depend on.
        cells: what was played.
        notes, broken_by: added by hand; kept when the entry is played again.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    protocol: dict[str, Any]
    defense: str
    detector: str
    reference: bool = False
    settings: Any = None
    source: str = ""
    identity: dict[str, Any] = {}
    command: str = ""
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    cells: tuple[CellResult, ...] = ()
    notes: tuple[str, ...] = ()
    broken_by: tuple[Link, ...] = ()

    @property
    def file_name(self) -> str:
        """Of the row, whatever was played of it."""
        readable = "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", n).strip("-")[-60:] for n in (self.detector, self.defense))
        plain = f"{self.detector}_{self.defense}"
        return f"{readable}.json" if readable == plain else f"{readable}_{fingerprint(plain)[:6]}.json"

    @property
    def played(self) -> list[CellResult]:
        """Cells that hold figures."""
        return [c for c in self.cells if c.ap50 is not None]

    @property
    def attacked(self) -> list[CellResult]:
        """Cells in which somebody attacks."""
        return [c for c in self.played if c.attackers]

    @property
    def benign(self) -> CellResult | None:
        """Where nobody attacks."""
        return next((c for c in self.played if not c.attackers), None)

    @property
    def worst(self) -> CellResult | None:
        """Where AP@0.5 is lowest, over all that was played."""
        return min(self.played, key=_ap50, default=None)

    def same_row(self, other: BoardEntry) -> bool:
        """Whether cells of the two may stand in one entry: same protocol, settings, weights and calibration."""
        return (self.protocol, self.settings, self.identity) == (other.protocol, other.settings, other.identity)


def _ap50(cell: CellResult) -> float:
    assert cell.ap50 is not None
    return cell.ap50.value


def merged(new: BoardEntry, old: BoardEntry | None, order: Sequence[tuple[str, int]]) -> BoardEntry:
    """The new entry with what the old one knows besides: notes, and cells that have more scenes behind them.

    An old entry of another protocol, other settings or other weights gives its notes alone.
    """
    if old is None:
        return new
    by_hand = {"notes": old.notes, "broken_by": old.broken_by}
    cells = {c.key: c for c in new.cells}
    if new.same_row(old):
        for c in old.cells:
            if c.key not in cells or c.scenes > cells[c.key].scenes:
                cells[c.key] = c
    rank = {key: k for k, key in enumerate(order)}
    kept = sorted(cells.values(), key=lambda c: rank.get(c.key, len(rank)))
    return new.model_copy(update={**by_hand, "cells": tuple(kept)})


def write_entry(folder: Path, entry: BoardEntry) -> Path:
    """Write an entry to its file; floats to six digits, which no figure needs more of."""
    path = folder / entry.file_name
    text = _rounded(entry).model_dump_json(indent=1)
    write_whole(path, (text + "\n").encode())
    return path


def _rounded(entry: BoardEntry) -> BoardEntry:
    def short(cell: CellResult) -> CellResult:
        rates = {k: _short(v) for k, v in cell.rates.items()}
        named = {k: _short(getattr(cell, k)) for k in ("ap50", "ap70", "ego_lost", "fp_added")}
        checks = {
            k: c.model_copy(update={"ap50": None if c.ap50 is None else round(c.ap50, 6)})
            for k, c in cell.checks.items()
        }
        times = {"ms": round(cell.ms, 2), "cpu_s": round(cell.cpu_s, 3)}
        return cell.model_copy(update={**named, "rates": rates, "checks": checks, **times})

    return entry.model_copy(update={"cells": tuple(map(short, entry.cells))})


def _short(figure: Figure | None) -> Figure | None:
    if figure is None:
        return None
    low, high = (None if v is None else round(v, 6) for v in (figure.low, figure.high))
    return Figure(value=round(figure.value, 6), low=low, high=high)


def read_entry(path: Path) -> BoardEntry:
    """The entry of a file.

    Raises:
        InputError: there is none, or it is none.
    """
    if not path.is_file():
        raise InputError(f"expected an entry of the board, got {path}, which is not there; see the folder of results")
    try:
        found = BoardEntry.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise InputError(f"expected {path} to be an entry of the board; {said}") from None
    if found.format != FORMAT:
        raise InputError(f"expected an entry of format {FORMAT} in {path}, got {found.format}; play it again")
    return found


def read_entries(folder: Path) -> list[BoardEntry]:
    """All entries of a folder, by file name.

    Raises:
        InputError: it holds none.
    """
    paths: Iterable[Path] = sorted(folder.glob("*.json")) if folder.is_dir() else ()
    found = [read_entry(p) for p in paths]
    if not found:
        raise InputError(
            f"expected entries in {folder}, got none; name the folder of a checkout by --results, or "
            "make some with robosac leaderboard run"
        )
    return found
