"""What a vehicle does by itself between two meetings of its fleet: a few steps on its own frames, as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from robosac.detectors import lora
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.training.batches import draw_batch
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.detectors.bev.training.encoded import Draws, Look
from robosac.detectors.bev.training.loop import forward
from robosac.detectors.bev.training.targets import Targets, loss
from robosac.detectors.device import mixed
from robosac.fleet.lowrank import LowRankUpdate
from robosac.types import InputError

HEAD: Final = "head."
_CPU: Final = torch.device("cpu")
_CLIP: Final = 10.0  # norm of a gradient
_BATCH: Final = 4  # samples a step, where frames are encoded


def local_update(
    network: Network,
    adapter: Mapping[str, LowRankUpdate],
    frames: Sequence[CachedFrame] | Sequence[Draws],
    *,
    steps: int,
    lr: float,
    settings: TrainConfig,
    rng: np.random.Generator,
) -> dict[str, LowRankUpdate]:
    """The adapter after `steps` steps from `adapter` on a vehicle's own frames; the network stays as it is.

    The same arguments give the same adapter. Batch norms keep their statistics: what is learnt is in the adapter alone.

    Args:
        network: shared by the fleet, frozen.
        adapter: as the server gave it, of this vehicle's rank.
        frames: of this vehicle. Encoded ones serve adapters of the head alone, at a twentieth of the cost.
        steps, lr: of Adam, begun anew each time.
        settings: how batches are drawn, `settings.model` of the network.
        rng: of the draws.

    Raises:
        InputError: encoded frames for an adapter of more than the head, or no frames.
    """
    if not frames:
        raise InputError("expected frames to learn from, got none")
    if isinstance(frames[0], Draws) and not all(name.startswith(HEAD) for name in adapter):
        raise InputError("expected an adapter of the head with encoded frames; give rasters to adapt the encoder")
    net = deepcopy(network).eval()
    trained = lora.attach(net, adapter)
    train(net, trained, frames, steps=steps, lr=lr, settings=settings, rng=rng)
    return lora.read(net, next(iter(adapter.values())).samples)


def train(
    net: Network,
    trained: Sequence[Tensor],
    frames: Sequence[CachedFrame] | Sequence[Draws],
    *,
    steps: int,
    lr: float,
    settings: TrainConfig,
    rng: np.random.Generator,
) -> None:
    """Steps of Adam on some of a network's parameters, in place."""

    def drawn() -> Tensor:
        with parametrize.cached():
            output, targets = _drawn(net, frames, settings, rng)
        return loss(output, targets, settings.optim.forward_weight)["total"]

    lora.descend(trained, drawn, steps=steps, lr=lr, clip=_CLIP)


def _drawn(
    net: Network, frames: Sequence[CachedFrame] | Sequence[Draws], settings: TrainConfig, rng: np.random.Generator
) -> tuple[Tensor, Targets]:
    """Outputs and targets of a step's samples."""
    first = frames[int(rng.integers(len(frames)))]
    if isinstance(first, CachedFrame):
        batch = draw_batch([first], settings, rng)
        with mixed(_CPU, wanted=settings.optim.bf16):
            return forward(net, batch, settings.model.map), batch.targets
    chosen = [first, *(frames[int(i)] for i in rng.integers(len(frames), size=_BATCH - 1))]
    rows = [(d, int(rng.integers(len(d.maps)))) for d in chosen if isinstance(d, Draws)]
    maps = torch.stack([d.maps[v] for d, v in rows]).contiguous(memory_format=torch.channels_last)
    with mixed(_CPU, wanted=settings.optim.bf16):
        return net.head(maps), Targets.joined([d.targets.at([v]) for d, v in rows])


@torch.no_grad()
def held_out(network: Network, parts: Sequence[Sequence[Look]], *, forward_weight: float) -> tuple[list[float], Tensor]:
    """A verifier's frames, part by part: each part's training loss, and score maps `(2 F, H, W)` of all, the ego alone
    and all in turn."""
    output = network.eval().head(torch.cat([look.maps for looks in parts for look in looks]))
    rows = output.split([sum(len(look.maps) for look in looks) for looks in parts])
    losses = [
        float(loss(each, Targets.joined([look.targets for look in looks]), forward_weight)["total"])
        for each, looks in zip(rows, parts, strict=True)
    ]
    return losses, torch.sigmoid(output[:, 0])
