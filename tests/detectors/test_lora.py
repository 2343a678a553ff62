"""Low-rank adapters of detectors: shapes and names, merging, training, and what a vehicle learns by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robosac.detectors import WEIGHTS, lora
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.detectors.bev.training.encoded import detections, encode_draws, encode_look, matches
from robosac.detectors.bev.training.local import held_out, local_update
from robosac.detectors.bev.weights import load_network
from robosac.fleet.adapters import blank, cut
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.lowrank import LowRankUpdate
from robosac.types import InputError
from tests.detectors.synthetic import cached_frame


class Odd(nn.Module):
    """A bit of everything: a linear layer, a grouped and a plain convolution, one that is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.last = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.grouped(self.first(x)).mean(dim=(2, 3)))
        return found


def drawn(model: nn.Module, rank: int = 2) -> dict[str, LowRankUpdate]:
    rng = np.random.default_rng(0)
    return {
        name: LowRankUpdate(rng.normal(size=(m, rank)), rng.normal(size=(rank, n)), 0.5, 7)
        for name, (m, n) in lora.layers(model).items()
    }


def test_layers_are_matrices() -> None:
    assert lora.layers(Odd()) == {"first": (6, 36), "grouped": (6, 18), "last": (5, 6)}
    assert list(lora.layers(Odd(), lambda name: name == "last")) == ["last"]


def test_attached_merged_and_added_by_hand_are_one() -> None:
    torch.manual_seed(0)
    model, x = Odd(), torch.randn(2, 4, 8, 8)
    plain, adapter = model(x), drawn(model)
    by_hand = Odd()
    by_hand.load_state_dict(model.state_dict())
    for name, update in adapter.items():
        weight = by_hand.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        weight.data += torch.as_tensor(update.dense, dtype=weight.dtype).view_as(weight)
    expected = by_hand(x)
    torch.testing.assert_close(lora.merged(model, adapter)(x), expected)
    torch.testing.assert_close(model(x), plain)  # untouched
    trained = lora.attach(model, adapter)
    torch.testing.assert_close(model(x), expected)
    assert {p.requires_grad for p in model.parameters()} == {True, False} and len(trained) == 6
    back = lora.read(model, 7)
    assert all(np.allclose(back[n].dense, u.dense, atol=1e-5) and back[n].samples == 7 for n, u in adapter.items())
    lora.merge(model)
    torch.testing.assert_close(model(x), expected)
    assert set(model.state_dict()) == set(by_hand.state_dict())


def test_shapes_and_files_are_pefts(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = Odd()
    adapter = drawn(model, 3)
    lora.save_peft(tmp_path, adapter, model)
    held = load_file(tmp_path / "adapter_model.safetensors")
    assert held["base_model.model.first.lora_A.weight"].shape == (3, 4, 3, 3)
    assert held["base_model.model.first.lora_B.weight"].shape == (6, 3, 1, 1)
    assert held["base_model.model.last.lora_A.weight"].shape == (3, 6)
    back = lora.load_peft(tmp_path, model)
    assert all(np.allclose(back[n].dense, u.dense, atol=1e-5) for n, u in adapter.items())
    with pytest.raises(InputError, match="expected layers of this model"):
        lora.load_peft(tmp_path, nn.Linear(2, 2))
    with pytest.raises(InputError, match="expected adapter_config"):
        lora.load_peft(tmp_path / "nowhere", model)


@pytest.mark.parametrize("more", ["use_rslora", "lora_magnitude_vector", "modules_to_save"])
def test_an_adapter_that_is_more_than_factors_is_not_read_as_if_it_were_not(more: str, tmp_path: Path) -> None:
    import json

    from safetensors.numpy import load_file, save_file

    model = Odd()
    lora.save_peft(tmp_path, drawn(model), model)
    if more.startswith("use_"):
        path = tmp_path / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), more: True}))
    else:
        path = tmp_path / "adapter_model.safetensors"
        save_file({**load_file(path), f"base_model.model.last.{more}": np.ones(5, np.float32)}, path)
    with pytest.raises(InputError, match=f"expected plain low-rank factors in .*{more}"):
        lora.load_peft(tmp_path, model)


def test_what_does_not_fit_is_refused() -> None:
    model, wrong = Odd(), {"first": LowRankUpdate(np.zeros((6, 1)), np.zeros((1, 35)))}
    for use in (lora.attach, lora.merged):
        with pytest.raises(InputError, match="expected an adapter of"):
            use(model, wrong)  # type: ignore[operator]


# ------------------------------------------------------------------------------------------- what a vehicle learns
SETTINGS = TrainConfig(name="toy")


@pytest.fixture(scope="module")
def network() -> Network:
    torch.set_num_threads(1)
    return load_network(WEIGHTS / "mean.safetensors")[0].eval()


@pytest.fixture(scope="module")
def frame() -> CachedFrame:
    return cached_frame(0)


def of_head(network: Network, rank: int = 4) -> dict[str, LowRankUpdate]:
    shapes = lora.layers(network, lambda name: name.startswith("head."))
    return cut(FlexLora(), blank(shapes), rank, 0)


def test_a_blank_adapter_changes_nothing_and_encoded_frames_are_the_frames(
    network: Network, frame: CachedFrame
) -> None:
    look = encode_look(network, frame, SETTINGS)
    assert look.maps.shape == (2, 32, 64, 64)
    same = lora.merged(network, of_head(network))
    torch.testing.assert_close(same.head(look.maps), network.head(look.maps))
    found = detections(network.head, look, SETTINGS.model, SETTINGS.decode)
    assert [m.n_gt for m in matches(found, look, SETTINGS.model, (0.5,))] == [int(look.counts.sum())] * 2


def test_a_local_update_is_a_function_that_lowers_the_loss(network: Network, frame: CachedFrame) -> None:
    draws = [encode_draws(network, frame, SETTINGS, np.random.default_rng(0), variants=2)]
    look = encode_look(network, frame, SETTINGS)
    start = of_head(network)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    made = [
        local_update(network, start, draws, steps=6, lr=3e-3, settings=SETTINGS, rng=np.random.default_rng(1))
        for _ in range(2)
    ]
    assert all(np.array_equal(made[0][n].a, made[1][n].a) for n in start)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert {n: u.rank for n, u in made[0].items()} == {n: u.rank for n, u in start.items()}
    losses = [held_out(lora.merged(network, a), [[look]], forward_weight=0.1)[0][0] for a in (start, made[0])]
    assert losses[1] < losses[0]


def test_the_encoder_is_adapted_from_rasters_alone(network: Network, frame: CachedFrame) -> None:
    every = cut(FlexLora(), blank(lora.layers(network)), 2, 0)
    draws = [encode_draws(network, frame, SETTINGS, np.random.default_rng(0), variants=1)]
    options = {"steps": 1, "lr": 1e-3, "settings": SETTINGS, "rng": np.random.default_rng(0)}
    with pytest.raises(InputError, match="expected an adapter of the head"):
        local_update(network, every, draws, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected frames"):
        local_update(network, every, [], **options)  # type: ignore[arg-type]
    learnt = local_update(network, every, [frame], **options)  # type: ignore[arg-type]
    assert any(np.any(u.b) for n, u in learnt.items() if n.startswith("encoder."))
