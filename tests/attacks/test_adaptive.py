"""What attacks that adapt are for: to be accepted, to strike where nobody looks, to have somebody else blamed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.agreement import SeenScoreMap
from robosac.air import Air, Knowledge
from robosac.attacks import (
    AdaptivePgd,
    BlindArea,
    DrawnSubsets,
    FrameUp,
    KeepsAgreement,
    KnowsSeed,
    PosePert,
    PretendBenign,
)
from robosac.attacks.adaptive.penalised import Judged, weighed
from robosac.attacks.base import Measured
from robosac.attacks.features.ball import Ball
from robosac.attacks.features.descent import Arrays, best, by_autograd, descend, steps_of
from robosac.attacks.features.norms import Linf
from robosac.attacks.features.objectives import BalancedInvertedBce, CleanFrame
from robosac.attacks.features.projection import FeasibleSet
from robosac.attacks.features.regions import on_map, on_sender_map, regional_reach
from robosac.types import EGO_ALONE, BevGrid, InputError, Message, Subset, Verdict, View
from tests.attacks.toy import GRID, ToyDetector, make_air
from tests.attacks.toy_adaptive import SHIFT_M, MapDetector, defended_air, robosac
from tests.toy import received

EVERYBODY = frozenset("abxy")


def send(attack: Measured, air: Air, seed: int = 0) -> list[Message]:
    return list(attack.start("scene", frozenset(air.own), np.random.default_rng(seed)).send(air))


def logits(air: Air, sent: Sequence[Message], subsets: Sequence[Subset]) -> torch.Tensor:
    inbox = {**air._others, **air.honest, **{m.sender: m for m in sent}}
    got: torch.Tensor = air._detector.open(air._ego, air.to, list(inbox.values())).logits({}, subsets)
    return got


def agreements(air: Air, sent: Sequence[Message], subsets: Sequence[Subset]) -> torch.Tensor:
    assert air._defense is not None
    alone = logits(air, sent, [EGO_ALONE])[0]
    got: torch.Tensor = air._defense.against(alone, air._ego, GRID)(logits(air, sent, subsets))
    return got


def verdict(air: Air, sent: Sequence[Message]) -> Verdict:
    """What the defence says, its random numbers included."""
    assert air._defender is not None
    return air._defender.step(air._detector, air._ego, air.to, received([*air._others.values(), *sent], air.to))


def gain(air: Air, sent: Sequence[Message], subset: Subset = EVERYBODY) -> float:
    """By how much the objective of all of these attacks falls on a subset: the harm done."""
    loss = BalancedInvertedBce().make_loss(CleanFrame(logits(air, [], [subset])))
    return float(loss(logits(air, [], [subset])) - loss(logits(air, sent, [subset])))


def change(air: Air, sent: Sequence[Message], subset: Subset = EVERYBODY) -> float:
    """Largest change of a score of the fusion."""
    before, after = logits(air, [], [subset]).sigmoid(), logits(air, sent, [subset]).sigmoid()
    return float((before - after).abs().max())


@dataclass
class KeenEyed(MapDetector):
    """One teammate sees a car that nobody else sees."""

    keen: str = ""

    def features(self, view: View) -> np.ndarray:
        made = super().features(view)
        if view.id == self.keen:
            made[:, 0, 4] = [0.9, 0.05, 0.3]
        return made


# ------------------------------------------------------------------------------------------------ the penalty
def test_the_penalty_is_what_is_missing_to_agreement_by_hand() -> None:
    frame = CleanFrame(
        logits=torch.zeros(3, 2, 2),
        agreement=lambda z: torch.tensor([0.9, 0.5, 0.3]) + 0.0 * z.sum(),
        thresholds=torch.tensor([0.4, 0.55, 0.4]),
    )
    assert KeepsAgreement(margin=0.0).make_loss(frame)(torch.zeros(3, 2, 2)).item() == pytest.approx((0.05 + 0.1) / 3)
    assert KeepsAgreement(margin=0.1).make_loss(frame)(torch.zeros(3, 2, 2)).item() == pytest.approx((0.15 + 0.2) / 3)
    assert KeepsAgreement().make_loss(CleanFrame(logits=torch.zeros(1, 2, 2)))(torch.ones(1, 2, 2)).item() == 0.0


def test_it_is_a_part_of_any_sum() -> None:
    mixed = attacks.load(
        "adaptive_pgd",
        objective={
            "kind": "weighted_sum",
            "terms": [[1, {"kind": "margin"}], [5, {"kind": "keeps_agreement", "margin": 0.2}]],
        },
    )
    assert send(mixed, defended_air("ab"))


def test_subsets_in_mind_are_those_the_defence_draws_that_hold_an_attacker() -> None:
    air = defended_air("ab", defense=robosac(threshold=2.0))
    drawn = DrawnSubsets(count=30).subsets(air, frozenset("ab"), np.random.default_rng(0))
    assert drawn[0] == EVERYBODY and len(drawn) == 15 - 3 and all(s & frozenset("ab") for s in drawn)  # less x, y, xy
    assert DrawnSubsets().subsets(defended_air("ab", defense=None), frozenset("ab"), np.random.default_rng(0)) == [
        EVERYBODY
    ]


# --------------------------------------------------------------------------------------------------- the search
def test_the_search_stops_short_of_what_is_forbidden() -> None:
    """Lower x is better and below 0.3 forbidden: it ends just above; without the limit at the lowest."""
    ball = ball_of(np.ones(1, np.float32), FeasibleSet.around(np.ones(1, np.float32), 1.0))

    def limited(x: Arrays) -> tuple[torch.Tensor, torch.Tensor]:
        return x["a", "f"].sum(), (0.3 - x["a", "f"]).clamp(min=0.0).sum()

    assert 0.3 <= searched(limited, ball, step=0.2, steps=40) <= 0.34
    assert searched(lambda x: (limited(x)[0], 0 * limited(x)[1]), ball, step=0.2, steps=40) == 0.0


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    ball = ball_of(np.zeros(1, np.float32), FeasibleSet(np.zeros(1), np.ones(1)))
    with pytest.raises(InputError, match="expected finite gradients"):
        searched(lambda x: (x["a", "f"].sqrt().sum(), 0 * x["a", "f"].sum()), ball, step=1.0, steps=2)


def ball_of(start: np.ndarray, allowed: FeasibleSet) -> Ball:
    return Ball(Linf(), 1.0, {("a", "f"): start}, {("a", "f"): allowed})


def searched(judged: Judged, ball: Ball, *, step: float, steps: int) -> float:
    """The one number that penalised PGD finds in a ball."""
    look = by_autograd(weighed(judged, 20.0), ball.keys)
    rule = steps_of([torch.tensor([step])], last_share=0.1, steps=steps)
    found = best(descend(look, ball.tensors(ball.clean), rule, ball.project(), steps))
    return float(ball.sendable(found.arrays)["a", "f"][0])


# ------------------------------------------------------------------------------------------------ adaptive PGD
@pytest.mark.parametrize("agreement", [None, SeenScoreMap()], ids=["score map", "seen"])
def test_the_defence_refuses_pgd_and_accepts_its_adaptive_sister(agreement: SeenScoreMap | None) -> None:
    defense = robosac(threshold=0.6, agreement=agreement)
    harm = []
    for index in range(3):
        air = defended_air("ab", index=index, defense=defense)
        naive, adaptive = send(attacks.load("pgd_balanced"), air), send(AdaptivePgd(steps=30), air)
        assert agreements(air, naive, [EVERYBODY]).item() < 0.6
        assert agreements(air, adaptive, [EVERYBODY]).item() >= 0.6
        assert verdict(air, adaptive).used == EVERYBODY
        harm.append(gain(air, adaptive))
    assert min(harm) > 0.05  # and it is not the honest message


def test_agreement_is_kept_on_all_subsets_in_mind() -> None:
    air = defended_air("a", ("x", "y", "z"), defense=robosac(threshold=0.55))
    sent = send(AdaptivePgd(drawn=15, steps=30), air)
    drawn = DrawnSubsets(count=15).subsets(air, frozenset("a"), np.random.default_rng(3))
    assert agreements(air, sent, drawn).min() >= 0.55


def test_without_a_defence_it_is_the_plain_objective() -> None:
    air = defended_air("ab", defense=None)
    unlimited = send(AdaptivePgd(), air)
    weightless = send(AdaptivePgd(penalty_weight=0.0), air)
    assert all(
        np.array_equal(a.payload["features"], b.payload["features"]) for a, b in zip(unlimited, weightless, strict=True)
    )
    assert change(air, unlimited) > change(air, send(AdaptivePgd(), defended_air("ab")))


def test_any_attack_can_be_told_of_the_defence_and_uninformed_it_is_another() -> None:
    informed = attacks.load("informed_pgd")
    air = defended_air("ab", knowledge=informed.knowledge)
    plain = attacks.load("pgd_balanced")
    knowing, plainly = agreements(air, send(informed, air), [EVERYBODY]), agreements(air, send(plain, air), [EVERYBODY])
    assert knowing.item() > plainly.item() + 0.2


# ------------------------------------------------------------------------------------------------------ regions
def test_a_mask_is_read_on_the_senders_map_by_its_pose() -> None:
    """A sender turned by 90 degrees: what is north of the ego is east on its map."""
    grid = BevGrid(-2.0, -2.0, 1.0, 4, 4)
    north = np.zeros((4, 4), bool)
    north[3] = True  # y in [1, 2)
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    east = on_sender_map(north, grid, np.eye(4), turned, (4, 4))
    assert east[:, 3].all() and east.sum() == 4
    moved = np.eye(4)
    moved[1, 3] = 1.0  # the sender stands a metre north: its row 2 is there
    assert on_sender_map(north, grid, np.eye(4), moved, (4, 4))[2].all()
    fine = on_sender_map(north, grid, np.eye(4), np.eye(4), (8, 8))
    assert fine[6:].all() and fine.sum() == 16  # another resolution, the same extents
    assert on_map(np.array([[0.0, 1.9], [0.0, -1.5]]), grid, np.eye(4), moved).tolist() == [True, False]


def test_little_where_the_ego_sees_much_where_it_is_blind() -> None:
    air = defended_air("ab")
    seen = regional_reach(air, air.honest["a"], blind=0.5, seen=0.1)["features"]
    assert np.asarray(seen)[0, 3].tolist() == [0.1] * 5 and np.asarray(seen)[0, :2].min() == 0.5
    for attack in (BlindArea(), BlindArea(seen_share=0.0), PretendBenign(steps=5)):
        for message in send(attack, air):
            moved = np.abs(
                message.payload["features"].astype(np.float64) - air.honest[message.sender].payload["features"]
            )
            limit = np.where(np.asarray(seen) == 0.1, attack.seen_share * attack.epsilon, attack.epsilon)
            assert (moved <= limit).all() and moved.max() > 0.1


@pytest.mark.parametrize(
    ("payload", "detector", "why"),
    [
        (
            {"features": np.zeros((4, 5), np.float32)},
            MapDetector(),
            r"expected 'features' from 'a' to be a map \(C, H, W\)",
        ),
        ({}, dataclasses.replace(MapDetector(), grid=None), "expected a detector with a BEV grid"),  # type: ignore[arg-type]
    ],
    ids=["no map", "no grid"],
)
def test_what_is_no_map_has_no_regions(payload: dict[str, np.ndarray], detector: ToyDetector, why: str) -> None:
    air = defended_air("a", detector=MapDetector())
    air = dataclasses.replace(air, _detector=detector)
    with pytest.raises(InputError, match=why):
        regional_reach(air, air.honest["a"].with_payload(**payload), blind=0.5, seen=0.1)


def test_pretend_benign_keeps_up_appearances_without_knowing_the_defence() -> None:
    air = defended_air("ab", defense=robosac(threshold=0.7))
    assert Knowledge.DEFENSE not in PretendBenign().knowledge
    assert agreements(air, send(PretendBenign(seen_share=1.0), air), [EVERYBODY]).item() > 0.65
    assert agreements(air, send(BlindArea(seen_share=1.0, steps=40), air), [EVERYBODY]).item() < 0.5


# ----------------------------------------------------------------------------------------------------- PosePert
def test_one_object_moves_and_nothing_else_does() -> None:
    """On the toy a car's place is a linear function of two features, so that it gets as far as it is meant to."""
    air = defended_air("ab")
    attack = PosePert(shift_m=0.5, bearing_deg=90.0, radius_m=0.7, epsilon=0.5)
    sent = send(attack, air)
    sessions = [
        air._detector.open(air._ego, air.to, [*air._others.values(), *messages])
        for messages in (air.honest.values(), sent)
    ]
    before, after = (s.logits_and_boxes({}, [EVERYBODY])[1][0] for s in sessions)
    moved = (after - before)[..., :2].reshape(-1, 2)
    largest = int(moved.norm(dim=1).argmax())
    assert moved[largest].tolist() == pytest.approx([0.0, 0.5], abs=0.05)
    assert (moved.norm(dim=1) > 0.05).sum() == 1
    assert change(air, sent) <= 0.2 + 1e-6
    assert SHIFT_M * 0.5 * 0.5 >= 0.5  # two attackers of five maps could do more


