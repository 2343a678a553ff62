"""What is changed on the user's model while it runs, and set back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def restored(module: Any, *names: str) -> Iterator[None]:
    """While inside, attributes of the instance may be set; afterwards it has those it had."""
    own = vars(module)
    before = {name: own[name] for name in names if name in own}
    try:
        yield
    finally:
        for name in names:
            own.pop(name, None)
        own.update(before)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """While inside, graphs that are built leave the parameters out."""
    learning = [p for p in module.parameters() if p.requires_grad]
    try:
        for p in learning:
            p.requires_grad_(False)
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


@contextmanager
def as_in_a_batch(module: nn.Module) -> Iterator[None]:
    """While inside, the encoder computes a single raster to the bit as it computes one of several.

    torch takes other routines for a batch of one, and features differ in their last bits, which the layers behind
    amplify (to 5e-5 in logits). Two things tell the routines apart: the strides of a batch of one are ambiguous, hence
    they are named, over the very same memory; and a three-dimensional convolution is split over threads another way,
    hence it gets a second row, which costs little where its kernel is 1 x 1 x 1.
    """

    def name_strides(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        (x,) = inputs
        if len(x) != 1 or not x[0].permute(1, 2, 0).is_contiguous():
            return None
        c, h, w = x.shape[1:]
        return (torch.as_strided(x, x.shape, (c * h * w, 1, c * w, c)),)

    def second_row(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (inputs[0].repeat(2, 1, 1, 1, 1),) if len(inputs[0]) == 1 else None

    def first_row(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        return output[:1]

    with ExitStack() as undo:
        for name, part in module.named_modules():
            if name == "u_encoder.conv_pre_1":
                undo.callback(part.register_forward_pre_hook(name_strides).remove)
            elif name.startswith("u_encoder.") and isinstance(part, nn.Conv3d):
                undo.callback(part.register_forward_pre_hook(second_row).remove)
                undo.callback(part.register_forward_hook(first_row).remove)
        yield
