"""Is a wrapped model still the model, and what does a trial cost?

    python -m benchmarks.adapters --framework opencood                      # an installed opencood(x)
    python -m benchmarks.adapters --framework opencood --root CHECKOUT      # a current checkout
    OMP_NUM_THREADS=1 python -m benchmarks.adapters --framework opencood --models AttFuse F-Cooper

Exactness: seeded random weights, a simulated frame of five agents, a small range. For six subsets of one to five
agents the largest difference between what a session makes of messages and one forward of the user's model, unwrapped,
with these agents only; then the same with one teammate's arrays tampered with. Bar: 0. SECOND's sparse convolutions
multiply the voxels of all agents in one matrix, whose product rounds by its size; there the bar is 1e-6 of the largest
output, and 1e-5 behind the autoencoders of its compression, which with random weights make the rounding larger.

Speed: at 704 x 200 pillars and five agents, one fuse and decode from messages that are at hand against one forward and
decode of the same five agents, the fastest of three each, in one run. Bar: 5 times.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.machine import Option, describe, machine, ms, options, verdict
from benchmarks.opencood_models import (
    COMPRESSES,
    FULL,
    LEGACY,
    MODELS,
    WARPS,
    Half,
    config,
    derived,
    random_model,
    settle,
    tame,
)
from robosac.capabilities import Outputs
from robosac.detectors.adapters.opencood import OpenCOODDetector
from robosac.simulation import SimConfig, scenario
from robosac.types import Frame, InputError, Message, Request, Subset, keyed_rng

SPEED_BAR: Final = 5.0
SPEED_MODELS: Final = ("AttFuse", "F-Cooper")
FEW_RAYS: Final = SimConfig(n_vehicles=5, n_frames=1, beams=24, columns=512)


@dataclass(frozen=True)
class Exactness:
    """How far cached subsets are from forwards of the unwrapped model with these agents only.

    Attributes:
        honest, tampered: largest absolute difference of raw outputs, without and with a tampered message.
        effect: what tampering changes, so that a model that does not listen cannot pass.
        largest: the largest output.
    """

    honest: float
    tampered: float
    effect: float
    largest: float

    def within(self, bar: float) -> bool:
        """Whether the differences are at most `bar` of the largest output, and tampering shows."""
        return max(self.honest, self.tampered) <= bar * self.largest and self.effect > 1e-3


def compared(
    detector: Any, frame: Frame, malicious: Message, subsets: Sequence[Subset], beside: Sequence[Subset]
) -> Exactness:
    """Compare cached subsets of a frame with unwrapped forwards; those `beside` again, now beside a malicious message.

    `detector` is `Verifiable`, its sessions show raw outputs.
    """
    to = Request.of(frame.ego)
    honest = [detector.encode(frame.others[i], to) for i in sorted(frame.others)]
    sent = [malicious if m.sender == malicious.sender else m for m in honest]
    clean, attacked = (detector.open(frame.ego, to, messages) for messages in (honest, sent))

    def full(subset: Subset, tampered: Sequence[Message] = ()) -> Outputs:
        made: Outputs = detector.full(frame.ego, [frame.others[i] for i in sorted(subset)], to, tampered)
        return made

    wholes = {s: full(s) for s in subsets}
    holding = [s for s in beside if malicious.sender in s]
    return Exactness(
        max(difference(clean.outputs(s), whole) for s, whole in wholes.items()),
        max(difference(attacked.outputs(s), full(s, [malicious] if s in holding else ())) for s in beside),
        min(difference(attacked.outputs(s), clean.outputs(s)) for s in holding),
        max(float(np.abs(a).max(initial=0.0)) for whole in wholes.values() for a in whole.values()),
    )


def rounding(name: str, compression: int = 0) -> float:
    """What may differ, as a share of the largest output: see above."""
    return 0.0 if name != "SECOND" else 1e-5 if compression else 1e-6


def difference(a: Outputs, b: Outputs) -> float:
    """Largest absolute difference of two sets of raw outputs of the same names; infinite where one is not finite."""
    if set(a) != set(b):
        raise InputError(f"expected outputs of the same names, got {sorted(a)} and {sorted(b)}")
    worst = max(float(np.abs(a[name] - b[name]).max(initial=0.0)) for name in a)
    return worst if np.isfinite(worst) else float("inf")


def nearest(frame: Frame, count: int) -> list[str]:
    """The teammates nearest to the ego, so that in a small range they have something to say."""
    ego = frame.ego.world_T_sensor[:2, 3]
    return sorted(frame.others, key=lambda i: float(np.hypot(*(frame.others[i].world_T_sensor[:2, 3] - ego))))[:count]


def huddled(frame: Frame) -> Frame:
    """The frame with every teammate brought to within 10 m of the ego, so that a small range holds what they see."""
    ego = frame.ego.world_T_sensor
    moved = {}
    for k, name in enumerate(nearest(frame, len(frame.others))):
        pose = frame.others[name].world_T_sensor.copy()
        pose[:2, 3] = ego[:2, 3] + 2.0 * (k + 1) * np.array([np.cos(2.4 * k), np.sin(2.4 * k)])
        moved[name] = replace(frame.others[name], world_T_sensor=pose)
    return replace(frame, others=moved)


def detector_of(
    name: str, root: Path | None, frame: Frame, *, half: Half | None = None, compression: int = 0, moved: bool = True
) -> OpenCOODDetector:
    """A wrapped random model, tamed on what its ego sees."""
    hypes = derived(config(name, half, compression=compression, proj_first=moved), root)
    model = random_model(hypes, root)
    raw = OpenCOODDetector(model, hypes)
    to, others = Request.of(frame.ego), [frame.others[i] for i in nearest(frame, 4)]
    settle(model, lambda: raw.full(frame.ego, others, to))
    outputs = raw.full(frame.ego, others, to)
    classes, boxes = raw.spec.heads
    tame(model, outputs[classes], outputs[boxes], hypes["postprocess"]["target_args"]["score_threshold"])
    return OpenCOODDetector(model, hypes)


def tampered(message: Message) -> Message:
    """The message with every number of every array moved, within what arrays of features may hold."""
    rng = keyed_rng("adapters", message.sender)
    moved = {
        name: np.abs(a + 0.3 * rng.standard_normal(a.shape)).astype(np.float32) for name, a in message.payload.items()
    }
    return message.with_payload(**moved)


def exactness(detector: OpenCOODDetector, frame: Frame, *, most: int = 4) -> Exactness:
    """Of subsets of at most `most` of the four nearest teammates, the second of which sends the tampered message."""
    a, b, c, d = nearest(frame, 4)
    near = replace(frame, others={i: frame.others[i] for i in (a, b, c, d)})
    subsets = [frozenset(s) for s in ([], [a], [b], [a, c], [b, c, d], [a, b, c, d]) if len(s) <= most]
    malicious = tampered(detector.encode(frame.others[b], Request.of(frame.ego)))
    return compared(detector, near, malicious, subsets, subsets)


def variants(names: Sequence[str]) -> Iterator[tuple[str, str, int, bool]]:
    """(title, model, compression, points projected to the ego first) of every row."""
    for name in names:
        for compression, moved in product(
            (0, 4) if name in COMPRESSES else (0,), (True, False) if name in WARPS else (True,)
        ):
            title = name + (f", compression {compression}" if compression else "") + ("" if moved else ", own frames")
            yield title, name, compression, moved


def speed(name: str, root: Path | None, frame: Frame) -> tuple[float, float]:
    """Milliseconds of a trial from cached features and of a full forward and decode, five agents."""
    detector = detector_of(name, root, frame, half=FULL)
    to = Request.of(frame.ego)
    ids = nearest(frame, 4)
    messages = [detector.encode(frame.others[i], to) for i in ids]
    views = [frame.others[i] for i in ids]
    sessions = iter([detector.open(frame.ego, to, messages) for _ in range(3)])  # a session decodes a subset once
    cached = min(ms(lambda: next(sessions).detect([frozenset(ids)])) for _ in range(3))
    full = min(ms(lambda: detector.decoder.decode(detector.full(frame.ego, views, to))) for _ in range(3))
    return cached, full


def opencood(root: Path | None, names: Sequence[str], *, timed: bool) -> bool:
    """Print both tables; whether every bar is met."""
    frame = huddled(scenario("val", 0, config=FEW_RAYS).snapshot(0).frame()[0])
    print(f"{'max |cached - full|':<38}{'honest':>10}{'tampered':>10}{'effect':>10}{'largest':>10}")
    ok = True
    for title, name, compression, moved in variants(names):
        try:
            detector = detector_of(name, root, frame, compression=compression, moved=moved)
        except (InputError, AttributeError) as error:  # this copy lacks it, or does not fit the libraries installed
            print(f"{title:<38}  not here: {str(error)[:120]}")
            continue
        row = exactness(detector, frame)
        passed = row.within(rounding(name, compression))
        ok &= passed
        figures = f"{row.honest:>10.1e}{row.tampered:>10.1e}{row.effect:>10.1e}{row.largest:>10.1f}"
        print(f"{title:<38}{figures}  {verdict(passed)}", flush=True)
    if timed:
        dense, _ = scenario("val", 0, config=SimConfig(n_vehicles=5, n_frames=1)).snapshot(0).frame()
        for name in (n for n in SPEED_MODELS if n in names):
            cached, full = speed(name, root, dense)
            ok &= full / cached >= SPEED_BAR
            print(
                f"{name}, 704 x 200, 5 agents: trial {cached:.0f} ms, full forward {full:.0f} ms, "
                f"{full / cached:.1f} times, bar {SPEED_BAR:g}: {verdict(full / cached >= SPEED_BAR)}",
                flush=True,
            )
    return ok


def main() -> None:
    args = options(
        __doc__,
        framework=Option("opencood", choices=["opencood"]),
        root=Option(None, "a checkout of the framework; by default the installed one", kind=Path),
        models=Option((), "default: those that the copy has", choices=list(MODELS)),
        no_speed=Option(False, "leave the timings out"),
    )
    warnings.filterwarnings("ignore")  # the framework's own, of every model
    names = args.models or (list(MODELS) if args.root else list(LEGACY))
    print(describe(machine(threads=torch.get_num_threads())))
    ok = opencood(args.root, names, timed=not args.no_speed)
    raise SystemExit(0 if ok else 1)


if __name__ == "__main__":
    main()
