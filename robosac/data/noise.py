"""What frames are like outside of a data set: measured poses are off, and teammates' messages come late.

`Disturbance` makes such frames of exact ones, whatever they come from: simulated scenes, a list, a `DataSet` (which
does the same by its own options, from files). Errors are drawn anew for every scan, the same in any order of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from robosac.boxes import nudge_pose
from robosac.types import Frame, InputError, Truth, View, keyed_rng


class PoseNoise(Protocol):
    """A law of errors. Values: settings, repr, equality."""

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Error in x and y, metres in the world, and of the heading, radians."""
        ...


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Normal errors; `sigma_m` and `sigma_deg` are standard deviations, of x and y each and of the heading."""

    sigma_m: float = 0.0
    sigma_deg: float = 0.0

    def __post_init__(self) -> None:
        _check("Gaussian", sigma_m=self.sigma_m, sigma_deg=self.sigma_deg)

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, y, turn = (float(v) for v in rng.normal(size=3))
        return x * self.sigma_m, y * self.sigma_m, turn * float(np.radians(self.sigma_deg))


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """Laplace errors, rarer and larger; `scale_m` and `scale_deg` are the scale b: standard deviation b sqrt(2)."""

    scale_m: float = 0.0
    scale_deg: float = 0.0

    def __post_init__(self) -> None:
        _check("Laplace", scale_m=self.scale_m, scale_deg=self.scale_deg)

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, y, turn = (float(v) for v in rng.laplace(size=3))
        return x * self.scale_m, y * self.scale_m, turn * float(np.radians(self.scale_deg))


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """Frames with errors of the measured poses, the ego's too, and with teammates that are some frames late.

    Attributes:
        pose_noise: law of the errors; None: poses as they are.
        delay_frames: teammates send the scan and pose of so many frames ago, with that scan's time; who was not in
            range then sends nothing. The ego's own scan is never late.
        seed: of the errors, which are keyed by seed, scenario, frame and agent: a scan that comes late has the error
            that it had.
    """

    pose_noise: PoseNoise | None = None
    delay_frames: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("delay_frames", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"expected {name} to be >= 0, got {getattr(self, name)}")

    def frame(self, read: Callable[[int], Frame], index: int) -> Frame:
        """Frame `index` of a scenario, of whose exact frames `read(k)` gives the k-th.

        Raises:
            InputError: if there are no frames so early: the first `delay_frames` of a scenario make none.
        """
        now = self._noisy(read(index))
        return late(now, self._noisy(read(self._before(index)))) if self.delay_frames else now

    def scene(self, read: Callable[[int], tuple[Frame, Truth]], index: int) -> tuple[Frame, Truth]:
        """As `frame`, with its truth: boxes and hits are those of the frame's own moment, so that results with and
        without delay compare; `world_T_sensor` are the true poses of the scans that were sent.
        """
        frame, truth = read(index)
        frame = self._noisy(frame)
        if not self.delay_frames:
            return frame, truth
        older, before = read(self._before(index))
        frame = late(frame, self._noisy(older))
        poses = {a: before.world_T_sensor[a] for a in frame.others}
        hits = {a: h for a, h in truth.hits.items() if a == frame.ego.id or a in frame.others}
        ego = {frame.ego.id: truth.world_T_sensor[frame.ego.id]}
        return frame, replace(truth, hits=hits, world_T_sensor={**ego, **poses})

    def _before(self, index: int) -> int:
        if index < self.delay_frames:
            raise InputError(
                f"expected a frame that others come before, {self.delay_frames} or later, got {index}; "
                "lower the delay or take a later frame"
            )
        return index - self.delay_frames

    def _noisy(self, frame: Frame) -> Frame:
        noise = self.pose_noise
        if noise is None:
            return frame

        def measured(view: View) -> View:
            rng = keyed_rng(self.seed, frame.scenario, frame.index, "pose", view.id)
            return with_noise(view, noise, rng)

        return replace(frame, ego=measured(frame.ego), others={a: measured(v) for a, v in frame.others.items()})


def late(now: Frame, older: Frame) -> Frame:
    """The frame of now with each teammate's view of then; who is not in both is left out."""
    return replace(now, others={a: older.others[a] for a in now.others if a in older.others})


def with_noise(view: View, noise: PoseNoise, rng: np.random.Generator) -> View:
    """A view with the pose that the agent believes to have: moved in the world's plane, turned about its z axis."""
    return replace(view, world_T_sensor=nudge_pose(view.world_T_sensor, *noise.draw(rng)))


def _check(law: str, **sizes: float) -> None:
    for name, value in sizes.items():
        if not 0 <= value < float("inf"):
            raise InputError(f"expected {law} {name} to be >= 0 and finite, got {value}")
