"""The fleet board as a table and as a page: one row a method, attack and defence of a track.

A row is ranked among rows of its track and protocol without attackers that are within the budget and have all rounds
and seeds. Rows that lack some are shown, and not ranked; a row over the budget is marked, and not ranked either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.experiments.fleet.board import interval
from robosac.experiments.fleet.entry import FleetEntry
from robosac.experiments.fleet.protocol import FleetProtocol, read_protocol
from robosac.viz.board import ABSENT, BoardColumn, BoardPage, BoardRow, Shown, in_markdown, meanings

REFERENCE: Final = ("base", "local", "centralised")
COLUMNS: Final = (
    BoardColumn("rank", "#", "Rank by the figure; – is a reference, attacked, over the budget, or lacks runs."),
    BoardColumn("figure", "figure", "AP@0.7 of a detector, mean accuracy of a language model; points, 95 % interval."),
    BoardColumn("gain", "gain", "The figure less that of the model before tuning, of the same seeds, 95 % interval."),
    BoardColumn("ap50", "AP@.5", "Of a detector, points."),
    BoardColumn("mb", "MB a run", "All messages of a run of the protocol's rounds, both ways, as serialised."),
    BoardColumn("budget", "budget", "Whether these are within the protocol's budget.", numeric=False),
    BoardColumn("server", "server s", "Of a round: merging, its defence included."),
    BoardColumn("peak", "peak MB", "Memory of the process that ran all of it, at most."),
    BoardColumn("poisoned", "poisoned out %", "Updates of attackers that did not enter."),
    BoardColumn("honest", "honest out %", "Updates of honest clients that did not enter."),
    BoardColumn("rounds", "rounds", "Played, of the protocol's."),
    BoardColumn("seeds", "seeds", "Played, of the protocol's."),
)  # fmt: skip


def rows(entries: Sequence[FleetEntry], protocol: FleetProtocol | None = None) -> list[BoardRow]:
    """All rows: by track, those without attackers first, the best first."""
    frozen = protocol or read_protocol()
    order = {name: k for k, name in enumerate(frozen.tracks)}

    def place(e: FleetEntry) -> tuple[Any, ...]:
        s = e.row
        return order.get(e.track, len(order)), s.attackers, s.attack, -_mean(e, frozen), e.title

    base = {(e.track, str(e.protocol)): e for e in entries if e.title == "base"}
    found, ranks = [], dict[tuple[str, str], int]()
    for e in sorted(entries, key=place):
        key = (e.track, str(e.protocol))
        why = lacking(e, frozen)
        if not why:
            ranks[key] = ranks.get(key, 0) + 1
        found.append(_row(e, frozen, ranks[key] if not why else None, why, base.get(key)))
    return found


def lacking(e: FleetEntry, protocol: FleetProtocol) -> str:
    """Why an entry is not ranked; "" where it is."""
    if e.protocol != protocol.plain or e.track not in protocol.tracks:
        return "another protocol"
    track, s = protocol.tracks[e.track], e.row
    reasons = []
    if e.rounds < track.rounds or len(e.seeds) < protocol.seeds:
        reasons.append(f"{e.rounds} of {track.rounds} rounds, {len(e.seeds)} of {protocol.seeds} seeds")
    if over_budget(e, protocol):
        reasons.append("over the budget")
    if s.method in REFERENCE:
        reasons.append("reference")
    if s.attack:
        reasons.append("attacked")
    return ", ".join(reasons)


def megabytes(e: FleetEntry, protocol: FleetProtocol) -> float:
    """Of a run of the protocol's rounds."""
    track = protocol.tracks.get(e.track)
    return float(np.mean([run.bytes for run in e.seeds])) / 1e6 * ((track.rounds if track else e.rounds) / e.rounds)


def over_budget(e: FleetEntry, protocol: FleetProtocol) -> bool:
    """Whether its messages are more than the protocol allows."""
    return e.track in protocol.tracks and megabytes(e, protocol) > protocol.tracks[e.track].budget_mb


def _key(e: FleetEntry) -> str:
    return "accuracy" if e.row.language else "all_ap70"


def _values(e: FleetEntry, key: str, part: str = "all") -> dict[int, float]:
    return {run.seed: run.figures[part][key] for run in e.seeds}


def _mean(e: FleetEntry, protocol: FleetProtocol) -> float:
    return float(np.mean(list(_values(e, _key(e)).values())))


