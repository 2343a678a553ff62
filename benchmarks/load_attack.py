"""What a flood of proposals costs: post-processing (decode and suppression) of honest frames and of flooded ones.

    python -m benchmarks.load_attack                        # shipped mean, max, attention and late fusion
    python -m benchmarks.load_attack --detectors mean --scenes 4 --attackers 2

CP-Freezer's goal is the victim's time. `bounded` is the detector as shipped, `max_candidates` peaks at most entering
suppression; `unbounded` lets all cells of the map enter, peaks or not. In late fusion `bounded` is the codec's 100
boxes a message, `unbounded` takes 4096. Times are medians of runs taken in turns in one process: read the ratios.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import Spread, cpu_name, first_frame, in_turns, options, undefended
from robosac import attacks, detectors
from robosac.attacks import BoxFlood
from robosac.boxes import nms_bev
from robosac.detectors.bev.config import DecodeConfig
from robosac.detectors.bev.decode import boxes_at, decode
from robosac.detectors.bev.network import HEAT
from robosac.detectors.fusion.late import Found, LateFusion
from robosac.detectors.fusion.single import single
from robosac.types import Array, BevGrid, Detector, Message, Request, View

LIMIT: Final = 2.0  # times the clean time


@dataclass(frozen=True, eq=False)
class Inbox:
    """What one ego gets, honest and flooded."""

    ego: View
    clean: Sequence[Message]
    flooded: Sequence[Message]


@dataclass(frozen=True)
class Row:
    """Milliseconds a frame of one way of post-processing, and how many boxes it ended with."""

    name: str
    clean_ms: Spread
    flooded_ms: Spread
    ratio: float
    boxes: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.name:<28}{self.clean_ms.show('.2f'):>24}{self.flooded_ms.show('.2f'):>26}{self.ratio:>8.2f}"
            f"{self.boxes[0]:>9.1f}{self.boxes[1]:>9.1f}"
        )


def inboxes(detector: Detector, attack: Any, args: Any) -> list[Inbox]:
    """Of the first frame of validation scenes."""
    made = []
    for index in range(args.scenes):
        moment = first_frame("val", index)
        clean, flooded = (undefended(moment, detector, attack, m, seed=args.seed) for m in (0, args.attackers))
        made.append(Inbox(moment.frame.ego, *([r.message for r in p.inbox] for p in (clean, flooded))))
    return made


def fused(detector: Detector, ego: View, messages: Sequence[Message]) -> int:
    """Boxes of the full fusion."""
    session = detector.open(ego, Request.of(ego), messages)
    return len(session.detect([frozenset(session.ids)])[0])


def outputs(detector: Any, ego: View, messages: Sequence[Message]) -> tuple[Tensor, BevGrid, Array]:
    """What the head says of the full fusion, its grid and the ground beneath: all that `decode` is called with."""
    seen: list[tuple[Tensor, BevGrid, Array]] = []

    def spy(output: Tensor, grid: BevGrid, ground: Array, config: DecodeConfig) -> Any:
        seen.append((output.detach().clone(), grid, ground))
        return decode(output, grid, ground, config)

    with mock.patch("robosac.detectors.bev.session.decode", spy):
        fused(detector, ego, messages)
    return seen[-1]


def shipped_way(output: Tensor, grid: BevGrid, ground: Array, config: DecodeConfig) -> int:
    return len(decode(output, grid, ground, config)[0])


def every_cell(output: Tensor, grid: BevGrid, ground: Array, config: DecodeConfig) -> int:
    """Decoding without a bound: each cell above the threshold goes into suppression. Returns the boxes kept."""
    heat = torch.sigmoid(output[:, HEAT].float()).nan_to_num(0.0)
    flat = heat.flatten()
    cells = torch.nonzero(flat >= config.score_threshold)[:, 0]
    values = output.flatten(2)[0, :, cells].T.float().numpy()
    boxes = boxes_at(values, cells.numpy(), grid, ground)
    return len(nms_bev(boxes, flat[cells].numpy(), config.nms_iou))


def measured(name: str, frames: Sequence[Mapping[str, Callable[[], int]]], repeats: int) -> Row:
    """The ways "clean" and "flooded" of each frame in turns, a median a frame; the ratio is that of the medians."""
    boxes = [{way: run() for way, run in ways.items()} for ways in frames]
    times = [in_turns(ways, repeats) for ways in frames]
    clean, flooded = (Spread.of([float(np.median(t[way])) for t in times]) for way in ("clean", "flooded"))
    counts = (float(np.mean([b["clean"] for b in boxes])), float(np.mean([b["flooded"] for b in boxes])))
    return Row(name, clean, flooded, flooded.median / clean.median, counts)


def intermediate(name: str, args: Any) -> list[Row]:
    """A shipped detector under the gradient's flood."""
    detector = detectors.load(name)
    # the flood aims at what enters suppression: the decoder's own threshold
    flood = {"kind": "flood", "score": 0.15, "spacing": 2, "margin": 1.0, "lead": 0.3}
    frames = inboxes(detector, attacks.load("proposal_flood", objective=flood), args)
    heads = [(outputs(detector, f.ego, f.clean), outputs(detector, f.ego, f.flooded)) for f in frames]
    rows = []
    for label, way, repeats in (
        ("bounded", shipped_way, args.repeats),
        ("unbounded", every_cell, max(1, args.repeats // 5)),
    ):
        ways = [
            {"clean": partial(way, *a, DecodeConfig()), "flooded": partial(way, *b, DecodeConfig())} for a, b in heads
        ]
        rows.append(measured(f"{name}, {label}", ways, repeats))
    return rows


@dataclass(frozen=True, eq=False)
class _Known:
    """A detector that has looked already: its time is not what is measured."""

    found: Found

    def __call__(self, points: Array) -> Found:
        return self.found


def late(args: Any) -> list[Row]:
    """Late fusion under a flood of boxes: sessions are opened and the full fusion merged, detection left out."""
    rows = []
    one = single("mean")
    for label, most, spacing_m in (("bounded", 100, 3.5), ("unbounded", 4096, 1.0)):
        real = LateFusion(one, name="late", grid=one.grid, max_boxes=most)
        ways = []
        for f in inboxes(real, BoxFlood(boxes=most, spacing_m=spacing_m), args):
            ready = LateFusion(_Known(real.alone(f.ego)), name="late", grid=one.grid, max_boxes=most)
            ways.append(
                {"clean": partial(fused, ready, f.ego, f.clean), "flooded": partial(fused, ready, f.ego, f.flooded)}
            )
        rows.append(measured(f"late:mean, {label}", ways, args.repeats if most == 100 else 2))
    return rows


def main() -> None:
    names = ("mean", "max", "attention", "late")
    args = options(__doc__, detectors=names, scenes=8, attackers=2, repeats=20, seed=0)
    print(f"{cpu_name()}, {os.cpu_count()} CPUs; {args.scenes} scenes, {args.attackers} attackers; ms a frame")
    print(f"{'post-processing':<28}{'clean':>24}{'flooded':>26}{'ratio':>8}{'boxes':>9}{'flooded':>9}")
    failed = []
    for name in args.detectors:
        for row in late(args) if name == "late" else intermediate(name, args):
            print(row, flush=True)
            if "unbounded" not in row.name and row.ratio > LIMIT:
                failed.append(row.name)
    if failed:
        raise SystemExit(f"expected at most {LIMIT:g}x the clean time, got more: {', '.join(failed)}")
    print(f"bounded: within {LIMIT:g}x of the clean time")


if __name__ == "__main__":
    main()
