"""A fleet of one detector: its vehicles as clients, the verifier, and what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.agreement import overlap
from robosac.evaluation.ap import FrameMatches, average_precision
from robosac.experiments.fleet import network_weights
from robosac.experiments.fleet.domains import CACHE, DOMAINS, Drives, drives
from robosac.experiments.fleet.model import Model, vanished
from robosac.experiments.fleet.poisoning import DATA_ATTACKS, shifted, stamped
from robosac.experiments.fleet.recorded import recorded_drives
from robosac.experiments.fleet.settings import FleetSettings, attackers_of, ids_of
from robosac.experiments.fleet.world import Weights, practised
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.consensus import Shown
from robosac.randomness import keyed_rng
from robosac.types import Float32, Id

if TYPE_CHECKING:
    from robosac.detectors.bev.network import Network
    from robosac.detectors.bev.training.dataset import CachedFrame
    from robosac.detectors.bev.training.encoded import Draws, Look

THRESHOLDS: Final = (0.5, 0.7)
Tell = Callable[[int, int], None]


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

    losses: Sequence[float]
    maps: Float32

    @property
    def loss(self) -> float:
        """Mean over worlds."""
        return float(np.mean(self.losses))

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
    verify: Mapping[str, list[Look]]
    practice: Mapping[str, list[Draws]]
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

    @property
    def shapes(self) -> Shapes:
        """Of the head."""
        return self.model.shapes

    def of(self, settings: FleetSettings) -> World:
        """As `robosac.experiments.fleet.world.World`."""
        attackers = attackers_of(settings)
        made = {}
        if settings.attack in DATA_ATTACKS:
            made = {i: _draws(self.model, self.raw[i].train, i, settings.attack) for i in attackers}
        return replace(self, settings=settings, attackers=attackers, draws={**self.draws, **made})

    def pooled(self) -> Vehicle:
        """As `robosac.experiments.fleet.world.World`."""
        s, clients = self.settings, self.clients()
        draws = [d for c in clients for d in c.draws]
        rank = max(rank for _, rank in s.vehicles)
        return replace(clients[0], id="all", rank=rank, samples=len(draws), draws=draws, steps=s.steps * len(clients))

    def tuned(self, adapter: Adapter) -> Network:
        """The network with an adapter added to its weights."""
        return self.model.adapted(adapter)

    def shown(self, tuned: Network) -> OnLooks:
        """What a network shows the verifier."""
        from robosac.detectors.bev.training.local import held_out

        forward = self.model.settings.optim.forward_weight
        losses, maps = held_out(tuned, list(self.verify.values()), forward_weight=forward)
        return OnLooks(losses, maps.numpy())

    def verified(self, adapter: Adapter) -> OnLooks:
        """As `shown`, of an adapter."""
        return self.shown(self.model.adapted(adapter))

    def practised(self, given: Sequence[Adapter], round: int) -> dict[str, list[Adapter]]:
        """As `robosac.fleet.consensus.Verifier`: in each vehicle's world, from every other of the frames held out."""
        first = self.clients()[0]

        def vehicle(name: str, draws: list[Draws]) -> Vehicle:
            return replace(first, id=name, samples=len(draws), draws=draws)

        return practised(self.practice, given, round, vehicle)

    def figures(self, tuned: Network) -> dict[str, Any]:
        """AP over all vehicles' test frames together and of each."""
        return figures(self.matched(tuned))

    def alone(self, adapters: Mapping[Id, Adapter]) -> dict[str, Any]:
        """AP of each vehicle's own adapter on its own frames."""
        found: dict[str, list[list[FrameMatches]]] = {}
        for i, adapter in adapters.items():
            found |= self.matched(self.tuned(adapter), [i])
        return figures(found)

    def more(self, tuned: Network) -> dict[str, Any]:
        """Under a backdoor, cars that its pattern hides, after the run and before."""
        if self.settings.attack != "backdoor":
            return {}
        before, after = (vanished(self.model, self.raw, n) for n in (self.model.network, tuned))
        return {"vanished": after, "vanished_before": before}

    def weights(self, norms_only: bool) -> Weights:
        """Of the head."""
        return network_weights.weights(self.model.network, norms_only)

    def learnt(self, client: Vehicle, weights: Weights, index: int, norms_only: bool) -> Weights:
        """A vehicle's weights after its steps from these."""
        rng = keyed_rng(client.seed, "local", client.id, index)
        options: dict[str, Any] = {"steps": client.steps, "lr": client.lr, "settings": self.model.settings}
        return network_weights.learnt(self.model.network, weights, client.draws, norms_only, **options, rng=rng)

    def of_weights(self, weights: Weights) -> Network:
        """The network with these in its head."""
        return network_weights.placed(self.model.network, weights)

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
    if raw is None and settings.data:
        named = [(i, domain) for i, (domain, _) in zip(ids, settings.vehicles, strict=True)]
        raw = recorded_drives(Path(settings.data), named, train.model.raster, settings.frames, tell=tell)
    if raw is None:
        raw = {}
        for k, (i, (domain, _)) in enumerate(zip(ids, settings.vehicles, strict=True)):
            raw[i] = drives(DOMAINS[domain], train.model.raster, settings.frames, seed=k, cache=cache)
            tell(k + 1, 2 * len(ids))
    draws, verify, practice, test = {}, {}, {}, {}
    for k, i in enumerate(ids):
        draws[i] = _draws(model, raw[i].train, i, settings.attack if i in attackers else "")
        verify[i] = [encode_look(net, frame, train) for frame in raw[i].verify]
        practice[i] = _draws(model, raw[i].verify, f"verifier-{i}", "")
        test[i] = [encode_look(net, frame, train) for frame in raw[i].test]
        tell(len(ids) + k + 1, 2 * len(ids))
    return World(model, settings, draws, verify, practice, test, attackers, raw)


def _draws(model: Model, frames: Sequence[CachedFrame], vehicle: str, attack: str) -> list[Draws]:
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
