"""Which kernel torch takes on the CPU: two cases where the choice costs minutes, or bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

_SMALL: Final = (
    20480  # numbers in the input of a convolution up to which torch has a kernel of its own for a batch of one
)


@contextmanager
def contiguous_attention(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While inside, attention over agents gets contiguous inputs where torch uses several CPU threads.

    Upstream hands it permuted maps, and torch then multiplies tens of thousands of tiny matrices one by one, with a
    barrier of all threads at each: minutes instead of milliseconds. One thread has no barrier, and keeps its bits.
    """
    handles = []
    if device.type == "cpu" and torch.get_num_threads() > 1:
        layers = [m for m in model.modules() if type(m).__name__ == "ScaledDotProductAttention"]
        handles = [m.register_forward_pre_hook(lambda _, args: tuple(a.contiguous() for a in args)) for m in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def as_in_a_batch(model: nn.Module, device: torch.device) -> Iterator[list[str]]:
    """While inside, convolutions of one small map round as they would with other agents' maps beside it.

    torch convolves a batch of one with another kernel if its input is small, and the two round differently in the last
    bit. An agent encodes alone what a full forward encodes among others, so its small maps are convolved in pairs here.
    Yields the names of the layers where that happened.
    """
    paired: list[str] = []
    handles = []
    if device.type == "cpu":
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                handles += _pair(layer, name, paired)
    try:
        yield paired
    finally:
        for handle in handles:
            handle.remove()


def _pair(layer: nn.Module, name: str, paired: list[str]) -> list[Any]:
    doubled = False

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal doubled
        doubled = isinstance(args[0], Tensor) and len(args[0]) == 1 and args[0].numel() <= _SMALL
        if not doubled:
            return None
        paired.append(name)
        return (torch.cat([args[0], args[0]]), *args[1:])

    def after(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output[:1] if doubled else output

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
