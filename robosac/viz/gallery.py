"""What an attack does to a frame, seen from above: without it, with it, the difference; and a page of such pictures.

Blue is what the ego saw and sees no more, orange what it sees now and did not; the score map is under the boxes.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from robosac.boxes import corners_bev, iou_bev
from robosac.types import Array, BevGrid, Bool, Detections, Float32, Frame, Id, Subset
from robosac.viz.bev import Picture, draw_frame, points_by_agent
from robosac.viz.canvas import ATTACKER, HIT, INK, MISTAKE, MUTED, TRUTH, new_figure, plain

_SAME_IOU = 0.3  # boxes of the two results that overlap by more show the same object
_SCORES = LinearSegmentedColormap.from_list("scores", ["#ffffff", "#c3dcec", "#6aabd2"])
_CHANGES = LinearSegmentedColormap.from_list("changes", ["#0072b2", "#a8cfe6", "#ffffff", "#f3c29b", "#d55e00"])


@dataclass(frozen=True, eq=False)
class Seen:
    """One result and what it was made of.

    Attributes:
        frame: the views as claimed: poses of the messages, a view an invented sender.
        detections: the result, ego frame.
        used: whose messages are in it.
        hits: `(N,)` per detection: 1 finds an object, 0 is a mistake, negative is left out of the score.
        note: a short line above the panel.
    """

    frame: Frame
    detections: Detections
    used: Subset
    hits: Array
    note: str = ""


def attack_figure(
    clean: Seen,
    attacked: Seen,
    *,
    truth_boxes: Array,
    attackers: Subset,
    region: BevGrid | float,
    points: bool = False,
    footnote: Sequence[str] = (),
) -> Figure:
    """Three panels, about 13.4 x 5.6 inches: without the attack, with it, and what changed.

    `truth_boxes (G, 7)` and detections are in the ego frame; `attackers` includes invented senders.
    `points` draws everybody's points, for detectors that are sent points.
    """
    side, lines = 4.4, len(footnote)
    height = side + 0.42 + 0.62 + 0.17 * lines
    figure = new_figure(3 * side + 0.3, height)
    bottom = (0.62 + 0.17 * lines) / height
    grid = figure.add_gridspec(1, 3, left=0.008, right=0.992, top=1 - 0.42 / height, bottom=bottom, wspace=0.03)
    for k, (title, seen) in enumerate((("without the attack", clean), ("with it", attacked))):
        ax = figure.add_subplot(grid[0, k])
        _draw_map(ax, seen.detections.score_map, region, _SCORES, 0.0, 1.0)
        picture = Picture(title, seen.detections, used=seen.used, hits=seen.hits, note=seen.note)
        shown: Mapping[Id, Float32] = points_by_agent(seen.frame, region) if points else {}
        draw_frame(ax, seen.frame, picture, truth_boxes=truth_boxes, attackers=attackers, region=region, points=shown)
    _draw_difference(figure.add_subplot(grid[0, 2]), clean, attacked, attackers, region)
    handles = _legend(clean.detections.score_map is not None)
    figure.legend(
        handles=handles, loc="lower center", ncols=len(handles), bbox_to_anchor=(0.5, (0.1 + 0.17 * lines) / height),
        frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.5, columnspacing=1.4, borderaxespad=0.4,
    )  # fmt: skip
    for k, line in enumerate(footnote):
        y = (0.1 + 0.17 * (lines - 1 - k)) / height
        figure.text(0.5, y, plain(line), ha="center", fontsize=8.5, color=MUTED)
    return figure


def changes(clean: Detections, attacked: Detections) -> tuple[Bool, Bool]:
    """Which boxes of the clean result `(N,)` are gone in the attacked one, and which of that `(M,)` are new."""
    if not len(clean) or not len(attacked):
        return np.ones(len(clean), np.bool_), np.ones(len(attacked), np.bool_)
    same: Bool = np.asarray(iou_bev(clean.boxes, attacked.boxes)) > _SAME_IOU
    return np.logical_not(same.any(axis=1)), np.logical_not(same.any(axis=0))


def _draw_difference(ax: Axes, clean: Seen, attacked: Seen, attackers: Subset, region: BevGrid | float) -> None:
    gone, new = changes(clean.detections, attacked.detections)
    before, after = clean.detections.score_map, attacked.detections.score_map
    if before is not None and after is not None:
        _draw_map(ax, after - before, region, _CHANGES, -1.0, 1.0)
    note = f"{int(gone.sum())} boxes gone, {int(new.sum())} new"
    picture = Picture("difference", Detections.empty(), used=attacked.used, note=note)
    draw_frame(ax, attacked.frame, picture, attackers=attackers, region=region, points={})
    kept = clean.detections.boxes[~gone]
    for boxes, colour, width, style in (
        (kept, MUTED, 0.7, "solid"),
        (clean.detections.boxes[gone], HIT, 1.5, (0, (2.5, 1.5))),
        (attacked.detections.boxes[new], MISTAKE, 1.5, "solid"),
    ):
        if len(boxes):
            looks: dict[str, Any] = {
                "facecolors": "none",
                "edgecolors": colour,
                "linewidths": width,
                "linestyles": [style],
            }
            ax.add_collection(PolyCollection(list(corners_bev(boxes)), **looks, zorder=4))


def _draw_map(
    ax: Axes, values: Array | None, region: BevGrid | float, colours: LinearSegmentedColormap, low: float, high: float
) -> None:
    if values is None or not isinstance(region, BevGrid):
        return
    extent = (region.x_min_m, region.x_max_m, region.y_min_m, region.y_max_m)
    ax.imshow(
        values, extent=extent, origin="lower", cmap=colours, vmin=low, vmax=high, interpolation="nearest", zorder=0.5
    )


def _legend(with_map: bool) -> list[Line2D | Patch]:
    dashes = (0, (2.5, 1.5))
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=TRUTH, linewidth=0.9, label="true object"),
        Line2D([], [], color=HIT, linewidth=1.6, label="hit"),
        Line2D([], [], color=MISTAKE, linewidth=1.6, linestyle=dashes, label="mistake"),
        Line2D([], [], color=HIT, linewidth=1.6, linestyle=dashes, label="box gone"),
        Line2D([], [], color=MISTAKE, linewidth=1.6, label="box new"),
    ]
    if with_map:
        handles += [
            Patch(facecolor="#6aabd2", label="score"),
            Patch(facecolor="#a8cfe6", label="score lost"),
            Patch(facecolor="#f3c29b", label="score gained"),
        ]
    teammate = {"linestyle": "none", "marker": "o", "markersize": 6.6}
    attacker = {"linestyle": "none", "marker": "D", "markersize": 6.0}
    handles.append(Line2D([], [], markerfacecolor=INK, markeredgecolor=INK, label="teammate", **teammate))  # type: ignore[arg-type]
    handles.append(Line2D([], [], markerfacecolor=ATTACKER, markeredgecolor=ATTACKER, label="attacker", **attacker))  # type: ignore[arg-type]
    return handles


# ------------------------------------------------------------------------------------------------------------ the page
@dataclass(frozen=True)
class Drawn:
    """One attack on the page.

    Attributes:
        name: of its preset.
        facts: what is said of it, label -> text.
        picture: name of the file beside the page; None where it was skipped.
        alt: the picture in words.
        reason: why there is no picture.
    """

    name: str
    facts: Mapping[str, str]
    picture: str | None = None
    alt: str = ""
    reason: str = ""


def gallery_page(title: str, subtitle: str, entries: Sequence[Drawn]) -> str:
    """The page, in HTML; every text is escaped, pictures are beside it."""
    template = resources.files("robosac.viz").joinpath("gallery.html").read_text(encoding="utf-8")
    links = " ".join(f'<a href="#{html.escape(e.name)}">{html.escape(e.name)}</a>' for e in entries)
    return Template(template).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        links=links,
        entries="\n".join(_section(e) for e in entries),
    )


def _section(entry: Drawn) -> str:
    name = html.escape(entry.name)
    facts = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in entry.facts.items())
    shown = f'<p class="skipped">no picture: {html.escape(entry.reason)}</p>'
    if entry.picture is not None:
        file, alt = html.escape(entry.picture), html.escape(entry.alt)
        shown = f'<a href="{file}"><img src="{file}" alt="{alt}" loading="lazy"></a>'
    return f'<section id="{name}"><h2>{name}</h2><dl>{facts}</dl>{shown}</section>'
