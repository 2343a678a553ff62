"""How many trials, as a picture: success over trials under each law, each law's budget marked."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robosac.budget import Law, Probability, as_probability, success, trials
from robosac.errors import InputError
from robosac.viz.canvas import HIT, INK, MISTAKE, MUTED, TRUTH, new_figure, style_axes

STYLES: Final = {
    Law.PAPER: ("paper's formula", MISTAKE, (0, (5, 1.5)), "s"),
    Law.INDEPENDENT: ("exact, repeats", HIT, "-", "o"),
    Law.NO_REPEATS: ("exact, no repeats", TRUTH, (0, (1.5, 1.2)), "D"),
}
FORMATS: Final = (".png", ".pdf", ".svg")
_POINTS: Final = 200
_FARTHEST: Final = 10**9


def plot_budget(
    teammates: int, attackers: int, subset: int, confidence: Probability = 0.99, *, max_trials: int | None = None
) -> Figure:
    """Probability that a clean subset was drawn, over the number of trials, under each law.

    A marker stands where a law reaches the wanted confidence; the paper's budget is carried down to what it is truly
    worth. `max_trials` marks a budget. Raises `InputError` where there are more trials than a picture can show.
    """
    p = float(as_probability(confidence, "confidence"))
    wanted = {law: trials(teammates, attackers, subset, confidence, law=law).count for law in Law}
    drawable = [n for n in wanted.values() if n is not None and n <= _FARTHEST]
    if max_trials is None and len(drawable) < sum(n is not None for n in wanted.values()):
        raise InputError(f"expected budgets of at most {_FARTHEST:,} trials to draw, got larger ones; add --max-trials")
    end = max([n + max(1, n // 8) for n in drawable] + [max_trials or 0, 10])
    figure = new_figure(5.6, 3.5)
    ax = figure.add_axes((0.1, 0.14, 0.78, 0.7))
    style_axes(ax, grid="y")
    places = [end * k // _POINTS for k in range(_POINTS + 1)] if end > _POINTS else list(range(end + 1))
    claims = {law: law is not Law.PAPER or subset <= teammates - attackers for law in Law}
    for law, (label, colour, dash, mark) in STYLES.items():
        if not claims[law]:
            continue
        curve = [success(teammates, attackers, subset, n, law=law) for n in places]
        n = wanted[law]
        budget = "impossible" if n is None else f"N = {n:,}" if n <= _FARTHEST else f"N = {Decimal(n):.1e}"
        ax.plot(places, curve, color=colour, linestyle=dash, linewidth=1.8, label=f"{label}: {budget}",
                marker="." if end <= 60 else None, markersize=5)  # fmt: skip
        if n in drawable:
            ax.plot(n, success(teammates, attackers, subset, n, law=law), mark, color=colour, markersize=6, zorder=4)
    ax.set(xlim=(0, end), ylim=(0, 1.04))
    _mark_truth(ax, teammates, attackers, subset, wanted[Law.PAPER], p)
    ax.axhline(p, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    ax.annotate(
        f"wanted\n{p:g}", (end, p), xytext=(5, 0), textcoords="offset points", fontsize=7, color=MUTED, va="center"
    )
    if max_trials is not None:
        ax.axvline(max_trials, color=INK, linewidth=0.9, linestyle=":", zorder=1)
        ax.text(max_trials, 0.02, f" budget {max_trials:,}", fontsize=7, color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("trials", fontsize=8, color=INK)
    ax.set_ylabel("probability that a clean subset was drawn", fontsize=8, color=INK)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.08), frameon=False, fontsize=8, labelcolor=INK, handlelength=2.8)
    title = f"{attackers} of {teammates} teammates attack, subsets of {subset}"
    figure.text(0.1, 0.95, title, fontsize=10, fontweight="bold", color=INK, va="top")
    return figure


def _mark_truth(ax: Axes, teammates: int, attackers: int, subset: int, n: int | None, p: float) -> None:
    """What the paper's budget is truly worth, where it falls short."""
    if n is None or n > _FARTHEST:
        return
    truth = success(teammates, attackers, subset, n, law=Law.INDEPENDENT)
    if truth >= p:
        return
    ax.vlines(n, truth, p, color=MISTAKE, linewidth=1.1, zorder=3)
    ax.plot(n, truth, "o", markerfacecolor="white", markeredgecolor=MISTAKE, markersize=6, zorder=4)
    late = n > 0.6 * ax.get_xlim()[1]  # then the text stands to the left, below what is flat there
    ax.annotate(
        f"the paper's {n:,} trials\nsucceed with {truth:.3f}", (n, truth), xytext=(10, -14) if late else (7, -5),
        textcoords="offset points", fontsize=8, color=INK, va="top", ha="right" if late else "left",
    )  # fmt: skip


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as the file's ending says; the folder is made."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"expected a picture named {' or '.join('*' + f for f in FORMATS)}, got {path.name}; rename it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor=figure.get_facecolor())
    return path