def test_an_object_nobody_can_reach_is_left_alone_and_boxes_are_needed() -> None:
    air = defended_air("a")
    far = dataclasses.replace(air.honest["a"], world_T_payload=np.array(air.to.world_T_ego) + 0.0)
    far.world_T_payload[0, 3] = 100.0
    away = dataclasses.replace(air, honest={"a": far})
    assert np.array_equal(send(PosePert(), away)[0].payload["features"], far.payload["features"])
    with pytest.raises(InputError, match="that can differentiate boxes"):
        send(PosePert(), make_air("a"))


# ---------------------------------------------------------------------------------------------- the seed is known
def test_who_knows_the_seed_is_accepted_and_sends_only_what_was() -> None:
    """Of everybody the defence asks more than can be had; which smaller subset it will draw decides the attack."""
    defense = dataclasses.replace(robosac(threshold=0.6), accuse_above=0.9)
    for index in range(3):
        air = defended_air("ab", index=index, defense=defense, knowledge=KnowsSeed().knowledge)
        sent = send(KnowsSeed(rounds=3, steps=20), air)
        used = verdict(air, sent).used
        assert used & frozenset("ab") and gain(air, sent, used) > 0.05


def test_who_is_never_accepted_stays_honest() -> None:
    air = defended_air("ab", defense=robosac(threshold=1.5), knowledge=KnowsSeed().knowledge)
    assert all(m.payload is air.honest[m.sender].payload for m in send(KnowsSeed(rounds=2, steps=3), air))


