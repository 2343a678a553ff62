"""Attacks that know how joint results are held against singles: their figures by hand, and what they achieve."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.air import Air
from robosac.attacks import (
    Agrees,
    Claims,
    ClaimsTogether,
    Consistent,
    Evasive,
    Framed,
    Ghosts,
    HonestSingles,
    LargestSubsets,
    Reranked,
    Shifted,
    SteadySolos,
)
from robosac.attacks.adaptive.evidence import Evidence, Look, Objects, overlap
from robosac.boxes import iou_bev
from robosac.types import EGO_ALONE, InputError, Message, Subset
from tests.attacks.toy_adaptive import MapDetector, defended_air, robosac

EVERYBODY = frozenset("abxy")
SIDE, CELL_M = 24, 6.0
Cars = Mapping[tuple[int, int], tuple[float, float]]  # cell -> score, metres moved along +y


def maps(*of: Cars) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(S, H, W)` and boxes: cars along +x in the middle of their cells, but for how far they moved."""
    logits, boxes = torch.full((len(of), SIDE, SIDE), -9.0), torch.zeros(len(of), SIDE, SIDE, 7)
    middle = (torch.arange(SIDE) + 0.5) * CELL_M
    boxes[..., 0], boxes[..., 1] = middle, middle[:, None]
    boxes[..., 3], boxes[..., 4], boxes[..., 5] = 4.5, 1.9, 1.6
    for k, cars in enumerate(of):
        for (row, col), (score, moved) in cars.items():
            logits[k, row, col] = float(np.log(score / (1 - score)))
            boxes[k, row, col, 1] += moved
    return logits, boxes


def cars(*columns: int, row: int = 2, score: float = 0.95, moved: float = 0.0) -> dict[tuple[int, int], Any]:
    return {(row, c): (score, moved) for c in columns}


def seen(joint: Cars, ego: Cars, honest: Cars, *attackers: Cars) -> tuple[Evidence, Look]:
    """A joint result of everybody, and what each shows by itself."""
    logits, boxes = maps(ego, honest, joint, *attackers)
    look = Look(logits[2:], boxes[2:], Objects.of(logits[:2], boxes[:2]), len(attackers))
    n = len(attackers)
    members = torch.tensor([[True] * (2 + n), *([True, False, *(k == j for j in range(n))] for k in range(n))])
    return cast(Evidence, SimpleNamespace(members=members, clean=look, limits=None)), look


def consistency(joint: Cars, ego: Cars, honest: Cars, *attackers: Cars) -> dict[str, float]:
    """The figures of the joint result by name."""
    evidence, look = seen(joint, ego, honest, *attackers)
    return dict(zip(Consistent.KEYS, Consistent().figures(evidence, look, 0.25)[0].tolist(), strict=True))


def send(attack: Evasive, air: Air, seed: int = 0) -> list[Message]:
    return list(attack.start("scene", frozenset(air.own), np.random.default_rng(seed)).send(air))


def decoded(air: Air, sent: Sequence[Message], subsets: Sequence[Subset]) -> tuple[torch.Tensor, torch.Tensor]:
    inbox = {**air._others, **air.honest, **{m.sender: m for m in sent}}
    got = air._detector.open(air._ego, air.to, list(inbox.values())).logits_and_boxes({}, subsets)  # type: ignore[attr-defined]
    return cast(tuple[torch.Tensor, torch.Tensor], got)


# ------------------------------------------------------------------------------------------------------ figures
def test_the_overlap_of_parallel_boxes_is_their_iou_and_has_a_slope() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-2, 2, (40, 7)) for _ in range(2))
    a[:, 3:6], b[:, 3:6] = rng.uniform(1, 5, (2, 40, 3))
    b[:, 6] = a[:, 6]
    got = overlap(torch.from_numpy(a), torch.from_numpy(b))
    assert got.numpy() == pytest.approx(np.diag(iou_bev(a, b)), abs=1e-6)
    across = a.copy()
    across[:, 6] += np.pi / 2
    assert overlap(torch.from_numpy(a), torch.from_numpy(across)).abs().max() < 1e-6
    moved = torch.from_numpy(b).requires_grad_()
    overlap(torch.from_numpy(a), moved).sum().backward()
    assert moved.grad is not None and moved.grad.isfinite().all() and moved.grad.abs().max() > 0


def test_a_joint_result_that_is_what_all_show_is_off_by_nothing() -> None:
    got = consistency(cars(1, 4, 7), cars(1, 4), cars(4, 7), cars(1, 7))
    assert all(abs(value) < 0.02 for value in got.values())


