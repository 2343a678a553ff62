"""The loop: send, learn, poison, let in, merge; a round after the other, each kept whole on disk.

It knows clients as things that turn an adapter into another, and nothing of models, frames or torch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from robosac.errors import InputError
from robosac.files import write_whole
from robosac.fingerprint import fingerprint
from robosac.fleet.adapters import ALPHA, Adapter, Shapes, blank, cut, gram, merge, minus, moved, sendable
from robosac.fleet.aggregation import Aggregation, FlexLora
from robosac.fleet.attackers import Knowing, Poison
from robosac.fleet.consensus import Effects, Measure, Verified, Verifier, agreed
from robosac.fleet.lowrank import LowRankUpdate
from robosac.fleet.poisoned import poisoned
from robosac.fleet.robust import Everybody, Robust
from robosac.fleet.steps import Effect
from robosac.fleet.wire import Agreed, RefusedError, pack, unpack
from robosac.randomness import keyed_rng
from robosac.types import Id


class Client(Protocol):
    """A member of the fleet: stateless between rounds but for its own data."""

    @property
    def id(self) -> Id: ...
    @property
    def rank(self) -> int: ...
    @property
    def samples(self) -> int: ...
    def update(self, given: Adapter, round: int) -> Adapter:
        """What it learnt, starting from what it was given; of the same rank. The same arguments, the same result."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is. Its `repr` is its key.

    Attributes:
        rounds: how many.
        rule: how updates become one.
        robust: who enters and with which weight, by the Gram matrix of their steps.
        verified: consensus on the verifier's frames; None for none.
        seed: of everything drawn.
        alpha: a client's scale is alpha / rank.
        deadline_s: a client that takes longer is left out of the round; None waits for all.
    """

    rounds: int
    rule: Aggregation = field(default_factory=FlexLora)
    robust: Robust = field(default_factory=Everybody)
    verified: Verified | None = None
    seed: int = 0
    alpha: float = ALPHA
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"expected at least one round, got {self.rounds}")


@dataclass(frozen=True)
class Round:
    """What one round came to, as it is written.

    Attributes:
        index: from 0.
        sent, received: bytes of the messages to and from each client.
        refused: client -> why its message did not enter.
        weights: client -> weight in the merged adapter; 0 = left out by the defence.
        server_s: seconds of the server, its defence included.
        trials: of consensus.
        effects: of consensus: what each client's step did to the verifier's data; of those that it could be said of.
        own: likewise, part -> of the verifier's own steps.
    """

    index: int
    sent: Mapping[Id, int]
    received: Mapping[Id, int]
    refused: Mapping[Id, str]
    weights: Mapping[Id, float]
    server_s: float
    trials: int = 0
    effects: Mapping[Id, Effect] = field(default_factory=dict)
    own: Mapping[str, Sequence[Effect]] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What consensus came to in a round."""

    trials: int = 0
    effects: Effects = field(default_factory=Effects)


