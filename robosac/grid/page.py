"""Pictures of a grid and its HTML report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from robosac.evaluation.bootstrap import Estimate
from robosac.evaluation.ranges import BANDS_M, band_name
from robosac.grid.entries import Cell, Entry
from robosac.grid.settings import NOBODY
from robosac.grid.table import COLUMNS, LEGEND, blocks, row
from robosac.viz.canvas import png_bytes
from robosac.viz.curves import Point, ap_over
from robosac.viz.report import Column, Image, ReportData, Table

if TYPE_CHECKING:
    from robosac.grid.run import GridResult

MOST_PANELS: Final = 12  # a picture of more cannot be read; the table has all
Panels = dict[str, dict[str, list[Point]]]
Title = Callable[[Cell], str]


def figures(entries: Sequence[Entry]) -> dict[str, bytes]:
    """PNGs by file name (without ending); an axis with one value only has no picture."""
    played = [e for e in entries if e.summary is not None]
    where = _where(entries)
    made: dict[str, bytes] = {}
    attackers = _over_attackers(played, where)
    if _varied(attackers):
        made["ap-over-attackers"] = png_bytes(ap_over(_few(attackers), over="attackers"))
    eps = _panels(
        (e for e in played if e.cell.attack is not None and e.cell.attack.epsilon is not None),
        title=lambda c: f"{where(c)}, {c.attack.title if c.attack else ''}, {c.m} attack",
        line=lambda c: c.defense.label,
        x=lambda c: c.attack.epsilon if c.attack is not None else None,
    )
    if _varied(eps):
        made["ap-over-epsilon"] = png_bytes(ap_over(_few(eps), over="budget, in the attack's unit"))
    trials = _panels(
        played,
        title=lambda c: f"{where(c)}, {c.attack_label}",
        line=lambda c: f"{c.defense.name}, {c.m} attack",
        x=lambda c: c.defense.trials,
    )
    if _varied(trials):
        made["ap-over-trials"] = png_bytes(ap_over(_few(trials), over="trials a frame, at most"))
    if played:
        ticks = [(float(k), band_name(band)) for k, band in enumerate(BANDS_M)]
        made["ap-over-range"] = png_bytes(
            ap_over(_few(_over_range(played, where)), over="metres from the ego", ticks=ticks)
        )
    return made


def _where(entries: Sequence[Entry]) -> Title:
    """What panels call a cell's detector, and its data set where there are several."""
    datasets = list(dict.fromkeys(e.cell.dataset for e in entries))
    if len(datasets) < 2:
        return lambda cell: cell.detector
    short = {name: f"{name.partition(':')[0]}:{name.rpartition('/')[2].rpartition(':')[2]}" for name in datasets}
    if len(set(short.values())) < len(datasets):
        short = {name: name for name in datasets}
    return lambda cell: f"{short[cell.dataset]}, {cell.detector}"


def _over_attackers(entries: Sequence[Entry], where: Title) -> Panels:
    """Nobody attacking belongs to every attack's picture."""
    panels: Panels = {}
    for name in dict.fromkeys((e.cell.dataset, e.cell.detector, e.cell.attack_label) for e in entries if e.cell.m):
        mine = [e for e in entries if _names(e.cell) in (name, (*name[:2], NOBODY))]
        title = f"{where(next(e.cell for e in mine))}, {name[2]}"
        panels |= _panels(mine, title=lambda c, t=title: t, line=_label, x=lambda c: c.m)  # type: ignore[misc]
    return panels


def _over_range(entries: Sequence[Entry], where: Title) -> Panels:
    """With the most attackers that each attack was played with."""
    most: dict[tuple[str, str, str], int] = {}
    for e in entries:
        most[_names(e.cell)] = max(most.get(_names(e.cell), 0), e.cell.m)
    if any(most.values()):
        most = {name: m for name, m in most.items() if m}
    panels: Panels = {}
    for e in (e for e in entries if most.get(_names(e.cell)) == e.cell.m):
        points = [
            (float(k), ap.value, ap.low, ap.high)
            for k, band in enumerate(BANDS_M)
            if (ap := e.bands.get(band_name(band))) is not None
        ]
        if points:
            title = f"{where(e.cell)}, {e.cell.attack_label}, {e.cell.m} attack"
            panels.setdefault(title, {})[e.cell.defense.label] = points
    return panels


