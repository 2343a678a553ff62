"""The toy of docs/fleet.md: the order of the rules, and the collapse that rank weights undo."""

from __future__ import annotations

from benchmarks.fleet_merge import dense, difference, drawn, factored
from benchmarks.fleet_regression import ROWS, Setting, curve
from robosac.fleet.aggregation import AGGREGATIONS


def test_the_rules_stand_in_their_order_and_rank_weights_undo_the_collapse() -> None:
    setting = Setting(size=24, samples=128)
    ends = {name: curve(AGGREGATIONS[rule], ranks, setting, 4, 0)[-1] for name, (rule, ranks) in ROWS.items()}
    errors = {name: error for name, (error, _) in ends.items()}
    assert errors["homogeneous lowest rank"] > errors["HETLoRA"] > errors["FlexLoRA"] >= errors["rank-weighted"]
    assert ends["FlexLoRA"][1] > 0.4 and abs(ends["rank-weighted"][1] - 2 / 16) < 0.02


def test_the_benchmark_compares_what_is_the_same() -> None:
    import numpy as np

    ranks = (1, 2, 3)
    updates = drawn(20, 30, ranks, np.random.default_rng(0))
    assert difference(factored(updates, ranks), dense(updates, ranks)) < 1e-9


def test_consensus_keeps_the_poisoned_out_and_the_honest_in() -> None:
    from benchmarks.fleet_poisoning import Task

    task = Task.draw(0)
    clean, nobody = task.run(3, "consensus", "", 0)
    error, out = task.run(3, "consensus", "scaling", 1)
    assert nobody["attackers"] is None and out["attackers"] == 100 and error < 1.2 * clean
    assert task.run(3, "none", "scaling", 1)[0] > 1.2 * error
