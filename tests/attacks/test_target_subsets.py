"""Target subsets: by counting them, and by what the attack then does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.attacks import Bim, FakeOne, FullFusion, InvertedBce, RandomSubsets, Subsets
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.target_subsets import TargetSubsets
from robosac.attacks.registry import kinds
from robosac.types import InputError, Subset
from tests.attacks.toy import ToyDetector, make_air

ATTACKERS = frozenset({"a", "b"})


def drawn(targets: TargetSubsets, seed: int = 0) -> list[Subset]:
    return targets.subsets(make_air(["a", "b"], ["x", "y"]), ATTACKERS, np.random.default_rng(seed))


def test_every_subset_with_an_attacker_is_equally_likely() -> None:
    """Of 16 subsets of a, b, x, y four hold neither a nor b."""
    counts = Counter(drawn(RandomSubsets(count=6000)))
    assert len(counts) == 12 and all(s & ATTACKERS for s in counts)
    assert max(abs(n - 500) for n in counts.values()) < 5 * 500**0.5


def test_of_a_size_likewise() -> None:
    """Of the six pairs only x, y is honest; with three attackers' shares alone it would not be uniform."""
    counts = Counter(drawn(RandomSubsets(count=5000, size=2)))
    assert len(counts) == 5 and all(len(s) == 2 and s & ATTACKERS for s in counts)
    assert max(abs(n - 1000) for n in counts.values()) < 5 * 1000**0.5


def test_where_fewer_are_in_the_air_all_are_taken() -> None:
    assert set(drawn(RandomSubsets(count=3, size=9))) == {frozenset("abxy")}


def test_the_same_frame_the_same_draw_another_frame_another() -> None:
    assert drawn(RandomSubsets(), 1) == drawn(RandomSubsets(), 1) != drawn(RandomSubsets(), 2)


def test_named_subsets_lose_who_is_absent_and_those_without_an_attacker() -> None:
    targets = Subsets(named=[["x", "a"], ["y", "x"], ["b", "gone"], ["gone"]])  # type: ignore[arg-type]
    assert drawn(targets) == [frozenset("ax"), frozenset("b")]
    assert targets == Subsets(named=(("a", "x"), ("x", "y"), ("b", "gone"), ("gone",)))


def test_none_with_an_attacker_is_an_error() -> None:
    with pytest.raises(InputError, match=r"expected a subset with one of the attackers \['a', 'b'\]"):
        drawn(Subsets(named=(("x", "y"),)))


def test_the_loss_is_the_mean_over_the_subsets_and_they_stay_fixed_over_the_steps() -> None:
    air = make_air(["a", "b"], ["x", "y"])
    named = (("a",), ("a", "x"), ("a", "b", "y"))

    def loss(*subsets: tuple[str, ...]) -> float:
        rng = np.random.default_rng(0)
        problem = Problem.on_frame(air, dict(air.honest), InvertedBce(), Subsets(named=subsets), rng)
        arrays = {(i, "features"): torch.from_numpy(m.payload["features"]) for i, m in air.honest.items()}
        return problem.loss(arrays).item()

    assert loss(*named) == pytest.approx(np.mean([loss(s) for s in named]), rel=1e-6)
    detector = ToyDetector()
    air = make_air(["a", "b"], ["x", "y"], detector=detector)
    Bim(steps=4, target_subsets=RandomSubsets(count=5)).start("scene", ATTACKERS, np.random.default_rng(0)).send(air)
    posed, steps = detector.calls[:11], detector.calls[11:]
    assert steps == posed[:5] * 4


def test_who_knows_the_subset_does_more_to_it() -> None:
    """Attackers of which the victim fuses one only, and the full fusion would ask for less of each."""
    air = make_air(["a", "b"], ["x", "y"])
    fused = [frozenset({"a", "x", "y"})]

    def harm(targets: TargetSubsets) -> float:
        objective = InvertedBce()
        attack = Bim(epsilon=0.2, steps=10, target_subsets=targets, objective=objective)
        sent = attack.start("scene", ATTACKERS, np.random.default_rng(0)).send(air)
        problem = Problem.on_frame(
            air, dict(air.honest), objective, Subsets(named=(("a", "x", "y"),)), np.random.default_rng(0)
        )
        arrays = {(m.sender, "features"): torch.from_numpy(m.payload["features"]) for m in sent}
        assert list(problem.clean.subsets) == fused
        return -problem.loss(arrays).item()

    assert harm(Subsets(named=(("a", "x", "y"),))) >= harm(FullFusion())


def test_random_subsets_leave_the_target_the_same_however_often_it_is_asked() -> None:
    air = make_air(["a", "b"], ["x", "y"])
    objective = FakeOne(clear_cells=0, background=0.9)
    posed = [
        Problem.on_frame(air, dict(air.honest), objective, RandomSubsets(count=3), np.random.default_rng(5)).clean
        for _ in range(2)
    ]
    assert posed[0].subsets == posed[1].subsets
    assert objective.target(posed[0]) == objective.target(posed[0]) == objective.target(posed[1])


def test_the_preset_is_pgd_with_other_target_subsets() -> None:
    assert attacks.load("pgd_expectation") == attacks.load("pgd", target_subsets=RandomSubsets(count=8))
    assert all(issubclass(kinds()[name], TargetSubsets) for name in ("random_subsets", "subsets"))


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: RandomSubsets(count=0), "expected count of RandomSubsets to be an integer >= 1, got 0"),
    (lambda: RandomSubsets(size=0), "expected size of RandomSubsets to be an integer >= 1, got 0"),
    (lambda: Subsets(named=()), "expected named of Subsets to be one or more"),
    (lambda: Subsets(named="ab"), "expected named of Subsets"),  # type: ignore[arg-type]
    (lambda: Subsets(named=("ab",)), "expected named of Subsets"),  # type: ignore[arg-type]
    (lambda: Subsets(named=((),)), "expected named of Subsets"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_settings_say_what_was_expected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
