"""What a layout on disk must say; everything else (range, ego, delay, noise, truth) is done once for all of them.

A `Recording` is lazy: listing scenarios, agents and ticks opens no scan. A *tick* names one moment of a scenario, as
the data set writes it; ticks of a scenario are sorted in time and at least one of its agents has a scan at each.
Poses and boxes are in the data set's own world frame, right-handed or not: they are only ever used relative to one
another. Labels are what the data set lists, unfiltered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np

from robosac.types import Float32, Float64, Id, InputError, View

UNIT_NS: Final = {13: 1_000_000, 16: 1000, 19: 1}  # digits of a time since 1970


class DataError(InputError):
    """A file of a data set is broken, missing, or not what its layout says. The message names it, and can be printed
    whatever the file's name and content are.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(printable(f"{path}: {problem}"))
        self.path, self.problem = path, printable(problem)


def printable(text: str) -> str:
    """Foreign text as it may be printed: what is no UTF-8, and what would move a cursor, by its number."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


@dataclass(frozen=True)
class Told:
    """What there is to say of labels beside the objects: classes found and left out with their counts ("": records
    without a class), and records that were left out or mended because they cannot be.
    """

    classes: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[str, ...] = ()

    def __add__(self, other: Told) -> Told:
        def both(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
            return {name: a.get(name, 0) + b.get(name, 0) for name in {**a, **b}}

        broken = (*self.broken, *other.broken)
        return Told(both(self.classes, other.classes), both(self.others, other.others), broken)


@dataclass(frozen=True, eq=False)
class Objects:
    """Labelled objects of one moment. G: objects.

    Attributes:
        ids: the data set's names of the objects, unique; the same name is the same object in all of a scenario's
            ticks where the data set tracks objects.
        world_T_box: `(G, 4, 4)` float64, from a box's own frame (centre, +x forward) to the world.
        size: `(G, 3)` float32 length, width, height in metres.
        unnamed: those of the ids that the data set did not give: such an object is known by its place alone.
        told: what there is to say of what the data set lists.
    """

    ids: tuple[str, ...]
    world_T_box: Float64
    size: Float32
    unnamed: frozenset[str] = frozenset()
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.world_T_box.shape != (n, 4, 4) or self.size.shape != (n, 3):
            raise InputError(f"expected {n} poses and sizes, got {self.world_T_box.shape} and {self.size.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def none() -> Objects:
        """No objects."""
        return Objects((), np.zeros((0, 4, 4)), np.zeros((0, 3), np.float32))


@dataclass(frozen=True)
class AgentInfo:
    """An agent of a scenario. `body` is the name under which other agents' labels list it, None where they do not."""

    id: Id
    kind: str  # "vehicle" or "roadside"
    body: str | None = None


@runtime_checkable
class Recording(Protocol):
    """A data set on disk, one layout behind it."""

    @property
    def layout(self) -> str:
        """`opv2v`, `v2xsim-npy`, `v2xsim-pkl` or `dair-v2x-c`."""
        ...

    @property
    def root(self) -> Path:
        """The folder on disk."""
        ...

    def scenarios(self) -> Sequence[str]:
        """Names of all scenarios, in order."""
        ...

    def agents(self, scenario: str) -> Sequence[AgentInfo]:
        """All agents with a scan at any tick, in the data set's own order: the field's default ego first."""
        ...

    def ticks(self, scenario: str) -> Sequence[str]:
        """Names of a scenario's moments, in order of time.

        Raises:
            InputError: there is no such scenario.
        """
        ...

    def present(self, scenario: str, tick: str) -> Sequence[Id]:
        """The agents that have a scan at a tick."""
        ...

    def pose(self, scenario: str, tick: str, agent: Id) -> Float64:
        """`world_T_sensor` `(4, 4)` without reading the scan.

        Raises:
            DataError: if the files are missing or broken.
        """
        ...

    def view(self, scenario: str, tick: str, agent: Id) -> View:
        """The scan and the recorded pose. Points `(N, 4)` in the sensor frame, intensity in [0, 1].

        Raises:
            DataError: if the files are missing or broken.
        """
        ...

    def labels(self, scenario: str, tick: str, agents: Sequence[Id]) -> Objects:
        """The union of what is listed for these agents (for a data set with one list a frame: that list).

        Raises:
            DataError: if the files are missing or broken.
        """
        ...
