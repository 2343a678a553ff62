"""One frame seen from above, in the ego frame: points by agent, truth, detections, and who was believed.

Colour is never alone in carrying a meaning: truth is thin, hits are solid, mistakes are dashed; an attacker is
a diamond and an honest one a circle; who is used is filled, who is not is hollow, who is accused is crossed out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from scipy import ndimage

from robosac.boxes import corners_bev, invert_pose, transform_points
from robosac.types import EGO_ALONE, Array, BevGrid, Detections, Float32, Frame, Id, Subset
from robosac.viz.canvas import (
    AGENT_POINTS,
    ATTACKER,
    EGO_POINTS,
    HAIRLINE,
    HIT,
    INK,
    MISTAKE,
    MUTED,
    PAPER,
    TRUTH,
    new_figure,
    plain,
)

MARGIN_M = 6.0  # shown around the evaluation range, so that teammates just outside are seen
HOW_TO_READ = (
    "arrow: the ego · dotted: evaluated region · pale: low score · grey: not counted\n"
    "filled box: shown by the ego, or by two others · thick: one attacker cannot have made it up"
)


@dataclass(frozen=True, eq=False)
class Picture:
    """What one policy made of a frame.

    Attributes:
        title: the policy's name.
        detections: its result, ego frame.
        used, accused: its verdict on the teammates.
        hits: `(N,)` per detection: 1 finds an object, 0 is a mistake, negative is left out of the score; None: unknown.
        note: a short line under the title, such as "3 trials, 24 ms".
        filled: `(N,)` per detection: whether others show it too (`Verdict.corroborated`); None: all drawn alike.
        thick: `(N,)` per detection: whether one attacker cannot have invented it; None: none is.
    """

    title: str
    detections: Detections
    used: Subset = EGO_ALONE
    accused: Subset = EGO_ALONE
    hits: Array | None = None
    note: str = ""
    filled: Array | None = None
    thick: Array | None = None


def panel_figure(
    frame: Frame,
    pictures: Sequence[Picture],
    *,
    truth_boxes: Array | None = None,
    attackers: Subset = EGO_ALONE,
    region: BevGrid | float = 40.0,
    columns: int = 3,
) -> Figure:
    """The same frame under several policies, side by side, with one legend below. See `draw_frame`."""
    columns = max(1, min(columns, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    side = 6.4 if columns == 1 else 4.3
    legend_in = 1.3 if columns < 3 else 1.12
    x0, x1, y0, y1 = _extent(region)
    tall = side * min(1.5, max(0.4, (y1 - y0 + 2 * MARGIN_M) / (x1 - x0 + 2 * MARGIN_M)))  # a road is wide
    height = rows * (tall + 0.42) + legend_in
    figure = new_figure(columns * side + 0.3, height)
    grid = figure.add_gridspec(
        rows, columns, left=0.01, right=0.99, top=1 - 0.42 / height, bottom=legend_in / height, wspace=0.03,
        hspace=0.45 / tall,
    )  # fmt: skip
    points = points_by_agent(frame, region)
    for k, picture in enumerate(pictures):
        ax = figure.add_subplot(grid[k // columns, k % columns])
        draw_frame(ax, frame, picture, truth_boxes=truth_boxes, attackers=attackers, region=region, points=points)
    handles = _legend(truth_boxes is not None, any(p.hits is not None for p in pictures), bool(attackers))
    figure.legend(
        handles=handles, loc="lower center", ncols=min(len(handles), 3 if columns == 1 else 4),
        bbox_to_anchor=(0.5, (0.36 if columns < 3 else 0.42) / height), frameon=False,
        fontsize=8 if columns < 3 else 10, labelcolor=INK,
        handletextpad=0.5, columnspacing=1.5, borderaxespad=0.4,
    )  # fmt: skip
    figure.text(0.5, 0.1 / height, HOW_TO_READ, ha="center", fontsize=7 if columns < 3 else 9, color=MUTED)
    return figure


def draw_frame(
    ax: Axes,
    frame: Frame,
    picture: Picture,
    *,
    truth_boxes: Array | None = None,
    attackers: Subset = EGO_ALONE,
    region: BevGrid | float = 40.0,
    points: Mapping[Id, Float32] | None = None,
) -> None:
    """Draw a frame under one policy; x points right (ahead of the ego), y up, metres.

    Points of teammates that are not used are faint, so that a picture shows what the policy went by.
    Views are drawn as claimed: with the pose and points in `frame`, which may be the attackers' forgeries.
    `truth_boxes` `(G, 7)` and the detections are in the ego frame; `attackers` is the truth, for the reader only.
    `points` may hand over `points_by_agent` where many pictures share a frame.
    """
    x0, x1, y0, y1 = _extent(region)
    ax.set_xlim(x0 - MARGIN_M, x1 + MARGIN_M)
    ax.set_ylim(y0 - MARGIN_M, y1 + MARGIN_M)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(HAIRLINE)
    colours = agent_colours(frame, attackers)
    for name, xyz in (points_by_agent(frame, region) if points is None else points).items():
        alpha = 0.85 if name == frame.ego.id or name in picture.used else 0.25
        ax.scatter(xyz[:, 0], xyz[:, 1], s=1.3, color=colours[name], linewidths=0, alpha=alpha, rasterized=True)
    ax.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=MUTED, linewidth=0.7, linestyle=(0, (1, 3)))
    )
    if truth_boxes is not None and len(truth_boxes):
        ax.add_collection(
            PolyCollection(list(corners_bev(truth_boxes)), facecolors="none", edgecolors=TRUTH, linewidths=0.9)
        )
    _draw_detections(ax, picture)
    _draw_ego(ax)
    _draw_teammates(ax, frame, picture, attackers, colours)
    _draw_scale(ax, x0, y0)
    ax.set_title(plain(picture.title), fontsize=10, color=INK, loc="left", pad=5, fontweight="bold")
    if picture.note:
        ax.set_title(plain(picture.note), fontsize=8, color=MUTED, loc="right", pad=5)


def agent_colours(frame: Frame, attackers: Subset = EGO_ALONE) -> dict[Id, str]:
    """Colour of each agent's points: the ego grey, attackers in the attackers' colour, the others pale and apart."""
    tints = {name: AGENT_POINTS[k % len(AGENT_POINTS)] for k, name in enumerate(sorted(frame.others))}
    return {frame.ego.id: EGO_POINTS, **{n: ATTACKER if n in attackers else c for n, c in tints.items()}}


def points_by_agent(frame: Frame, region: BevGrid | float, *, cell_m: float = 0.15) -> dict[Id, Float32]:
    """Each agent's points `(P, 3)` in the ego frame by claimed poses: above the ground, one a cell, the ego last."""
    ego_T_world = invert_pose(frame.ego.world_T_sensor)
    x0, x1, y0, y1 = _extent(region)
    out: dict[Id, Float32] = {}
    for name, view in [*sorted(frame.others.items()), (frame.ego.id, frame.ego)]:
        xyz = transform_points(ego_T_world @ view.world_T_sensor, view.points)[:, :3]
        x, y = xyz[:, 0], xyz[:, 1]
        xyz = xyz[(x > x0 - MARGIN_M) & (x < x1 + MARGIN_M) & (y > y0 - MARGIN_M) & (y < y1 + MARGIN_M)]
        xyz = xyz[_above_ground(xyz)]
        _, first = np.unique(np.floor(xyz[:, :2] / cell_m).astype(np.int64), axis=0, return_index=True)
        out[name] = xyz[np.sort(first)]
    return out


