"""The compatibility modes against the frameworks' own evaluation, on random frames with all that can go wrong.

OpenCOOD: the installed one, or ROBOSAC_OPENCOOD=checkout. opencoodx has no global sort; there the rule of the current
one, sort by score what the matching gave, is applied to what its own matching gives, and its own area is taken.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from robosac.boxes import corners_bev, iou_bev
from robosac.detectors.adapters.coperception.bridges import load
from robosac.detectors.adapters.opencood import bridges
from robosac.evaluation.compat import Scene, average_precision, left_out
from robosac.types import Detections

OPENCOOD = os.environ.get("ROBOSAC_OPENCOOD") or None
COPERCEPTION = os.environ.get("ROBOSAC_COPERCEPTION") or None
THRESHOLDS = (0.3, 0.5, 0.7)
SEEDS = range(40)

needs_opencood = pytest.mark.skipif(
    OPENCOOD is None and importlib.util.find_spec("opencood") is None,
    reason="no OpenCOOD: pip install --no-deps opencoodx, or ROBOSAC_OPENCOOD=checkout",
)
needs_coperception = pytest.mark.skipif(
    COPERCEPTION is None and importlib.util.find_spec("coperception") is None,
    reason="no coperception: pip install --no-deps --no-build-isolation coperception, or ROBOSAC_COPERCEPTION=checkout",
)


def random_frames(seed: int) -> list[Scene]:
    """Frames with empty ones of each kind, crowds, duplicates, ties and saturated scores."""
    rng = np.random.default_rng(seed)
    return [random_frame(rng) for _ in range(rng.integers(2, 12))]


def random_frame(rng: np.random.Generator) -> Scene:
    kind = rng.choice(["usual", "crowd", "silent", "ghosts", "nothing"], p=[0.55, 0.2, 0.1, 0.1, 0.05])
    g = 0 if kind in ("ghosts", "nothing") else int(rng.integers(1, 12))
    spread = 6.0 if kind == "crowd" else 40.0  # in a crowd objects overlap one another
    truth = np.zeros((g, 7))
    truth[:, :2], truth[:, 6] = rng.uniform(-spread, spread, (g, 2)), rng.uniform(-np.pi, np.pi, g)
    truth[:, 3:6] = np.array([4.5, 2.0, 1.6]) * rng.uniform(0.8, 1.3, (g, 3))
    noise = np.array([0.4, 0.4, 0.1, 0.2, 0.1, 0.1, 0.1])
    found = [t + rng.normal(0, 1, 7) * noise for t in truth for _ in range(rng.integers(0, 4))]
    found += [
        np.array([*rng.uniform(-40, 40, 2), 0, 4.5, 2, 1.6, rng.uniform(-3, 3)]) for _ in range(rng.integers(0, 9))
    ]
    if kind in ("silent", "nothing"):
        found = []
    boxes = np.array(found).reshape(-1, 7)
    boxes = np.concatenate([boxes, boxes[rng.uniform(size=len(boxes)) < 0.2]])  # the same box twice
    boxes = boxes[rng.permutation(len(boxes))]
    style = rng.choice(["free", "ties", "saturated"])
    scores = rng.uniform(0.2, 1, len(boxes))
    if style == "ties":
        scores = np.round(scores, 1)
    elif style == "saturated":
        scores = np.where(rng.uniform(size=len(scores)) < 0.7, 1.0, scores)
    return Detections(boxes.astype(np.float32), scores.astype(np.float32)), truth.astype(np.float32)


def test_the_frames_hold_what_can_go_wrong() -> None:
    frames = [f for seed in SEEDS for f in random_frames(seed)]
    assert any(len(d) and not len(t) for d, t in frames) and any(len(t) and not len(d) for d, t in frames)
    assert any(len(d) > 20 for d, _ in frames)  # beyond what numpy sorts by insertion, which is stable
    assert any(len(np.unique(d.scores)) < len(d) / 2 for d, _ in frames if len(d))
    taken_twice = [(iou_bev(d.boxes, t) >= 0.3).sum(axis=1) > 1 for d, t in frames if len(d) and len(t)]
    assert np.concatenate(taken_twice).sum() > 50  # detections that have a second best


# ---------------------------------------------------------------------------------------------------- OpenCOOD
def opencood_ap(frames: Sequence[Scene], threshold: float, *, by_score: bool) -> float:
    theirs = bridges.import_module("opencood.utils.eval_utils", OPENCOOD)
    stat: dict[float, dict[str, Any]] = {threshold: {"tp": [], "fp": [], "gt": 0, "score": []}}
    known: list[float] = []
    for detections, truth in frames:
        found = torch.from_numpy(corners_bev(detections.boxes)) if len(detections) else None
        scores = torch.from_numpy(detections.scores) if len(detections) else None
        theirs.caluclate_tp_fp(found, scores, torch.from_numpy(corners_bev(truth)), stat, threshold)
        known += detections.scores[np.argsort(-detections.scores)].tolist()
    if theirs.calculate_ap.__code__.co_argcount == 3:
        assert stat[threshold]["score"] == known
        return float(theirs.calculate_ap(stat, threshold, by_score)[0])
    if by_score:
        order = np.argsort(-np.array(known))
        for key in ("tp", "fp"):
            stat[threshold][key] = np.array(stat[threshold][key])[order].tolist()
    return float(theirs.calculate_ap(stat, threshold)[0])


@needs_opencood
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("mode", ["opencood_local", "opencood_global"])
def test_opencood(mode: str, threshold: float) -> None:
    differ = 0
    for seed in SEEDS:
        frames = random_frames(seed)
        if not sum(len(t) for _, t in frames):
            continue
        ours = average_precision(frames, mode, [threshold])[threshold]
        theirs = opencood_ap(frames, threshold, by_score=mode == "opencood_global")
        assert ours == pytest.approx(theirs, abs=1e-9), seed
        other = "opencood_local" if mode == "opencood_global" else "opencood_global"
        differ += average_precision(frames, other, [threshold])[threshold] != ours
    assert differ > len(SEEDS) / 2  # the two modes are two figures


# ------------------------------------------------------------------------------------------------ coperception
@functools.cache
def coperception_functions() -> tuple[ModuleType, ModuleType]:
    load(COPERCEPTION)
    printers = {"mmcv": {}, "mmcv.utils": {"print_log": print}, "terminaltables": {"AsciiTable": None}}  # of its tables
    absent = {n: ModuleType(n) for n in printers if importlib.util.find_spec(n.split(".")[0]) is None}
    for name, module in absent.items():
        module.__dict__.update(printers[name])
    sys.modules.update(absent)
    try:
        return import_module("coperception.utils.detection_util"), import_module("coperception.utils.mean_ap")
    finally:
        for name in absent:
            del sys.modules[name]


def coperception_ap(frames: Sequence[Scene], threshold: float) -> tuple[float, int, int]:
    """AP, frames counted and objects counted by coperception's own two functions."""
    detection, mean_ap = coperception_functions()
    results: list[Any] = []
    annotations: list[Any] = []
    for detections, truth in frames:
        # an anchor an object, turning clockwise as its do, and codes that say "no change": it decodes our boxes
        anchors = np.column_stack([truth[:, :2], truth[:, 3:5], -np.sin(truth[:, 6]), np.cos(truth[:, 6])])
        codes = np.tile([0.0, 0, 0, 0, 0, 1], (len(truth), 1))
        data = {
            "anchors_map": anchors.astype(np.float64).reshape(1, 1, -1, 6),
            "reg_targets": codes.reshape(1, 1, -1, 1, 6),
            "gt_max_iou": [np.array([0, 0, k, 1]) for k in range(len(truth))],
            "result": [{"pred": corners_bev(detections.boxes)[:, None], "score": detections.scores}],
        }
        results, annotations = detection.cal_local_mAP(None, data, results, annotations)
    if not results:
        return 0.0, 0, 0
    value, _ = mean_ap.eval_map(results, annotations, iou_thr=threshold, logger="silent", nproc=1)
    return float(value), len(results), sum(len(a["bboxes"]) for a in annotations)


@needs_coperception
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_coperception(threshold: float) -> None:
    dropped = 0
    for seed in SEEDS:
        frames = random_frames(seed)
        theirs, counted, objects = coperception_ap(frames, threshold)
        ours = average_precision(frames, "coperception", [threshold])[threshold]
        assert ours == (None if counted == 0 else pytest.approx(theirs, abs=1e-9)), seed
        silent, missed = left_out(frames, "coperception")
        empty = sum(not len(d) and not len(t) for d, t in frames)
        assert (len(frames) - silent - empty, sum(len(t) for _, t in frames) - missed) == (counted, objects)
        dropped += missed
    assert dropped > 20
