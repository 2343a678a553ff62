"""What the board costs, from what its cells took: seconds of a core a scene, for attacks and defences apart.

A cell's `cpu_s` is what its own frames took; an attack that all rows meet together is counted in the first, which is
the ego alone, whose own frames cost next to nothing. Cells that nobody played yet are taken to cost what the same row
did with other attackers, or on another detector, or else what other defences did under the same attack or one of its
kind. An attack made anew against a defence costs many times one that knows none: neither stands in for the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import mean
from typing import Any, Final

from robosac.experiments.board.entry import BoardEntry
from robosac.experiments.board.protocol import KINDS, Protocol
from robosac.types import InputError

CORES: Final = (2, 64)
Key = tuple[str, str, str, int]  # detector, row, attack, attackers
Measured = dict[Key, float]  # seconds of a core a scene


@dataclass(frozen=True)
class Cost:
    """Of a whole protocol.

    Attributes:
        rows: rows of a detector, the reference included; detectors; scenes: of ignorant attacks.
        known, taken: cells that were measured, and that are taken to cost what others do.
        unknown: kind of attack -> cells, where none of the kind was played: nothing is known, nothing is in the sums.
        core_s: kind of attack -> seconds of a core, all detectors.
        a_scene: attack -> seconds of a core a scene, all rows and numbers of attackers of one detector, mean of
            detectors.
    """

    rows: int
    detectors: int
    scenes: int
    known: int
    taken: int
    unknown: dict[str, int]
    core_s: dict[str, float]
    a_scene: dict[str, float]

    @property
    def hours(self) -> dict[int, float]:
        """Number of cores -> hours, if all of them work all the time."""
        return {n: sum(self.core_s.values()) / 3600 / n for n in CORES}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "hours": {str(n): h for n, h in self.hours.items()}}


def cost_of(entries: Sequence[BoardEntry], protocol: Protocol, scenes: int | None = None) -> Cost:
    """The cost of playing a protocol with all rows that it names, the first `scenes` of it.

    Raises:
        InputError: no entry of this protocol has a cell that was played.
    """
    measured: Measured = {
        (e.detector, e.defense, *c.key): c.cpu_s / c.scenes
        for e in entries
        if e.protocol.get("hash") == protocol.hash
        for c in e.played
    }
    if not measured:
        raise InputError(
            f"expected entries of protocol {protocol.name} {protocol.version} ({protocol.hash}) with cells that were "
            "played, got none; play a small slice: robosac leaderboard run --scenes 2"
        )
    rows = protocol.rows()
    total, by_attack, unknown = defaultdict[str, float](float), defaultdict[str, float](float), Counter[str]()
    taken = known = 0
    most = {k: min(protocol.scenes_of(k), scenes or protocol.scenes_of(k)) for k in KINDS}
    for detector, row, (attack, m) in product(protocol.detectors, rows, protocol.cells()):
        kind, cell = protocol.kind_of(attack), (detector, row, attack, m)
        if not protocol.meets(row, kind):
            continue
        seconds = measured.get(cell)
        known += seconds is not None
        if seconds is None:
            seconds = _like(measured, protocol, cell)
            taken += seconds is not None
        if seconds is None:
            unknown[kind] += 1
            continue
        total[kind] += seconds * most[kind]
        by_attack[attack] += seconds / len(protocol.detectors)
    return Cost(
        len(rows), len(protocol.detectors), most["ignorant"], known, taken, dict(unknown), dict(total), dict(by_attack)
    )


def _like(measured: Measured, p: Protocol, cell: Key) -> float | None:
    """What a cell is taken to cost: the mean of those that are most like it, by the first of these that has any; None
    where nothing of its kind was played.
    """
    detector, row, attack, m = cell
    kind = p.kind_of(attack)
    alike: tuple[Callable[[Key], bool], ...] = (
        lambda k: k[1:] == (row, attack, m),
        lambda k: k[1:3] == (row, attack),
        lambda k: k[1] == row and p.kind_of(k[2]) == kind and bool(k[2]),
        lambda k: (k[0], *k[2:]) == (detector, attack, m) and k[1] not in p.reference,
        lambda k: k[2] == attack and k[1] not in p.reference,
        lambda k: p.kind_of(k[2]) == kind and k[1] not in p.reference,
        lambda k: p.kind_of(k[2]) == kind,
    )
    for like in alike:
        if found := [s for k, s in measured.items() if like(k)]:
            return mean(found)
    return None


def in_words(cost: Cost) -> str:
    """As lines."""
    lines = [
        f"{cost.rows} rows on {cost.detectors} detectors, {cost.scenes} scenes; {cost.known} cells were measured, "
        f"{cost.taken} are taken to cost what others do",
        "",
        "| attack | core seconds a scene, all rows, 1 detector |",
        "|---|--:|",
        *(f"| {name or 'nobody attacks'} | {s:.1f} |" for name, s in cost.a_scene.items()),
        "",
        *(f"{kind}: {s / 3600:.1f} core hours" for kind, s in cost.core_s.items()),
        *(f"{kind}: not measured, and not in the sum: no cell of {n} was played" for kind, n in cost.unknown.items()),
        *(f"{n} cores: {h:.1f} hours" for n, h in cost.hours.items()),
    ]
    return "\n".join(lines)
