"""The tiny language model: a byte-level causal transformer, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from robosac.files import write_whole
from robosac.types import InputError

SHIPPED: Final = Path(__file__).parent / "weights" / "tiny-lm.safetensors"
_HEAD: Final = "robosac"
BYTES: Final = 256


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Sizes. `context`: bytes that it can see."""

    width: int = 96
    layers: int = 4
    heads: int = 4
    context: int = 64

    def __post_init__(self) -> None:
        whole = all(type(v) is int and 0 < v <= 4096 for v in asdict(self).values())
        if not whole or self.width % self.heads:
            raise InputError(f"expected sizes in 1..4096, width a multiple of heads, got {self}")


class Block(nn.Module):
    """Attention to what came before, and two linear layers with a bend between them."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(n, t, d))
        y: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return y


class TinyLM(nn.Module):
    """Bytes `(N, T)` -> logits of the next byte `(N, T, 256)`. Padding at the end changes nothing before it."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        self.bytes = nn.Embedding(BYTES, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        for weights in (self.bytes.weight, self.places.weight):
            nn.init.normal_(weights, std=0.05)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.bytes(ids) + self.places.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        y: Tensor = nn.functional.linear(self.norm(x), self.bytes.weight)
        return y


def save(path: Path, model: TinyLM, about: dict[str, Any]) -> Path:
    """Write weights, with sizes and how they were made in the header."""
    tensors = {k: v.detach().float().contiguous() for k, v in model.state_dict().items()}
    head = json.dumps({"config": asdict(model.config), **about})
    write_whole(path, to_bytes(tensors, metadata={_HEAD: head}))
    return path


def load(path: Path = SHIPPED) -> TinyLM:
    """The model of a file.

    Raises:
        InputError: there is none, or it is none.
    """
    try:
        with safe_open(path, "pt") as held:
            head = json.loads((held.metadata() or {})[_HEAD])
            tensors = {k: held.get_tensor(k) for k in held.keys()}  # noqa: SIM118 (no mapping)
        model = TinyLM(TinyConfig(**head["config"]))
        model.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        why = f"{type(error).__name__}: {str(error)[:120]}"
        words = f"expected a tiny language model in {path} ({why})"
        raise InputError(f"{words}; make one with python -m robosac.language.pretrain") from error
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise InputError(f"expected finite weights in {path}, got NaN or inf")
    return model.eval().requires_grad_(False)
