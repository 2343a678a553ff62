"""What a flood of proposals costs: post-processing (decode and suppression) of honest frames and of flooded ones.

    python -m benchmarks.load_attack                        # shipped mean, max, attention and late fusion
    python -m benchmarks.load_attack --detectors mean --scenes 4 --attackers 2

CP-Freezer's goal is the victim's time. `bounded` is the detector as shipped, `max_candidates` peaks at most entering
suppression; `unbounded` lets all cells of the map enter, peaks or not. In late fusion `bounded` is the codec's 100
boxes a message, `unbounded` takes 4096. Times are medians of runs taken in turns in one process: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import Spread, cpu_name
from robosac import attacks, detectors
from robosac.attacks import BoxFlood
from robosac.boxes import nms_bev
from robosac.detectors.bev.config import DecodeConfig
from robosac.detectors.bev.decode import boxes_at, decode
from robosac.detectors.bev.network import HEAT
from robosac.detectors.fusion.late import Found, LateFusion
from robosac.detectors.fusion.single import single
from robosac.evaluation.play import attacked_air, choose_attackers
from robosac.simulation import scenario
from robosac.types import Array, Detector, Frame, Id, Message, Request, keyed_rng

LIMIT: Final = 2.0  # times the clean time


@dataclass(frozen=True, eq=False)
class Inbox:
    """One frame: what the ego gets, honest and flooded."""

    frame: Frame
    request: Request
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


def inboxes(detector: Detector, attack: Any, scenes: int, n_attackers: int, seed: int) -> list[Inbox]:
    """The first frame of validation scenes."""
    made = []
    for index in range(scenes):
        frame, _ = scenario("val", index).snapshot(0).frame()
        request = Request.of(frame.ego)
        honest: dict[Id, Message] = {i: detector.encode(v, request) for i, v in frame.others.items()}
        chosen = choose_attackers(seed, frame.scenario, sorted(honest), n_attackers)
        attacker = attack.start(frame.scenario, chosen, keyed_rng(seed, frame.scenario, "attack"))
        air = attacked_air(frame, detector, request, honest, chosen, attack.knowledge)
        lies = attacker.send(air)
        flooded = [*(m for i, m in honest.items() if i not in chosen), *lies]
        made.append(Inbox(frame, request, list(honest.values()), flooded))
    return made


def outputs(detector: Any, inbox: Inbox, messages: Sequence[Message]) -> tuple[Tensor, Array]:
    """What the head says of the full fusion and the ground beneath: all that `decode` is called with."""
    seen: list[tuple[Tensor, Array]] = []

    def spy(output: Tensor, ground: Array, config: DecodeConfig) -> Any:
        seen.append((output.detach().clone(), ground))
        return decode(output, ground, config)

    with mock.patch("robosac.detectors.bev.session.decode", spy):
        session = detector.open(inbox.frame.ego, inbox.request, messages)
        session.detect([frozenset(session.ids)])
    return seen[-1]


def every_cell(output: Tensor, ground: Array, config: DecodeConfig) -> int:
    """Decoding without a bound: each cell above the threshold goes into suppression. Returns the boxes kept."""
    heat = torch.sigmoid(output[:, HEAT].float()).nan_to_num(0.0)
    flat = heat.flatten()
    cells = torch.nonzero(flat >= config.score_threshold)[:, 0]
    values = output.flatten(2)[0, :, cells].T.float().numpy()
    boxes = boxes_at(values, cells.numpy(), ground)
    return len(nms_bev(boxes, flat[cells].numpy(), config.nms_iou))


def measured(name: str, pairs: Sequence[tuple[Callable[[], int], Callable[[], int]]], repeats: int) -> Row:
    """Clean and flooded in turns, a median a frame; the ratio is that of the medians over frames."""
    times: list[list[float]] = [[], []]
    boxes: list[list[int]] = [[], []]
    for pair in pairs:
        spent: list[list[float]] = [[], []]
        for repeat in range(repeats + 1):
            for k, run in enumerate(pair):
                began = time.perf_counter()
                found = run()
                if repeat:  # the first warms up
                    spent[k].append(1e3 * (time.perf_counter() - began))
                else:
                    boxes[k].append(found)
        for k in (0, 1):
            times[k].append(float(np.median(spent[k])))
    clean, flooded = Spread.of(times[0]), Spread.of(times[1])
    counts = (float(np.mean(boxes[0])), float(np.mean(boxes[1])))
    return Row(name, clean, flooded, flooded.median / clean.median, counts)


def intermediate(name: str, args: argparse.Namespace) -> list[Row]:
    """A shipped detector under the gradient's flood."""
    detector = detectors.load(name)
    # the flood aims at what enters suppression: the decoder's own threshold
    flood = {"kind": "flood", "score": 0.15, "spacing": 2, "margin": 1.0, "lead": 0.3}
    attack = attacks.load("proposal_flood", objective=flood)
    frames = inboxes(detector, attack, args.scenes, args.attackers, args.seed)
    heads = [(outputs(detector, f, f.clean), outputs(detector, f, f.flooded)) for f in frames]
    bounded = DecodeConfig()

    def bound(head: tuple[Tensor, Array]) -> Callable[[], int]:
        return lambda: len(decode(*head, bounded)[0])

    def free(head: tuple[Tensor, Array]) -> Callable[[], int]:
        return lambda: every_cell(*head, bounded)

    return [
        measured(f"{name}, bounded", [(bound(a), bound(b)) for a, b in heads], args.repeats),
        measured(f"{name}, unbounded", [(free(a), free(b)) for a, b in heads], max(1, args.repeats // 5)),
    ]


@dataclass(frozen=True, eq=False)
class _Known:
    """A detector that has looked already: its time is not what is measured."""

    found: Found

    def __call__(self, points: Array) -> Found:
        return self.found


def late(args: argparse.Namespace) -> list[Row]:
    """Late fusion under a flood of boxes: sessions are opened and the full fusion merged, detection left out."""
    rows = []
    one = single("mean")
    for label, most, spacing_m in (("bounded", 100, 3.5), ("unbounded", 4096, 1.0)):
        real = LateFusion(one, name="late", grid=one.grid, max_boxes=most)
        frames = inboxes(real, BoxFlood(boxes=most, spacing_m=spacing_m), args.scenes, args.attackers, args.seed)
        pairs = []
        for f in frames:
            own = real.alone(f.frame.ego)
            ready = LateFusion(_Known(own), name="late", grid=one.grid, max_boxes=most)

            def run(f: Inbox, messages: Sequence[Message], ready: LateFusion) -> Callable[[], int]:
                def once() -> int:
                    session = ready.open(f.frame.ego, f.request, messages)
                    return len(session.detect([frozenset(session.ids)])[0])

                return once

            pairs.append((run(f, f.clean, ready), run(f, f.flooded, ready)))
        rows.append(measured(f"late:mean, {label}", pairs, args.repeats if most == 100 else 2))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["mean", "max", "attention", "late"])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--attackers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
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
