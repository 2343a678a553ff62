"""The board as a table: one row a defence on a detector, ranked by its worst attack.

A row is ranked only among rows of the same protocol, detector and weights that have the same cells and scenes: a row
that left out the attack that breaks it would stand too high. Where rows differ, those that have less are shown and not
ranked. Reference rows (ego only, no defence, oracle, all honest) are no defences and not ranked either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from robosac.experiments.board.cells import CellResult, Figure
from robosac.experiments.board.entry import BoardEntry
from robosac.experiments.board.protocol import ALL_HONEST, EGO_ONLY, KINDS, UNDEFENDED, read_protocol
from robosac.viz.board import ABSENT, BoardColumn, BoardRow, Shown, in_markdown, meanings

LOWEST, HIGHEST = "lowest", "highest"
COLUMNS: Final = (  # key, heading, what it means, how it is written
    BoardColumn("rank", "#", "Rank by the lowest AP@0.5 over all attacks; – is a reference or lacks cells."),
    BoardColumn("worst", "worst AP@.5", "Lowest AP@0.5 over all cells, with its 95 % interval over scenes."),
    BoardColumn("attack", "worst attack", "Where that is.", numeric=False),
    BoardColumn("worst70", "worst AP@.7", "Lowest AP@0.7 over all cells."),
    BoardColumn("benign", "benign AP@.5", "AP@0.5 where nobody attacks."),
    BoardColumn("cost", "benign cost", "AP@0.5 of fusing everybody where nobody attacks, minus this row's."),
    BoardColumn("mean", "mean AP@.5", "Over all attacked cells. Not what is ranked by."),
    BoardColumn("lost", "ego TPs lost %", "Objects that the ego finds alone and this row does not; the worst cell."),
    BoardColumn("added", "FPs added", "False boxes a frame, more than the ego alone has; the worst cell."),
    BoardColumn("certified", "cert. recall %", "Objects found by a box that one attacker cannot invent; lowest."),
    BoardColumn("caught", "attackers out %", "Attackers whose messages are not fused, mean over cells."),
    BoardColumn("excluded", "honest out %", "Honest teammates whose messages are not fused, mean over attacked cells."),
    BoardColumn("accused", "honest accused %", "Honest teammates that are accused; the worst cell."),
    BoardColumn("alone", "ego alone %", "Frames in which the ego's own result stands, mean over attacked cells."),
    BoardColumn("slots", "benign slots lost %", "Honest teammates not fused where nobody attacks."),
    BoardColumn("decodes", "decodes", "Fuse + decode passes a frame, mean over attacked cells."),
    BoardColumn("time", "time ×", "Defended frame over undefended one, medians where nobody attacks, same run."),
    BoardColumn("kb", "kB", "Payloads received a frame where nobody attacks."),
    BoardColumn("scenes", "scenes", "Behind each figure: attacks that know no defence / attacks made anew against it."),
)  # fmt: skip
IN_MARKDOWN: Final = tuple(c.key for c in COLUMNS if c.key not in ("worst70", "slots", "kb"))


@dataclass(frozen=True)
class Ranked:
    """An entry with its place: None where it is not ranked, and `why`."""

    entry: BoardEntry
    rank: int | None
    why: str = ""


def ranking(entries: Sequence[BoardEntry]) -> list[Ranked]:
    """Entries, best first within their detector and protocol."""
    groups: dict[str, list[BoardEntry]] = {}
    for e in entries:
        groups.setdefault(_comparable(e), []).append(e)
    found: list[Ranked] = []
    for group in groups.values():
        whole = _widest([e for e in group if not e.reference] or group)
        place = 0
        for e in sorted(group, key=_by_worst):
            lacking = _lacking(e, whole)
            if e.reference:
                found.append(Ranked(e, None, "reference"))
            elif lacking or e.worst is None:
                found.append(Ranked(e, None, lacking or "nothing played"))
            else:
                place += 1
                found.append(Ranked(e, place))
    return found


def _comparable(e: BoardEntry) -> str:
    return f"{e.protocol} {e.detector} {e.identity.get('weights')} {e.identity.get('calibration')}"


def _widest(group: Sequence[BoardEntry]) -> Mapping[tuple[str, int], int]:
    """Every cell that any row has, with the most scenes."""
    most: dict[tuple[str, int], int] = {}
    for c in (c for e in group for c in e.cells):
        most[c.key] = max(most.get(c.key, 0), c.scenes)
    return most


def _lacking(e: BoardEntry, whole: Mapping[tuple[str, int], int]) -> str:
    have = {c.key: c for c in e.cells}
    absent = [key for key in whole if key not in have]
    fewer = [key for key, n in whole.items() if key in have and have[key].skipped is None and have[key].scenes < n]
    skipped = [key for key, n in whole.items() if n and key in have and have[key].skipped is not None]
    parts = (f"{len(absent)} cells not played" if absent else "", f"{len(fewer)} on fewer scenes" if fewer else "")
    return ", ".join(filter(None, (*parts, f"{len(skipped)} skipped" if skipped else "")))


def _by_worst(e: BoardEntry) -> float:
    return -_value(e.worst)


def _value(cell: CellResult | None) -> float:
    return -1.0 if cell is None or cell.ap50 is None else cell.ap50.value


def rows(entries: Sequence[BoardEntry]) -> list[BoardRow]:
    """The board's rows, with what each opens to."""
    ranked = ranking(entries)
    undefended = {_comparable(e): e for e in entries if e.defense == UNDEFENDED}
    honest = {_comparable(e): e for e in entries if e.defense == ALL_HONEST}
    ego = {_comparable(e): e for e in entries if e.defense == EGO_ONLY}
    return [_row(r, *(known.get(_comparable(r.entry)) for known in (undefended, honest, ego))) for r in ranked]


