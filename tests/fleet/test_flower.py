"""The same fleet through Flower: the same adapter, a node that fails, ranks that differ. Skipped without the extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robosac.experiments.fleet.language import Reader
from robosac.fleet.adapters import ALPHA, Adapter
from robosac.fleet.consensus import Verified
from robosac.fleet.rounds import Client, Fleet, Plan
from robosac.fleet.wire import Agreed
from tests.fleet.toy import SHAPES, Learner, Watcher

pytest.importorskip("flwr")
pytest.importorskip("ray")

RANKS = (2, 4, 8)


def open_client(partition: int) -> Learner:
    return Learner(f"car-{partition}", RANKS[partition], fails=(1,) if partition == 1 else ())


def agreed(client: Client) -> Agreed:
    return Agreed(client.rank, client.samples, SHAPES, ALPHA)


def fleet(folder: Path, plan: Plan) -> Fleet:
    return Fleet(plan, [open_client(k) for k in range(3)], SHAPES, folder, verifier=Watcher())


def same(strategy: Any, expected: Adapter) -> None:
    for layer, update in expected.items():
        one, other = strategy.merged[layer].dense, update.dense
        assert np.linalg.norm(one - other) <= 1e-6 * np.linalg.norm(other)


BACKEND = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 1}}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verified", [None, Verified()], ids=["everybody", "consensus"])
def test_flower_gives_the_adapter_of_the_loop(verified: Verified | None, tmp_path: Path) -> None:
    from flwr.simulation import run_simulation

    from robosac.fleet.flower import FleetStrategy, client_app, server_app

    plan = Plan(rounds=2, verified=verified)
    expected, reports = fleet(tmp_path / "loop", plan).run()
    strategy = FleetStrategy(fleet(tmp_path / "flower", plan))
    run_simulation(server_app(strategy), client_app(open_client, agreed), num_supernodes=3, backend_config=BACKEND)
    same(strategy, expected)
    assert [r.weights for r in strategy.reports] == [r.weights for r in reports]
    assert [bool(r.effects) for r in strategy.reports] == [verified is not None] * 2
    assert [sorted(r.refused) for r in strategy.reports] == [[], ["car-1"]]  # a node that fails costs its own update


# ------------------------------------------------------------------------------- a language model, in the same way
def readers() -> list[Reader]:
    import torch

    from robosac.language.domains import domain
    from robosac.language.models import TinyModel
    from robosac.language.tiny import TinyConfig, TinyLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = TinyModel(TinyLM(TinyConfig(width=16, layers=1, heads=2)).eval().requires_grad_(False))
    parts = (("sorting", 2), ("facts", 8))
    return [Reader(name, rank, domain(name, (12, 1, 1)).train, model, 3, 3e-3, 0) for name, rank in parts]


def open_reader(partition: int) -> Reader:
    return readers()[partition]


def agreed_reader(client: Any) -> Agreed:
    return Agreed(client.rank, client.samples, client.model.shapes, ALPHA)


@pytest.mark.filterwarnings("ignore")
def test_a_language_model_through_flower_is_the_same_to_a_millionth(tmp_path: Path) -> None:
    from flwr.simulation import run_simulation

    from robosac.fleet.flower import FleetStrategy, client_app, server_app

    shapes = open_reader(0).model.shapes
    expected, _ = Fleet(Plan(rounds=2), readers(), shapes, tmp_path / "loop").run()
    strategy = FleetStrategy(Fleet(Plan(rounds=2), readers(), shapes, tmp_path / "flower"))
    run_simulation(
        server_app(strategy), client_app(open_reader, agreed_reader), num_supernodes=2, backend_config=BACKEND
    )
    assert not any(r.refused for r in strategy.reports) and any(u.rank for u in expected.values())
    same(strategy, expected)
