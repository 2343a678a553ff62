"""Pictures of an experiment: AP over attackers, budgets, trials and distance, and the demo's bars and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from robosac.evaluation.bootstrap import Estimate
from robosac.evaluation.ranges import BANDS_M, band_name
from robosac.experiments.axes import NOBODY
from robosac.experiments.demo import DemoResult
from robosac.experiments.entries import Cell, Entry
from robosac.viz.budget_plot import plot_budget
from robosac.viz.canvas import png_bytes
from robosac.viz.charts import Interval, ap_figure
from robosac.viz.curves import Point, ap_over

DEFAULTS: Final = ("robosac, count known", "robosac, count unknown")  # the demo's policies that stand out
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
        x=_epsilon,
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


def _epsilon(cell: Cell) -> float | None:
    """The budget that the grid named, in numbers."""
    epsilon = None if cell.attack is None else cell.attack.epsilon
    return cell.budget if isinstance(epsilon, str) else epsilon


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


def demo_figures(result: DemoResult) -> dict[str, bytes]:
    """All pictures of a demo by file name (without ending)."""
    values: dict[str, dict[str, Interval | None]] = {}
    for r in result.rows:
        e = r.summary.ap[0.5]
        values.setdefault(r.summary.policy, {})[f"{r.attackers} attack"] = (
            None if e is None else (e.value, e.low, e.high)
        )
    made = {
        "ap": png_bytes(ap_figure(values, emphasise=DEFAULTS, reference="ego only")),
        "budget": png_bytes(plot_budget(5, 2, 3)),
    }
    for k, shot in enumerate(result.shots):
        made |= {f"frame-{k}": shot.panels, f"frame-{k}-strip": shot.strip}
        for policy, png in shot.trials.items():
            made[f"frame-{k}-trials-{policy.replace(', ', '-').replace(' ', '-')}"] = png
    return made
