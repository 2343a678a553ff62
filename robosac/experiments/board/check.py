"""An entry checked: its first scenes are played again and compared, scene by scene, with what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robosac.executors import Executor
from robosac.experiments.board.cells import CellResult, SceneCheck
from robosac.experiments.board.entry import BoardEntry
from robosac.experiments.board.play import Slice, Tell, play_rows
from robosac.experiments.board.protocol import Protocol
from robosac.types import InputError


@dataclass(frozen=True)
class Compared:
    """One cell, told and played again.

    Attributes:
        title: which.
        scenes: that both have.
        told, found: mean AP@0.5 of these scenes, each by itself; None where no object counts in any.
        same: scenes whose results are equal bit by bit.
    """

    title: str
    scenes: int
    told: float | None
    found: float | None
    same: int

    def within(self, tolerance: float) -> bool:
        """Whether the two agree."""
        if self.told is None or self.found is None:
            return self.told is self.found
        return abs(self.told - self.found) <= tolerance


def check_entry(
    entry: BoardEntry,
    protocol: Protocol,
    out: Path,
    executor: Executor,
    *,
    scenes: int = 2,
    attacks: Sequence[str] | None = None,
    attackers: Sequence[int] | None = None,
    root: Path | None = None,
    tell: Tell = lambda done, total: None,
) -> list[Compared]:
    """What the entry's cells say of the first scenes, beside what playing them again gives.

    Raises:
        InputError: the entry is of another protocol or other weights, or has none of these cells.
    """
    _same_protocol(entry, protocol)
    told = [
        c
        for c in entry.played
        if (attacks is None or not c.attackers or c.attack in attacks)
        and (attackers is None or c.attackers in attackers)
    ]
    if not told:
        raise InputError(f"expected cells of {entry.file_name} to play again, got none; leave out attacks or attackers")
    wanted = Slice(
        protocol=protocol,
        defenses=(entry.defense,),
        detectors=(entry.detector,),
        attacks=tuple(dict.fromkeys(c.attack for c in told if c.attackers)),
        attackers=tuple(sorted({c.attackers for c in told})),
        scenes=scenes,
    )
    again = next(e for e in play_rows(wanted, entry.detector, out, executor, root=root, tell=tell) if _row(e, entry))
    if entry.identity != again.identity:
        raise InputError(
            f"expected the weights and calibration that {entry.file_name} was made with, got others; play it again"
        )
    found = {c.key: c for c in again.cells}
    return [made for c in told if c.key in found and (made := compared(c, found[c.key])) is not None]


def compared(told: CellResult, found: CellResult) -> Compared | None:
    """Two results of one cell, over the scenes that both have; None where they have none in common."""
    common = [name for name in found.checks if name in told.checks]
    if not common:
        return None
    pairs = [(told.checks[n], found.checks[n]) for n in common]
    same = sum(a.digest == b.digest for a, b in pairs)
    return Compared(told.title, len(common), _mean([a for a, _ in pairs]), _mean([b for _, b in pairs]), same)


def _mean(checks: Sequence[SceneCheck]) -> float | None:
    known = [c.ap50 for c in checks if c.ap50 is not None]
    return sum(known) / len(known) if known else None


def _row(one: BoardEntry, other: BoardEntry) -> bool:
    return (one.detector, one.defense) == (other.detector, other.defense)


def _same_protocol(entry: BoardEntry, protocol: Protocol) -> None:
    told: Any = entry.protocol
    if told.get("hash") != protocol.hash:
        raise InputError(
            f"expected an entry of protocol {protocol.name} {protocol.version} ({protocol.hash}), got one of "
            f"{told.get('name')} {told.get('version')} ({told.get('hash')}); name its protocol with --protocol"
        )
