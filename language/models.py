"""The tiny model as one that adapters are put on; `hub` has those of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robosac.detectors import lora
from robosac.fingerprint import fingerprint
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.lowrank import LowRankUpdate
from robosac.language.tiny import TinyLM
from robosac.language.tuning import Bytes, Forward


@dataclass(frozen=True, eq=False)
class TinyTuning:
    """A copy of the network with an adapter on it."""

    network: TinyLM
    trained: Sequence[nn.Parameter]

    def forward(self, ids: Tensor) -> Tensor:
        """As `robosac.language.tuning.Tuning`."""
        logits: Tensor = self.network(ids)
        return logits

    def read(self, samples: int) -> dict[str, LowRankUpdate]:
        """As `robosac.language.tuning.Tuning`."""
        return lora.read(self.network, samples)


@dataclass(frozen=True, eq=False)
class TinyModel:
    """The tiny language model; every linear layer of its blocks is adapted."""

    network: TinyLM

    @cached_property
    def tokens(self) -> Bytes:
        """Bytes."""
        return Bytes(self.network.config.context)

    @cached_property
    def shapes(self) -> Shapes:
        """All linear layers: the last one shares the weights of the first and is none of its own."""
        return lora.layers(self.network)

    @cached_property
    def identity(self) -> str:
        """Of its weights."""
        return fingerprint({k: v.numpy() for k, v in self.network.state_dict().items()})

    @contextmanager
    def tuning(self, adapter: Adapter) -> Iterator[TinyTuning]:
        """As `robosac.language.tuning.LanguageModel`."""
        copy = deepcopy(self.network).eval()
        yield TinyTuning(copy, lora.attach(copy, adapter))

    @contextmanager
    def with_adapter(self, adapter: Adapter) -> Iterator[Forward]:
        """As `robosac.language.tuning.LanguageModel`."""
        yield lora.merged(self.network, adapter)


def weights_of(network: TinyLM) -> dict[str, Any]:
    """All weights, by name."""
    return {n: v.detach().contiguous().numpy().copy() for n, v in network.state_dict().items()}


def placed(network: TinyLM, weights: Mapping[str, Any]) -> TinyLM:
    """A copy with these weights."""
    copy = deepcopy(network)
    copy.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in weights.items()})
    return copy.eval()
