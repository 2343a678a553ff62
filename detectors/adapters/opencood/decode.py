"""From a model's raw outputs to boxes, with the filters of OpenCOOD's own post-processing but vectorised.

The score threshold comes first, so that only the few anchors that pass it are decoded. The filters, in this order: side
lengths of the axis-aligned outline of at most 6 m, height within [-3, 1] m, rotated non-maximum suppression over the
best 1000, all corners within the evaluation range. Its two versions differ only for boxes without any height, which
both decoders here drop: the legacy release tests the extent along y where it means z.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import torch

from robosac.boxes import corners_bev, nms_bev, wrap_angle
from robosac.capabilities import Outputs
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.types import Array, BevGrid, Bool, Detections, Float32, InputError

GT_RANGE: Final = (-140.0, -40.0, -3.0, 140.0, 40.0, 1.0)
_MAX_SIDE_M: Final = 6.0
_Z_RANGE_M: Final = (-3.0, 1.0)
_NMS_TOP: Final = 1000
_PIXOR_MEAN: Final = np.array([0.008, 0.001, 0.202, 0.2, 0.43, 1.368])  # cos, sin, dx, dy, log l, log w
_PIXOR_STD: Final = np.array([0.866, 0.5, 0.954, 0.668, 0.09, 0.111])
_PIXOR_Z_M, _PIXOR_HEIGHT_M = -1.0, 1.56  # it predicts neither; these are the anchors' of the other models


@dataclass(frozen=True, eq=False)
class RawDetections(Detections):
    """Detections with the raw outputs they were read from, named as the model names them."""

    outputs: Outputs = field(default_factory=dict)


class Decoder(Protocol):
    """Reads boxes from raw outputs."""

    @property
    def grid(self) -> BevGrid: ...

    @property
    def score_threshold(self) -> float: ...

    @property
    def names(self) -> tuple[str, str]:
        """Names of the class output and of the box output."""
        ...

    def decode(self, outputs: Outputs) -> RawDetections: ...

    def corners(self, boxes: Array) -> Float32:
        """Corners of boxes `(N, 7)` as the model's own post-processing returns them."""
        ...

    def map_of(self, logits: torch.Tensor) -> torch.Tensor:
        """Class logits `(H, W)` on the grid, the best of a cell, from the class output `(1, A, ., .)`."""
        ...


def decoder_of(hypes: Mapping[str, Any], spec: Spec) -> Decoder:
    """The decoder that a configuration asks for.

    Raises:
        InputError: if the configuration lacks what is needed, or asks for what is not known here.
    """
    try:
        post = hypes["postprocess"]
        check_classes(post)
        limits = (float(post["target_args"]["score_threshold"]), float(post["nms_thresh"]), _eval_range(post))
        if spec.cells == "bev":
            return CellDecoder(*limits, dict(post["geometry_param"]), spec.heads)
        order = post.get("order", "hwl")
        if order != "hwl":
            raise InputError(f"expected anchors in the order 'hwl', got {order!r}; no OpenCOOD model is trained so")
        _check_anchors(post["anchor_args"])
        return AnchorDecoder(*limits, dict(post["anchor_args"]), spec.heads, dict(post.get("dir_args") or {}))
    except KeyError as error:
        raise InputError(
            f"expected the configuration to hold postprocess settings as load_yaml returns them, {error} is missing; "
            "load config.yaml with OpenCOODDetector.from_folder or with the project's own load_yaml"
        ) from None


def check_classes(post: Mapping[str, Any]) -> None:
    """Raises `InputError` for boxes of several classes."""
    if "anchor_generator_config" in (post.get("anchor_args") or {}):
        raise InputError(
            "expected anchors of one class, got those of several (anchor_generator_config, as in V2X-Real), whose "
            "boxes are not read here; wrap the model as a detector of your own (docs/own_detector.md)"
        )


