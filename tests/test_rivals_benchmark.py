"""`benchmarks.rivals`: every published defence has a relation, and relations are read off the table that is printed."""

from __future__ import annotations

import math

import pytest

from benchmarks.rivals import ATTACKS, BASELINES, RELATIONS, Cell, Relation
from robosac.registry.defenses import RIVALS, defense_preset, rival_names

NAMES = [*BASELINES, *rival_names()]


def test_every_kind_has_a_relation() -> None:
    assert {defense_preset(r.rival).kind for r in RELATIONS} == set(RIVALS)
    assert all(r.source and r.said for r in RELATIONS)


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda r: f"{r.rival}: {r.said[:30]}")
def test_it_reads_figures_that_the_table_has(relation: Relation) -> None:
    table = {key: {name: Cell(0.5, 0.5, 0.0, 3.0, 2.0) for name in NAMES} for key in ATTACKS}
    figures = relation.figures(table)
    assert len(figures) >= 1 and all(math.isfinite(v) for v in figures.values())
    assert relation.holds(figures) in (True, False)


def test_a_relation_can_fail_and_hold() -> None:
    (flat,) = (r for r in RELATIONS if r.rival == "late-votes")
    assert flat.holds({"a": 0.70, "b": 0.71}) and not flat.holds({"a": 0.70, "b": 0.60})
    (fewer,) = (r for r in RELATIONS if r.rival == "pasac")
    assert fewer.holds({"pasac": 4.0, "paper": 6.0}) and not fewer.holds({"pasac": 6.0, "paper": 6.0})
