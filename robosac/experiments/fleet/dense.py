"""What the low-rank rows are compared with: all weights averaged (full FedAvg), or batch norms alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from robosac.experiments.fleet.world import Weights, World
from robosac.files import write_whole

Tell = Callable[[int, int], None]


def averaged(world: World, folder: Path, *, norms_only: bool, tell: Tell) -> tuple[Any, int]:
    """Rounds of FedAvg of the model's weights, or of its batch norms' alone. Returns the tuned model and bytes of all
    messages; goes on from the rounds in `folder`."""
    settings, clients = world.settings, world.clients()
    state: Weights = world.weights(norms_only)
    start, count = 0, 0
    for index in range(settings.rounds):
        path = folder / f"dense-{index:04d}.safetensors"
        if path.exists():
            held = load_file(path)
            count = int(held.pop("bytes")[0])
            state, start = held, index + 1
    total = sum(c.samples for c in clients)
    for index in range(start, settings.rounds):
        mean: Weights = {n: np.zeros_like(v, np.float64) for n, v in state.items()}
        for client in clients:
            count += len(to_bytes(state))
            learnt = world.learnt(client, state, index, norms_only)
            count += len(to_bytes(learnt))
            for n, value in learnt.items():
                mean[n] += client.samples / total * value
        state = {n: v.astype(np.float32) for n, v in mean.items()}
        write_whole(folder / f"dense-{index:04d}.safetensors", to_bytes({**state, "bytes": np.array([count])}))
        (folder / f"dense-{index - 1:04d}.safetensors").unlink(missing_ok=True)
        tell(index + 1, settings.rounds)
    return world.of_weights(state), count