def test_a_simulation_of_the_defence_is_not_noticed() -> None:
    calm, watched = (defended_air("ab", knowledge=KnowsSeed().knowledge) for _ in range(2))
    send(KnowsSeed(rounds=2, steps=3), watched)
    honest = list(calm.honest.values())
    assert verdict(calm, honest).trials == verdict(watched, honest).trials


# --------------------------------------------------------------------------------------------------- framing
def test_with_the_framed_one_nothing_agrees_and_without_it_the_rest_does() -> None:
    """Honest teammates see cars that the ego does not: the attackers back one's up, and it alone tips the scales."""
    attack = FrameUp(steps=60, margin=0.0)
    attacker = attack.start("scene", frozenset("ab"), np.random.default_rng(0))
    framed = attacker.colluders.framed("xyz", "scene")  # type: ignore[attr-defined]
    air = defended_air("ab", ("x", "y", "z"), defense=robosac(threshold=0.6), detector=KeenEyed(keen=framed))
    sent = attacker.send(air)
    everybody = frozenset("abxyz")
    with_it, without_it = everybody, everybody - {framed}
    assert agreements(air, [], [with_it, without_it]).min() > 0.6  # honest messages are accepted, either way
    guilty, cleared = agreements(air, sent, [with_it, without_it]).tolist()
    assert guilty < 0.6 <= cleared


