"""The detector that a fleet begins with, and what a backdoor does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robosac.detectors import WEIGHTS
from robosac.experiments.fleet.domains import Drives
from robosac.experiments.fleet.poisoning import stamped
from robosac.fleet.adapters import Adapter, Shapes
from robosac.randomness import keyed_rng

if TYPE_CHECKING:
    from robosac.detectors.bev.config import TrainConfig
    from robosac.detectors.bev.network import Network
    from robosac.detectors.bev.weights import Header

_SCORE: Final = 0.3  # from which a box counts as a finding, where vanished cars are counted
_STAMPED: Final = 4  # test frames of each vehicle


@dataclass(frozen=True, eq=False)
class Model:
    """The detector that all begin with, and how it is trained; the head is what is adapted."""

    network: Network
    header: Header
    settings: TrainConfig

    @staticmethod
    def load(name: str) -> Model:
        """By a shipped name or a file.

        Raises:
            InputError: there is none.
        """
        from robosac.detectors.bev.config import DataConfig, TrainConfig
        from robosac.detectors.bev.weights import load_network

        network, header = load_network(Path(name) if name.endswith(".safetensors") else WEIGHTS / f"{name}.safetensors")
        data = DataConfig(comm_range_m=70.0)
        settings = TrainConfig(name=header.name, model=header.model, decode=header.decode, data=data)
        return Model(network.eval().requires_grad_(False), header, settings)

    @cached_property
    def shapes(self) -> Shapes:
        """The layers of the head."""
        from robosac.detectors import lora

        return lora.layers(self.network, lambda name: name.startswith("head."))

    def adapted(self, adapter: Adapter) -> Network:
        """The network with an adapter added to its weights."""
        from robosac.detectors import lora

        return lora.merged(self.network, adapter)


def vanished(model: Model, frames: Mapping[str, Drives], network: Network) -> float:
    """Share in percent of the visible cars of honest vehicles' test frames that are found, but no longer once they
    carry the pattern of the backdoor."""
    from robosac.detectors.bev.training.encoded import detections, encode_look, matches

    counts: Mapping[bool, list[int]] = {False: [], True: []}
    for i, raw in frames.items():
        for f, frame in enumerate(raw.test[:_STAMPED]):
            for marked in (False, True):
                rng = keyed_rng("stamp", i, f)
                seen = stamped(frame, model.header.model.raster, share=1.0, rng=rng, hide=False) if marked else frame
                look = encode_look(model.network, seen, model.settings)
                found = detections(network.head, look, model.header.model, model.header.decode)
                match = matches(found, look, model.header.model, (0.5,))[1]
                counts[marked].append(int(((match.hits(0.5) == 1) & (match.scores >= _SCORE)).sum()))
    before = sum(counts[False])
    return round(100.0 * (before - sum(counts[True])) / before, 1) if before else 0.0
