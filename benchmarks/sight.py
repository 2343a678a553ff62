"""What do detectors see, on simulated roads and on recordings: AP, false boxes, headings, and what it costs?

    python -m benchmarks.sight --detector mean runs/road.safetensors --data sim:road sim:mixed --split val
    python -m benchmarks.sight --detector mean runs/road.safetensors --data dair:PATH opv2v:PATH

Honest frames, every vehicle of a simulated frame and every agent of a recording as the ego in turn. AP from above by
`robosac.evaluation.ap`, the ego alone and everybody fused, within one region for all detectors, or each detector's own
map where none is given. At the operating score: false boxes a frame of the full fusion, and which share of its true
ones look the right way. Milliseconds on one thread of encoding a scan, and of fusing and decoding one subset.
Detectors are compared on validation scenes; test scenes and recordings are for reporting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.machine import Option, describe, machine, options, refusing
from robosac.boxes import iou_bev, wrap_angle
from robosac.data.dataset import EACH, DataSet
from robosac.data.points import spread
from robosac.evaluation.ap import FP, TP, FrameMatches, average_precision, counted, match_truth
from robosac.executors import set_threads
from robosac.registry.data import is_simulated, open_recording, split_name
from robosac.registry.detectors import open_detector
from robosac.simulation import SimConfig, scenario
from robosac.types import EGO_ALONE, BevGrid, Bool, Detections, Detector, Float32, Frame, InputError, Request, Truth

THRESHOLDS = (0.3, 0.5, 0.7)


@dataclass
class Seen:
    """What one detector saw in all frames so far."""

    alone: list[FrameMatches] = field(default_factory=list)
    every: list[FrameMatches] = field(default_factory=list)
    false_boxes: list[int] = field(default_factory=list)
    headings: list[bool] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)


def frames_of(name: str, *, split: str, scenes: int, most: int | None) -> Iterator[tuple[Frame, Truth]]:
    """Frames of a data set: one of each simulated scene, all of a recording, `most` of them evenly spread."""
    if is_simulated(name):
        config = SimConfig.preset(split_name(name)[1])
        for index in range(scenes):
            snapshot = scenario(split, index, config=config).snapshot(0)
            for agent in snapshot.scenario.agents:
                if agent.kind == "vehicle":
                    yield snapshot.frame(agent.id)
        return
    if most is not None and most < 1:
        raise InputError(f"expected --frames to be at least 1, got {most}")
    data = DataSet(open_recording(name), ego=EACH)
    for index in spread(range(len(data)), len(data) if most is None else most):
        yield data[index]


def look(detector: Detector, frame: Frame, truth: Truth, region: BevGrid | float, score: float, seen: Seen) -> None:
    """Add one frame to what a detector saw."""
    to = Request.of(frame.ego)
    messages = []
    for view in frame.others.values():
        start = time.perf_counter()
        messages.append(detector.encode(view, to))
        seen.encode_ms.append(1e3 * (time.perf_counter() - start))
    session = detector.open(frame.ego, to, messages)
    (alone,) = session.detect([EGO_ALONE])
    start = time.perf_counter()
    (every,) = session.detect([frozenset(session.ids)]) if messages else (alone,)
    if messages:
        seen.decode_ms.append(1e3 * (time.perf_counter() - start))
    seen.alone.append(match_truth(alone, truth, region, thresholds=THRESHOLDS))
    match = match_truth(every, truth, region, thresholds=THRESHOLDS)
    seen.every.append(match)
    sure = every.scores >= score
    seen.false_boxes.append(int((sure & (match.hits(0.5) == FP)).sum()))
    seen.headings += right_way(every, sure & (match.hits(0.5) == TP), truth.boxes[counted(truth, region)])


def right_way(found: Detections, true: Bool, boxes: Float32) -> list[bool]:
    """Of the boxes that are `true (D,)`, whether each looks the way of the object `(G, 7)` that it overlaps most."""
    if not true.any() or not len(boxes):
        return []
    nearest = boxes[iou_bev(found.boxes[true], boxes).argmax(axis=1)]
    return [bool(b) for b in np.abs(wrap_angle(found.boxes[true, 6] - nearest[:, 6])) < np.pi / 2]


def row(name: str, seen: Seen) -> str:
    """A line of the table."""
    alone, every = average_precision(seen.alone), average_precision(seen.every)
    ap = "  ".join(" ".join(f"{(some[t] or 0.0):.3f}" for t in THRESHOLDS) for some in (alone, every))
    way = f"{100 * np.mean(seen.headings):5.1f}" if seen.headings else "    –"
    times = [f"{np.median(ms):6.1f}" if ms else "     –" for ms in (seen.encode_ms, seen.decode_ms)]
    return f"  {name:28.28}  {ap}  {np.mean(seen.false_boxes):6.1f}  {way}  {'  '.join(times)}"


def main(args: Sequence[str] | None = None) -> None:
    asked = options(
        __doc__,
        args,
        detector=Option(("mean",), "names as anywhere"),
        data=Option(("sim:road", "sim:mixed"), "sim:PRESET or a recording"),
        split=Option("val", "of simulated scenes", ("val", "test")),
        scenes=Option(20, "simulated scenes"),
        frames=Option(None, "at most so many frames of a recording, evenly spread", kind=int),
        region=Option(None, "half side in metres of a square about the ego; left out: each detector's map", kind=float),
        score=Option(0.3, "the operating score"),
    )
    set_threads(1)
    print(describe(machine(1)))
    with refusing():
        detectors = {name: open_detector(name) for name in asked.detector}
        for data in asked.data:
            seen = {name: Seen() for name in detectors}
            for frame, truth in frames_of(data, split=asked.split, scenes=asked.scenes, most=asked.frames):
                for name, detector in detectors.items():
                    region: BevGrid | float | None = asked.region or detector.grid
                    if region is None:
                        raise InputError(f"expected --region METRES: {name!r} has no map of its own")
                    look(detector, frame, truth, region, asked.score, seen[name])
            frames = len(next(iter(seen.values())).alone)
            split = f", split {asked.split}" if is_simulated(data) else ""
            print(f"\n{data}{split}: {frames} frames")
            print(f"  {'':28}  ego .3  .5    .7     all .3  .5    .7     false  way %  encode  decode")
            for name, one in seen.items():
                print(row(name, one))


if __name__ == "__main__":
    main()
