"""Models of Hugging Face from disk, through transformers and peft. Skipped where these are missing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robosac.experiments.fleet.language import open_language
from robosac.experiments.fleet.rows import run_row
from robosac.experiments.fleet.settings import FleetSettings
from robosac.fleet.adapters import ALPHA, blank, cut
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.wire import Agreed, pack, unpack
from robosac.language.domains import domain
from robosac.language.tuning import LanguageModel, choice_scores, local_update, mean_loss
from robosac.types import InputError


def save_model(folder: Path, kind: str) -> Path:
    """A model with random weights and a tokenizer of single characters, as `save_pretrained` writes them."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = {c: k for k, c in enumerate(["<unk>", "</s>", *map(chr, range(32, 127))])}
    made = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": len(letters), "bos_token_id": 1, "eos_token_id": 1}
    if kind == "gpt2":  # its layers are transposed
        model: Any = GPT2LMHeadModel(GPT2Config(n_embd=12, n_layer=1, n_head=2, n_positions=64, **sizes))
    else:
        more = {"hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 2, "num_key_value_heads": 1}
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, max_position_embeddings=64, **more, **sizes))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("transformers", "peft", "tokenizers"):
        pytest.importorskip(name)
    return save_model(tmp_path_factory.mktemp("hub") / request.param, request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    from robosac.language.hub import open_hub

    return open_hub(folder)


ITEMS = domain("facts", (16, 4, 4)).train


@pytest.mark.parametrize("rank", [2, 8, 16])  # more than a layer can have, too
def test_an_adapter_counts_the_same_put_on_by_peft_and_added_to_the_weights(model: LanguageModel, rank: int) -> None:
    given = cut(FlexLora(), blank(model.shapes), rank, 0)
    rng = np.random.default_rng(0)
    learnt = local_update(model, given, ITEMS, steps=3, lr=0.01, batch=4, rng=rng)
    assert any(np.abs(u.b).max() > 0 for u in learnt.values())
    with model.tuning(learnt) as on, torch.no_grad():
        scores = choice_scores(on.forward, ITEMS, model.tokens)
        again = on.read(7)
    with model.with_adapter(learnt) as added:
        other = choice_scores(added, ITEMS, model.tokens)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(scores, other, strict=True))
    assert all(np.array_equal(again[k].a, learnt[k].a) and again[k].samples == 7 for k in learnt)
    agreed = Agreed(rank, 1, model.shapes, ALPHA)  # what the server lets in
    assert set(unpack(pack(learnt, sender="x", round=0), agreed, sender="x", round=0)) == set(model.shapes)


def test_a_client_is_a_function_and_the_model_stays(model: LanguageModel) -> None:
    given = cut(FlexLora(), blank(model.shapes), 2, 0)
    with model.with_adapter(blank(model.shapes)) as plain:
        before = mean_loss(plain, ITEMS, model.tokens)
    made = []
    for _ in range(2):
        rng = np.random.default_rng(1)
        made.append(local_update(model, given, ITEMS, steps=25, lr=0.02, batch=8, rng=rng))
    assert all(np.array_equal(made[0][k].b, made[1][k].b) for k in given)
    with model.with_adapter(made[0]) as tuned:
        assert mean_loss(tuned, ITEMS, model.tokens) < before - 0.05
    with model.with_adapter(blank(model.shapes)) as plain:
        assert mean_loss(plain, ITEMS, model.tokens) == before


def test_a_fleet_of_it_runs_as_any_other(folder: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"say {k}", "choices": ["a", "b"], "answer": k % 2}) for k in range(20)]
    (tmp_path / "moon.jsonl").write_text("\n".join(lines))
    settings = FleetSettings(
        language=f"hf:{folder}", data=str(tmp_path), vehicles=(("moon", 2), ("moon", 4)), rounds=1, steps=1
    )
    entry = run_row(open_language(settings), tmp_path / "out")
    assert set(entry["figures"]) == {"all", "moon"} and entry["bytes"] > 0
    with pytest.raises(InputError, match="expected tiny-lm with the method full"):
        replace(settings, method="full")


def test_folders_that_hold_less_are_refused(folder: Path, tmp_path: Path) -> None:
    from robosac.language.hub import open_hub

    with pytest.raises(InputError, match="folder with a config"):
        open_hub(tmp_path / "none")
    for name, words in (("tokenizer*", "expected a tokenizer in"), ("model*", "language model with safetensors in")):
        copy = tmp_path / words[-4:]
        shutil.copytree(folder, copy)
        for path in copy.glob(name):
            path.unlink()
        with pytest.raises(InputError, match=words):
            open_hub(copy)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "moon"}')
    with pytest.raises(InputError, match=r"expected a (tokenizer|causal)"):
        open_hub(tmp_path / "odd")