def _above_ground(xyz: Array, *, cell_m: float = 2.5, lift_m: float = 0.35) -> Array:
    """Which points `(P, 3)` rise above the lowest point around them; ground would drown everything else."""
    if len(xyz) == 0:
        return np.zeros(0, np.bool_)
    cell = np.floor((xyz[:, :2] - xyz[:, :2].min(axis=0)) / cell_m).astype(np.int64)
    lowest = np.full(cell.max(axis=0) + 1, np.inf)
    np.minimum.at(lowest, (cell[:, 0], cell[:, 1]), xyz[:, 2])
    around = ndimage.minimum_filter(lowest, size=3, mode="nearest")
    return np.asarray(xyz[:, 2] > around[cell[:, 0], cell[:, 1]] + lift_m)


def _extent(region: BevGrid | float) -> tuple[float, float, float, float]:
    if isinstance(region, BevGrid):
        return region.x_min_m, region.x_max_m, region.y_min_m, region.y_max_m
    return -region, region, -region, region


def _draw_detections(ax: Axes, picture: Picture) -> None:
    detections, hits = picture.detections, picture.hits
    n = len(detections)
    outcome = np.ones(n, np.int8) if hits is None else np.asarray(hits)
    filled = np.ones(n, np.bool_) if picture.filled is None else np.asarray(picture.filled)
    thick = np.zeros(n, np.bool_) if picture.thick is None else np.asarray(picture.thick)
    looks = ((outcome > 0, HIT, "solid"), (outcome == 0, MISTAKE, (0, (2.5, 1.5))), (outcome < 0, MUTED, "solid"))
    for which, colour, line in looks:
        boxes, scores = detections.boxes[which], np.clip(detections.scores[which], 0, 1)
        if not len(boxes):
            continue
        edge = np.column_stack([np.tile(to_rgb(colour), (len(boxes), 1)), 0.3 + 0.7 * scores])
        face = edge * np.column_stack([np.ones((len(boxes), 3)), np.where(filled[which], 0.22, 0.0)])
        width = np.where(thick[which], 2.1, 1.2)
        corners = corners_bev(boxes)
        ax.add_collection(
            PolyCollection(
                list(corners), facecolors=face, edgecolors=edge, linewidths=width, linestyles=[line], zorder=4
            )
        )
        centre, front = corners.mean(axis=1), (corners[:, 0] + corners[:, 3]) / 2
        ax.add_collection(
            PolyCollection(
                list(np.stack([centre, front], axis=1)), closed=False, edgecolors=edge, linewidths=1.0, zorder=4
            )
        )


