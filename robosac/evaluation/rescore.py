"""The AP of saved boxes under every convention, and what makes the conventions differ on these boxes.

A convention is a mode of `compat`, or ours, and what its framework leaves out before: OpenCOOD counts boxes with all
corners in [-140, 140] x [-40, 40] m, coperception detections scored above 0.7. Each way in which two conventions part
is measured by itself, on the same boxes: what changes where that alone is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.boxes import IOU_TOLERANCE, corners_bev, iou_bev
from robosac.evaluation import compat
from robosac.evaluation.ap import average_precision, match_frame
from robosac.types import Array, Bool, Detections, InputError

OURS: Final = "robosac"
LIMITS_M: Final = (140.0, 40.0)  # of OpenCOOD's evaluation, x and y
LEAST_SCORE: Final = 0.7  # of coperception's
APs = dict[float, float | None]


@dataclass(frozen=True, eq=False)
class Boxes:
    """One frame: detections, the objects `(G, 7)` that count, real ones `(I, 7)` that do not."""

    detections: Detections
    objects: Array
    ignored: Array

    def kept(self, detections: Bool, objects: Bool, ignored: Bool) -> Boxes:
        """Those of which it is true."""
        d = self.detections
        return Boxes(
            Detections(d.boxes[detections], d.scores[detections]), self.objects[objects], self.ignored[ignored]
        )


@dataclass(frozen=True)
class Convention:
    """A way of counting: who counts so, what is left out before, and by which rules the rest is counted.

    Attributes:
        name: in tables.
        mode: of `compat`, or `OURS`.
        about: in a few words.
        before: what is left out first; None: nothing.
        local: needs boxes in the ego's frame.
        scores: whether it needs scores; without, boxes in the order of a frame are enough.
    """

    name: str
    mode: str
    about: str
    before: Callable[[Boxes], Boxes] | None = None
    local: bool = False
    scores: bool = True


@dataclass(frozen=True)
class Difference:
    """One way in which conventions part.

    Attributes:
        name: in a word or two.
        concerns: whom.
        count: how much of it there is in these boxes.
        of: what is counted.
        change: IoU threshold -> how much AP it moves by itself; None where nothing is defined.
    """

    name: str
    concerns: str
    count: int
    of: str
    change: APs


def in_range(frame: Boxes) -> Boxes:
    """What OpenCOOD's evaluation keeps, seen from above: all corners in its range."""
    d, o, i = (_inside(b) for b in (frame.detections.boxes, frame.objects, frame.ignored))
    return frame.kept(d, o, i)


def confident(frame: Boxes) -> Boxes:
    """What coperception's evaluation keeps: detections scored above 0.7."""
    every = (np.ones(len(b), np.bool_) for b in (frame.objects, frame.ignored))
    return frame.kept(frame.detections.scores > LEAST_SCORE, *every)


CONVENTIONS: Final = (
    Convention(OURS, OURS, "all frames, all scores, equal scores together"),
    Convention("opencood_global", "opencood_global", "OpenCOOD with --global_sort_detections, CoAlign"),
    Convention("opencood_local", "opencood_local", "OpenCOOD's default and its tables: frame by frame", scores=False),
    Convention("coperception", "coperception", "coperception and ROBOSAC's tables: empty frames dropped"),
    Convention("opencood_global, in range", "opencood_global", "with OpenCOOD's own range first", in_range, True),
    Convention("opencood_local, in range", "opencood_local", "with OpenCOOD's own range first", in_range, True, False),
    Convention("coperception, scores > 0.7", "coperception", "with coperception's own threshold first", confident),
)


def figures(
    frames: Sequence[Boxes], thresholds: Sequence[float], *, scored: bool = True, local: bool = True
) -> dict[str, APs | str]:
    """Convention -> AP at each threshold; where it cannot be counted so, why.

    Raises:
        InputError: thresholds outside of (0, 1], boxes or scores that are not finite, and no frame.
    """
    if not frames:
        raise InputError("expected frames, got none; there is nothing to score")
    found: dict[str, APs | str] = {}
    for c in CONVENTIONS:
        if c.scores and not scored:
            found[c.name] = "needs scores, which were not saved"
        elif c.local and not local:
            found[c.name] = "needs boxes in the ego's frame"
        else:
            found[c.name] = _ap([f if c.before is None else c.before(f) for f in frames], c.mode, thresholds)
    return found


def differences(frames: Sequence[Boxes], thresholds: Sequence[float], *, scored: bool = True) -> list[Difference]:
    """What makes conventions differ on these boxes, each by itself; what moves nothing is left out."""
    by_frame = _ap(frames, "opencood_local", thresholds)
    backwards = _ap(frames[::-1], "opencood_local", thresholds)
    made = [
        Difference(
            "order of the frames", "opencood_local", len(frames), "frames; the same ones backwards",
            _change(by_frame, backwards),
        ),
    ]  # fmt: skip
    if scored:
        made += _of_scores(frames, thresholds, by_frame)
    return [d for d in made if d.count and any(c is None or c != 0 for c in d.change.values())]


