"""One-sided and targeted objectives: by hand, and what they do to the toy detector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robosac.attacks import Bim, FakeOne, Hide, HideOne, Pgd, Spoof, Tu
from robosac.attacks.features.objectives import CleanFrame
from robosac.types import InputError, View, keyed_rng
from tests.attacks.toy import ToyDetector, full_logits, make_air

CLEAN = torch.tensor([[[2.0, -1.0], [-3.0, -4.0]]])  # one object cell, three of background


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_hide_and_spoof_by_hand() -> None:
    assert Hide().make_loss(CleanFrame(CLEAN))(CLEAN).item() == pytest.approx(softplus(2.0), rel=1e-6)
    wanted = (softplus(1.0) + softplus(3.0) + softplus(4.0)) / 3
    assert Spoof().make_loss(CleanFrame(CLEAN))(CLEAN).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("objective", "free"), [(Hide(), CLEAN < 0), (Spoof(), CLEAN > 0)], ids=repr)
def test_each_leaves_the_other_side_alone(objective: Any, free: torch.Tensor) -> None:
    logits = CLEAN.clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective.make_loss(CleanFrame(CLEAN))(logits), logits)
    assert torch.equal(slope == 0, free)


def test_a_map_without_objects_leaves_nothing_to_hide_and_maps_weigh_alike() -> None:
    two = torch.cat([CLEAN, -CLEAN.abs()])
    assert Hide().make_loss(CleanFrame(two))(two).item() == pytest.approx(softplus(2.0) / 2, rel=1e-6)


def test_tu_by_hand() -> None:
    """Score .88 is confident; .27 may gain; .047 and .018 are out of the question at .1."""
    loss = Tu(rejected=0.1, weight=2.0, gamma=1.0).make_loss(CleanFrame(CLEAN))
    s = 1 / (1 + math.exp(1.0))
    assert loss(CLEAN).item() == pytest.approx(-math.log(1 / (1 + math.exp(2.0))) - 2.0 * (1 - s) * math.log(s))
    plain = Tu(rejected=0.0, gamma=0.0).make_loss(CleanFrame(CLEAN))(CLEAN).item()
    assert plain == pytest.approx(softplus(2.0) + (softplus(1.0) + softplus(3.0) + softplus(4.0)) / 3)


# ------------------------------------------------------------------------------------------------------- targeted
def frame(logits: list[list[float]], reach: list[list[int]], seed: int | None = 0) -> CleanFrame:
    clean = torch.tensor([logits])
    rng = None if seed is None else np.random.default_rng(seed)
    return CleanFrame(clean, without=clean - torch.tensor([reach]), rng=rng)


STREET = [[-9.0, -9.0, -9.0, -9.0], [-9.0, 3.0, -9.0, -9.0], [-9.0, -9.0, -9.0, -9.0]]


def test_a_fake_stands_in_free_space_within_reach() -> None:
    fake = FakeOne(clear_cells=1)
    everywhere = [[1] * 4] * 3
    assert fake.target(frame(STREET, everywhere)) is None  # the only inner cells are the object and beside it
    assert FakeOne(clear_cells=0).target(frame(STREET, [[0] * 4, [0, 1, 0, 1], [0] * 4])) == (1, 3)
    assert FakeOne(clear_cells=0).target(frame(STREET, [[0] * 4] * 3)) is None


def test_what_is_hidden_is_an_object_within_reach() -> None:
    hide = HideOne()
    assert hide.target(frame(STREET, [[1] * 4] * 3)) == (1, 1)
    assert hide.target(frame(STREET, [[1] * 4, [0] * 4, [1] * 4])) is None
    assert hide.target(frame([[-1.0] * 4] * 3, [[1] * 4] * 3)) is None


def test_an_object_that_stands_alone_is_preferred() -> None:
    row = [-9.0] * 16
    row[1] = row[4] = row[12] = 3.0
    for seed in range(5):
        assert HideOne(apart_cells=3).target(frame([row] * 1, [[1] * 16], seed)) == (0, 12)


def test_the_target_is_drawn_once_for_all_who_ask() -> None:
    free = [[-9.0] * 8] * 8
    reach = [[1] * 8] * 8
    targets = set()
    for seed in range(10):
        some = frame(free, reach, seed)
        objective = FakeOne(clear_cells=1)
        targets.add(first := objective.target(some))
        objective.make_loss(some)
        assert objective.target(some) == first == objective.target(frame(free, reach, seed))
    assert len(targets) > 5


def test_fake_and_hide_by_hand() -> None:
    fake = FakeOne(clear_cells=0, free_cells=0, score=0.5, margin=1.0, pin=2.0)
    some = frame(STREET, [[0] * 4, [0, 1, 0, 1], [0] * 4])
    loss = fake.make_loss(some)
    assert loss(some.logits).item() == pytest.approx(10.0)  # 0 + 1 - (-9)
    there = some.logits.clone()
    there[0, 1, 3] = 1.5
    assert loss(there).item() == 0.0
    there[0, 1, 1] = -9.0  # the object beside it, hidden on the way: a change of score from .953 to 0
    assert loss(there).item() == pytest.approx(2.0 * (1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(9))) ** 2, rel=1e-4)
    hide = HideOne(hidden_cells=0, free_cells=0, score=0.5, margin=1.0, pin=2.0)
    assert hide.make_loss(some)(some.logits).item() == pytest.approx(
        2 * (3.0 + 1.0)
    )  # the largest and the mean of one cell


def test_without_a_target_only_the_pin_is_left() -> None:
    some = frame(STREET, [[0] * 4] * 3)
    loss = HideOne().make_loss(some)
    assert loss(some.logits).item() == 0.0
    assert loss(-some.logits).item() > 1.0


def test_the_reach_is_needed_and_asked_for() -> None:
    with pytest.raises(InputError, match="expected the logits without the attackers"):
        FakeOne().target(replace(frame(STREET, [[1] * 4] * 3), without=None))


class Uneven(ToyDetector):
    """A toy in which no two agents see an object quite alike: what one of them says of it changes the output."""

    def features(self, view: View) -> np.ndarray:
        made: np.ndarray = super().features(view)
        made[1] += np.float32(0.15 * keyed_rng(view.id).random())
        return made


def send(objective: Any, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Class logits of the toy's full fusion, honest and attacked by all its teammates."""
    air = make_air(["a", "b", "c", "d"], [], detector=Uneven())
    attack = Bim(objective=objective, epsilon=0.9, **more)
    sent = attack.start("scene", frozenset("abcd"), np.random.default_rng(0)).send(air)
    return full_logits(air, list(air.honest.values())), full_logits(air, list(sent))