@dataclass
class Fleet:
    """A run in a folder: what is there is gone on from.

    Attributes:
        plan, clients, shapes: of the run.
        poisons: attacks on the model, by client.
        verifier: its data, where the plan asks for consensus.
        folder: where rounds are kept.
        content: what else decides the run: data, model, settings.
    """

    plan: Plan
    clients: Sequence[Client]
    shapes: Shapes
    folder: Path
    poisons: Mapping[Id, Poison] = field(default_factory=dict)
    verifier: Verifier | None = None
    content: Any = None

    def __post_init__(self) -> None:
        ids = [c.id for c in self.clients]
        if len(set(ids)) != len(ids) or not ids:
            raise InputError(f"expected clients of different names, at least one, got {ids}")
        if self.plan.verified is not None and self.verifier is None:
            raise InputError("expected a verifier with data of its own, since the plan asks for consensus")
        if self.verifier is None and any(isinstance(p, Knowing) for p in self.poisons.values()):
            raise InputError("expected a verifier with data of its own, since an attack asks what it would let in")
        members = [(c.id, c.rank, c.samples) for c in self.clients]
        key = (repr(self.plan.rule), repr(self.plan.robust), repr(self.plan.verified), self.plan.seed, self.plan.alpha)
        poisons = {i: repr(p) for i, p in self.poisons.items()}
        self._key = fingerprint(*key, members, poisons, dict(self.shapes), self.content)
        self.agreed = {c.id: Agreed(c.rank, c.samples, self.shapes, self.plan.alpha) for c in self.clients}
        held = self._read("fleet.json")
        if held is not None and held.get("key") != self._key:
            raise InputError(f"expected a folder of this run, got {self.folder}, which holds another; name another")

    def run(self, tell: Callable[[int, int], None] = lambda done, total: None) -> tuple[Adapter, list[Round]]:
        """All rounds that are left. Returns the adapter merged last and every round's report."""
        self._write("fleet.json", {"key": self._key, "plan": repr(self.plan)})
        reports = self.reports()
        merged: Adapter = self._merged(len(reports) - 1) if reports else blank(self.shapes)
        tell(len(reports), self.plan.rounds)
        for index in range(len(reports), self.plan.rounds):
            merged, report = self.round(index, merged, reports)
            self._keep(index, merged)
            self._write(f"round-{index:04d}.json", asdict(report))  # last: a round is done when its report is there
            self._forget(index)
            reports.append(report)
            tell(len(reports), self.plan.rounds)
        return merged, reports

    def reports(self) -> list[Round]:
        """Of the rounds that are done."""
        found: list[Round] = []
        while len(found) < self.plan.rounds:
            held = self._read(f"round-{len(found):04d}.json")
            if held is None:
                break
            found.append(Round(**held))
        return found

    def round(
        self, index: int, merged: Adapter, before: Sequence[Round] = ()
    ) -> tuple[dict[str, LowRankUpdate], Round]:
        """One round: the adapter after it, and what happened. `before` are the reports of earlier rounds."""
        plan = self.plan
        given, sent = {}, {}
        refused: dict[Id, str] = {}
        for client in self.clients:
            down = pack(cut(plan.rule, merged, client.rank, plan.seed, alpha=plan.alpha), sender="server", round=index)
            sent[client.id] = len(down)
            given[client.id] = self._down(down, client.id, index)
        learnt = self._learn(given, index, refused)
        if self.poisons:
            learnt |= self._attacked(merged, given, learnt, index, before)
        messages = {c.id: pack(learnt[c.id], sender=c.id, round=index) for c in self.clients if c.id in learnt}
        began = time.perf_counter()
        read = {sender: self._entered(data, sender, index) for sender, data in messages.items()}
        entered = {i: a for i, a in read.items() if not isinstance(a, str)}
        refused |= {i: why for i, why in read.items() if isinstance(why, str)}
        after, weights, told = self.aggregate(merged, given, entered, index, before)
        return after, Round(
            index,
            sent,
            {i: len(m) for i, m in messages.items()},
            refused,
            {c.id: weights.get(c.id, 0.0) for c in self.clients},
            round(time.perf_counter() - began, 4),
            told.trials,
            told.effects.clients,
            told.effects.own,
        )

    def aggregate(
        self,
        merged: Adapter,
        given: Mapping[Id, Adapter],
        entered: Mapping[Id, Adapter],
        index: int,
        before: Sequence[Round] = (),
    ) -> tuple[dict[str, LowRankUpdate], dict[Id, float], Told]:
        """What the server makes of the adapters that entered: the next one, weights, what consensus came to. Where
        nobody entered, or what is made cannot be sent, the model stays."""
        plan, ids, told = self.plan, sorted(entered), Told()
        total = sum(self.agreed[i].samples for i in ids)
        if not ids or total == 0:
            return dict(merged), {}, told
        shares = {i: self.agreed[i].samples / total for i in ids}
        if plan.verified is not None and self.verifier is not None:
            measure = self._measure(merged, index, before, self.verifier, plan.verified)
            rng = keyed_rng(plan.seed, "consensus", index)
            found, alone = agreed(plan.rule, given, entered, shares, measure, rng)
            ids, told = sorted(found.used), Told(len(found.trials), alone.effects)
            if not ids:
                return dict(merged), {}, told
        steps = [minus(entered[i], given[i]) for i in ids]
        trust = plan.robust.trust(gram(steps), [shares[i] for i in ids])
        adapters = [
            entered[i] if factor == 1.0 else moved(given[i], step, factor)
            for i, step, factor in zip(ids, steps, trust.factors, strict=True)
        ]
        kept = [(a, w) for a, w in zip(adapters, trust.weights, strict=True) if w > 0]
        if not kept:
            return dict(merged), {}, told
        after = merge(plan.rule, [a for a, _ in kept], [w for _, w in kept])
        if not sendable(after):
            return dict(merged), {}, told
        return after, dict(zip(ids, trust.weights, strict=True)), told

    def _measure(
        self, merged: Adapter, index: int, before: Sequence[Round], verifier: Verifier, settings: Verified
    ) -> Measure:
        """Of a round. The verifier learns from what the weakest client is sent, and from what the strongest is."""
        ranks, plan = [c.rank for c in self.clients], self.plan
        practice = [cut(plan.rule, merged, rank, plan.seed, alpha=plan.alpha) for rank in (min(ranks), max(ranks))]
        earlier = [Effects(r.effects, r.own) for r in before]
        return Measure.practised(merged, verifier, practice, settings, index, earlier)

    # ------------------------------------------------------------------------------------------------ its clients
    def _down(self, data: bytes, client: Id, index: int) -> dict[str, LowRankUpdate]:
        """What a client reads of the server's message."""
        return unpack(data, self.agreed[client], sender="server", round=index)

    def _entered(self, data: bytes, sender: Id, index: int) -> dict[str, LowRankUpdate] | str:
        """A client's adapter, or why it does not enter."""
        try:
            return unpack(data, self.agreed[sender], sender=sender, round=index)
        except RefusedError as why:
            return str(why)

    def _attacked(
        self,
        merged: Adapter,
        given: Mapping[Id, Adapter],
        learnt: Mapping[Id, Adapter],
        index: int,
        before: Sequence[Round],
    ) -> dict[Id, Adapter]:
        """What attackers send. They look at updates that would enter; what broke by itself is refused as it is."""
        read = {i: self._entered(pack(a, sender=i, round=index), i, index) for i, a in learnt.items()}
        sound = {i: learnt[i] for i, a in read.items() if not isinstance(a, str)}

        def measure() -> Measure:
            assert self.verifier is not None  # who knows the rule was refused without one
            return self._measure(merged, index, before, self.verifier, self.plan.verified or Verified())

        return poisoned(self.poisons, given, sound, measure, lambda i: keyed_rng(self.plan.seed, "poison", i, index))

    def _learn(self, given: Mapping[Id, Adapter], index: int, refused: dict[Id, str]) -> dict[Id, Adapter]:
        """Honest updates; those that are on disk of a round that was cut short are taken from there."""
        learnt: dict[Id, Adapter] = {}
        for client in self.clients:
            path = self._path(f"update-{index:04d}-{client.id}.safetensors")
            if path.exists():
                learnt[client.id] = self._load(path, given[client.id])
                continue
            began = time.perf_counter()
            try:
                update = client.update(given[client.id], index)
            except Exception as error:  # a client that fails costs its own update and nothing else
                refused[client.id] = f"failed: {type(error).__name__}: {error}"
                continue
            late = time.perf_counter() - began
            if self.plan.deadline_s is not None and late > self.plan.deadline_s:
                refused[client.id] = f"late: {late:.1f} s of {self.plan.deadline_s:g} s"
                continue
            learnt[client.id] = update
            write_whole(path, _tensors(update))
        return learnt

    # --------------------------------------------------------------------------------------------------- its folder
    def _path(self, name: str) -> Path:
        return self.folder / name

    def _read(self, name: str) -> Any:
        path = self._path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def _write(self, name: str, plain: Any) -> None:
        write_whole(self._path(name), (json.dumps(plain) + "\n").encode())

    def _keep(self, index: int, merged: Adapter) -> None:
        write_whole(self._path(f"merged-{index:04d}.safetensors"), _tensors(merged))

    def _merged(self, index: int) -> dict[str, LowRankUpdate]:
        return self._load(self._path(f"merged-{index:04d}.safetensors"), None)

    def _forget(self, index: int) -> None:
        """Updates of a round that is done, and merged adapters before the last, are not needed any more."""
        for path in self.folder.glob(f"update-{index:04d}-*"):
            path.unlink(missing_ok=True)
        if index > 1:
            self._path(f"merged-{index - 2:04d}.safetensors").unlink(missing_ok=True)

    def _load(self, path: Path, like: Adapter | None) -> dict[str, LowRankUpdate]:
        held = load_file(path)
        return {
            layer: LowRankUpdate(
                held[f"{layer}.b"],
                held[f"{layer}.a"],
                float(held[f"{layer}.scale"][0]),
                like[layer].samples if like else int(held[f"{layer}.scale"][1]),
            )
            for layer in self.shapes
        }


def _tensors(adapter: Adapter) -> bytes:
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for layer, u in adapter.items():
        tensors[f"{layer}.a"], tensors[f"{layer}.b"] = np.ascontiguousarray(u.a), np.ascontiguousarray(u.b)
        tensors[f"{layer}.scale"] = np.array([u.scale, u.samples], np.float64)
    return bytes(to_bytes(tensors))
