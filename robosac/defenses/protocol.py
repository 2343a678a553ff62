"""What a defence is. A `Defense` is a value, a `Defender` lives within one scenario; anything with `start` will do.

A defence sees what the ego sees: its own view and what arrived on its links. It never sees the truth or who attacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from robosac.calibration import Calibration, Statistic
from robosac.types import BevGrid, Detector, Id, Received, Request, Subset, Verdict, View

FINITE: Final = "finite"
"""A trial's score, 0 where NaN or inf came out of its subset; else left out."""


@runtime_checkable
class Defender(Protocol):
    """Gate, session, decision, memory: lives within one scenario."""

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        """Decide about one frame. Nothing that a teammate sends makes it raise."""
        ...


@runtime_checkable
class Defense(Protocol):
    """A value: settings, repr, equality."""

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Defender:
        """A defender with the memory of one scenario.

        `calibration` is the detector's, None where there is none; `rng` is the only source of randomness.
        """
        ...


class Surrogate(Protocol):
    """What an adaptive attacker knows of a defence: how it measures and how it draws, but not what it will draw."""

    def against(self, reference: Any, ego: View, grid: BevGrid | None) -> Callable[[Any], Any]:
        """The measure, differentiable: class logits `(S, H, W)` -> agreement `(S,)` in [0, 1], both torch tensors.

        `reference` are the class logits `(H, W)` of the ego alone.
        """
        ...

    def threshold(self, size: int) -> float:
        """Agreement that a subset of `size` teammates must reach."""
        ...

    def draw(self, ids: Sequence[Id], count: int, rng: np.random.Generator) -> list[Subset]:
        """`count` subsets as the defence would draw them for trials, from the attacker's own random numbers."""
        ...


@runtime_checkable
class Adaptable(Defense, Protocol):
    """A defence that adaptive attacks can be computed against."""

    def surrogate(self, calibration: Calibration | None, detector: str) -> Surrogate:
        """What an attacker who knows these settings knows of the defence of the named detector."""
        ...


@runtime_checkable
class Calibrated(Defense, Protocol):
    """A defence that asks for statistics of honest frames; `robosac calibrate --defense NAME` makes them."""

    def statistics(self) -> Sequence[Statistic]:
        """What it looks up in the calibration that `start` is given, by name."""
        ...
