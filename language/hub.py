"""Any causal language model of Hugging Face that is on disk, its adapters put on by peft (extra `llm`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from robosac.fingerprint import fingerprint
from robosac.fleet.adapters import ALPHA, Adapter, Shapes, layer_rank
from robosac.fleet.lowrank import LowRankUpdate
from robosac.language.tuning import Forward
from robosac.types import InputError

_LONGEST: Final = 2048  # tokens, where a model does not say what it can see
_PREFIX: Final = "base_model.model."


@dataclass(frozen=True, eq=False)
class HubTokens:
    """A tokenizer of Hugging Face."""

    tokenizer: Any
    context: int

    def encode(self, prompt: str, answer: str) -> tuple[list[int], int]:
        """Instruction and answer are encoded apart, so that what is scored begins where the answer begins."""
        before = list(self.tokenizer(prompt)["input_ids"])
        after = list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])
        end = self.tokenizer.eos_token_id
        return [*before, *after, *([] if end is None else [int(end)])], len(before)


@dataclass(frozen=True, eq=False)
class HubTuning:
    """The model with one of its adapters being trained."""

    model: HubModel
    name: str
    rank: int

    @property
    def trained(self) -> Sequence[nn.Parameter]:
        """The factors."""
        return [p for layer in self.model.adapted.values() for p in _factors(layer, self.name)]

    def forward(self, ids: Tensor) -> Tensor:
        """As `robosac.language.tuning.Tuning`."""
        return self.model.logits(ids)

    def read(self, samples: int) -> dict[str, LowRankUpdate]:
        """As `robosac.language.tuning.Tuning`."""
        found = {}
        for layer, module in self.model.adapted.items():
            a, b = (p.detach().float().cpu().numpy().copy() for p in _factors(module, self.name))
            found[layer] = LowRankUpdate(b, a, ALPHA / self.rank, samples)
        return found


@dataclass(frozen=True, eq=False)
class HubModel:
    """A model that peft has put adapters on, one of each rank that was asked for.

    Attributes:
        peft: peft's model.
        tokens: its tokenizer.
        files: of its folder, for its identity.
    """

    peft: Any
    tokens: HubTokens
    files: tuple[Path, ...]

    @cached_property
    def adapted(self) -> dict[str, Any]:
        """Layers that peft adapts, by name in the model."""
        from peft.tuners.lora import LoraLayer

        found = {n.removeprefix(_PREFIX): m for n, m in self.peft.named_modules() if isinstance(m, LoraLayer)}
        return dict(sorted(found.items()))

    @cached_property
    def shapes(self) -> Shapes:
        """As `robosac.language.tuning.LanguageModel`; of every linear layer but the last."""
        return {name: (int(m.out_features), int(m.in_features)) for name, m in self.adapted.items()}

    @cached_property
    def identity(self) -> str:
        """Of the files of its folder."""
        return fingerprint(*self.files)

    def logits(self, ids: Tensor) -> Tensor:
        """Of what comes next; padding is at the end, where a causal model does not look."""
        found: Tensor = self.peft(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return found

    @contextmanager
    def tuning(self, adapter: Adapter) -> Iterator[HubTuning]:
        """As `robosac.language.tuning.LanguageModel`: peft holds an adapter a rank, which is given these factors."""
        rank = round(ALPHA / next(iter(adapter.values())).scale)
        name = f"rank-{rank}"
        if name not in self.peft.peft_config:
            self.peft.add_adapter(name, _config(rank, self.shapes))
        self.peft.set_adapter(name)
        with torch.no_grad():
            for layer, module in self.adapted.items():
                for held, given in zip(_factors(module, name), (adapter[layer].a, adapter[layer].b), strict=True):
                    if held.shape != given.shape:
                        raise InputError(f"expected {layer} as {tuple(held.shape)}, got {given.shape}")
                    held.copy_(torch.as_tensor(np.ascontiguousarray(given), dtype=held.dtype))
        yield HubTuning(self, name, rank)

    @contextmanager
    def with_adapter(self, adapter: Adapter) -> Iterator[Forward]:
        """As `robosac.language.tuning.LanguageModel`; the weights are what they were afterwards, bit by bit."""
        kept: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.no_grad():
                for layer, module in self.adapted.items():
                    if not adapter[layer].rank:
                        continue
                    weight = module.get_base_layer().weight
                    kept.append((weight, weight.clone()))
                    change = torch.as_tensor(adapter[layer].dense, dtype=weight.dtype)
                    weight += change.T if getattr(module, "fan_in_fan_out", False) else change
            with self.peft.disable_adapter():
                yield self.logits
        finally:
            with torch.no_grad():
                for weight, before in kept:
                    weight.copy_(before)


def open_hub(folder: Path) -> HubModel:
    """The model of a folder that `save_pretrained` wrote, with its tokenizer. Nothing is fetched, no code of it is run.

    Raises:
        InputError: the extra is missing, or the folder holds no such model or no tokenizer.
    """
    try:
        import transformers
        from peft import get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise InputError(f"expected transformers and peft for hf:PATH ({error}); pip install robosac[llm]") from error
    if not (folder / "config.json").is_file():
        raise InputError(f"expected hf:PATH to name a folder with a config.json, got {folder}")
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        if not tokenizer("a, b")["input_ids"]:  # without its files some kinds are made empty
            raise ValueError("it knows no words")
    except Exception as error:  # whatever that library raises about a user's folder
        raise InputError(f"expected a tokenizer in {folder} ({_said(error)}); save it there, too") from error
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **options)
    except Exception as error:
        raise InputError(f"expected a causal language model with safetensors in {folder} ({_said(error)})") from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise InputError(
            f"expected a tokenizer of at most {model.get_input_embeddings().num_embeddings} tokens in {folder}, got"
            f" {len(tokenizer)}; it is of another model"
        )
    seen = getattr(model.config, "max_position_embeddings", None)
    made = get_peft_model(model.eval(), _config(1, {}), adapter_name="rank-1").eval()
    files = tuple(sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".model", ".txt")))
    return HubModel(made, HubTokens(tokenizer, int(seen or _LONGEST)), files)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"


def _config(rank: int, shapes: Shapes) -> Any:
    """Scale alpha / rank in every layer, also where a layer cannot have the rank."""
    from peft import LoraConfig

    small = {layer: layer_rank(rank, shape) for layer, shape in shapes.items() if layer_rank(rank, shape) < rank}
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules="all-linear",
        rank_pattern=small,
        alpha_pattern={layer: ALPHA * r / rank for layer, r in small.items()},
    )


def _factors(module: Any, name: str) -> tuple[nn.Parameter, nn.Parameter]:
    return module.lora_A[name].weight, module.lora_B[name].weight
