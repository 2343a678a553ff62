"""A frame of a data set from above: all agents' points by colour, their poses, the objects."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from robosac.data.dataset import DataSet
from robosac.data.recording import DataError, Recording
from robosac.evaluation.ap import MIN_POINTS
from robosac.types import Detections, Frame, InputError, Truth

_SIDE_M: Final = (40.0, 100.0)  # half the side of what is shown: at least, at most


def plot_frame(recording: Recording, index: int, path: Path, *, skip_bad: bool = False) -> Path:
    """Draw a frame, the data set's own ego in the middle and every other agent shown, however far.

    Raises:
        InputError: if there is no such frame.
        DataError: if it cannot be read; with `skip_bad` the next one that can is drawn.
    """
    data = DataSet(recording, comm_range_m=float("inf"), skip_bad=skip_bad)
    if not 0 <= index < len(data):
        raise InputError(f"expected --frame below {len(data)}, which {recording.root} holds, got {index}")
    for entry in data.entries[index:]:
        with suppress(*([DataError] if skip_bad else [])):
            return _draw(recording, *data.read(entry), path)
    raise InputError(f"expected a frame from {index} on that can be read, got none in {recording.root}")


def _draw(recording: Recording, frame: Frame, truth: Truth, path: Path) -> Path:
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

    from robosac.boxes import corners_bev
    from robosac.viz.bev import Picture, agent_colours, draw_frame
    from robosac.viz.canvas import INK, MUTED, TRUTH, new_figure, plain, save_png

    here = frame.ego.world_T_sensor[:2, 3]
    away = [float(np.hypot(*(v.world_T_sensor[:2, 3] - here))) for v in frame.others.values()]
    side = float(np.clip(max(away, default=0) + 20, *_SIDE_M))
    seen = truth.visible()
    figure = new_figure(7.0, 7.9)
    axes = figure.add_axes((0.01, 0.105, 0.98, 0.86))
    note = f"{len(truth.boxes)} objects, {int(seen.sum())} with {MIN_POINTS} points or more"
    picture = Picture(
        f"{recording.layout} {frame.scenario} {frame.index}", Detections.empty(), frozenset(frame.others), note=note
    )
    draw_frame(axes, frame, picture, truth_boxes=truth.boxes[seen], region=side)
    axes.add_collection(
        PolyCollection(
            list(corners_bev(truth.boxes[~seen])), facecolors="none", edgecolors=MUTED, linewidths=0.8, linestyles=":"
        )
    )
    shown = [frame.ego.id, *sorted(frame.others)]
    colours = agent_colours(frame)
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=6, color=colours[a], label=_named(frame, a))
        for a in shown
    ]
    handles += [
        Line2D([], [], color=TRUTH, linewidth=0.9, label=f"object, {MIN_POINTS} points or more"),
        Line2D([], [], color=MUTED, linewidth=0.8, linestyle=":", label="object, fewer"),
    ]
    figure.legend(
        handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=7.5, labelcolor=INK,
        bbox_to_anchor=(0.5, 0.025), handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip
    told = "the ego's frame · arrow: the ego · points above the ground"
    figure.text(0.5, 0.012, plain(told), ha="center", fontsize=7, color=MUTED)
    return save_png(figure, path)


def _named(frame: Frame, agent: str) -> str:
    view = frame.ego if agent == frame.ego.id else frame.others[agent]
    return f"{agent[:24]}{', ego' if agent == frame.ego.id else ''}: {len(view.points):,} points"