def test_the_framed_one_is_the_same_whoever_else_is_there() -> None:
    attack = FrameUp()
    for seed in range(5):
        colluders = attack.start("s", frozenset("a"), np.random.default_rng(seed)).colluders  # type: ignore[attr-defined]
        framed = colluders.framed("wxyz", "s")
        for gone in {"w", "x", "y", "z"} - {framed}:
            assert colluders.framed({"w", "x", "y", "z"} - {gone}, "s") == framed
    assert colluders.framed([], "s") is None


# ----------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: AdaptivePgd(drawn=0), "expected drawn of AdaptivePgd to be an integer >= 1"),
        (lambda: BlindArea(seen_share=1.1), r"expected seen_share of BlindArea to be a finite number in \[0, 1\]"),
        (lambda: PosePert(shift_m=1.5), "expected shift_m of PosePert"),
        (lambda: KnowsSeed(rounds=0), "expected rounds of KnowsSeed"),
        (lambda: FrameUp(margin=-0.1), "expected margin of FrameUp"),
        (lambda: KeepsAgreement(margin=math.nan), "expected margin of KeepsAgreement"),
    ],
)
def test_wrong_settings_say_what_was_expected(make, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=why):
        make()


def test_the_smaller_budget_scales_with_the_larger() -> None:
    half = BlindArea(epsilon=1.0, seen_share=0.4).with_budget(0.5)
    assert half.epsilon * half.seen_share == pytest.approx(0.2)
