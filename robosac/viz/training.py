"""How a training run went: its losses, and AP on the frames it was validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.figure import Figure

from robosac.viz.canvas import ATTACKER, HIT, INK, MISTAKE, MUTED, TRUTH, new_figure, plain, style_axes

Row = Mapping[str, float]
_LOSSES: Final = {"total": INK, "focal": HIT, "offset": TRUTH, "size": MISTAKE, "axis": ATTACKER, "forward": MUTED}
_AP: Final = {"all_ap50": HIT, "all_ap70": TRUTH, "ego_ap50": MISTAKE, "ego_ap70": ATTACKER}
_DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))


def training_figure(curve: Sequence[Row], validations: Sequence[Row], *, title: str) -> Figure:
    """Two panels over steps: means of the losses, on a log scale, and validation AP."""
    figure = new_figure(7.2, 2.9)
    figure.text(0.02, 0.97, plain(title), fontsize=9, fontweight="bold", color=INK, va="top")
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.99, top=0.84, bottom=0.16, wspace=0.2)
    for ax, rows, names, label in ((left, curve, _LOSSES, "loss"), (right, validations, _AP, "validation AP")):
        style_axes(ax, grid="y")
        for (name, colour), dashes in zip(names.items(), _DASHES, strict=False):
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                x, y = zip(*points, strict=True)
                ax.plot(x, y, color=colour, linestyle=dashes, linewidth=1.3, marker="o", markersize=2, label=name)
        ax.set_xlabel("step", fontsize=8, color=INK)
        ax.set_ylabel(label, fontsize=8, color=INK)
        if rows:
            ax.legend(fontsize=6.5, frameon=False)
        else:
            ax.text(0.5, 0.5, "none on the way", transform=ax.transAxes, ha="center", color=MUTED, fontsize=8)
    if curve:
        left.set_yscale("log")
    right.set_ylim(0, 1)
    return figure