def _row(e: FleetEntry, protocol: FleetProtocol, rank: int | None, why: str, base: FleetEntry | None) -> BoardRow:
    s, own = e.row, _values(e, _key(e))
    before = {} if base is None else _values(base, _key(e))
    gains = [own[k] - before[k] for k in sorted(set(own) & set(before))]
    over, track = over_budget(e, protocol), protocol.tracks.get(e.track)
    within = ABSENT if track is None else f"{'OVER' if over else 'within'} {track.budget_mb:g} MB"
    cells = {
        "rank": Shown(ABSENT if rank is None else str(rank), rank, why),
        "figure": _shown(list(own.values())),
        "gain": _shown(gains if e.title != "base" else [], "+.1f"),
        "ap50": ABSENT_CELL if s.language else _shown(list(_values(e, "all_ap50").values())),
        "mb": _plain([megabytes(e, protocol)], ".1f"),
        "budget": Shown(within, float(over)),
        "server": _plain([run.server_s for run in e.seeds], ".2f"),
        "peak": _plain([max(run.peak_mb for run in e.seeds)], ".0f"),
        "poisoned": _plain([run.out_attackers for run in e.seeds], ".0f"),
        "honest": _plain([run.out_honest for run in e.seeds], ".0f"),
        "rounds": Shown(f"{e.rounds} / {track.rounds if track else '?'}", e.rounds),
        "seeds": Shown(f"{len(e.seeds)} / {protocol.seeds}", len(e.seeds)),
    }
    return BoardRow(
        title=e.title,
        group=e.track,
        reference=s.method in REFERENCE,
        whole=not why or why in ("reference", "attacked"),
        cells=cells,
        grid={},
        threshold=None,
        broken_by=(),
        notes=[*([f"not ranked: {why}"] if why else []), *_notes(e), *e.notes],
        command=e.command,
        check="",
        settings=e.settings,
        source="",
        protocol=f"{e.protocol.get('name')} {e.protocol.get('version')}, {e.protocol.get('hash')}",
        versions=", ".join(f"{k} {v}" for k, v in e.versions.items()),
    )


ABSENT_CELL: Final = Shown(ABSENT, None)


def _notes(e: FleetEntry) -> list[str]:
    """Figures of each domain, who attacked, what a backdoor hides, what was refused."""
    key = _key(e)
    domains = [d for d in e.seeds[0].figures if d != "all"]
    each = ", ".join(f"{d} {np.mean(list(_values(e, key, d).values())):.1f}" for d in domains)
    found = [f"by domain: {each}"] if domains else []
    if e.row.attack:
        found.append("attackers: " + "; ".join(f"seed {r.seed}: {', '.join(r.attackers)}" for r in e.seeds))
    hidden = [r.vanished for r in e.seeds if r.vanished is not None]
    if hidden:
        found.append(f"cars that the pattern of the backdoor hides: {np.mean(hidden):.1f} %")
    refused = sum(r.refused for r in e.seeds)
    return [*found, *([f"messages refused: {refused}"] if refused else [])]


def _shown(values: Sequence[float], spec: str = ".1f") -> Shown:
    if not values:
        return ABSENT_CELL
    mean, half = interval(values)
    return Shown(format(mean, spec), mean, "" if half is None else f"± {half:.1f}")


def _plain(values: Sequence[float | None], spec: str) -> Shown:
    known = [v for v in values if v is not None]
    return Shown(format(float(np.mean(known)), spec), float(np.mean(known))) if known else ABSENT_CELL


def to_markdown(entries: Sequence[FleetEntry], protocol: FleetProtocol | None = None) -> str:
    """A table for each track, and what its columns mean; nothing where there are no entries."""
    if not entries:
        return ""
    return f"## Fleets\n\n{in_markdown(rows(entries, protocol), COLUMNS, row='row')}\n{meanings(COLUMNS)}\n"


def fleet_page(entries: Sequence[FleetEntry], results: Path, protocol: FleetProtocol | None = None) -> BoardPage:
    """The page of these entries."""
    frozen = protocol or read_protocol()
    made = rows(entries, frozen)
    partial = [r for r in made if not r.whole]
    summary = [
        "What vehicles learn together: each row is a way to merge their adapters, an attack on it, and a defence. Open "
        "a row for its domains, its settings and the command that makes it.",
        f"Protocol {frozen.name} {frozen.version}, {frozen.hash}. Bytes are those of serialised messages; a row over "
        "its track's budget is marked and not ranked.",
    ]
    if partial:
        summary.append(
            f"{len(partial)} of {len(made)} rows have fewer rounds or seeds than the protocol, or are over its budget."
        )
    return BoardPage(
        title="What fleets learn together",
        summary=summary,
        columns=COLUMNS,
        rows=made,
        attacks=_attacks(entries),
        command=f"robosac leaderboard --results {results}",
        row="row",
        group="track",
    )


def _attacks(entries: Sequence[FleetEntry]) -> Mapping[str, Mapping[str, str]]:
    played = dict.fromkeys(e.row.attack for e in entries if e.row.attack)
    return {name: {"what": ATTACKS[name]} for name in played}


ATTACKS: Final = {
    "sign-flip": "A step of the same length the other way.",
    "scaling": "The honest step, ten times as long.",
    "alie": "The mean of honest updates less 1.5 of their standard deviations (arXiv 1902.06156).",
    "noise": "Noise three times as long as the honest step, in factors of a random gauge.",
    "evasive": "Knows the rule, its data and all updates: of 27 updates the most harmful that still enters.",
    "label-shift": "An honest step on labels 2 m ahead, or on wrong answers.",
    "backdoor": "An honest step on frames in which cars with a plate on the roof are no cars.",
}
