"""The same fleet through Flower (extra `fleet`): a strategy that sends each node the adapter of its rank.

Flower's own strategies send one payload to all and add arrays of one shape. This one asks each node once who it is,
sends it what it can hold, and hands what comes back to the pure functions that the in-process loop calls. Both give
the same adapter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Strategy

from robosac.errors import InputError
from robosac.fleet.adapters import Adapter, blank, cut
from robosac.fleet.rounds import Client, Fleet, Round
from robosac.fleet.wire import Agreed, RefusedError, checked, tensors_of
from robosac.types import Id

ADAPTER, CONFIG, WHO = "adapter", "config", "who"
_WAIT_S: Final = 900.0  # a node may have to load its libraries first


class FleetStrategy(Strategy):  # type: ignore[misc]
    """A fleet's rounds, its clients on Flower's nodes. `merged` and `reports` hold what it came to."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.merged: Adapter = blank(fleet.shapes)
        self.reports: list[Round] = []
        self._node_of: dict[Id, int] = {}
        self._given: dict[Id, Adapter] = {}
        self._sent: dict[Id, int] = {}

    def summary(self) -> None:
        """Nothing beyond what Flower says."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A message for each node: the merged adapter, cut to its rank."""
        plan = self.fleet.plan
        if not self._node_of:
            self._node_of = self._ask(grid)
        messages = []
        for client in self.fleet.clients:
            if client.id not in self._node_of:
                continue
            down = tensors_of(cut(plan.rule, self.merged, client.rank, plan.seed, alpha=plan.alpha))
            self._given[client.id] = checked(down, self.fleet.agreed[client.id])
            self._sent[client.id] = sum(t.nbytes for t in down.values())
            content = RecordDict({ADAPTER: _record(down), CONFIG: ConfigRecord({"round": server_round - 1})})
            messages.append(Message(content, self._node_of[client.id], "train"))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """What came back, by the pure functions. A node that failed or did not answer is left out."""
        began, index = time.perf_counter(), server_round - 1
        client_of = {node: client for client, node in self._node_of.items()}
        entered: dict[Id, Adapter] = {}
        refused: dict[Id, str] = {}
        received: dict[Id, int] = {}
        for reply in replies:
            sender = client_of.get(reply.metadata.src_node_id)
            if sender is None:
                continue
            made = _read(reply, self.fleet.agreed[sender])
            if isinstance(made, str):
                refused[sender] = made
                continue
            entered[sender], received[sender] = made, sum(t.nbytes for t in tensors_of(made).values())
        refused |= {c.id: "no answer" for c in self.fleet.clients if c.id not in entered and c.id not in refused}
        self.merged, weights, told = self.fleet.aggregate(self.merged, self._given, entered, index, self.reports)
        every = {c.id: weights.get(c.id, 0.0) for c in self.fleet.clients}
        took = round(time.perf_counter() - began, 4)
        clients, own = told.effects.clients, told.effects.own
        self.reports.append(Round(index, dict(self._sent), received, refused, every, took, told.trials, clients, own))
        return _record(tensors_of(self.merged)), MetricRecord({"entered": float(len(entered))})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing is evaluated on nodes."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """See there."""
        return None

    def _ask(self, grid: Grid) -> dict[Id, int]:
        """Which node is which client.

        Raises:
            InputError: no node answered, or two say they are the same client.
        """
        wanted, until = len(self.fleet.clients), time.monotonic() + _WAIT_S
        while len(nodes := list(grid.get_node_ids())) < wanted and time.monotonic() < until:
            time.sleep(0.2)
        asked = [Message(RecordDict(), node, "query") for node in nodes]
        found: dict[Id, int] = {}
        for reply in grid.send_and_receive(asked, timeout=_WAIT_S):
            if not reply.has_error() and WHO in reply.content:
                name = str(reply.content[WHO].get("id"))
                if name in found:
                    raise InputError(f"expected nodes of different names, got two that say they are {name!r}")
                found[name] = reply.metadata.src_node_id
        if not found:
            raise InputError(f"expected {wanted} nodes of the fleet, got no answer from any of {len(nodes)}")
        return found


def server_app(strategy: FleetStrategy) -> ServerApp:
    """Runs all rounds of the strategy's plan."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        strategy.start(grid, _record(tensors_of(strategy.merged)), num_rounds=strategy.fleet.plan.rounds)

    return app


def client_app(open_client: Callable[[int], Client], agreed: Callable[[Client], Agreed]) -> ClientApp:
    """A node's part. `open_client(partition)` makes the node's client, `agreed` says what it and the server agreed on;
    both travel to other processes."""
    app = ClientApp()

    @app.query()  # type: ignore[untyped-decorator]
    def who(message: Message, context: Context) -> Message:
        client = open_client(int(context.node_config["partition-id"]))
        return Message(RecordDict({WHO: ConfigRecord({"id": client.id})}), reply_to=message)

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        client = open_client(int(context.node_config["partition-id"]))
        given = checked(_arrays(message.content[ADAPTER]), agreed(client))
        learnt = client.update(given, int(message.content[CONFIG]["round"]))
        return Message(RecordDict({ADAPTER: _record(tensors_of(learnt))}), reply_to=message)

    return app


def _record(tensors: Any) -> ArrayRecord:
    from flwr.app import Array

    return ArrayRecord({name: Array(tensor) for name, tensor in tensors.items()})


def _arrays(record: ArrayRecord) -> dict[str, Any]:
    return {name: array.numpy() for name, array in record.items()}


def _read(reply: Message, agreed: Agreed) -> dict[str, Any] | str:
    """A node's adapter, or why it does not enter."""
    if reply.has_error():
        return f"failed: {reply.error.reason}"
    try:
        return checked(_arrays(reply.content[ADAPTER]), agreed)
    except (RefusedError, KeyError, TypeError, ValueError) as why:
        return str(why) or type(why).__name__
