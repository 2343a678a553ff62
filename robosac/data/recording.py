"""What a layout on disk must say; everything else (range, ego, delay, noise, truth) is done once for all of them.

A `Recording` is lazy: listing scenarios, agents and ticks opens no scan. A *tick* names one moment of a scenario, as
the data set writes it; ticks of a scenario are sorted in time and at least one of its agents has a scan at each.
Poses and boxes are in the data set's own world frame, right-handed or not: they are only ever used relative to one
another. Labels are what the data set lists, unfiltered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from robosac.types import Float32, Float64, Id, InputError, View


class DataError(InputError):
    """A file of a data set is broken, missing, or not what its layout says. The message names it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


@dataclass(frozen=True, eq=False)
class Objects:
    """Labelled objects of one moment. G: objects.

    Attributes:
        ids: the data set's names of the objects, unique; the same name is the same object in all of a scenario's
            ticks where the data set tracks objects.
        world_T_box: `(G, 4, 4)` float64, from a box's own frame (centre, +x forward) to the world.
        size: `(G, 3)` float32 length, width, height in metres.
    """

    ids: tuple[str, ...]
    world_T_box: Float64
    size: Float32

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
