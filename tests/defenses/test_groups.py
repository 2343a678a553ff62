"""Group tests: what is sorted out is sorted out rightly, with few tests, and a frame goes on with units."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from robosac.defenses.groups import Units, dealt, sorted_out
from robosac.types import Detections, Id, Subset, Verdict, keyed_rng
from tests.defenses.honest import allowing
from tests.defenses.scripted import BLIND, ByScript, step
from tests.defenses.test_audit import AUDITED, INVENTED, SEEN
from tests.evidence.written import places, result

DEFENSE = replace(AUDITED, audit=1.0)


def names(count: int) -> list[Id]:
    return [f"t{k:02d}" for k in range(count)]


class Counting:
    """A test without errors: a set is fine where nobody in it attacks."""

    def __init__(self, attackers: Sequence[Id]) -> None:
        self.attackers, self.asked = frozenset(attackers), list[Subset]()

    def __call__(self, sets: Sequence[Subset]) -> list[bool]:
        self.asked += sets
        return [not s & self.attackers for s in sets]


@pytest.mark.parametrize("attackers", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 20])
def test_exactly_the_attackers_are_left_alone(attackers: int, size: int) -> None:
    for seed in range(20):
        ids, rng = names(20), keyed_rng(seed)
        test = Counting([ids[k] for k in rng.permutation(20)[:attackers]])
        fine, odd = sorted_out(dealt(ids, size, rng), test, rng)
        assert frozenset().union(*odd) == test.attackers and all(len(s) == 1 for s in odd)
        assert sorted(i for s in [*fine, *odd] for i in s) == ids
        assert len(set(test.asked)) == len(test.asked) and {*fine, *odd} <= set(test.asked)  # all that counts was seen


@pytest.mark.parametrize(("teammates", "attackers", "most"), [(20, 0, 4), (20, 1, 8.5), (50, 0, 10), (50, 1, 14.5),
                                                              (50, 2, 19), (50, 3, 23)])  # fmt: skip
def test_few_attackers_take_at_most_half_the_tests_of_each_alone(teammates: int, attackers: int, most: float) -> None:
    tests = []
    for seed in range(40):
        ids, rng = names(teammates), keyed_rng(seed)
        test = Counting([ids[k] for k in rng.permutation(teammates)[:attackers]])
        sorted_out(dealt(ids, 5, rng), test, rng)
        tests.append(len(test.asked))
    assert np.mean(tests) <= most <= teammates / 2


def test_choosing_what_to_check_next_takes_no_time() -> None:
    ids, rng, test = names(50), keyed_rng(0), Counting(names(3))
    start = time.process_time()
    for _ in range(10):
        sorted_out(dealt(ids, 5, rng), test, rng)
    assert time.process_time() - start < 10 * 0.005 * 5  # a machine that is five times as slow may run it


def test_groups_are_even_and_cannot_be_foreseen() -> None:
    groups = dealt(names(22), 5, keyed_rng(1))
    assert sorted(map(len, groups)) == [4, 4, 4, 5, 5] and groups != dealt(names(22), 5, keyed_rng(2))


def test_units_are_named_by_their_first() -> None:
    units = Units.made([frozenset("ca"), frozenset("b"), frozenset("de")])
    assert list(units.of) == ["a", "b", "d"] and units.whole(["a", "d"]) == frozenset("acde")
    assert units.within("abce") == {"a", "b"}
    assert units.named(frozenset("a")) == frozenset("ac") and units.named(frozenset("ab")) == frozenset("ab")


# ---------------------------------------------------------------------------------------------------------- the frame
def car_of(i: Id) -> tuple[float, float]:
    """Every fourth teammate shows the same car that the ego does not."""
    return (-30.0 + 15.0 * (int(i[1:]) % 4), -30.0)


def defended(attackers: list[Id], count: int = 20, seed: int = 0) -> tuple[Verdict, list[Subset]]:
    def script(subset: Subset) -> Detections:
        honest = sorted({*SEEN, *map(car_of, sorted(subset))})
        return result(*honest, *(INVENTED if subset & frozenset(attackers) else []))

    detector = ByScript(script)
    allowed = allowing(DEFENSE, detector="scripted", agreement=0.4, claims=4, together=9, strain=1.0)
    verdict = step(DEFENSE, detector, names(count), allowed, ego=BLIND, seed=seed)
    return verdict, list(detector.sessions[0].decoded)


@pytest.mark.parametrize("attackers", [[], ["t03"], ["t03", "t17"]])
def test_a_large_team_is_sorted_out_by_groups(attackers: list[Id]) -> None:
    verdict, decoded = defended(attackers)
    assert verdict.used == frozenset(names(20)) - frozenset(attackers)
    assert verdict.accused == frozenset(attackers)
    assert len(decoded) == verdict.decodes <= 1 + 20
    if not attackers:
        assert verdict.decodes == 1 + 4 + 1
    assert set(places(verdict.result)) == {*SEEN, *(car_of(i) for i in names(4))}


def test_support_names_whole_groups() -> None:
    verdict, decoded = defended(["t03"])
    for supporters in verdict.support:
        assert set(supporters) <= set(decoded)
        assert sum(len(s) for s in supporters) == len(frozenset().union(*supporters))  # nobody counts twice
