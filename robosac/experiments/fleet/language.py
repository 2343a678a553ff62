"""A fleet of one language model: clients with instructions of their own, the verifier, and what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.experiments.fleet.settings import HUB, FleetSettings, attackers_of, ids_of
from robosac.experiments.fleet.world import Weights, practised
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.consensus import Shown
from robosac.language.domains import domain
from robosac.language.items import Item, Split, dealt, read_folder
from robosac.randomness import keyed_rng
from robosac.types import Id, InputError

if TYPE_CHECKING:
    from robosac.language.tuning import Forward, LanguageModel

BATCH: Final = 16  # instructions a step
Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Reader:
    """A client: learns from its own instructions, the same from the same."""

    id: str
    rank: int
    items: tuple[Item, ...]
    model: LanguageModel
    steps: int
    lr: float
    seed: int

    @property
    def samples(self) -> int:
        """Instructions that it has."""
        return len(self.items)

    def update(self, given: Adapter, round: int) -> Adapter:
        """As `robosac.fleet.rounds.Client`."""
        from robosac.language.tuning import local_update

        rng = keyed_rng(self.seed, "local", self.id, round)
        return local_update(self.model, given, self.items, steps=self.steps, lr=self.lr, batch=BATCH, rng=rng)


@dataclass(frozen=True, eq=False)
class OnItems:
    """What a model shows on the verifier's instructions: its losses, and how probable it finds each answer."""

    losses: Sequence[float]
    probabilities: tuple[np.ndarray[Any, Any], ...]

    @property
    def loss(self) -> float:
        """Mean over domains."""
        return float(np.mean(self.losses))

    def agreement(self, reference: Shown) -> float:
        """Mean overlap of the two models' probabilities."""
        assert isinstance(reference, OnItems)
        pairs = zip(self.probabilities, reference.probabilities, strict=True)
        shared = [float(np.minimum(p, q).sum()) for p, q in pairs]
        return float(np.mean(shared)) if np.isfinite(shared).all() else 0.0


@dataclass(frozen=True, eq=False)
class LanguageWorld:
    """All instructions of a fleet. A tuned model is a context in which it answers."""

    model: LanguageModel
    settings: FleetSettings
    domains: Mapping[str, Split]
    attackers: tuple[Id, ...] = ()

    @property
    def shapes(self) -> Shapes:
        """Of the layers that are adapted."""
        return self.model.shapes

    def of(self, settings: FleetSettings) -> LanguageWorld:
        """As `robosac.experiments.fleet.world.World`."""
        return replace(self, settings=settings, attackers=attackers_of(settings))

    def clients(self) -> list[Reader]:
        """As `robosac.experiments.fleet.world.World`; clients of one domain share its instructions out."""
        s, names = self.settings, [d for d, _ in self.settings.vehicles]
        made = []
        for k, (i, name, rank) in enumerate(zip(ids_of(s), names, s.ranks, strict=True)):
            items = dealt(self.domains[name].train, names.count(name))[names[:k].count(name)]
            if s.attack == "label-shift" and i in self.attackers:
                items = tuple(replace(item, answer=(item.answer + 1) % len(item.choices)) for item in items)
            made.append(Reader(i, rank, items, self.model, s.steps, s.lr, s.seed))
        return made

    def pooled(self) -> Reader:
        """As `robosac.experiments.fleet.world.World`."""
        s, clients = self.settings, self.clients()
        items = tuple(item for c in clients for item in c.items)
        rank = max(rank for _, rank in s.vehicles)
        return replace(clients[0], id="all", rank=rank, items=items, steps=s.steps * len(clients))

    def verified(self, adapter: Adapter) -> OnItems:
        """What the model shows with an adapter on the verifier's instructions."""
        return self.shown(self.tuned(adapter))

    def tuned(self, adapter: Adapter) -> Callable[[], Any]:
        """Opens the model with an adapter."""
        return lambda: self.model.with_adapter(adapter)

    def shown(self, tuned: Callable[[], Any]) -> OnItems:
        """Mean surprise by right answers, domain by domain, and probabilities of all answers."""
        import torch

        from robosac.language.tuning import choice_scores, mean_loss

        parts = [self.domains[name].verify for name in self._names]
        with tuned() as forward:
            scores = choice_scores(forward, [item for items in parts for item in items], self.model.tokens)
            losses = [mean_loss(forward, items, self.model.tokens) for items in parts]
        return OnItems(losses, tuple(torch.softmax(s, dim=0).numpy() for s in scores))

    def practised(self, given: Sequence[Adapter], round: int) -> dict[str, list[Adapter]]:
        """As `robosac.fleet.consensus.Verifier`: in each domain, from every other of the instructions held out."""
        first = self.clients()[0]
        held = {name: self.domains[name].verify for name in self._names}
        return practised(held, given, round, lambda name, items: replace(first, id=name, items=tuple(items)))

    def figures(self, tuned: Callable[[], Any]) -> dict[str, Any]:
        """Accuracy in percent on held-out instructions: of each domain, and `all`, the mean of domains."""
        with tuned() as forward:
            return _with_mean({name: self._right(forward, name) for name in self._names})

    def alone(self, adapters: Mapping[Id, Adapter]) -> dict[str, Any]:
        """Each client's adapter on its own domain; the mean where several share one."""
        by_domain: dict[str, list[float]] = {name: [] for name in self._names}
        for i, (name, _) in zip(ids_of(self.settings), self.settings.vehicles, strict=True):
            with self.model.with_adapter(adapters[i]) as forward:
                by_domain[name].append(self._right(forward, name))
        return _with_mean({name: float(np.mean(values)) for name, values in by_domain.items()})

    def more(self, tuned: Any) -> dict[str, Any]:
        """Nothing."""
        return {}

    def weights(self, norms_only: bool) -> Weights:
        """All of the tiny model's."""
        from robosac.language.models import weights_of

        return weights_of(self._network)

    def learnt(self, client: Reader, weights: Weights, index: int, norms_only: bool) -> Weights:
        """A client's weights after its steps from these."""
        from robosac.language.models import placed, weights_of
        from robosac.language.tuning import train

        network = placed(self._network, weights).requires_grad_(True)
        rng = keyed_rng(client.seed, "local", client.id, index)
        options: dict[str, Any] = {"steps": client.steps, "lr": client.lr / 10, "batch": BATCH}
        train(network, list(network.parameters()), client.items, self.model.tokens, **options, rng=rng)
        return weights_of(network)

    def of_weights(self, weights: Weights) -> Callable[[], Any]:
        """Opens the model with these."""
        from contextlib import nullcontext

        from robosac.language.models import placed

        network = placed(self._network, weights)
        return lambda: nullcontext(network)

    @property
    def _network(self) -> Any:
        from robosac.language.models import TinyModel

        assert isinstance(self.model, TinyModel)  # settings see to that
        return self.model.network

    @property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.settings.vehicles))

    def _right(self, forward: Forward, name: str) -> float:
        from robosac.language.tuning import accuracy

        return 100.0 * accuracy(forward, self.domains[name].test, self.model.tokens)


