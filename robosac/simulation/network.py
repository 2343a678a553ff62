"""The streets that SUMO's vehicles drive on, as shipped in `networks/`: their lanes and their signals.

`crossing.net.xml` is made of the other four files, which are written by hand, with SUMO's netconvert:

    netconvert -n crossing.nod.xml -e crossing.edg.xml -x crossing.con.xml -i crossing.tll.xml \\
        --no-turnarounds --offset.disable-normalization -o crossing.net.xml
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from robosac.types import Array, Float64

FOLDER: Final = Path(__file__).parent / "networks"
CROSSING: Final = FOLDER / "crossing.net.xml"


@dataclass(frozen=True, eq=False)
class Lane:
    """One lane of an edge, 0 the rightmost: its middle line `(K, 2)` in the direction of travel, metres."""

    edge: str
    index: int
    line: Float64
    width_m: float

    @property
    def within_junction(self) -> bool:
        return self.edge.startswith(":")


@dataclass(frozen=True)
class Signals:
    """A fixed plan: how long each phase lasts, and its letter for every connection: G or g for green, y, r."""

    durations_s: tuple[float, ...]
    states: tuple[str, ...]

    @property
    def cycle_s(self) -> float:
        return sum(self.durations_s)

    def at(self, t_s: float) -> str:
        """The letters at a time since the plan began."""
        ends = np.cumsum(self.durations_s)
        return self.states[int(np.searchsorted(ends, round(t_s % self.cycle_s, 6), side="right"))]


@dataclass(frozen=True, eq=False)
class Network:
    """Lanes, signals, and the link of each lane before the signals: (edge, lane) -> its letters' places."""

    lanes: tuple[Lane, ...]
    signals: Signals
    links: dict[tuple[str, int], tuple[int, ...]]

    @cached_property
    def _by_edge(self) -> dict[str, list[Lane]]:
        found: dict[str, list[Lane]] = {}
        for lane in self.lanes:
            found.setdefault(lane.edge, []).append(lane)
        return found

    def edge(self, name: str) -> list[Lane]:
        """The lanes of an edge, rightmost first."""
        return self._by_edge[name]

    def half_width_m(self, edge: str) -> float:
        """How far an edge's lanes reach from the ray from the origin that the edge goes along."""
        along = np.diff(self.edge(edge)[0].line, axis=0)[0]
        across = np.array([-along[1], along[0]]) / np.hypot(*along)
        return max(float(np.abs(lane.line @ across).max()) + lane.width_m / 2 for lane in self.edge(edge))


@lru_cache(maxsize=1)
def crossing() -> Network:
    """The shipped crossing: two streets, the one from west to east wider, with lanes for left turns."""
    root = ElementTree.parse(CROSSING).getroot()
    lanes = tuple(
        Lane(edge.attrib["id"], int(lane.attrib["index"]), _line(lane.attrib["shape"]), float(lane.attrib["width"]))
        for edge in root.iter("edge")
        for lane in edge.iter("lane")
    )
    phases = list(root.iter("phase"))
    signals = Signals(
        tuple(float(phase.attrib["duration"]) for phase in phases), tuple(phase.attrib["state"] for phase in phases)
    )
    links: dict[tuple[str, int], tuple[int, ...]] = {}
    for link in root.iter("connection"):
        if "tl" in link.attrib:
            key = (link.attrib["from"], int(link.attrib["fromLane"]))
            links[key] = (*links.get(key, ()), int(link.attrib["linkIndex"]))
    return Network(lanes, signals, links)


def _line(shape: str) -> Array:
    return np.array([[float(number) for number in point.split(",")[:2]] for point in shape.split()], np.float64)
