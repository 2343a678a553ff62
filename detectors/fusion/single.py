"""The shipped network as a plain single-vehicle detector: points in, boxes and scores out.

What late and early fusion are tried with where nobody brings a detector of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robosac import detectors
from robosac.types import EGO_ALONE, BevGrid, Float32, Request, View


class Single:
    """A shipped detector that is asked as if there were no other agents."""

    def __init__(self, name_or_path: str | Path = "mean", *, device: str = "cpu") -> None:
        self._detector = detectors.load(name_or_path, device=device)
        self._shown = f"single({str(name_or_path)!r})"

    def __repr__(self) -> str:
        return self._shown

    def fingerprint(self) -> list[Any]:
        """That of the network: its weights may be in any file."""
        return self._detector.fingerprint()

    @property
    def grid(self) -> BevGrid:
        """The area that it looks at."""
        return self._detector.grid

    def __call__(self, points: Float32) -> tuple[Float32, Float32]:
        """Boxes `(M, 7)` and scores `(M,)`, best first, of points `(N, 4)` in the sensor's frame."""
        view = View("ego", "vehicle", 0, points, np.eye(4))
        found = self._detector.open(view, Request.of(view), []).detect([EGO_ALONE])[0]
        return found.boxes, found.scores


def single(name_or_path: str | Path = "mean", *, device: str = "cpu") -> Single:
    """A shipped detector by name, or weights from a file, as a callable `points -> (boxes, scores)`."""
    return Single(name_or_path, device=device)