def _with_mean(by_domain: Mapping[str, float]) -> dict[str, Any]:
    rounded = {name: {"accuracy": round(value, 2)} for name, value in by_domain.items()}
    return {"all": {"accuracy": round(float(np.mean(list(by_domain.values()))), 2)}, **rounded}


def open_language(settings: FleetSettings, *, tell: Tell = lambda done, total: None) -> LanguageWorld:
    """The model, and the instructions of a folder or of the domains that are made here.

    Raises:
        InputError: there is no such model, or the folder lacks a domain.
    """
    model = open_model(settings.language)
    names = list(dict.fromkeys(name for name, _ in settings.vehicles))
    tell(1, 2)
    domains = read_domains(Path(settings.data), settings.frames) if settings.data else {}
    for name in names:
        if settings.data and name not in domains:
            raise InputError(f"expected {name}.jsonl in {settings.data}, got {', '.join(domains)}")
        if not settings.data:
            domains[name] = domain(name, settings.frames)
        check_lengths(model, name, domains[name])
    tell(2, 2)
    return LanguageWorld(model, settings, domains, attackers_of(settings))


def check_lengths(model: LanguageModel, name: str, items: Split) -> None:
    """Everything fits what the model can see: a client that cannot read its own instructions would be left out of every
    round, and nothing learnt.

    Raises:
        InputError: something does not; says what.
    """
    for item in (*items.train, *items.verify, *items.test):
        _check_length(model, name, item)


def _check_length(model: LanguageModel, name: str, item: Item) -> None:
    from robosac.language.tuning import padded

    try:
        padded([model.tokens.encode(item.prompt, choice) for choice in item.choices], model.tokens.context)
    except InputError as error:
        raise InputError(f"{error}; {name}: {item.prompt[:60]!r}") from None


def open_model(name: str) -> LanguageModel:
    """`tiny-lm`, `tiny-lm:FILE` or `hf:PATH`."""
    if name.startswith(HUB):
        from robosac.language.hub import open_hub

        return open_hub(Path(name.removeprefix(HUB)).expanduser())
    from robosac.language.models import TinyModel
    from robosac.language.tiny import SHIPPED, load

    _, _, path = name.partition(":")
    return TinyModel(load(Path(path).expanduser() if path else SHIPPED))


def read_domains(folder: Path, counts: Sequence[int]) -> dict[str, Split]:
    """As `read_folder`, at most so many of each part."""
    return {
        name: Split(*(part[:count] for part, count in zip((s.train, s.verify, s.test), counts, strict=True)))
        for name, s in read_folder(folder).items()
    }