def _draw_ego(ax: Axes) -> None:
    arrow = np.array([[2.8, 0.0], [-1.9, 1.6], [-0.9, 0.0], [-1.9, -1.6]])
    ax.add_patch(Polygon(arrow, closed=True, facecolor=INK, edgecolor=PAPER, linewidth=0.8, zorder=6))


def _draw_teammates(ax: Axes, frame: Frame, picture: Picture, attackers: Subset, colours: Mapping[Id, str]) -> None:
    """Positions as claimed, on a disc in the colour of the points; beyond the picture: on its edge, with distance."""
    ego_T_world = invert_pose(frame.ego.world_T_sensor)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    labels: list[tuple[float, float]] = []
    for name, view in sorted(frame.others.items()):
        x, y = (ego_T_world @ view.world_T_sensor)[:2, 3]
        at = float(np.clip(x, left + 2.0, right - 2.0)), float(np.clip(y, low + 2.0, high - 2.0))
        far = f"  {math.hypot(x, y):.0f} m" if at != (x, y) else ""
        attacks = name in attackers
        ax.plot(*at, linestyle="none", marker="o", markersize=13, color=colours[name], alpha=0.55, mew=0, zorder=5)
        marker = _marker(name in picture.used, name in picture.accused, attacks)
        ax.plot(*at, linestyle="none", zorder=7, **marker)  # type: ignore[arg-type]
        if name in picture.accused:
            ax.plot(*at, linestyle="none", zorder=6, **_CROSS)  # type: ignore[arg-type]
        above, below = (at[0], at[1] + 4.0), (at[0], at[1] - 4.0)
        crowded = any(abs(x - above[0]) < 12.0 and abs(y - above[1]) < 4.0 for x, y in labels)
        upwards = at[1] < high - 6 and not (crowded and at[1] > low + 6)
        labels.append(above if upwards else below)
        ax.annotate(
            plain(name) + far, at, xytext=(0, 6.5 if upwards else -6.5), textcoords="offset points", fontsize=7,
            ha="left" if at[0] < left + 8 else "right" if at[0] > right - 8 else "center",
            va="bottom" if upwards else "top", color=ATTACKER if attacks else INK, zorder=9,
            fontweight="bold" if name in picture.used else "normal",
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )  # fmt: skip


_CROSS: dict[str, object] = {"marker": "x", "markersize": 13, "markeredgewidth": 1.6, "color": INK}


def _marker(used: bool, accused: bool, attacks: bool) -> dict[str, object]:
    colour = ATTACKER if attacks else INK
    return {
        "marker": "D" if attacks else "o",
        "markersize": 6.0 if attacks else 6.6,
        "markerfacecolor": colour if used and not accused else PAPER,
        "markeredgecolor": colour,
        "markeredgewidth": 1.4,
    }


def _draw_scale(ax: Axes, x0: float, y0: float) -> None:
    left, low, length = x0 + 2.0, y0 - 3.2, 10.0
    ax.plot([left, left + length], [low, low], color=INK, linewidth=1.6, solid_capstyle="butt", zorder=6)
    ax.text(left + length + 1.2, low, "10 m", fontsize=7, color=INK, va="center", zorder=6)


def _legend(truth: bool, judged: bool, attacked: bool) -> list[Line2D]:
    def line(colour: str, label: str, width: float = 1.4, style: tuple[int, Sequence[float]] | None = None) -> Line2D:
        return Line2D([], [], color=colour, linewidth=width, linestyle=style or "-", label=label)

    def mark(label: str, used: bool, attacks: bool) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **_marker(used, False, attacks))  # type: ignore[arg-type]

    handles = [line(TRUTH, "true object", 0.9)] if truth else []
    handles += [line(HIT, "detection: hit" if judged else "detection", 1.6)]
    handles += [line(MISTAKE, "detection: mistake", 1.6, (0, (2.5, 1.5)))] if judged else []
    handles += [mark("teammate used", True, False), mark("not used", False, False)]
    handles += [Line2D([], [], linestyle="none", label="accused", **{**_CROSS, "markersize": 9})]  # type: ignore[arg-type]
    handles += [mark("attacker, used", True, True), mark("attacker, not used", False, True)] if attacked else []
    return handles
