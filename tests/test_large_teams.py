"""The benchmark of large teams: its verifier, and that groups cost half where they find as much."""

from __future__ import annotations

import pytest

from benchmarks.large_teams import Errors, drawn

ONE = Errors(0.02, 0.02)


def test_a_verifier_at_another_limit_trades_one_error_for_the_other() -> None:
    assert ONE.at(0.02) == pytest.approx(ONE)
    assert ONE.at(0.08).missed < 0.004 < ONE.missed < ONE.at(0.01).missed


def test_without_errors_all_attackers_are_found_and_nobody_else() -> None:
    perfect = Errors(0.0, 0.0)
    for size in (1, 5):
        row = drawn(20, 2, size, perfect, perfect)
        assert (row.tpr, row.fpr) == (1, 0)
    assert drawn(20, 0, 5, perfect, perfect).cost == 4


@pytest.mark.parametrize("attackers", [1, 2, 3])
def test_at_fifty_teammates_groups_cost_half_and_find_as_much(attackers: int) -> None:
    alone, groups = (drawn(50, attackers, size, ONE, ONE.at(0.08)) for size in (1, 5))
    assert groups.cost <= alone.cost / 2 == 25
    assert groups.tpr >= alone.tpr - 0.02 and groups.fpr < alone.fpr
