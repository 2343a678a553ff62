"""What a flood of proposals costs the victim after its network: decoding and suppression, honest against attacked.

    python -m benchmarks.load_attack                       # shipped mean fusion and late fusion, 5 frames, 2 attackers
    python -m benchmarks.load_attack --frames 10 --json

CP-Freezer attacks the time of post-processing, not its result. Two ways to do so:
    features    `proposal_flood` on intermediate fusion; timed is `detectors.decode.decode` of everybody's fusion
    boxes       `box_flood` on late fusion; timed is the session from admitted messages (boxes brought to the ego's
                frame, their overlaps) and one fusion of everybody
Honest and attacked run in turns, median of --repeats a frame, then the median over frames of the ratio. Either way
once as shipped, where a result has at most 100 candidates and a message at most 100 boxes, and once without these
bounds: what the attack would have cost. The bar: bounded, at most twice the honest time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

import attacks
import detectors
from attacks.base import Measured
from benchmarks.machine import machine
from detectors.decode import decode
from detectors.late import LateFusion, LateSession
from detectors.network import HEAT, MAP
from detectors.single import single
from robosac.evaluation.run import attacked_air, choose_attackers
from robosac.simulation import scenario
from robosac.types import Detector, Frame, Id, Message, keyed_rng

BAR: Final = 2.0
CELLS: Final = MAP.rows * MAP.cols
Work = Callable[[], object]


@dataclass(frozen=True)
class Load:
    """One way and bound: medians over frames."""

    way: str
    bounded: bool
    honest_ms: float
    attacked_ms: float
    ratio: float
    honest_boxes: float  # that enter suppression
    attacked_boxes: float

    @property
    def ok(self) -> bool:
        return not self.bounded or self.ratio <= BAR


def sent(detector: Detector, frame: Frame, attack: Measured, count: int) -> tuple[dict[Id, Message], dict[Id, Message]]:
    """Everybody's messages by link: all honest, and with `count` attackers."""
    to = detector.request(frame.ego)
    honest = {i: detector.encode(v, to) for i, v in frame.others.items()}
    chosen = choose_attackers(0, frame.scenario, sorted(honest), count)
    air = attacked_air(frame, detector, to, honest, chosen, attack.knowledge)
    lies = attack.start(frame.scenario, chosen, keyed_rng(0, frame.scenario, "attack")).send(air)
    return honest, {**honest, **{m.link: m for m in lies}}


def in_turns(works: Sequence[Work], repeats: int) -> list[float]:
    """Median milliseconds of each, run in turns: a machine that slows down slows them all."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):  # the first turn is to warm
        for work, spent in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            spent.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(t[1:]) for t in times]


def by_features(detector: Any, frame: Frame, most: int, attackers: int) -> Iterator[tuple[Work, int]]:
    """Decoding of everybody's fusion, and how many boxes enter suppression: honest, then attacked."""
    to = detector.request(frame.ego)
    config = detector.header.decode.model_copy(update={"max_candidates": most})
    for inbox in sent(detector, frame, attacks.load("proposal_flood"), attackers):
        session = detector.open(frame.ego, to, list(inbox.values()))
        with torch.inference_mode():  # the passes before decoding cost the same whatever was sent
            output = session._decode_maps(session._maps, session._members([frozenset(inbox)]))
        heat = torch.sigmoid(output[0, HEAT])
        peaks = (torch.nn.functional.max_pool2d(heat[None], 3, 1, 1)[0] == heat) & (heat >= config.score_threshold)
        yield lambda o=output, p=session._raster.plane: decode(o, p, config), min(int(peaks.sum()), most)  # type: ignore[misc]


def by_boxes(network: Any, frame: Frame, most: int, attackers: int) -> Iterator[tuple[Work, int]]:
    """A session from messages and one fusion of everybody, and how many boxes there are: honest, then attacked."""
    detector = LateFusion(network, name="late", grid=network.grid, max_boxes=most)
    own = detector.alone(frame.ego)
    for inbox in sent(detector, frame, attacks.load("box_flood", boxes=most), attackers):

        def work(inbox: dict[Id, Message] = inbox) -> LateSession:
            heard = {i: detector.heard(m, frame.ego.world_T_sensor) for i, m in inbox.items()}
            session = LateSession(detector, own, heard)
            session.detect([frozenset(inbox)])
            return session

        yield work, len(work()._boxes)


def measure(way: str, frames: Sequence[Frame], *, bounded: bool, attackers: int, repeats: int) -> Load:
    """One row."""
    if way == "features":
        detector = detectors.load("mean")
        most = detector.header.decode.max_candidates if bounded else CELLS
        pairs = [list(by_features(detector, f, most, attackers)) for f in frames]
    else:
        network = single("mean")
        pairs = [list(by_boxes(network, f, 100 if bounded else 1000, attackers)) for f in frames]
    times = np.array([in_turns([work for work, _ in pair], repeats) for pair in pairs])
    boxes = np.median([[n for _, n in pair] for pair in pairs], axis=0)
    honest, attacked = np.median(times, axis=0)
    ratio = float(np.median(times[:, 1] / times[:, 0]))
    return Load(way, bounded, float(honest), float(attacked), ratio, float(boxes[0]), float(boxes[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--attackers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frames = [scenario("val", k).snapshot(0).frame()[0] for k in range(args.frames)]
    ways = [(way, bounded) for way in ("features", "boxes") for bounded in (True, False)]
    rows = [measure(w, frames, bounded=b, attackers=args.attackers, repeats=args.repeats) for w, b in ways]
    if args.json:
        print(json.dumps({"loads": [asdict(r) for r in rows], "bar": BAR, "machine": machine()}, indent=1))
    else:
        print(f"{'way':10}{'bounds':10}{'honest':>12}{'attacked':>12}{'ratio':>8}{'boxes':>14}   bar")
        for r in rows:
            verdict = ("met" if r.ok else "MISSED") if r.bounded else ""
            print(
                f"{r.way:10}{'shipped' if r.bounded else 'none':10}{r.honest_ms:9.2f} ms{r.attacked_ms:9.2f} ms"
                f"{r.ratio:8.2f}{r.honest_boxes:7.0f}{r.attacked_boxes:7.0f}   {verdict}"
            )
    return 0 if all(r.ok for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
