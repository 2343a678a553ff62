"""A detector's head as plain weights, for what is averaged whole."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from robosac.detectors.bev.config import TrainConfig
    from robosac.detectors.bev.network import Network
    from robosac.detectors.bev.training.encoded import Draws

Weights = dict[str, np.ndarray[Any, Any]]


def weights(network: Network, norms_only: bool) -> Weights:
    """Of the head, or of its batch norms alone."""
    held = network.head.state_dict()
    return {n: held[n].detach().contiguous().numpy().copy() for n in held if _wanted(n, norms_only)}


def placed(network: Network, state: Weights) -> Network:
    """A copy with these in its head."""
    import torch

    copy = deepcopy(network)
    copy.head.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in state.items()}, strict=False)
    return copy.eval()


def learnt(
    network: Network,
    state: Weights,
    draws: Sequence[Draws],
    norms_only: bool,
    *,
    steps: int,
    lr: float,
    settings: TrainConfig,
    rng: np.random.Generator,
) -> Weights:
    """The weights after a vehicle's steps; batch norms see its frames, as they do where all is trained."""
    from torch.nn import BatchNorm2d

    from robosac.detectors.bev.training.local import train

    net = placed(network, state)
    net.requires_grad_(False)
    for name, parameter in net.head.named_parameters():
        parameter.requires_grad_(_wanted(name, norms_only))
    for module in net.head.modules():
        if isinstance(module, BatchNorm2d):
            module.train(norms_only)
    trained = [p for p in net.head.parameters() if p.requires_grad]
    train(net, trained, draws, steps=steps, lr=lr, settings=settings, rng=rng)
    return weights(net.eval(), norms_only)


def _wanted(name: str, norms_only: bool) -> bool:
    return not name.endswith("num_batches_tracked") and (not norms_only or ".norm." in name)
