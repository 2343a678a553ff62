"""AP over something: a panel a group, a line a defence, its interval as a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.figure import Figure

from robosac.viz.canvas import ATTACKER, HIT, INK, MISTAKE, MUTED, TRUTH, new_figure, plain, style_axes

Point = tuple[float, float, float | None, float | None]  # x, value, low, high; None where there is no interval
_COLOURS = (HIT, MISTAKE, ATTACKER, TRUTH, INK, MUTED)
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
_MARKS = "osD^vP"
_ACROSS = 3
_TITLE = 32  # characters of a title's line; what is longer takes two


def ap_over(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    *,
    over: str,
    ticks: Sequence[tuple[float, str]] | None = None,
    label: str = "AP@0.5",
) -> Figure:
    """Lines of AP with 95 % bands.

    Args:
        panels: title -> line -> points by growing x. A line keeps its colour, dash and mark in every panel.
        over: what x is, with its unit.
        ticks: where x is marked and how, for what is no number.
    """
    across = min(_ACROSS, max(1, len(panels)))
    down = -(-len(panels) // across) if panels else 1
    lines = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    rows = max((len(wrap(title, _TITLE)) for title in panels), default=1)
    title_in = 0.12 * (rows - 1)
    width, height = 2.6 * across + 0.5, (2.25 + title_in) * down + 0.45 + 0.2 * -(-len(lines) // 4)
    figure = new_figure(width, height)
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    legend_in = 0.15 + 0.2 * -(-len(lines) // 4)
    figure.subplots_adjust(
        left=0.55 / width, right=1 - 0.12 / width, top=1 - (0.3 + title_in) / height,
        bottom=(0.45 + legend_in) / height, hspace=0.55 + 0.1 * (rows - 1), wspace=0.1,
    )  # fmt: skip
    handles = {}
    for ax, (title, panel) in zip(axes.flat, panels.items(), strict=False):
        style_axes(ax, grid="y")
        ax.set_title("\n".join(wrap(plain(title), _TITLE)), fontsize=8, color=INK, loc="left", fontweight="bold")
        for name, points in panel.items():
            k = lines.index(name)
            x, value, low, high = zip(*points, strict=True)
            colour = _COLOURS[k % len(_COLOURS)]
            if None not in (*low, *high):
                ax.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            handles[name] = ax.plot(
                x, value, color=colour, linestyle=_DASHES[k % len(_DASHES)], marker=_MARKS[k % len(_MARKS)],
                markersize=3.5, linewidth=1.5,
            )[0]  # fmt: skip
        if ticks is not None:
            ax.set_xticks([x for x, _ in ticks], [plain(text) for _, text in ticks])
        else:
            ax.set_xticks(sorted({p[0] for points in panel.values() for p in points}))
        ax.set_ylim(0, 1.02)
        ax.tick_params(labelsize=7)
        ax.set_xlabel(plain(over), fontsize=7.5, color=INK)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel(plain(label), fontsize=7.5, color=INK)
    figure.legend(
        list(handles.values()), [plain(n) for n in handles], loc="lower center", ncols=min(4, max(1, len(lines))),
        frameon=False, fontsize=7.5, labelcolor=INK, handlelength=2.6,
    )  # fmt: skip
    return figure
