"""Low-rank adapters for any detector made of convolutions and linear layers.

Names and shapes are peft's: of a convolution `(out, in, k, k)` `lora_A` is `(r, in, k, k)` and `lora_B`
`(out, r, 1, 1)`, of a linear layer `(r, in)` and `(out, r)`; a weight changes by `scale * lora_B @ lora_A`, both
as matrices. A grouped convolution is the matrix `(out, in / groups * k * k)` of its weight, which can be merged; peft's
adapters of grouped convolutions cannot, and are not read.

An adapter is a parametrisation of the weight, so a model runs as before and costs nothing at inference: `merge` adds it
to the weights and is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final, TypeVar, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes
from torch import Tensor, nn
from torch.nn.utils import parametrize

from robosac.files import write_whole
from robosac.fleet.lowrank import LowRankUpdate
from robosac.types import InputError

M = TypeVar("M", bound=nn.Module)
PEFT: Final = "base_model.model."
_KINDS = (nn.Conv2d, nn.Linear)


def descend(trained: Sequence[Tensor], loss: Callable[[], Tensor], *, steps: int, lr: float, clip: float) -> None:
    """Steps of Adam on `trained`, in place, down a loss drawn anew in each; `clip`: the largest norm of a gradient."""
    parameters = list(trained)
    optimiser = torch.optim.Adam(parameters, lr=lr)
    for _ in range(steps):
        drawn = loss()
        optimiser.zero_grad(set_to_none=True)
        drawn.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()


class LowRankWeight(nn.Module):
    """The parametrisation of one weight: what it was, plus `scale * lora_B @ lora_A`."""

    def __init__(self, update: LowRankUpdate, like: Tensor) -> None:
        super().__init__()
        r = update.rank
        a, b = (torch.as_tensor(np.asarray(x), dtype=like.dtype, device=like.device) for x in (update.a, update.b))
        self.lora_A = nn.Parameter(a.reshape(r, *like.shape[1:]).clone())
        self.lora_B = nn.Parameter(b.reshape(like.shape[0], r, *(1,) * (like.ndim - 2)).clone())
        self.scale = update.scale

    def forward(self, weight: Tensor) -> Tensor:
        change = self.lora_B.flatten(1) @ self.lora_A.flatten(1)
        return weight + self.scale * change.view_as(weight)


def layers(model: nn.Module, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, tuple[int, int]]:
    """The layers that can be adapted, by name, with `(m, n)` of their weights as matrices."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, _KINDS) and wanted(name):
            weight = module.weight
            found[name] = (weight.shape[0], weight[0].numel())
    return found


def attach(model: nn.Module, adapter: Mapping[str, LowRankUpdate]) -> list[nn.Parameter]:
    """Put an adapter on a model, in place. Returns what is to be trained; the weights themselves are frozen.

    Raises:
        InputError: it names a layer that the model lacks, or one of another shape.
    """
    known = layers(model)
    for name, update in adapter.items():
        if known.get(name) != update.shape:
            raise InputError(f"expected an adapter of {known.get(name)} for layer {name!r}, got {update.shape}")
    model.requires_grad_(False)
    trained: list[nn.Parameter] = []
    for name, update in adapter.items():
        module = model.get_submodule(name)
        part = LowRankWeight(update, cast(Tensor, module.weight))
        parametrize.register_parametrization(module, "weight", part)
        trained += [part.lora_A, part.lora_B]
    return trained


def read(model: nn.Module, samples: int = 1) -> dict[str, LowRankUpdate]:
    """The adapter that is on a model, in float32."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, _KINDS) and parametrize.is_parametrized(module, "weight"):
            part = cast(LowRankWeight, module.parametrizations["weight"][0])  # type: ignore[index]
            a, b = (x.detach().flatten(1).float().cpu().numpy() for x in (part.lora_A, part.lora_B))
            found[name] = LowRankUpdate(b, a, part.scale, samples)
    return found


def merge(model: nn.Module) -> None:
    """Add the adapter that is on a model to its weights, and take it off."""
    for module in model.modules():
        if isinstance(module, _KINDS) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def merged(model: M, adapter: Mapping[str, LowRankUpdate]) -> M:
    """A copy of a model with an adapter of any rank added to its weights."""
    copy = deepcopy(model)
    known = layers(copy)
    with torch.no_grad():
        for name, update in adapter.items():
            if known.get(name) != update.shape:
                raise InputError(f"expected an adapter of {known.get(name)} for layer {name!r}, got {update.shape}")
            if update.rank:
                weight = cast(Tensor, copy.get_submodule(name).weight)
                weight += torch.as_tensor(update.dense, dtype=weight.dtype, device=weight.device).view_as(weight)
    return copy


# ---------------------------------------------------------------------------------------------------- peft's files
def save_peft(folder: Path, adapter: Mapping[str, LowRankUpdate], model: nn.Module) -> Path:
    """Write `adapter_model.safetensors` and `adapter_config.json`, as peft reads them. Returns the folder."""
    tensors, ranks, alphas = {}, {}, {}
    for name, update in adapter.items():
        shape = cast(Tensor, model.get_submodule(name).weight).shape
        r = update.rank
        tensors[f"{PEFT}{name}.lora_A.weight"] = np.ascontiguousarray(update.a.reshape(r, *shape[1:]), np.float32)
        b = update.b.reshape(shape[0], r, *(1,) * (len(shape) - 2))
        tensors[f"{PEFT}{name}.lora_B.weight"] = np.ascontiguousarray(b, np.float32)
        ranks[name], alphas[name] = r, update.scale * r
    config = {
        "peft_type": "LORA",
        "r": max(ranks.values()),
        "lora_alpha": max(alphas.values()),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    write_whole(folder / "adapter_model.safetensors", to_bytes(tensors))
    write_whole(folder / "adapter_config.json", (json.dumps(config, indent=1) + "\n").encode())
    return folder


def load_peft(folder: Path, model: nn.Module) -> dict[str, LowRankUpdate]:
    """Read an adapter that `save_peft` or peft wrote for a model like this one.

    Raises:
        InputError: there is none, it is broken, of another model, or holds more than low-rank factors.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"expected adapter_config.json and adapter_model.safetensors in {folder}: {error}") from error
    more = [name for name in ("use_rslora", "use_dora") if config.get(name)]
    more += sorted(k for k in tensors if not k.endswith((".lora_A.weight", ".lora_B.weight")))[:3]
    if more:
        raise InputError(f"expected plain low-rank factors in {folder}, got {', '.join(more)}")
    known, adapter = layers(model), {}
    for key in (k for k in tensors if k.endswith(".lora_A.weight")):
        name = key.removeprefix(PEFT).removesuffix(".lora_A.weight")
        other = key.replace(".lora_A.", ".lora_B.")
        if name not in known or other not in tensors:
            raise InputError(f"expected layers of this model, got {name!r} in {folder}")
        a, b = tensors[key].reshape(len(tensors[key]), -1), tensors[other].reshape(len(tensors[other]), -1)
        alpha = config.get("alpha_pattern", {}).get(name, config.get("lora_alpha", len(a)))
        if (b.shape[0], a.shape[1]) != known[name]:
            raise InputError(f"expected {name} of {known[name]} in {folder}, got {(b.shape[0], a.shape[1])}")
        adapter[name] = LowRankUpdate(b, a, float(alpha) / len(a))
    return adapter
