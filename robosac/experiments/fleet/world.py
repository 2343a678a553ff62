"""What a fleet of any model is to the rows: clients, a verifier, and what is reported. Detectors and language models
are the same to all that is above."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from robosac.experiments.fleet.settings import FleetSettings
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.consensus import Shown
from robosac.fleet.rounds import Client
from robosac.types import Id

Weights = dict[str, Any]
T = TypeVar("T")


class World(Protocol):
    """A fleet with all its data. A *tuned* model is whatever the world itself makes of an adapter or of weights."""

    @property
    def settings(self) -> FleetSettings: ...
    @property
    def attackers(self) -> tuple[Id, ...]: ...
    @property
    def shapes(self) -> Shapes:
        """The layers that are adapted."""
        ...

    def of(self, settings: FleetSettings) -> World:
        """The same data with a row's settings, the attackers' own as their attack on the data makes them."""
        ...

    def clients(self) -> Sequence[Client]:
        """Of the method that is asked for."""
        ...

    def pooled(self) -> Client:
        """One of the highest rank with everybody's data, as many steps a round as all together."""
        ...

    def verified(self, adapter: Adapter) -> Shown:
        """What a model shows the verifier."""
        ...

    def practised(self, given: Sequence[Adapter], round: int) -> Mapping[str, Sequence[Adapter]]:
        """As `robosac.fleet.consensus.Verifier`."""
        ...

    def tuned(self, adapter: Adapter) -> Any:
        """The model with an adapter."""
        ...

    def shown(self, tuned: Any) -> Shown:
        """As `verified`."""
        ...

    def figures(self, tuned: Any) -> dict[str, Any]:
        """What is reported: `all`, and by domain."""
        ...

    def alone(self, adapters: Mapping[Id, Adapter]) -> dict[str, Any]:
        """Each client's adapter judged on its own domain."""
        ...

    def more(self, tuned: Any) -> dict[str, Any]:
        """Further entries of an attacked row."""
        ...

    # what full FedAvg averages
    def weights(self, norms_only: bool) -> Weights:
        """Of the model as it was, by name."""
        ...

    def learnt(self, client: Any, weights: Weights, index: int, norms_only: bool) -> Weights:
        """A client's weights after its steps from these."""
        ...

    def of_weights(self, weights: Weights) -> Any:
        """The model with these."""
        ...


def practised(
    parts: Mapping[str, Sequence[T]],
    given: Sequence[Adapter],
    round: int,
    client: Callable[[str, list[T]], Client],
) -> dict[str, list[Adapter]]:
    """As `robosac.fleet.consensus.Verifier`, of its data by part; `client(name, items)` is one that has these."""
    return {
        part: [client(f"verifier-{part}-{k}", _half(items, k)).update(start, round) for k, start in enumerate(given)]
        for part, items in parts.items()
    }


def _half(items: Sequence[T], half: int) -> list[T]:
    """Every other one, from the first or from the second; of a single one, that."""
    return list(items[half % 2 :: 2] if len(items) > 1 else items)
