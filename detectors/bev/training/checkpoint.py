"""A training run as it stands, in one file that is written whole or not at all, so that a run killed at any moment goes
on where it last stood and ends with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robosac.detectors.checkpoints import read_plain
from robosac.files import write_whole
from robosac.types import InputError

Log = Callable[[str], None]


@dataclass
class Progress:
    """What a run has come to.

    Attributes:
        step: steps done.
        seconds: that they took, all sittings together.
        curve: means of the losses over stretches of steps.
        sums: of the losses since the last of those.
        validations: figures on the validation frames, with the step they were taken at.
        best: the weights of the best of these, and None before the first.
        plan: steps, and those over which the rate falls, that it was last gone on with.
    """

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    validations: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    plan: list[int] = field(default_factory=list)

    def add(self, losses: dict[str, Tensor], every: int) -> bool:
        """Count one step; True when a row of the curve was completed."""
        self.step += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        if self.step % every:
            return False
        self.curve.append({"step": self.step, **{n: round(v / every, 4) for n, v in self.sums.items()}})
        self.sums = {}
        return True


class Checkpoint:
    """The file of a run. `key` says what is trained on what: another run's file is not gone on from."""

    def __init__(self, path: Path, key: str, **parts: Any) -> None:
        """
        Args:
            path: where it is kept.
            key: of the run.
            parts: what has `state_dict` and `load_state_dict`, by name.
        """
        self._path, self._key, self._parts = path, key, parts

    def load(self, log: Log) -> Progress:
        """Go on from the file: the parts are as they were, and this is what they had come to. A new run without one.

        Raises:
            InputError: the file is of another run, or broken.
        """
        if not self._path.exists():
            return Progress()
        advice = f"delete it to train from the beginning, or name another --out: {self._path}"
        held = read_plain(self._path, advice)
        if not isinstance(held, dict) or held.get("key") != self._key:
            raise InputError(f"expected a checkpoint of this configuration, seed and data, got another's; {advice}")
        for name, part in self._parts.items():
            part.load_state_dict(held[name])
        progress = Progress(**held["progress"])
        log(f"going on from step {progress.step}, {self._path}")
        return progress

    def save(self, progress: Progress) -> None:
        """Write the file."""
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        buffer = BytesIO()
        torch.save({"key": self._key, "progress": vars(progress), **parts}, buffer)
        write_whole(self._path, buffer.getvalue())


def copied(net: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
