"""What the board costs, from what its cells took: seconds of a core a scene, for attacks and defences apart.

A cell's `cpu_s` is its share of the attack, which all rows of one run meet together, and its own frames. Summed over
the rows of one detector that is the cost of everything that was played, whoever shared what. Cells that nobody played
yet are taken to cost what others of the same attack did, or of their kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Final

from robosac.experiments.board.entry import BoardEntry
from robosac.experiments.board.protocol import Protocol
from robosac.types import InputError

CORES: Final = (2, 64)


@dataclass(frozen=True)
class Cost:
    """Of a whole protocol.

    Attributes:
        rows: rows of a detector, the reference included; detectors; scenes: of ignorant attacks.
        known, taken: cells that were measured, and that are taken to cost what others do.
        core_s: kind of attack -> seconds of a core, all detectors.
        a_scene: attack -> seconds of a core a scene, all rows and numbers of attackers of one detector, mean of
            detectors.
    """

    rows: int
    detectors: int
    scenes: int
    known: int
    taken: int
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
    measured = {
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
    rows = tuple(dict.fromkeys((*protocol.reference, *protocol.defenses)))
    total, by_attack, taken = {"ignorant": 0.0, "adaptive": 0.0}, dict[str, float](), 0
    asked = [(d, r, a, m) for d in protocol.detectors for r in rows for a, m in protocol.cells()]
    asked = [x for x in asked if _is_played(protocol, *x[1:])]
    most = {k: min(protocol.scenes_of(k), scenes or protocol.scenes_of(k)) for k in ("ignorant", "adaptive")}
    for cell in asked:
        detector, _, attack, m = cell
        kind = protocol.kind_of(attack)
        seconds = measured.get(cell)
        if seconds is None:
            taken += 1
            seconds = _like(measured, protocol, detector, attack, m)
        total[kind] += seconds * most[kind]
        by_attack[attack] = by_attack.get(attack, 0.0) + seconds / len(protocol.detectors)
    return Cost(len(rows), len(protocol.detectors), most["ignorant"], len(asked) - taken, taken, total, by_attack)


def _is_played(p: Protocol, row: str, attack: str, m: int) -> bool:
    return p.kind_of(attack) == "ignorant" or row not in p.reference or row == "none"


def _like(measured: dict[tuple[str, str, str, int], float], p: Protocol, detector: str, attack: str, m: int) -> float:
    """Of the cells that are most like it: the same attack and attackers, the same attack, the same kind, any."""

    def those(same: Iterable[float]) -> float | None:
        found = list(same)
        return mean(found) if found else None

    kind = p.kind_of(attack)
    for like in (
        those(s for (d, _, a, n), s in measured.items() if (d, a, n) == (detector, attack, m)),
        those(s for (_, _, a, n), s in measured.items() if (a, n) == (attack, m)),
        those(s for (_, _, a, _), s in measured.items() if a == attack),
        those(s for (_, _, a, _), s in measured.items() if p.kind_of(a) == kind and a),
    ):
        if like is not None:
            return like
    return mean(measured.values())


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
        *(f"{n} cores: {h:.1f} hours" for n, h in cost.hours.items()),
    ]
    return "\n".join(lines)
