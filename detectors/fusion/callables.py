"""What a user's single-vehicle detector returns, checked: the one place where foreign code meets ours.

A detector is any callable from points to boxes and scores, numpy or torch. It knows no teammates. Where it is wrong,
the error says what was expected; `LateFusion` and `EarlyFusion` make a collaborative detector of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from robosac.boxes import wrap_angle
from robosac.types import Array, Bool, Float32, InputError

Detect: TypeAlias = Callable[[Float32], Any]
"""Points `(N, 4)` float32 `[x y z intensity]` in a sensor's frame -> `(boxes, scores)`: boxes `(M, 7)` in that
frame and scores `(M,)` in [0, 1], numpy or torch, in any order."""

_ROUNDING: Final = 1e-5  # a score of 1 that went through float16 is still a score


def found_by(detect: Detect, points: Array, *, name: str) -> tuple[Float32, Float32]:
    """Boxes `(M, 7)` and scores `(M,)` of points `(N, 4)`, in the order `detect` gave them. No points, no boxes.

    Raises:
        InputError: if `detect` returns something else than boxes and scores; `name` says whose mistake it is.
    """
    if len(points) == 0:
        return empty()
    result = detect(np.ascontiguousarray(points, dtype=np.float32))
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        raise InputError(f"expected detect of {name!r} to return (boxes, scores), got {_shown(result)}")
    boxes, scores = (
        _array(part, f"{what} of {name!r}") for part, what in zip(result, ("boxes", "scores"), strict=True)
    )
    if boxes.size == 0 and scores.size == 0:
        return empty()
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise InputError(f"expected boxes of {name!r} to be (N, 7) [x y z l w h yaw], got shape {boxes.shape}")
    if scores.shape != (len(boxes),):
        raise InputError(f"expected scores of {name!r} to be ({len(boxes)},), one a box, got shape {scores.shape}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise InputError(f"expected boxes and scores of {name!r} to be finite, got NaN or inf; leave such boxes out")
    if scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING:
        raise InputError(
            f"expected scores of {name!r} in [0, 1], got {scores.min():.3g} to {scores.max():.3g}; "
            "are these logits? Then give their sigmoid"
        )
    if boxes[:, 3:6].min() <= 0:
        least = boxes[:, 3:6].min()
        raise InputError(f"expected l, w, h of {name!r} (columns 3 to 5 of its boxes) to be positive, got {least:.3g}")
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    return boxes, np.clip(scores, 0.0, 1.0)


def empty() -> tuple[Float32, Float32]:
    """No boxes."""
    return np.zeros((0, 7), np.float32), np.zeros(0, np.float32)


def best_first(boxes: Float32, scores: Float32, *, min_score: float, most: int) -> tuple[Float32, Float32]:
    """The best `most` boxes with a score of at least `min_score`, best first, equal scores in the order they came."""
    kept = np.flatnonzero(scores >= min_score)
    order = kept[np.argsort(-scores[kept], kind="stable")][:most]
    return boxes[order], scores[order]


def own_body(boxes: Array) -> Bool:
    """Which boxes `(N, 7)` hold the origin seen from above, `(N,)`: in a sensor's frame, what carries the sensor."""
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    along, across = cos * boxes[:, 0] + sin * boxes[:, 1], cos * boxes[:, 1] - sin * boxes[:, 0]
    return np.asarray((2 * np.abs(along) <= boxes[:, 3]) & (2 * np.abs(across) <= boxes[:, 4]))


def _array(part: Any, what: str) -> Float32:
    """A float32 copy of an array, a tensor on any device or a nested list."""
    if hasattr(part, "detach"):  # torch, without importing it
        part = part.detach().cpu().float().numpy()
    try:
        return np.array(part, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected {what} to be an array of numbers, got {_shown(part)}: {error}") from error


def _shown(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return f"{type(value).__name__}{size}"
