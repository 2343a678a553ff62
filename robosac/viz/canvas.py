"""Palette, empty figures and PNG files: what all pictures share.

Figures are plain `Figure` objects on an Agg canvas. Nothing here touches pyplot or matplotlib's global settings, so
pictures can be drawn without a screen, in any thread, and never change a caller's plots.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from robosac.files import write_whole

# Okabe and Ito's colours, which stay apart under every common colour blindness; meaning is never in colour alone.
INK: Final = "#22272e"
MUTED: Final = "#7d8590"
HAIRLINE: Final = "#d5dae0"
PAPER: Final = "#ffffff"
TRUTH: Final = "#009e73"
HIT: Final = "#0072b2"
MISTAKE: Final = "#d55e00"
ATTACKER: Final = "#b0256f"
# Points of the agents: pale, so that boxes stand out; neither of them near MISTAKE, ATTACKER or TRUTH.
EGO_POINTS: Final = "#59636e"
AGENT_POINTS: Final = ("#77aadd", "#c9b94a", "#8fd0c8", "#a99bd6", "#b9c76a", "#9fb8c9", "#d2b48c", "#7fa3a0")

DPI: Final = 160


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure on an Agg canvas."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def style_axes(ax: Axes, *, grid: Literal["x", "y"] | None = None) -> None:
    """Light frame, small ticks, an optional grid along "x" or "y"."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(HAIRLINE)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=HAIRLINE, linewidth=0.6)


def plain(text: str) -> str:
    """Text as it is: matplotlib would read what stands between two dollars as a formula, and fail on a bad one."""
    return text.replace("$", r"\$")


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure (no date, no program name inside)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG; the folder is made, and the file appears whole or not at all."""
    write_whole(Path(path), png_bytes(figure))
    return Path(path)
