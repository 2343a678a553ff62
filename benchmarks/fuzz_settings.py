"""Edited settings of a training run, and edited checkpoints (see `benchmarks.fuzz_structure`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fuzz_edits import VALUES, dumped, edited
from benchmarks.fuzz_meaning import Box, RefusedError
from robosac.data.recording import Objects

_RUN: Final[dict[str, Any]] = {
    "name": "mine",
    "seed": 3,
    "model": {"fusion": "mean", "bounded": True, "head_width": 48},
    "decode": {"score_threshold": 0.1, "max_candidates": 100, "nms_iou": 0.15},
    "optim": {"steps": 1500, "lr": 3e-3, "bf16": True, "warmup": 0.15},
}
_LIMITS: Final[dict[str, tuple[type, float, float]]] = {  # what docs say of each: type, least, most
    "seed": (int, 0, math.inf), "head_width": (int, 8, math.inf), "max_candidates": (int, 1, math.inf),
    "steps": (int, 1, math.inf), "score_threshold": (float, 0, 1), "nms_iou": (float, 0, 1),
    "lr": (float, 1e-300, math.inf), "warmup": (float, 1e-300, 1 - 1e-16),
    "bf16": (bool, 0, 1), "bounded": (bool, 0, 1),
}  # fmt: skip


def config(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    """A training run's settings; what is read is shown as a box a setting."""
    from robosac.detectors.bev.config import TrainConfig

    tree = edited(_RUN, rng, VALUES)
    (root / "run.yaml").write_bytes(dumped(tree))

    def means() -> list[Box]:
        if not isinstance(tree, dict) or not isinstance(tree.get("name"), str) or not set(tree) <= set(_RUN):
            raise RefusedError
        parts: dict[str, Any] = {}
        for key, value in tree.items():
            if isinstance(_RUN[key], dict):
                if not isinstance(value, dict) or not set(value) <= set(_RUN[key]):
                    raise RefusedError
                parts |= value
            else:
                parts[key] = value
        if parts.pop("fusion", "mean") not in ("mean", "max", "attention"):
            raise RefusedError
        for key, (kind, low, high) in _LIMITS.items():
            value = parts.get(key, low)
            ok = type(value) is kind or (kind is float and type(value) is int)
            ok = ok and (not isinstance(value, int) or value.bit_length() <= 64)
            if key in parts and not (ok and low <= value <= high and value != math.inf):
                raise RefusedError
        return [_shown(key, parts[key]) for key in _LIMITS if key in parts]

    def read() -> Objects:
        found = TrainConfig.read(root / "run.yaml").model_dump()
        flat = {**found, **found["model"], **found["decode"], **found["optim"]}
        given = {**tree, **{k: v for part in tree.values() if isinstance(part, dict) for k, v in part.items()}}
        boxes = np.array([_shown(key, flat[key]) for key in _LIMITS if key in given]).reshape(-1, 6)
        poses = np.tile(np.eye(4), (len(boxes), 1, 1))
        poses[:, :3, 3] = boxes[:, :3]
        return Objects(tuple(map(str, range(len(boxes)))), poses, boxes[:, 3:].astype(np.float32))

    return tree, means, read


def _shown(key: str, value: Any) -> Box:
    return (float(list(_LIMITS).index(key)), float(value), 0.0, 1.0, 1.0, 1.0)


def checkpoint(rng: np.random.Generator, root: Path) -> tuple[Any, Callable[[], list[Box]], Callable[[], Objects]]:
    """Weights of which tensors are missing, doubled, of another shape or not finite: all of it is refused."""
    import torch
    from safetensors.torch import save

    from robosac.detectors import WEIGHTS
    from robosac.detectors.bev.weights import load_network

    net, header = load_network(WEIGHTS / "mean.safetensors")
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    floats = [name for name, tensor in state.items() if tensor.is_floating_point()]
    name = floats[int(rng.integers(len(floats)))]
    what = ["as it is", "missing", "doubled", "another shape", "NaN", "inf"][int(rng.integers(6))]
    if what == "missing":
        del state[name]
    elif what == "doubled":
        state[f"{name}_"] = state[name].clone()
    elif what == "another shape":
        state[name] = torch.cat([state[name].reshape(-1), state[name].reshape(-1)])
    elif what in ("NaN", "inf"):
        state[name].view(-1)[int(rng.integers(state[name].numel()))] = float(what)
    file = root / "w.safetensors"
    file.write_bytes(save(state, metadata={"header": header.model_dump_json()}))

    def means() -> list[Box]:
        if what != "as it is":
            raise RefusedError
        return []

    def read() -> Objects:
        load_network(file)
        return Objects.none()

    return f"{what}: {name}", means, read
