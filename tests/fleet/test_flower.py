"""The same fleet through Flower: the same adapter, a node that fails, ranks that differ. Skipped without the extra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robosac.fleet.adapters import ALPHA
from robosac.fleet.rounds import Client, Fleet, Plan
from robosac.fleet.wire import Agreed
from tests.fleet.toy import SHAPES, Learner

pytest.importorskip("flwr")
pytest.importorskip("ray")

RANKS = (2, 4, 8)


def open_client(partition: int) -> Learner:
    return Learner(f"car-{partition}", RANKS[partition], fails=(1,) if partition == 1 else ())


def agreed(client: Client) -> Agreed:
    return Agreed(client.rank, client.samples, SHAPES, ALPHA)


def fleet(folder: Path) -> Fleet:
    return Fleet(Plan(rounds=2), [open_client(k) for k in range(3)], SHAPES, folder)


@pytest.mark.filterwarnings("ignore")
def test_flower_gives_the_adapter_of_the_loop(tmp_path: Path) -> None:
    from flwr.simulation import run_simulation

    from robosac.fleet.flower import FleetStrategy, client_app, server_app

    expected, reports = fleet(tmp_path / "loop").run()
    strategy = FleetStrategy(fleet(tmp_path / "flower"))
    backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 1}}
    run_simulation(server_app(strategy), client_app(open_client, agreed), num_supernodes=3, backend_config=backend)
    for layer in SHAPES:
        one, other = strategy.merged[layer].dense, expected[layer].dense
        assert np.linalg.norm(one - other) <= 1e-6 * np.linalg.norm(other)
    assert [r.weights for r in strategy.reports] == [r.weights for r in reports]
    assert [sorted(r.refused) for r in strategy.reports] == [[], ["car-1"]]  # a node that fails costs its own update
