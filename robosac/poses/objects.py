"""What an agent shows, as places and headings with their scatter: what poses are compared by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robosac.boxes import nms_bev
from robosac.types import Array, Bool, Detections, Float64

ALONG_M, ACROSS_M, HEADING_DEG = 0.30, 0.15, 3.0
"""Standard deviations of a detected box: of its centre along and across its heading, and of the heading."""
_BODY_M, _BODY_WEIGHT = (4.5, 1.9), 0.5
_SQUARE = 1.25  # a box not much longer than wide has no heading to speak of


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects seen by one agent, in the ego's frame, best first.

    Attributes:
        xy: `(N, 2)` centres, metres.
        yaw: `(N,)` headings, radians; told apart modulo pi only, since a detector may take a front for a back.
        size: `(N, 2)` length and width, metres.
        weight: `(N,)` in (0, 1], the score.
    """

    xy: Float64
    yaw: Float64
    size: Float64
    weight: Float64

    @staticmethod
    def of(found: Detections, *, min_score: float = 0.25, most: int = 32) -> Objects:
        """The best boxes of a result, at most so many, one where several overlap: no flood makes this dear."""
        boxes, scores = np.asarray(found.boxes, np.float64), np.asarray(found.scores, np.float64)
        sound = np.isfinite(boxes).all(axis=1) & (scores >= min_score) & (boxes[:, 3:5] > 0.3).all(axis=1)
        sound &= (boxes[:, 3:5] < 30.0).all(axis=1) & (np.abs(boxes[:, :2]) < 1000.0).all(axis=1)
        rows = np.flatnonzero(sound)
        rows = rows[np.argsort(-scores[rows], kind="stable")][: 4 * most]
        rows = rows[nms_bev(boxes[rows], scores[rows], 0.05)][:most]
        return Objects(boxes[rows, :2], boxes[rows, 6], boxes[rows, 3:5], np.minimum(scores[rows], 1.0))

    def with_body(self, x_m: float, y_m: float, yaw_rad: float) -> Objects:
        """With the vehicle that carries the sensor at a place: a car of usual size, by a pose that is claimed."""
        return Objects(
            np.vstack([self.xy, [x_m, y_m]]),
            np.append(self.yaw, yaw_rad),
            np.vstack([self.size, _BODY_M]),
            np.append(self.weight, _BODY_WEIGHT),
        )

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def headed(self) -> Bool:
        """`(N,)`, whether an object is long enough to have a heading."""
        return np.asarray(self.size[:, 0] > _SQUARE * self.size[:, 1])

    def covariances(self, moved_m: float = 0.0) -> Float64:
        """`(N, 2, 2)` of the centres: larger along the heading, where a detector sees less of an object and, by
        `moved_m`, where it drives."""
        along = np.where(self.headed, ALONG_M, (ALONG_M + ACROSS_M) / 2) ** 2 + moved_m**2
        across = np.where(self.headed, ACROSS_M, (ALONG_M + ACROSS_M) / 2) ** 2
        return _turned(self.yaw, along, across)

    def some(self, which: Array) -> Objects:
        """Those at some indices or where a mask is true."""
        return Objects(self.xy[which], self.yaw[which], self.size[which], self.weight[which])


def _turned(yaw: Float64, along: Float64, across: Float64) -> Float64:
    cos, sin = np.cos(yaw), np.sin(yaw)
    out = np.empty((len(yaw), 2, 2))
    out[:, 0, 0] = cos**2 * along + sin**2 * across
    out[:, 1, 1] = sin**2 * along + cos**2 * across
    out[:, 0, 1] = out[:, 1, 0] = cos * sin * (along - across)
    return out
