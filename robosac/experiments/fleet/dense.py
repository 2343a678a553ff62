"""What the low-rank rows are compared with: all weights of the head averaged (full FedAvg), its batch norms alone,
every vehicle by itself, and one learner that holds everybody's frames."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from robosac.experiments.fleet.vehicles import Vehicle, World
from robosac.files import write_whole
from robosac.randomness import keyed_rng

if TYPE_CHECKING:
    from robosac.detectors.bev.network import Network

Tell = Callable[[int, int], None]
Weights = dict[str, np.ndarray[Any, Any]]


def averaged(world: World, folder: Path, *, norms_only: bool, tell: Tell) -> tuple[Network, int]:
    """Rounds of FedAvg of the head's weights, or of its batch norms' alone. Returns the network and bytes of all
    messages; goes on from the rounds in `folder`."""
    settings, clients = world.settings, world.clients()
    names = [n for n in world.model.network.head.state_dict() if _wanted(n, norms_only)]
    state, start, count = _of(world.model.network, names), 0, 0
    for index in range(settings.rounds):
        path = folder / f"dense-{index:04d}.safetensors"
        if path.exists():
            held = load_file(path)
            count = int(held.pop("bytes")[0])
            state, start = held, index + 1
    total = sum(c.samples for c in clients)
    for index in range(start, settings.rounds):
        mean: Weights = {n: np.zeros_like(state[n], np.float64) for n in names}
        for client in clients:
            count += len(to_bytes(state))
            learnt = _of(_learnt(world, client, state, index, norms_only=norms_only), names)
            count += len(to_bytes(learnt))
            for n in names:
                mean[n] += client.samples / total * learnt[n]
        state = {n: v.astype(np.float32) for n, v in mean.items()}
        write_whole(folder / f"dense-{index:04d}.safetensors", to_bytes({**state, "bytes": np.array([count])}))
        (folder / f"dense-{index - 1:04d}.safetensors").unlink(missing_ok=True)
        tell(index + 1, settings.rounds)
    return _with(world.model.network, state), count


def _wanted(name: str, norms_only: bool) -> bool:
    return not name.endswith("num_batches_tracked") and (not norms_only or ".norm." in name)


def _of(network: Network, names: list[str]) -> Weights:
    held = network.head.state_dict()
    return {n: held[n].detach().contiguous().numpy().copy() for n in names}


def _with(network: Network, state: Weights) -> Network:
    import torch

    copy = deepcopy(network)
    copy.head.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in state.items()}, strict=False)
    return copy.eval()


def _learnt(world: World, client: Vehicle, state: Weights, index: int, *, norms_only: bool) -> Network:
    """The network after a vehicle's steps; batch norms see its frames, as they do where all is trained."""
    from torch.nn import BatchNorm2d

    from robosac.detectors.bev.training.local import train

    net = _with(world.model.network, state)
    net.requires_grad_(False)
    for name, parameter in net.head.named_parameters():
        parameter.requires_grad_(_wanted(name, norms_only))
    for module in net.head.modules():
        if isinstance(module, BatchNorm2d):
            module.train(norms_only)
    trained = [p for p in net.head.parameters() if p.requires_grad]
    rng = keyed_rng(client.seed, "local", client.id, index)
    train(net, trained, client.draws, steps=client.steps, lr=client.lr, settings=world.model.settings, rng=rng)
    return net.eval()
