"""The black box: harm by hand, mixtures within both ends, and what a copy of a defence lets through."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from robosac.air import Air
from robosac.attacks import BlackBox, Pgd
from robosac.attacks.adaptive.black_box import harm, mixed
from robosac.boxes import load_kernels
from robosac.types import Detections, Detector, Message, Received, Request, Verdict, View
from tests.attacks.toy import make_air


def boxes(*centres: float, score: float = 0.8) -> Detections:
    made = np.zeros((len(centres), 7), np.float32)
    made[:, 0], made[:, 3:6] = centres, (4.0, 2.0, 1.5)
    return Detections(made, np.full(len(centres), score, np.float32))


def test_harm_by_hand() -> None:
    load_kernels()
    two = boxes(0.0, 20.0)
    assert harm(two, two) == pytest.approx(0.0) and harm(boxes(), boxes()) == 0.0
    assert harm(two, boxes()) == 1.0 == harm(two, boxes(50.0))
    assert harm(two, boxes(0.0)) == pytest.approx(1 / 3)  # one of two is gone
    assert harm(two, boxes(0.0, 20.0, 50.0)) == pytest.approx(1 / 5)  # one is made up
    assert harm(two, boxes(0.0, 20.0, score=0.4)) == pytest.approx(1 - 4 * 0.4 / 2.4)  # all are fainter
    maps = [dataclasses.replace(two, score_map=np.full((2, 2), v, np.float32)) for v in (0.2, 0.1)]
    assert 0 < harm(*maps) < 1e-3


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, np.array([[0, 1, 0, 1, 0.5]] * 4, np.float32)])
def test_a_mixture_lies_between_both_ends(share: float | np.ndarray) -> None:
    air = make_air(["a"])
    honest = air.honest["a"]
    sent = honest.with_payload(features=honest.payload["features"] + np.float32(0.3))
    got, low = mixed(honest, sent, share).payload["features"], honest.payload["features"]
    assert (got >= low).all() and (got <= sent.payload["features"]).all() and got.dtype == low.dtype
    assert got == pytest.approx(low + 0.3 * np.broadcast_to(share, low.shape), abs=1e-6)


def test_what_has_no_common_shape_is_sent_whole() -> None:
    air = make_air(["a"])
    honest = air.honest["a"]
    other = dataclasses.replace(honest, world_T_payload=np.eye(4) * 2)
    assert mixed(honest, other, 0.4) is honest and mixed(honest, other, 0.6) is other
    assert mixed(None, other, 0.0) is other


@dataclass
class Careful:
    """Takes what moved by at most `most` at each cell of a part of the map; else only what is there without it."""

    honest: dict[str, Message]
    most: float
    asked: list[float] = field(default_factory=list)

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        sent = {r.message.sender: r.message.payload["features"] for r in inbox}
        moved = {i: np.abs(sent[i] - self.honest[i].payload["features"]) for i in self.honest}
        taken = [m.mean() for m in moved.values() if m.max() <= self.most]
        self.asked.append(max(m.max() for m in moved.values()))
        result = boxes(0.0, score=float(np.clip(0.8 - sum(taken), 0.1, 1)))
        return Verdict(result, frozenset(), frozenset(), {}, (), 1, {}, "toy")


def attacked(most: float, queries: int = 20) -> tuple[Air, list[Message]]:
    air = make_air(["a", "b"])
    air = dataclasses.replace(air, _defender=Careful(dict(air.honest), most))
    attack = BlackBox(attack=Pgd(epsilon=0.4, steps=3), queries=queries)
    return air, list(attack.start("scene", frozenset(air.own), np.random.default_rng(0)).send(air))


def test_it_sends_what_a_careful_defence_takes_where_the_whole_attack_is_refused() -> None:
    load_kernels()
    for most in (1.0, 0.25, 0.12):
        air, sent = attacked(most)
        size = [np.abs(m.payload["features"] - air.honest[m.sender].payload["features"]).max() for m in sent]
        assert min(most, 0.4) / 3 < max(size) <= min(most, 0.4) + 1e-6


def test_what_does_no_harm_is_not_sent() -> None:
    load_kernels()
    air, sent = attacked(1e-6, queries=6)
    assert all(m is air.honest[m.sender] for m in sent)
    assert not air._defender.asked  # type: ignore[union-attr]  # a copy is asked, the defence notices nothing