def test_what_is_gone_moved_and_extra_by_hand() -> None:
    # of the ego's 1, 4 and what the honest one (4, 7) and the attacker (7, 10) show, 4 and 7 are left, 13 is new
    got = consistency(cars(4, 7, 13), cars(1, 4), cars(4, 7), cars(7, 10))
    assert got["gone"] == pytest.approx(1 / 6, abs=0.02)  # 7 twice and 10 are new to the ego; 10 is gone
    assert got["gone_of_one"] == pytest.approx(0.0, abs=0.02)  # one is forgiven
    assert got["gone_of_ego"] == pytest.approx(1 / 5, abs=0.02)
    assert got["gone_of_two"] == pytest.approx((1 / 5 + 0) / 2, abs=0.02)
    assert got["extra"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("metres", [0.3, 0.8, 1.5])
def test_boxes_that_move_are_gone_from_their_place_whatever_they_score(metres: float) -> None:
    there = cars(1, 4, 7, 10)
    got = consistency(cars(1, 4, 7, 10, moved=metres), there, there, there)
    iou = (1.9 - metres) / (1.9 + metres)
    assert got["moved"] == pytest.approx(1 - iou, abs=1e-4) == got["moved_of_one"]
    assert got["gone_of_ego"] == pytest.approx(4 / 7 if iou < 0.5 else 0.0, abs=0.05)
    assert got["extra"] == pytest.approx(4.0 if iou < 0.3 else 0.0, abs=0.15)


def test_claims_of_one_and_of_two_are_held_against_everybody_else() -> None:
    ego, honest, joint = cars(1), cars(1, 4), cars(1, 4)
    evidence, look = seen(joint, ego, honest, cars(1, 7, 10), cars(4, 10, 13, 16))
    claims, together = (c().figures(evidence, look, 0.25)[:, 0] for c in (Claims, ClaimsTogether))
    assert claims[1:].tolist() == pytest.approx([1.0, 2.0], abs=0.05)  # 7; 13 and 16
    assert together[1:].tolist() == pytest.approx([1.0, 1.0], abs=0.05)  # 10
    assert claims[0] == together[0] == -torch.inf  # of a joint result they say nothing
    assert Claims().figures(evidence, look, 0.99)[1:].max() < 0.05  # nobody shows that much


def test_singles_that_stay_as_they_are_have_not_changed() -> None:
    evidence, look = seen(cars(1), cars(1), cars(1), cars(1, 4))
    _, other = seen(cars(1), cars(1), cars(1), cars(1))
    assert HonestSingles().figures(evidence, look, 0.25)[1].item() == 0
    assert HonestSingles().figures(evidence, other, 0.25)[1].item() == pytest.approx(0.95 / 1.97, abs=0.02)


@pytest.mark.parametrize(
    ("now", "off"),
    [
        (cars(1, 4), 0.0),
        (cars(1, 4, moved=0.2), 0.0),
        (cars(1, 4, moved=1.0), 0.8),
        (cars(1, 4, score=0.55), 0.1),  # of 0.95, 0.3 forgiven
        ({**cars(1, moved=1.0), **cars(4, moved=-1.0)}, 20.0 / 9 - 0.2),  # 1 m at 9 m on either side
        ({**cars(1, 4), **cars(9)}, 0.0),  # one more car is no other place
    ],
)
def test_solo_results_keep_their_objects_and_places(now: Cars, off: float) -> None:
    evidence, look = seen(cars(1), cars(1), cars(1), cars(1))
    before, after = (dataclasses.replace(look, solo=partial(maps, c)) for c in (cars(1, 4), now))
    told = cast(Evidence, SimpleNamespace(clean=before, limits=None, members=evidence.members))
    excess = SteadySolos().make_excess(told)(after)
    assert excess[1].item() == pytest.approx(off, abs=1e-3) and excess[0] == -torch.inf
    for mute in (SimpleNamespace(clean=look, limits=None), SimpleNamespace(clean=before, limits={})):
        assert (SteadySolos().make_excess(cast(Evidence, mute))(after) < 0).all()  # not told, not tested


# ------------------------------------------------------------------------------------------------------- limits
def test_only_what_is_named_is_tested_and_where_nothing_is_told_the_usual() -> None:
    _, worse = seen(cars(1), cars(1), cars(1), cars(1, 4, 7, 10))
    evidence, _ = seen(cars(1), cars(1), cars(1), cars(1))

    def excess(limits: dict[str, float] | None) -> float:
        held = cast(Evidence, SimpleNamespace(members=evidence.members, clean=evidence.clean, limits=limits))
        return float(Claims(spare=0.0).make_excess(held)(worse).max())

    assert excess({"claims": 2.0}) == pytest.approx(3 / 2 - 1, abs=0.05)
    assert excess({"claims": 3.5}) < 0 and excess(None) == pytest.approx(3 / 7 - 1, abs=0.05)
    assert excess({}) == -1.0 == excess({"moved": 0.1})


def test_nobody_is_asked_for_more_than_the_honest_messages_have() -> None:
    evidence, look = seen(cars(1), cars(1), cars(1), cars(1, 4, 7, 10))
    assert float(Claims(spare=0.5).make_excess(evidence)(look).max()) <= 0


def test_the_order_of_what_is_sure_and_what_is_faint_is_what_counts() -> None:
    """Neither what is between nor what nobody shows; and all of it, the ego's own faint objects among it."""
    clean, boxes = maps({(2, 2): (0.9, 0), (2, 8): (0.2, 0), (8, 2): (0.48, 0)})
    ego, _ = maps({(14, 14): (0.3, 0)})
    nobody = Objects.of(clean[:0], boxes[:0])
    evidence = SimpleNamespace(joints=[0], clean=Look(clean, boxes, nobody, 1), frame=SimpleNamespace(alone=ego[0]))
    harm = Reranked().make_harm(cast(Evidence, evidence))

    def loss(**moved: float) -> float:
        at = {"sure": (2, 2), "faint": (2, 8), "between": (8, 2), "of_ego": (14, 14), "nothing": (20, 20)}
        logits = clean.clone()
        for name, by in moved.items():
            logits[0][at[name]] += by
        return float(harm(Look(logits, boxes, nobody, 1)))

    assert loss(between=-3) == loss(nothing=8) == loss()
    assert loss(sure=-3) < loss(sure=-1) < loss() and loss(faint=2) < loss() and loss(of_ego=9) < loss()
    with pytest.raises(InputError, match="expected least < most <= sure"):
        Reranked(most=0.6)


# ------------------------------------------------------------------------------------------------------- search
def test_what_is_sent_is_accepted_and_does_harm() -> None:
    for index in range(3):
        air = defended_air("ab", index=index, defense=robosac(threshold=0.6))
        sent = send(Evasive(steps=40), air)
        assert air._defense is not None
        own, full = decoded(air, sent, [EGO_ALONE, EVERYBODY])[0]
        agreement = air._defense.against(own, air._ego, air._detector.grid)
        assert agreement(full[None]).item() >= 0.6
        clean = decoded(air, [], [EVERYBODY])[0][0]
        assert (full - clean).sigmoid().sub(0.5).abs().max() > 0.1


def test_boxes_move_to_one_side_as_far_as_they_can() -> None:
    air = defended_air("ab", defense=None)
    sent = send(Evasive(harm=Shifted(metres=0.5, way="bearing"), epsilon=0.5, steps=30), air)
    before, after = (decoded(air, s, [EVERYBODY])[1][0, ..., :2] for s in ([], sent))
    way = (after - before)[1, 1]  # where all see a car
    assert way.norm() > 0.3


def test_ghosts_are_where_they_are_said_to_be_and_faint_alone() -> None:
    air = defended_air("ab", defense=None)
    sent = send(Evasive(harm=Ghosts(count=1, single=0.5, score=0.7), steps=40), air)
    full, a, b = decoded(air, sent, [EVERYBODY, frozenset("a"), frozenset("b")])[0].sigmoid()
    clean = decoded(air, [], [EVERYBODY])[0][0].sigmoid()
    place = int((full - clean).argmax())
    assert clean.flatten()[place] < 0.3 and full.flatten()[place] > 0.6
    assert min(float(a.flatten()[place]), float(b.flatten()[place])) > 0.45


def test_the_largest_subsets_hold_an_attacker_and_come_first() -> None:
    air = defended_air("a", ("x", "y", "z"))
    got = LargestSubsets(without=1, count=9).subsets(air, frozenset("a"), np.random.default_rng(0))
    assert got == [frozenset("axyz"), frozenset("ayz"), frozenset("axz"), frozenset("axy")]
    few = LargestSubsets(without=2, count=3).subsets(air, frozenset("a"), np.random.default_rng(0))
    assert few[0] == frozenset("axyz") and len(set(few)) == 3 and all(len(s) == 3 and "a" in s for s in few[1:])


# ----------------------------------------------------------------------------------------------------- settings
def test_wrong_settings_and_detectors_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"expected checks to be pairs of a weight >= 0 and a Check"):
        Evasive(checks=((-1.0, Agrees()),))
    with pytest.raises(InputError, match="expected way of Shifted to be 'across' or 'bearing'"):
        Shifted(way="up")
    air = defended_air("a", detector=MapDetector())
    with pytest.raises(InputError, match="that can differentiate boxes, and a grid"):
        send(Evasive(steps=1), dataclasses.replace(air, _detector=dataclasses.replace(MapDetector(), grid=None)))


def test_presets_are_one_class() -> None:
    presets = [attacks.load(name) for name in attacks.names() if name.startswith("evasive_")]
    assert len(presets) == 8 and all(isinstance(p, Evasive) for p in presets)
    assert any(isinstance(p.harm, Framed) for p in presets if isinstance(p, Evasive))
