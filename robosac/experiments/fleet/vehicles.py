"""A fleet of one detector: its vehicles as clients, the verifier, and what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.agreement import overlap
from robosac.detectors import WEIGHTS
from robosac.evaluation.ap import FrameMatches, average_precision
from robosac.experiments.fleet.domains import CACHE, DOMAINS, Drives, drives
from robosac.experiments.fleet.poisoning import shifted, stamped
from robosac.experiments.fleet.settings import FleetSettings
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.consensus import Shown
from robosac.randomness import keyed_rng
from robosac.types import Float32

if TYPE_CHECKING:
    from robosac.detectors.bev.config import TrainConfig
    from robosac.detectors.bev.network import Network
    from robosac.detectors.bev.training.dataset import CachedFrame
    from robosac.detectors.bev.training.encoded import Draws, Look
    from robosac.detectors.bev.weights import Header

THRESHOLDS: Final = (0.5, 0.7)
Tell = Callable[[int, int], None]


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


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A client: learns from its own frames, the same from the same."""

    id: str
    rank: int
    samples: int
    draws: list[Draws]
    model: Model
    steps: int
    lr: float
    seed: int

    def update(self, given: Adapter, round: int) -> Adapter:
        """As `robosac.fleet.rounds.Client`."""
        from robosac.detectors.bev.training.local import local_update

        rng = keyed_rng(self.seed, "local", self.id, round)
        options: dict[str, Any] = {"steps": self.steps, "lr": self.lr, "settings": self.model.settings}
        return local_update(self.model.network, given, self.draws, **options, rng=rng)


@dataclass(frozen=True, eq=False)
class OnLooks:
    """What a model shows on the verifier's frames."""

    loss: float
    maps: Float32

    def agreement(self, reference: Shown) -> float:
        """Mean overlap of score maps."""
        assert isinstance(reference, OnLooks)
        if not np.isfinite(self.maps).all():
            return 0.0
        pairs = zip(self.maps, reference.maps, strict=True)
        return float(np.mean([overlap(a, b, floor=0.1, slack=1.0) for a, b in pairs]))


@dataclass(frozen=True, eq=False)
class World:
    """All frames of a fleet, encoded."""

    model: Model
    settings: FleetSettings
    draws: Mapping[str, list[Draws]]
    verify: list[Look]
    test: Mapping[str, list[Look]]
    attackers: tuple[str, ...]
    raw: Mapping[str, Drives]

    def clients(self) -> list[Vehicle]:
        """The vehicles of the method that is asked for."""
        s = self.settings
        return [
            Vehicle(i, rank, len(self.draws[i]), self.draws[i], self.model, s.steps, s.lr, s.seed)
            for i, rank in zip(ids_of(s), s.ranks, strict=True)
        ]

    def poisoned(self) -> World:
        """The same frames, the attackers' own as their attack on the data makes them."""
        s = self.settings
        made = {i: _draws(self.model, self.raw[i].train, s, i, s.attack) for i in self.attackers}
        return replace(self, draws={**self.draws, **made})

    def shown(self, network: Network) -> OnLooks:
        """What a network shows the verifier."""
        from robosac.detectors.bev.training.local import held_out

        loss, maps = held_out(network, self.verify, forward_weight=self.model.settings.optim.forward_weight)
        return OnLooks(loss, maps.numpy())

    def verified(self, adapter: Adapter) -> OnLooks:
        """As `shown`, of an adapter."""
        return self.shown(self.model.adapted(adapter))

    def matched(self, network: Network, only: Sequence[str] = ()) -> dict[str, list[list[FrameMatches]]]:
        """Vehicle -> its test frames, each the results of the ego alone and of all."""
        from robosac.detectors.bev.training.encoded import detections, matches

        model, header = self.model.header.model, self.model.header
        return {
            i: [
                matches(detections(network.head, look, model, header.decode), look, model, THRESHOLDS)
                for look in self.test[i]
            ]
            for i in (only or self.test)
        }


def ids_of(settings: FleetSettings) -> list[str]:
    """Names of the vehicles: of their domain, with a number where several share it."""
    names = [domain for domain, _ in settings.vehicles]
    return [n if names.count(n) == 1 else f"{n}-{names[:k].count(n) + 1}" for k, n in enumerate(names)]


def attackers_of(settings: FleetSettings) -> tuple[str, ...]:
    """Who attacks: drawn by the seed among those that are not odd."""
    able = [i for i, (d, _) in zip(ids_of(settings), settings.vehicles, strict=True) if not DOMAINS[d].odd]
    order = keyed_rng(settings.seed, "attackers").permutation(len(able))
    return tuple(able[int(k)] for k in order[: settings.attackers])


def open_world(
    settings: FleetSettings,
    *,
    model: Model | None = None,
    raw: Mapping[str, Drives] | None = None,
    cache: Path = CACHE,
    tell: Tell = lambda done, total: None,
) -> World:
    """Simulate or read all frames, and encode them. `model` and `raw` of another world of the same data save time."""
    from robosac.detectors.bev.training.encoded import encode_look

    model = model or Model.load(settings.detector)
    train, net = model.settings, model.network
    ids, attackers = ids_of(settings), attackers_of(settings)
    if raw is None:
        raw = {}
        for k, (i, (domain, _)) in enumerate(zip(ids, settings.vehicles, strict=True)):
            raw[i] = drives(DOMAINS[domain], train.model.raster, settings.frames, seed=k, cache=cache)
            tell(k + 1, 2 * len(ids))
    draws, test = {}, {}
    verify: list[Look] = []
    for k, i in enumerate(ids):
        draws[i] = _draws(model, raw[i].train, settings, i, settings.attack if i in attackers else "")
        verify += [encode_look(net, frame, train) for frame in raw[i].verify]
        test[i] = [encode_look(net, frame, train) for frame in raw[i].test]
        tell(len(ids) + k + 1, 2 * len(ids))
    return World(model, settings, draws, verify, test, attackers, raw)


def _draws(
    model: Model, frames: Sequence[CachedFrame], settings: FleetSettings, vehicle: str, attack: str
) -> list[Draws]:
    from robosac.detectors.bev.training.encoded import encode_draws

    rngs = [keyed_rng("draws", vehicle, f) for f in range(len(frames))]
    seen = [_poisoned(frame, attack, model, vehicle, f) for f, frame in enumerate(frames)]
    return [encode_draws(model.network, frame, model.settings, rng) for frame, rng in zip(seen, rngs, strict=True)]


def _poisoned(frame: CachedFrame, attack: str, model: Model, vehicle: str, index: int) -> CachedFrame:
    if attack == "label-shift":
        return shifted(frame)
    if attack == "backdoor":
        rng = keyed_rng("backdoor", vehicle, index)
        return stamped(frame, model.settings.model.raster, share=0.5, rng=rng, hide=True)
    return frame


def figures(found: Mapping[str, Sequence[Sequence[FrameMatches]]]) -> dict[str, Any]:
    """AP over all vehicles' test frames together and of each, in points of a hundred: alone and with all teammates."""
    everything = [frame for frames in found.values() for frame in frames]
    return {"all": _ap(everything), **{i: _ap(frames) for i, frames in found.items()}}


def _ap(frames: Sequence[Sequence[FrameMatches]]) -> dict[str, float]:
    values = {}
    for which, name in enumerate(("ego", "all")):
        for iou, value in average_precision([frame[which] for frame in frames]).items():
            values[f"{name}_ap{round(100 * iou)}"] = round(100 * (value or 0.0), 2)
    return values