def _check_anchors(args: Mapping[str, Any]) -> None:
    """Raises `InputError` where anchors and cells are not as many: the legacy release rounds 191.99 voxels down."""
    low, high = args["cav_lidar_range"][:2], args["cav_lidar_range"][3:5]
    cells = [round((b - a) / size) for a, b, size in zip(low, high, (args["vw"], args["vh"]), strict=True)]
    stride = args.get("feature_stride", 2)
    if [args["W"] // stride, args["H"] // stride] != [n // stride for n in cells]:
        raise InputError(
            f"expected anchors on the model's {cells[0] // stride} by {cells[1] // stride} cells, got "
            f"{args['W'] // stride} by {args['H'] // stride}: opencoodx rounds (range / voxel size) down, and such a "
            "model cannot have been trained with it; name a current checkout, root=PATH (--root PATH)"
        )


def _eval_range(post: Mapping[str, Any]) -> tuple[float, ...]:
    """CoAlign keeps it in the configuration; OpenCOOD in a global of its datasets package, which users do change."""
    datasets = sys.modules.get("opencood.data_utils.datasets")
    limits: Any = post.get("gt_range") or getattr(datasets, "GT_RANGE", GT_RANGE)
    return tuple(float(v) for v in limits)


def _suppressed(boxes: Float32, scores: Float32, iou: float) -> Array:
    """Indices kept by rotated NMS, best first. Ties go as in `scores.argsort()[::-1]`, which upstream uses."""
    order = scores.argsort()[::-1][:_NMS_TOP]
    return np.asarray(order[nms_bev(boxes[order], -np.arange(len(order), dtype=np.float64), iou)])


def _inside(boxes: Float32, limits: tuple[float, ...]) -> Bool:
    """Which boxes have all corners in the evaluation range, seen from above."""
    corners = corners_bev(boxes)
    return np.asarray(((corners >= limits[:2]) & (corners <= limits[3:5])).all(axis=(1, 2)))


def _finish(boxes: Float32, scores: Float32, decoder: AnchorDecoder | CellDecoder) -> tuple[Float32, Float32]:
    keep = _suppressed(boxes, scores, decoder.nms_iou)
    keep = keep[_inside(boxes[keep], decoder.eval_range)]
    return boxes[keep], scores[keep]


def _probabilities(output: Array) -> Float32:
    """Sigmoid of a class output `(1, A, H, W)` without its first axis."""
    return np.asarray(torch.sigmoid(torch.from_numpy(np.ascontiguousarray(output[0], np.float32))).numpy())


def _around(boxes: Array) -> Float32:
    """Corners `(N, 4, 2)` of boxes `(N, 7)` seen from above, in OpenCOOD's order: front right, front left, rear left,
    rear right."""
    return np.asarray(corners_bev(boxes)[:, [3, 0, 1, 2]], np.float32)


@dataclass(frozen=True)
class AnchorDecoder:
    """Boxes relative to anchors, two a cell as a rule (VoxelPostprocessor).

    Attributes:
        score_threshold, nms_iou, eval_range: limits of the filters.
        anchor_args: size, angles and grid of the anchors.
        names: names of the class output `(1, A, H, W)` and of the box output `(1, 7 A, H, W)`.
        dir_args: CoAlign's direction classifier, empty where there is none.
    """

    score_threshold: float
    nms_iou: float
    eval_range: tuple[float, ...]
    anchor_args: Mapping[str, Any]
    names: tuple[str, str]
    dir_args: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def grid(self) -> BevGrid:
        a = self.anchor_args
        if not np.isclose(a["vw"], a["vh"]):
            raise InputError(f"expected voxels that are square seen from above, got {a['vw']} by {a['vh']} m")
        stride = a.get("feature_stride", 2)
        low = a["cav_lidar_range"]
        return BevGrid(float(low[0]), float(low[1]), float(a["vw"] * stride), a["H"] // stride, a["W"] // stride)

    @cached_property
    def anchors(self) -> Float32:
        """`(H, W, A, 7)` [x y z h w l yaw]: the outer anchors' centres are one voxel inside of the range."""
        a, grid = self.anchor_args, self.grid
        low, high = a["cav_lidar_range"][:2], a["cav_lidar_range"][3:5]
        anchors = np.empty((grid.rows, grid.cols, len(a["r"]), 7), np.float32)
        anchors[..., 0] = np.linspace(low[0] + a["vw"], high[0] - a["vw"], grid.cols)[None, :, None]
        anchors[..., 1] = np.linspace(low[1] + a["vh"], high[1] - a["vh"], grid.rows)[:, None, None]
        anchors[..., 2:6] = -1.0, a["h"], a["w"], a["l"]
        anchors[..., 6] = np.radians(a["r"])
        return anchors

    def map_of(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[0].amax(dim=0)

    def decode(self, outputs: Outputs) -> RawDetections:
        """Detections of raw outputs. What is not finite, as an absurd message or broken weights make it, gives no box
        and leaves NaN in the score map.
        """
        classes, regression = (np.asarray(outputs[name]) for name in self.names)
        wanted = self.anchors.shape[:3]
        if (classes.shape[2], classes.shape[3], classes.shape[1]) != wanted:
            raise InputError(
                f"expected {self.names[0]} to fit the anchors {wanted} (rows, columns, a cell), got {classes.shape}; "
                "the configuration's lidar range, voxel size and feature_stride do not belong to this model (or this "
                "is the legacy release, which rounds 76.8 / 0.4 voxels down to 191)"
            )
        by_anchor = np.isfinite(regression[0]).reshape(wanted[2], 7, *wanted[:2]).all(axis=1)
        sound = by_anchor & np.isfinite(classes[0])
        scores = np.where(sound, _probabilities(classes), np.float32(0))
        row, col, kind = np.nonzero(scores.transpose(1, 2, 0) > np.float32(self.score_threshold))
        deltas = regression[0].reshape(wanted[2], 7, *wanted[:2])[kind, :, row, col].astype(np.float32)
        boxes = self.boxes(deltas, self.anchors[row, col, kind])
        if "dir_preds" in outputs and self.dir_args:
            bins = np.asarray(outputs["dir_preds"])[0].reshape(wanted[2], -1, *wanted[:2])[kind, :, row, col]
            boxes[:, 6] = self.turned(boxes[:, 6], bins)
        keep = plausible(boxes)
        found = _finish(boxes[keep], scores[kind, row, col][keep], self)
        known = np.where(sound, scores, np.float32(np.nan))
        return RawDetections(*found, known.max(axis=0), outputs)

    @staticmethod
    def corners(boxes: Array) -> Float32:
        """`(N, 8, 3)`: those below, and the same above."""
        corners = np.empty((len(boxes), 8, 3), np.float32)
        corners[:, :4, :2] = corners[:, 4:, :2] = _around(boxes)
        corners[:, :4, 2], corners[:, 4:, 2] = ((boxes[:, 2] + side * boxes[:, 5] / 2)[:, None] for side in (-1, 1))
        return corners

    @staticmethod
    def boxes(deltas: Float32, anchors: Float32) -> Float32:
        """Boxes `(N, 7)` from `deltas (N, 7)` relative to `anchors (N, 7)`, both [x y z h w l yaw]."""
        diagonal = np.hypot(anchors[:, 4], anchors[:, 5])
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.exp(deltas[:, 3:6]) * anchors[:, 3:6]
            xy = deltas[:, :2] * diagonal[:, None] + anchors[:, :2]
            z = deltas[:, 2] * anchors[:, 3] + anchors[:, 2]
            yaw = wrap_angle(deltas[:, 6] + anchors[:, 6])
        return np.column_stack([xy, z, size[:, ::-1], yaw]).astype(np.float32)

    def turned(self, yaw: Float32, bins: Array) -> Float32:
        """Headings `(N,)` brought into the half (or share) of the circle that the best of `bins (N, B)` names."""
        offset, period = float(self.dir_args["dir_offset"]), 2 * np.pi / int(self.dir_args["num_bins"])
        within = (yaw - offset) - np.floor((yaw - offset) / period) * period
        return np.asarray(wrap_angle(within + offset + period * bins.argmax(axis=1)), np.float32)


def plausible(boxes: Float32) -> Bool:
    """Which boxes `(N, 7)` are finite, have a volume, and are neither too large nor off the ground."""
    with np.errstate(over="ignore", invalid="ignore"):
        corners = corners_bev(boxes)
        side = corners.max(axis=1) - corners.min(axis=1)
        z, half = boxes[:, 2], boxes[:, 5] / 2
        return np.asarray(
            np.isfinite(boxes).all(axis=1)
            & (side <= _MAX_SIDE_M).all(axis=1)
            & (boxes[:, 5] > 0)
            & (z - half >= _Z_RANGE_M[0])
            & (z + half <= _Z_RANGE_M[1])
        )


@dataclass(frozen=True)
class CellDecoder:
    """PIXOR's boxes relative to cells (BevPostprocessor). Its outputs `(1, ., X, Y)` run along x first.

    Its boxes are flat: z and height are those of a typical car. Only the range filters them.
    """

    score_threshold: float
    nms_iou: float
    eval_range: tuple[float, ...]
    geometry: Mapping[str, Any]
    names: tuple[str, str]

    @cached_property
    def grid(self) -> BevGrid:
        g = self.geometry
        cols, rows = g["label_shape"][:2]
        return BevGrid(float(g["L1"]), float(g["W1"]), float(g["res"] * g["downsample_rate"]), rows, cols)

    def map_of(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[0, 0].T

    def decode(self, outputs: Outputs) -> RawDetections:
        """Detections of raw outputs; what is not finite as in `AnchorDecoder.decode`."""
        classes, regression = (np.asarray(outputs[name]) for name in self.names)
        grid = self.grid
        if classes.shape[2:] != (grid.cols, grid.rows):
            raise InputError(f"expected {self.names[0]} of (1, 1, {grid.cols}, {grid.rows}), got {classes.shape}")
        sound = np.isfinite(classes[0, 0]) & np.isfinite(regression[0]).all(axis=0)
        scores = np.where(sound, _probabilities(classes)[0], np.float32(0))
        x, y = np.nonzero(scores > np.float32(self.score_threshold))
        values = regression[0][:, x, y].T * _PIXOR_STD + _PIXOR_MEAN
        with np.errstate(over="ignore", invalid="ignore"):
            centre = values[:, 2:4] + np.column_stack([x, y]) * grid.cell_m + (grid.x_min_m, grid.y_min_m)
            size, yaw = np.exp(values[:, 4:6]), np.arctan2(values[:, 1], values[:, 0])
            fixed = np.tile([_PIXOR_Z_M, _PIXOR_HEIGHT_M], (len(x), 1))
            boxes = np.column_stack([centre, fixed[:, :1], size, fixed[:, 1:], yaw]).astype(np.float32)
        keep = np.isfinite(boxes).all(axis=1)
        found = _finish(boxes[keep], scores[x, y][keep], self)
        known = np.where(sound, scores, np.float32(np.nan))
        return RawDetections(*found, np.ascontiguousarray(known.T), outputs)

    @staticmethod
    def corners(boxes: Array) -> Float32:
        """`(N, 4, 2)`: PIXOR's boxes are seen from above."""
        return _around(boxes)