def _row(r: Ranked, undefended: BoardEntry | None, honest: BoardEntry | None, ego: BoardEntry | None) -> BoardRow:
    e, worst, benign = r.entry, r.entry.worst, r.entry.benign
    fused = None if honest is None or honest.benign is None else honest.benign.ap50
    own = None if benign is None else benign.ap50
    base = None if undefended is None or undefended.benign is None else undefended.benign.ms
    alone = None if ego is None or ego.benign is None else ego.benign.ap50
    counts = {kind: sorted({c.scenes for c in e.played if c.kind == kind}) for kind in KINDS}
    scenes = " / ".join("–".join(map(str, n)) or "0" for n in counts.values())
    shown: dict[str, Shown] = {
        "rank": Shown(ABSENT if r.rank is None else str(r.rank), r.rank, r.why),
        "worst": _figure(None if worst is None else worst.ap50),
        "attack": Shown(ABSENT if worst is None else worst.title, None),
        "worst70": _figure(min((c.ap70 for c in e.played if c.ap70), key=lambda f: f.value, default=None)),
        "benign": _figure(own),
        "cost": _number(None if fused is None or own is None else fused.value - own.value, "+.3f"),
        "mean": _number(_mean([c.ap50 for c in e.attacked]), ".3f"),
        "lost": _extreme(e.attacked, lambda c: c.ego_lost, HIGHEST, 100, ".0f"),
        "added": _extreme(e.attacked, lambda c: c.fp_added, HIGHEST, 1, "+.1f"),
        "certified": _extreme(e.attacked, lambda c: c.rates.get("certified_1"), LOWEST, 100, ".0f"),
        "accused": _extreme(e.attacked, lambda c: c.rates.get("fpr_accused"), HIGHEST, 100, ".0f"),
        "caught": _share(e.attacked, "tpr_excluded"),
        "excluded": _share(e.attacked, "fpr_excluded"),
        "alone": _share(e.attacked, "fell_back"),
        "slots": _share([benign] if benign else [], "fpr_excluded"),
        "decodes": _number(_mean([c.rates.get("decodes") for c in e.attacked]), ".1f"),
        "time": _number(None if not base or benign is None else benign.ms / base, ".1f"),
        "kb": _number(None if benign is None else _mean([benign.rates.get("bytes_received")], 1e-3), ".0f"),
        "scenes": Shown(scenes, sum(map(sum, counts.values()))),
    }  # fmt: skip
    protocol = f"{e.protocol.get('name')} {e.protocol.get('version')}, {e.protocol.get('hash')}"
    return BoardRow(
        title=e.defense,
        group=e.detector,
        reference=e.reference,
        whole=r.rank is not None or e.reference,
        cells=shown,
        grid=_grid(e),
        threshold=None if alone is None else alone.value,
        broken_by=_broken_by(e, alone),
        notes=[*([] if not r.why or e.reference else [f"not ranked: {r.why}"]), *e.notes, *_skipped(e)],
        command=e.command,
        check=f"robosac leaderboard check results/{e.file_name}",
        settings=e.settings,
        source=e.source,
        protocol=protocol,
        versions=", ".join(f"{k} {v}" for k, v in e.versions.items()),
    )