def _of_scores(frames: Sequence[Boxes], thresholds: Sequence[float], by_frame: APs) -> list[Difference]:
    ours, pooled = _ap(frames, OURS, thresholds), _ap(frames, "opencood_global", thresholds)
    dropped = [f for f in frames if not (len(f.detections) and len(f.objects))]
    full = [f for f in frames if len(f.detections) and len(f.objects)]
    blind = [Boxes(f.detections, f.objects, f.ignored[:0]) for f in frames]
    scores = np.concatenate([f.detections.scores for f in frames])
    low, high = _by_ties(frames, thresholds, -1), _by_ties(frames, thresholds, +1)
    return [
        Difference(
            "frame by frame", "opencood_local", len(frames), "frames, in place of one order over all",
            _change(pooled, by_frame),
        ),
        Difference(
            "frames dropped", "coperception", len(dropped),
            f"frames without a detection or an object, with {sum(len(f.objects) for f in dropped)} objects",
            _change(ours, _ap(full, OURS, thresholds)),
        ),
        Difference(
            "second best", "coperception", sum(_second_best(f, min(thresholds)) for f in full),
            "detections that take an object although they overlap another one more",
            _change(_ap(full, "opencood_global", thresholds), _ap(full, "coperception", thresholds)),
        ),
        Difference(
            "ignorable objects", "robosac", sum(len(f.ignored) for f in frames),
            "real objects that do not count; elsewhere finding one is a mistake",
            _change(ours, _ap(blind, OURS, thresholds)),
        ),
        Difference(
            "equal scores", "all but robosac", len(scores) - len(np.unique(scores)),
            "detections that share a score with another: from the worst order among them to the best",
            _change(low, high),
        ),
        Difference(
            "rounding", "robosac", sum(_at_the_edge(f, t) for f in frames for t in thresholds),
            f"overlaps within {IOU_TOLERANCE:g} below a threshold, which count here and nowhere else",
            dict.fromkeys(thresholds),
        ),
        Difference(
            "range", "OpenCOOD", sum(int((~_inside(b)).sum()) for f in frames for b in (f.detections.boxes, f.objects)),
            f"detections and objects beyond {LIMITS_M[0]:g} x {LIMITS_M[1]:g} m",
            _change(pooled, _ap([in_range(f) for f in frames], "opencood_global", thresholds)),
        ),
        Difference(
            "low scores", "coperception", int((scores <= LEAST_SCORE).sum()),
            f"detections scored {LEAST_SCORE:g} or less",
            _change(ours, _ap([confident(f) for f in frames], OURS, thresholds)),
        ),
    ]  # fmt: skip


def _ap(frames: Sequence[Boxes], mode: str, thresholds: Sequence[float]) -> APs:
    if not frames:
        return dict.fromkeys(map(float, thresholds))
    if mode == OURS:
        return average_precision(
            [match_frame(f.detections, f.objects, f.ignored, thresholds=tuple(thresholds)) for f in frames]
        )
    return compat.average_precision([(f.detections, f.objects) for f in frames], mode, thresholds)


def _change(before: APs, after: APs) -> APs:
    return {t: None if (a := after[t]) is None or b is None else a - b for t, b in before.items()}


def _inside(boxes: Array) -> Bool:
    return np.asarray((np.abs(corners_bev(boxes)) <= LIMITS_M).all(axis=(1, 2)))


def _by_ties(frames: Sequence[Boxes], thresholds: Sequence[float], better: int) -> APs:
    """AP one detection after another, hits first (`better` > 0) or last among equal scores over all frames."""
    found: APs = {}
    for t in thresholds:
        matches = [match_frame(f.detections, f.objects, f.ignored, thresholds=(t,)) for f in frames]
        total = sum(m.n_gt for m in matches)
        scores = np.concatenate([m.scores for m in matches]).astype(np.float64)
        outcome = np.concatenate([m.outcome[0] for m in matches])
        scores, hit = scores[outcome >= 0], outcome[outcome >= 0] == 1
        hit = hit[np.lexsort((-better * hit.astype(int), -scores))]
        precision = hit.cumsum() / np.arange(1, len(hit) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        found[float(t)] = float(best[hit].sum() / total) if total else None
    return found


def _second_best(frame: Boxes, threshold: float) -> int:
    """Detections that OpenCOOD's rule lets take an object other than the one they overlap most."""
    iou, count = iou_bev(frame.detections.boxes, frame.objects).astype(np.float32), 0
    free = np.ones(len(frame.objects), np.bool_)
    for d in np.argsort(-frame.detections.scores, kind="stable"):
        overlap = np.where(free, iou[d], np.float32(-1))
        if len(overlap) and overlap.max() >= np.float32(threshold):
            free[overlap.argmax()] = False
            count += int(overlap.argmax() != iou[d].argmax())
    return count


def _at_the_edge(frame: Boxes, threshold: float) -> int:
    iou = iou_bev(frame.detections.boxes, frame.objects)
    return int(((iou < threshold) & (iou >= threshold - IOU_TOLERANCE)).sum())