def _names(cell: Cell) -> tuple[str, str, str]:
    return cell.dataset, cell.detector, cell.attack_label


def _label(cell: Cell) -> str:
    return cell.defense.label


def _panels(
    entries: Iterable[Entry],
    *,
    title: Callable[[Cell], str],
    line: Callable[[Cell], str],
    x: Callable[[Cell], float | None],
) -> Panels:
    panels: Panels = {}
    for e in entries:
        at, ap = x(e.cell), _ap50(e)
        if at is not None and ap is not None:
            point = (float(at), ap.value, ap.low, ap.high)
            panels.setdefault(title(e.cell), {}).setdefault(line(e.cell), []).append(point)
    return {t: {name: sorted(points) for name, points in panel.items()} for t, panel in panels.items()}


def _ap50(entry: Entry) -> Estimate | None:
    return None if entry.summary is None else entry.summary.ap.get(0.5)


def _varied(panels: Panels) -> bool:
    return any(len({p[0] for p in points}) > 1 for panel in panels.values() for points in panel.values())


def _few(panels: Panels) -> Panels:
    return dict(list(panels.items())[:MOST_PANELS])


_SHOWN: Final = (
    "defense", "attackers", "ap50", "ap50_low", "ap50_high", "ap70", "boxes", "tpr_excluded", "fpr_excluded",
    "tpr_accused", "fpr_accused", "auc", "decodes", "kb", "ms", "skipped",
)  # fmt: skip
_TEXT: Final = ("defense", "skipped")
_CAPTIONS: Final = {
    "ap-over-attackers": "AP@0.5 against the number of attackers; bands are 95 % intervals over scenes.",
    "ap-over-epsilon": "AP@0.5 against the attack's budget.",
    "ap-over-trials": "AP@0.5 against the trials that a frame may take.",
    "ap-over-range": "AP@0.5 by distance from the ego, with the most attackers that each attack was played with.",
}


def page(result: GridResult, pngs: dict[str, bytes], command: str, versions: dict[str, str]) -> ReportData:
    """The report's content."""
    played = [e for e in result.entries if e.summary is not None]
    rows = []
    for title, block in blocks(result.entries):
        rows += [{"block": title, **{k: row(e)[k] for k in _SHOWN}} for e in block]
    columns = []
    for k in _SHOWN:
        heading, spec = COLUMNS[k]
        columns.append(Column(k, heading, numeric=k not in _TEXT, decimals=int(spec[1]) if spec.startswith(".") else 0))
    charts = [Image(png, _CAPTIONS[name], _CAPTIONS[name], wide=True) for name, png in pngs.items()]
    grid = result.grid
    return ReportData(
        title="What the defences survive",
        subtitle=f"{len(result.entries)} cells, {', '.join(grid.dataset)}, detectors {', '.join(grid.detector)}",
        summary=_summary(played, len(result.entries)),
        table=Table(columns, rows, caption=LEGEND, group_by="block"),
        charts=charts,
        command=command,
        config=grid.to_yaml(),
        versions=versions,
    )


def _summary(played: Sequence[Entry], n_cells: int) -> list[str]:
    lines = [f"{len(played)} of {n_cells} cells were played; one that cannot be says why in its last column."]
    scored = [(ap.value, e) for e in played if e.cell.m and (ap := _ap50(e)) is not None]
    for name in dict.fromkeys(e.cell.defense.label for _, e in scored):
        value, worst = min((s for s in scored if s[1].cell.defense.label == name), key=lambda s: s[0])
        where = f"{worst.cell.detector}, {worst.cell.attack_label}, {worst.cell.m} attackers"
        lines.append(f"The worst that came of “{name}” is an AP@0.5 of {value:.3f} ({where}).")
    return lines
