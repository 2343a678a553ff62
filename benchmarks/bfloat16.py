"""What bfloat16 costs or saves this machine in training. `python -m benchmarks.bfloat16`

A forward and a backward pass of the shipped detector's head, as a vehicle of a fleet takes them, in float32 and in
bfloat16, in turns. Training asks for bfloat16 only where the processor says that it has instructions for it
(`robosac.detectors.device.has_bfloat16`): this prints whether it does, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.machine import Option, Spread, describe, in_turns, machine, options
from robosac import detectors
from robosac.detectors.device import has_bfloat16
from robosac.executors import set_threads


def step(head: torch.nn.Module, maps: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """A pass forward and back."""

    def passed() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            output = head(maps)
        output.float().square().mean().backward()

    return passed


def main(arguments: Sequence[str] | None = None) -> None:
    args = options(__doc__, arguments, detector="mean", repeats=Option(5, "of each"), threads=Option(1, "of torch"))
    set_threads(args.threads)
    print(describe(machine(args.threads)))
    detector = detectors.load(args.detector)
    head = detector.network.head.requires_grad_(True)
    maps = torch.randn(8, *detector.shape, generator=torch.Generator().manual_seed(0))
    maps = maps.contiguous(memory_format=torch.channels_last)
    ways = {name: step(head, maps, dtype) for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))}
    found = in_turns(ways, args.repeats)
    for name, times in found.items():
        print(f"{name}: {Spread.of(times).show()} ms")
    ratios = [b / f for b, f in zip(found["bfloat16"], found["float32"], strict=True)]
    asked = "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
    print(f"bfloat16 / float32: {Spread.of(ratios).show()}; training takes {asked} here")


if __name__ == "__main__":
    main()
