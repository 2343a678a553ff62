"""Rows of a fleet: AP with its interval, what was sent, and who was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure

from robosac.viz.canvas import ATTACKER, HIT, INK, MISTAKE, MUTED, new_figure, plain, style_axes

_LEAST: Final = 10.0  # points that the axis of figures spans at least
_LABELS: Final = {"AP@.7": "AP@0.7, all teammates, points"}


def fleet_figure(rows: Sequence[Mapping[str, Any]], title: str, column: str = "AP@.7") -> Figure:
    """Three panels that share their rows: a column with its interval, MB of a run, updates left out.

    `rows` are those of `robosac.experiments.fleet.board.table`.
    """
    height = 0.28 * len(rows) + 1.1
    figure = new_figure(9.0, height)
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[3, 1.4, 1.4])
    figure.subplots_adjust(left=0.25, right=0.98, top=1 - 0.4 / height, bottom=0.45 / height, wspace=0.08)
    places = range(len(rows))
    means = [row[column][0] for row in rows]
    halves = [row[column][1] or 0.0 for row in rows]
    for ax in (left, middle, right):
        style_axes(ax, grid="x")
    left.errorbar(means, places, xerr=halves, fmt="o", color=HIT, ecolor=MUTED, markersize=4, elinewidth=1.2)
    for row, mean in zip(rows, means, strict=True):
        if row["row"] == "base":
            left.axvline(mean, color=MUTED, linewidth=0.8, linestyle=":")
    left.set_yticks(list(places), [plain(row["row"]) for row in rows])
    low = min(m - h for m, h in zip(means, halves, strict=True)) - 1
    high = max(m + h for m, h in zip(means, halves, strict=True)) + 1
    spare = max(0.0, _LEAST - (high - low)) / 2  # hardly any difference should look like one
    left.set_xlim(low - spare, high + spare)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlabel(plain(_LABELS.get(column, column)), fontsize=7.5, color=INK)
    middle.barh(places, [row["MB a run"] for row in rows], height=0.55, color=MUTED)
    middle.set_xlabel("MB of all messages", fontsize=7.5, color=INK)
    for shift, who, colour in ((-0.14, "attackers", ATTACKER), (0.14, "honest", MISTAKE)):
        shares = [row[f"out % {who}"] or 0.0 for row in rows]
        right.barh([p + shift for p in places], shares, height=0.26, color=colour, label=who)
    right.set_xlim(0, 100)
    right.set_xlabel("updates left out, %", fontsize=7.5, color=INK)
    right.legend(fontsize=6.5, frameon=False, loc="lower right", labelcolor=INK)
    figure.suptitle(plain(title), x=0.01, ha="left", fontsize=9, color=INK, fontweight="bold")
    return figure
