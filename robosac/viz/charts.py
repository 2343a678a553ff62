"""The other figures of a report: agreement per trial, AP by policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from robosac.types import EGO_ALONE, Subset, Trial
from robosac.viz.canvas import (
    ATTACKER,
    HAIRLINE,
    HIT,
    INK,
    MISTAKE,
    MUTED,
    PAPER,
    new_figure,
    plain,
    style_axes,
)

Interval = tuple[float, float | None, float | None]  # value, low, high; None where there is no interval


def agreement_figure(
    trials: Sequence[Trial], *, attackers: Subset = EGO_ALONE, title: str = "Agreement with the ego, trial by trial"
) -> Figure:
    """One dot a trial, in order, against its threshold; below it, who was in the subset.

    Accepted trials are filled, rejected ones hollow. Subsets with an attacker in them (known to the reader only) are
    diamonds with the attackers' names in colour, clean ones circles.
    """
    members = sorted({m for t in trials for m in t.subset})
    width, table_in = max(4.6, 1.9 + 0.34 * len(trials)), 0.2 * max(1, len(members))
    figure = new_figure(width, 2.75 + table_in)
    height = 2.75 + table_in
    left, right = 1.25 / width, 1 - 0.6 / width
    ax = figure.add_axes((left, (0.55 + table_in) / height, right - left, 1.8 / height))
    style_axes(ax, grid="y")
    figure.text(0.03, 1 - 0.13 / height, plain(title), fontsize=10, fontweight="bold", color=INK, va="top")
    if not trials:
        ax.text(0.5, 0.5, "no trial was made", transform=ax.transAxes, ha="center", color=MUTED, fontsize=9)
        ax.set_xticks([])
        return figure
    x = np.arange(1, len(trials) + 1)
    thresholds = np.array([t.threshold for t in trials])
    ax.hlines(thresholds, x - 0.5, x + 0.5, color=MUTED, linewidth=1.1, linestyles=(0, (3, 2)))
    for k, trial in zip(x, trials, strict=True):
        attacked = bool(trial.subset & attackers)
        colour = ATTACKER if attacked else HIT
        ax.plot(
            k, trial.agreement, linestyle="none", marker="D" if attacked else "o", markersize=6.5, markeredgewidth=1.5,
            markeredgecolor=colour, markerfacecolor=colour if trial.accepted else PAPER, clip_on=False, zorder=4,
        )  # fmt: skip
    ax.annotate(
        "accept\nabove", (len(trials) + 0.5, thresholds[-1]), xytext=(4, 0), textcoords="offset points", va="center",
        fontsize=7, color=MUTED, annotation_clip=False,
    )  # fmt: skip
    ax.set_xlim(0.5, len(trials) + 0.5)
    ax.set_ylim(0, 1.02)
    ax.set_ylabel("agreement", fontsize=8, color=INK)
    ax.set_xticks(x if len(trials) <= 20 else x[:: len(trials) // 10])
    _membership(figure, trials, members, attackers, (left, 0.3 / height, right - left, table_in / height))
    key = "filled: accepted   hollow: rejected" + ("   ◆ with an attacker" if attackers else "")
    figure.text(0.97, 0.06 / height, key, fontsize=7, color=MUTED, ha="right", va="bottom")
    return figure


def _membership(
    figure: Figure,
    trials: Sequence[Trial],
    members: Sequence[str],
    attackers: Subset,
    where: tuple[float, float, float, float],
) -> None:
    """A row a teammate, a column a trial, a square where the teammate is in the subset."""
    ax = figure.add_axes(where)
    ax.set_xlim(0.5, len(trials) + 0.5)
    ax.set_ylim(len(members) - 0.5 if members else 0.5, -0.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xticks([])
    ax.set_yticks(range(len(members)), [plain(m) for m in members], fontsize=7)
    ax.tick_params(length=0, labelcolor=INK)
    for row, (member, label) in enumerate(zip(members, ax.get_yticklabels(), strict=True)):
        colour = ATTACKER if member in attackers else INK
        label.set_color(colour)
        ax.axhline(row, color=HAIRLINE, linewidth=0.6, zorder=0)
        at = [k for k, t in enumerate(trials, 1) if member in t.subset]
        ax.plot(at, [row] * len(at), linestyle="none", marker="D" if member in attackers else "s", color=colour, ms=4)
    if not members:
        ax.text(0.5, 0.5, "the ego alone", transform=ax.transAxes, ha="center", va="center", fontsize=7, color=MUTED)


def ap_figure(
    values: Mapping[str, Mapping[str, Interval | None]],
    *,
    emphasise: Sequence[str] = (),
    reference: str | None = None,
    label: str = "AP@0.5",
) -> Figure:
    """Bars of AP with intervals: a panel a group (such as "1 of 5 attack"), a row a policy, the value written out.

    Args:
        values: policy -> group -> (value, low, high), or None where undefined. Order is kept.
        emphasise: policies drawn in full colour; the others are grey.
        reference: a policy whose value is drawn as a line through its panel, such as ego only.
    """
    groups = list(dict.fromkeys(group for row in values.values() for group in row))
    policies = list(values)
    height = 0.95 + 0.34 * len(policies)
    width = 2.1 + 2.15 * max(1, len(groups))
    figure = new_figure(width, height)
    axes = figure.subplots(1, max(1, len(groups)), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=2.0 / width, right=1 - 0.12 / width, top=1 - 0.42 / height, bottom=0.5 / height, wspace=0.1
    )
    for ax, group in zip(axes, groups, strict=False):
        style_axes(ax, grid="x")
        ax.set_title(plain(group), fontsize=9, color=INK, loc="left", fontweight="bold")
        for row, policy in enumerate(policies):
            strong = policy in emphasise
            value = values[policy].get(group)
            if value is None:
                ax.text(0.02, row, "undefined", va="center", fontsize=7.5, color=MUTED)
                continue
            mean, low, high = value
            ax.barh(row, mean, height=0.62, color=HIT if strong else "#b8c1cb", zorder=2)
            if low is not None and high is not None:
                ax.plot([low, high], [row, row], color=INK, linewidth=1.1, zorder=3, solid_capstyle="butt")
            ax.text(
                max(mean, high or 0.0) + 0.02, row, f"{mean:.3f}", va="center", fontsize=7.5, color=INK, zorder=4,
                fontweight="bold" if strong else "normal", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
        line = values.get(reference, {}).get(group) if reference is not None else None
        if line is not None:
            ax.axvline(line[0], color=MISTAKE, linewidth=1.0, linestyle=(0, (3, 2)), zorder=2.5)
        ax.set_xlim(0, 1.16)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", ".25", ".5", ".75", "1"])
        ax.set_xlabel(plain(label), fontsize=8, color=INK)
        ax.set_yticks(range(len(policies)), [plain(p) for p in policies], fontsize=8.5)
        ax.set_ylim(len(policies) - 0.45, -0.55)
        ax.tick_params(axis="y", length=0)
    if reference in values:
        figure.text(0.1 / width, 0.08 / height, plain(f"dashed: {reference}"), fontsize=7, color=MISTAKE, va="bottom")
    return figure