def _broken_by(e: BoardEntry, alone: Figure | None) -> list[tuple[str, str]]:
    """What makes it worse than the ego alone, worst first, with where to read of it."""
    found = [] if alone is None else [c for c in e.attacked if _value(c) < alone.value]
    worst: dict[str, CellResult] = {}
    for c in sorted(found, key=_value):
        worst.setdefault(c.attack, c)
    made = [(f"{c.title} ({_value(c):.3f})", f"#attack-{c.attack}") for c in worst.values()]
    return [*((link.text, link.url) for link in e.broken_by), *made]


def _skipped(e: BoardEntry) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for c in e.cells:
        if c.skipped is not None:
            reasons.setdefault(c.skipped, []).append(c.title)
    return [f"skipped ({len(titles)} cells, {titles[0]} first): {why}" for why, titles in reasons.items()]


def _grid(e: BoardEntry) -> dict[str, dict[int, Shown]]:
    made: dict[str, dict[int, Shown]] = {}
    for c in e.played:
        made.setdefault(c.attack, {})[c.attackers] = _figure(c.ap50)
    return made


def _figure(figure: Figure | None) -> Shown:
    if figure is None:
        return Shown(ABSENT, None)
    between = "" if figure.low is None or figure.high is None else f"{figure.low:.2f}–{figure.high:.2f}"
    return Shown(f"{figure.value:.3f}", figure.value, between)


def _number(value: float | None, spec: str) -> Shown:
    return Shown(ABSENT, None) if value is None else Shown(format(value, spec), value)


def _mean(figures: Sequence[Figure | None], scale: float = 1.0) -> float | None:
    known = [f.value for f in figures if f is not None]
    return scale * sum(known) / len(known) if known else None


def _share(cells: Sequence[CellResult], name: str) -> Shown:
    return _number(_mean([c.rates.get(name) for c in cells], 100), ".0f")


def _extreme(
    cells: Sequence[CellResult], of: Callable[[CellResult], Figure | None], which: str, scale: float, spec: str
) -> Shown:
    known = [f.value for c in cells if (f := of(c)) is not None]
    value = (min if which == LOWEST else max)(known, default=None)
    return _number(None if value is None else scale * value, spec)


def coverage(entries: Sequence[BoardEntry]) -> list[str]:
    """How much of the shipped protocol stands behind the ranks, a line for each detector where it is not all."""
    p = read_protocol()
    found = []
    for detector in p.detectors:
        whole = _widest([e for e in entries if e.detector == detector and e.protocol.get("hash") == p.hash])
        played = [key for key in p.cells() if whole.get(key)]
        full = [key for key in played if whole[key] >= p.scenes_of(p.kind_of(key[0]))]
        if played and len(full) < len(p.cells()):
            scenes = sorted({whole[key] for key in played})
            between = str(scenes[0]) if len(scenes) == 1 else f"{scenes[0]} to {scenes[-1]}"
            found.append(
                f"Not the whole protocol yet: on {detector}, {len(played)} of {len(p.cells())} cells were played, on "
                f"{between} of {p.scenes} scenes ({p.adaptive_scenes} for adaptive attacks). Ranks will change."
            )
    return found


def to_markdown(entries: Sequence[BoardEntry]) -> str:
    """A table for each detector, and what its columns mean."""
    return f"{tables(entries)}\n{meanings([c for c in COLUMNS if c.key in IN_MARKDOWN])}\n"


def tables(entries: Sequence[BoardEntry], keys: Sequence[str] = IN_MARKDOWN) -> str:
    """A table of these columns for each detector, and how much of the protocol stands behind it."""
    made = in_markdown(rows(entries), [c for c in COLUMNS if c.key in keys])
    return "\n".join([made, *coverage(entries), ""])


def legend(entries: Sequence[BoardEntry]) -> dict[str, Any]:
    """Attacks that were played -> what is known of each."""
    from robosac.registry.attacks import described

    names = dict.fromkeys(c.attack for e in entries for c in e.cells if c.attackers)
    return {name: described(name) for name in names}