def test_on_the_toy_each_does_what_it_says() -> None:
    clean, hidden = send(Hide())
    cars = clean > 0
    assert cars.sum() == 2 and not (hidden[cars] > 0).any() and torch.equal(hidden[~cars], clean[~cars])
    _, spoofed = send(Spoof())
    assert (spoofed > 0).all() and torch.equal(spoofed[cars], clean[cars])
    _, tu = send(Tu())
    assert not (tu[cars] > 0).any() and (tu[~cars] > 0).all()


@pytest.mark.parametrize("objective", [FakeOne(clear_cells=0, free_cells=0), HideOne(hidden_cells=0, free_cells=0)])
def test_one_object_changes_and_nothing_else(objective: Any) -> None:
    clean, attacked = send(objective, steps=30)
    changed = ((clean > 0) != (attacked > 0)).nonzero()
    assert len(changed) == 1
    assert bool(attacked[tuple(changed[0])] > 0) == isinstance(objective, FakeOne)
    still = torch.ones_like(clean, dtype=torch.bool)
    still[tuple(changed[0])] = False
    assert torch.equal(attacked[still], clean[still])


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Hide(labels=0.5), "expected labels of Hide to be a Labels value, got 0.5"),  # type: ignore[arg-type]
    (lambda: Tu(rejected=0.8), "expected rejected of Tu to be at most confident, 0.7, got 0.8"),
    (lambda: FakeOne(pin=-1.0), "expected pin of FakeOne to be a finite number >= 0, got -1.0"),
    (lambda: HideOne(hidden_cells=9), "expected hidden_cells of HideOne to be at most free_cells, 3, got 9"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_settings_say_what_was_expected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_the_pin_can_be_taken_out() -> None:
    assert Pgd(objective=FakeOne(pin=0.0)).objective == FakeOne(pin=0.0)
    some = frame(STREET, [[0] * 4] * 3)
    assert FakeOne(pin=0.0).make_loss(some)(-some.logits).item() == 0.0
