"""What a table of figures does not show and its reader must know: what was left out of it, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from robosac.evaluation.metrics import FrameRecord
from robosac.experiments.entries import Entry
from robosac.experiments.refused import Refused

_CELLS: Final = 3  # named in a note; the others are counted


def notes(entries: Sequence[Entry], *, warned: bool = True) -> list[str]:
    """What is to be said of these entries beside their figures, a line each; skipped ones say why in the table.

    `warned`: with what was warned of already, for pages that are read without the warnings.
    """
    played = [e for e in entries if e.skipped is None]
    found = [line for about in (_no_truth, _scenes, _absent) for line in _told_once(played, about)]
    return [*(warnings_of(played) if warned else ()), *of_attacks(played), *_refused(played), *found, *_labels(played)]


def of_attacks(entries: Sequence[Entry]) -> list[str]:
    """What of the attacks came to nothing, one line a kind, with where and in how many frames."""
    kinds: dict[str, dict[tuple[str, str, str, int], str]] = {}
    for entry in entries:
        cell = entry.cell
        for text, frames in entry.notes.items():  # the same whatever the defence, but for who adapts to it
            where = (cell.dataset, cell.detector, cell.attack_label, cell.m)
            kinds.setdefault(text, {}).setdefault(where, f"in {frames} of {len(entry.records)} frames")
    return [
        f"{text} ({'; '.join(f'{a}, {m} attackers, {d}, {data}: {n}' for (data, d, a, m), n in cells.items())})"
        for text, cells in kinds.items()
    ]


def warnings_of(entries: Sequence[Entry]) -> list[str]:
    """What was warned of where the cells were played, each once."""
    return list(dict.fromkeys(text for e in entries for text in e.warned))


def _no_truth(entry: Entry) -> str | None:
    return None if any(r.matches.n_gt for r in entry.records) else "no object counts as truth, so that AP is undefined"


def _refused(entries: Sequence[Entry]) -> list[str]:
    """Of a defence on a data set once, over all attacks: reasons are much the same in each of its cells."""
    records: dict[tuple[str, str, str], list[FrameRecord]] = {}
    for entry in entries:
        cell = entry.cell
        records.setdefault((cell.dataset, cell.detector, cell.defense.label), []).extend(entry.records)
    where: dict[str, list[str]] = {}
    for (data, detector, defense), played in records.items():
        found = Refused.count(played)
        reasons = "; ".join(f"{reason} ({n})" for reason, n in list(found.reasons.items())[:_CELLS])
        if found.messages:
            said = f"the gate refused {found.messages} of {found.of} honest messages: {reasons}"
            where.setdefault(said, []).append(f"{data}, {detector}, {defense}")
    return [f"{said} [{'; '.join(_few(cells))}]" for said, cells in where.items()]


def _scenes(entry: Entry) -> str | None:
    if not entry.left_out:
        return None
    count = sum(map(len, entry.left_out.values()))
    reasons = "; ".join(f"{reason} ({len(scenes)})" for reason, scenes in entry.left_out.items())
    return f"{count} of {count + entry.scenes} scenes left out: {reasons}"


def _absent(entry: Entry) -> str | None:
    m = entry.cell.m
    fewer = sum(len(r.attackers) < m for r in entry.records)
    if not fewer or entry.cell.defense.name == "all-honest":
        return None
    return f"fewer than {m} of the attackers are in range in {fewer} of {len(entry.records)} frames"


def _told_once(entries: Sequence[Entry], about: Callable[[Entry], str | None]) -> list[str]:
    """A line a finding, with the cells that it is about."""
    where: dict[str, list[str]] = {}
    for entry in entries:
        if (said := about(entry)) is not None:
            cell = entry.cell
            where.setdefault(said, []).append(
                f"{cell.dataset}, {cell.detector}, {cell.attack_label}, {cell.m} attackers, {cell.defense.label}"
            )
    return [f"{said} [{'; '.join(_few(cells))}]" for said, cells in where.items()]


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Of a data set once, whatever was played on it."""
    broken: dict[str, dict[str, Sequence[str]]] = {}
    for entry in entries:
        broken.setdefault(entry.cell.dataset, {}).update(entry.labels_left_out)
    return [
        f"records of labels left out of {dataset}: {sum(map(len, frames.values()))}, frames with such: {len(frames)}; "
        f"the first, in {next(iter(frames))}: {next(iter(frames.values()))[0]}"
        for dataset, frames in broken.items()
        if frames
    ]


def _few(cells: Sequence[str]) -> list[str]:
    return [*cells[:_CELLS], *([f"and {len(cells) - _CELLS} more"] if len(cells) > _CELLS else [])]
