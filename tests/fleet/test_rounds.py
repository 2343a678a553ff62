"""The loop: what enters, what is counted, what a killed run comes to, and who is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from robosac.fleet.adapters import Adapter, cut, gram, minus
from robosac.fleet.aggregation import AGGREGATIONS, FedAvgFactors, FlexLora
from robosac.fleet.attackers import POISONS, Evasive, LittleIsEnough, RegaugedNoise, Scaling, SignFlip
from robosac.fleet.consensus import Verified
from robosac.fleet.lowrank import LowRankUpdate
from robosac.fleet.robust import MultiKrum
from robosac.fleet.rounds import Fleet, Plan
from robosac.fleet.wire import Agreed, RefusedError, pack, tensors_of, unpack
from robosac.types import InputError
from tests.fleet.toy import SHAPES, Learner, Watcher, verify

PLAN = Plan(rounds=3)
RANKS = (1, 2, 2, 4, 4, 8)


def members(**changes: object) -> list[Learner]:
    return [Learner(f"car-{k}", r, **changes) for k, r in enumerate(RANKS)]  # type: ignore[arg-type]


def fleet(folder: Path, plan: Plan = PLAN, **changes: object) -> Fleet:
    given: dict[str, object] = {"clients": members(), "verifier": Watcher(), **changes}
    return Fleet(plan, shapes=SHAPES, folder=folder, **given)  # type: ignore[arg-type]


def begun() -> Adapter:
    """What a client of rank 4 is sent of a model of ones."""
    ones = {k: LowRankUpdate(np.ones((m, 1)), np.ones((1, n))) for k, (m, n) in SHAPES.items()}
    return cut(FlexLora(), ones, 4, 0)


def dense(adapter: Adapter) -> np.ndarray:
    return np.concatenate([adapter[layer].dense.ravel() for layer in SHAPES])


@pytest.mark.parametrize("name", [n for n in AGGREGATIONS if n not in ("fedavg-factors", "stacking")])
def test_a_fleet_learns(name: str, tmp_path: Path) -> None:
    merged, reports = fleet(tmp_path, replace(PLAN, rule=AGGREGATIONS[name])).run()
    assert verify(merged).loss < 0.5 * verify({k: u.times(0.0) for k, u in merged.items()}).loss
    assert [sum(r.weights.values()) for r in reports] == pytest.approx([1.0] * 3)


def test_bytes_are_those_of_the_messages(tmp_path: Path) -> None:
    _, reports = fleet(tmp_path).run()
    numbers = {f"car-{k}": sum(min(r, m, n) * (m + n) for m, n in SHAPES.values()) for k, r in enumerate(RANKS)}
    for report in reports:
        for client, count in numbers.items():
            for sent in (report.sent[client], report.received[client]):
                assert 4 * count < sent < 4 * count + 700  # numbers in float32, and a header


@pytest.mark.parametrize("verified", [None, Verified()], ids=["everybody", "consensus"])
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(verified: Verified | None, tmp_path: Path) -> None:
    plan = replace(PLAN, verified=verified)
    merged, reports = fleet(tmp_path / "whole", plan).run()
    for killed in range(1, 18, 4):
        folder, count = tmp_path / f"killed-{killed}", [0]

        class Stops(Learner):
            def update(self, given: Adapter, round: int, count: list[int] = count, limit: int = killed) -> Adapter:
                count[0] += 1
                if count[0] == limit:
                    raise KeyboardInterrupt
                return super().update(given, round)

        with pytest.raises(KeyboardInterrupt):
            fleet(folder, plan, clients=[Stops(c.id, c.rank) for c in members()]).run()
        again = members()
        after, held = fleet(folder, plan, clients=again).run()
        assert np.array_equal(dense(after), dense(merged))
        assert [(r.weights, r.effects, r.own) for r in held] == [(r.weights, r.effects, r.own) for r in reports]
        assert sum(c.asked for c in again) == 18 - (killed - 1)  # nothing is learnt twice


def test_more_rounds_go_on_and_another_run_is_not_mixed_in(tmp_path: Path) -> None:
    fleet(tmp_path).run()
    longer, _ = fleet(tmp_path, replace(PLAN, rounds=5)).run()
    whole, _ = fleet(tmp_path / "other", replace(PLAN, rounds=5)).run()
    assert np.array_equal(dense(longer), dense(whole))
    with pytest.raises(InputError, match="which holds another"):
        fleet(tmp_path, replace(PLAN, seed=1))


BROKEN: dict[str, Callable[[Adapter], Adapter]] = {
    "NaN": lambda a: {k: replace(u, b=u.b * np.nan) for k, u in a.items()},
    "rank": lambda a: {k: replace(u, b=u.b[:, :1], a=u.a[:1]) for k, u in a.items()},
    "expected the layers": lambda a: {"first": a["first"]},
    "expected first": lambda a: {k: LowRankUpdate(u.b[:-1], u.a, u.scale) for k, u in a.items()},
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_client_that_sends_something_else_is_left_out_and_the_round_goes_on(words: str, tmp_path: Path) -> None:
    class Bad:
        def poison(self, given: Adapter, own: Adapter, honest: object, rng: object) -> Adapter:
            return BROKEN[words](own)

    _, reports = fleet(tmp_path, poisons={"car-5": Bad()}).run()
    for report in reports:
        assert words in report.refused["car-5"] and report.weights["car-5"] == 0
        assert sum(report.weights.values()) == pytest.approx(1)


@dataclass(frozen=True)
class Enormous:
    """Every number is finite, and the largest that can be sent."""

    def poison(self, given: Adapter, own: Adapter, honest: object, rng: object) -> Adapter:
        most = np.finfo(np.float32).max
        return {k: replace(u, b=np.full(u.b.shape, most), a=np.full(u.a.shape, most)) for k, u in own.items()}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rule", ["flexlora", "hetlora", "rank-weighted"])
def test_what_cannot_be_sent_on_changes_nothing_and_the_run_goes_on(rule: str, tmp_path: Path) -> None:
    merged, reports = fleet(tmp_path, replace(PLAN, rule=AGGREGATIONS[rule]), poisons={"car-5": Enormous()}).run()
    assert len(reports) == 3 and not dense(merged).any()
    assert all(r.weights["car-5"] == 0 and not r.refused for r in reports)


def test_who_fails_or_is_late_is_left_out(tmp_path: Path) -> None:
    some = [*members()[:5], Learner("car-5", 8, fails=(1,))]
    _, reports = fleet(tmp_path, clients=some).run()
    assert [sorted(r.refused) for r in reports] == [[], ["car-5"], []]
    assert "failed: RuntimeError: out of memory" in reports[1].refused["car-5"]
    merged, late = fleet(tmp_path / "late", replace(PLAN, deadline_s=0.0)).run()
    assert all(len(r.refused) == 6 for r in late) and not dense(merged).any()


def test_messages_of_others_and_of_other_rounds_do_not_enter() -> None:
    agreed = Agreed(2, 5, SHAPES)
    adapter = cut(
        FlexLora(), {k: LowRankUpdate(np.zeros((m, 0)), np.zeros((0, n))) for k, (m, n) in SHAPES.items()}, 2, 0
    )
    data = pack(adapter, sender="a", round=3)
    held = unpack(data, agreed, sender="a", round=3)
    assert np.allclose(dense(held), dense(adapter)) and held["first"].samples == 5
    head = b'{"__metadata__":null}'
    deep = save(dict(tensors_of(adapter)), metadata={"robosac": "[" * 200_000})
    for broken in (b"", data[:-9], b"\xff" * 40, data.replace(b"F32", b"I32"), bytes(deep),
                   len(head).to_bytes(8, "little") + head):  # fmt: skip
        with pytest.raises(RefusedError):
            unpack(broken, agreed, sender="a", round=3)
    for sender, turn in (("b", 3), ("a", 2)):
        with pytest.raises(RefusedError, match="expected a message of"):
            unpack(data, agreed, sender=sender, round=turn)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_a_poisoned_update_is_of_the_agreed_rank_and_harms(poison: object, tmp_path: Path) -> None:
    honest, _ = fleet(tmp_path / "honest").run()
    merged, reports = fleet(tmp_path / "attacked", poisons={"car-5": poison, "car-4": poison}).run()
    assert not reports[0].refused
    least = 1.0 if isinstance(poison, Evasive) else 1.05  # which goes no further than consensus lets it
    assert not verify(merged).loss <= least * verify(honest).loss  # NaN is harm, too


def test_what_attacks_do_to_a_step() -> None:
    start = begun()
    own = Learner("x", 4).update(start, 0)
    step, rng = minus(own, start), np.random.default_rng(0)
    for poison, cosine in ((SignFlip(), -1.0), (Scaling(), 1.0)):
        sent = minus(poison.poison(start, own, [], rng), start)
        products = gram([step, sent])
        assert products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]) == pytest.approx(cosine, abs=0.25)
    assert np.allclose(dense(LittleIsEnough(z=0.0).poison(start, own, [own], rng)), dense(own))
    noisy = RegaugedNoise(times=0.0).poison(start, own, [], rng)
    assert np.allclose(dense(noisy), dense(own)) and np.linalg.norm(noisy["first"].b - own["first"].b) > 1


@pytest.mark.parametrize("name", ["sign-flip", "scaling", "noise"])
def test_consensus_rejects_the_poisoned_and_keeps_the_honest(name: str, tmp_path: Path) -> None:
    plan = replace(PLAN, verified=Verified())
    merged, reports = fleet(tmp_path, plan, poisons={"car-4": POISONS[name]}).run()
    assert all(r.weights["car-4"] == 0 for r in reports) and all(r.trials >= 1 for r in reports)
    assert min(w for r in reports for c, w in r.weights.items() if c != "car-4") > 0
    honest, _ = fleet(tmp_path / "five", clients=[c for c in members() if c.id != "car-4"]).run()
    assert np.allclose(dense(merged), dense(honest), atol=1e-6)


@dataclass(frozen=True)
class Lets:
    """A rule that lets in what is at most so far from an adapter, and calls that distance the rise."""

    start: Adapter
    most: float
    worst: float = float("inf")

    def rise(self, adapter: Adapter) -> float | None:
        away = float(np.linalg.norm(dense(adapter) - dense(self.start)))
        return away if away <= self.most else None


def test_who_knows_the_rule_goes_as_far_as_it_lets() -> None:
    start = begun()
    own, rng = Learner("x", 4).update(start, 0), np.random.default_rng(0)
    step = float(np.linalg.norm(dense(own) - dense(start)))

    def sent(most: float, worst: float = float("inf")) -> float:
        poison = Evasive().told(Lets(own, most, worst))
        return float(np.linalg.norm(dense(poison.poison(start, own, [own], rng)) - dense(own)))

    assert sent(0.0) == sent(-1.0) == pytest.approx(0.0)  # nothing else enters, or nothing at all: an honest step
    lengths = [sent(most * step) for most in (0.6, 1.2, 3.5, 100.0)]
    assert all(found <= most * step for found, most in zip(lengths, (0.6, 1.2, 3.5, 100.0), strict=True))
    assert lengths == sorted(lengths) and lengths[0] > 0.3 * step and lengths[3] == pytest.approx(10 * step, rel=0.3)
    assert sent(100 * step, worst=1.2 * step) <= 1.2 * step  # and no further than the worst honest step


def test_what_enters_is_sent_though_it_helps_and_the_honest_step_would_not_enter() -> None:
    start = begun()
    own = Learner("x", 4).update(start, 0)

    class Backwards(Lets):
        def rise(self, adapter: Adapter) -> float | None:
            return None if np.array_equal(dense(adapter), dense(own)) else -0.1

    found = Evasive().told(Backwards(own, 0.0)).poison(start, own, [own], np.random.default_rng(0))
    assert not np.allclose(dense(found), dense(own))


def test_who_knows_the_rule_enters_and_does_little(tmp_path: Path) -> None:
    poisons: dict[str, object] = {"car-4": Evasive(), "car-5": Evasive()}
    plan = replace(PLAN, verified=Verified())
    merged, reports = fleet(tmp_path / "asked", plan, poisons=poisons).run()
    assert all(r.weights["car-4"] > 0 and r.weights["car-5"] > 0 for r in reports)
    honest, _ = fleet(tmp_path / "honest", plan).run()
    nothing = verify({k: u.times(0.0) for k, u in merged.items()}).loss
    assert verify(honest).loss < verify(merged).loss < nothing
    again, held = fleet(tmp_path / "again", plan, poisons=poisons).run()
    assert np.array_equal(dense(again), dense(merged)) and [r.weights for r in held] == [r.weights for r in reports]


def test_who_knows_the_rule_sends_the_same_whatever_stands_against_it(tmp_path: Path) -> None:
    first = {}
    for name, plan in (("consensus", replace(PLAN, verified=Verified())), ("nothing", PLAN)):
        members_ = fleet(tmp_path / name, replace(plan, rounds=1), poisons={"car-4": Evasive()})
        seen: dict[str, Adapter] = {}
        enter = members_._entered

        def entered(
            data: bytes, sender: str, index: int, seen: dict[str, Adapter] = seen, enter: Callable[..., Adapter] = enter
        ) -> Adapter:
            seen[sender] = enter(data, sender, index)  # the last time is what was sent
            return seen[sender]

        members_._entered = entered  # type: ignore[method-assign]
        members_.run()
        first[name] = dense(seen["car-4"])
    assert np.array_equal(first["consensus"], first["nothing"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("words", BROKEN)
def test_attackers_look_at_nobody_whose_update_is_refused(words: str, poison: object, tmp_path: Path) -> None:
    class Broken(Learner):
        def update(self, given: Adapter, round: int) -> Adapter:
            return BROKEN[words](super().update(given, round))

    class Huge(Learner):
        def update(self, given: Adapter, round: int) -> Adapter:
            return {k: replace(u, b=u.b * 1e200, a=u.a * 1e200) for k, u in super().update(given, round).items()}

    clients = [Broken("car-0", 2), *members()[1:4], Huge("car-4", 4), Learner("car-5", 8)]
    plan = replace(PLAN, rounds=1, verified=Verified())
    _, (report,) = fleet(tmp_path, plan, clients=clients, poisons={"car-3": poison, "car-4": poison}).run()
    assert words in report.refused["car-0"] and "car-4" in report.refused and "car-3" not in report.refused


def test_an_attack_that_asks_a_rule_needs_a_verifier(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="since an attack asks what it would let in"):
        fleet(tmp_path, verifier=None, poisons={"car-4": Evasive()})
    with pytest.raises(InputError, match="call told first"):
        Evasive().poison(begun(), Learner("x", 4).update(begun(), 0), [], np.random.default_rng(0))


def test_where_everybody_does_harm_the_model_stays(tmp_path: Path) -> None:
    poisons = {f"car-{k}": SignFlip() for k in range(6)}
    merged, reports = fleet(tmp_path, replace(PLAN, verified=Verified()), poisons=poisons).run()
    assert not dense(merged).any() and all(sum(r.weights.values()) == 0 for r in reports)


def test_krum_runs_on_mixed_ranks(tmp_path: Path) -> None:
    plan = replace(PLAN, robust=MultiKrum(attackers=1))
    _, reports = fleet(tmp_path, plan, poisons={"car-5": Scaling()}).run()
    assert all(r.weights["car-5"] == 0 for r in reports)


def test_what_cannot_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a verifier with data of its own"):
        fleet(tmp_path, replace(PLAN, verified=Verified()), verifier=None)
    with pytest.raises(InputError, match="expected clients of different names"):
        fleet(tmp_path, clients=[Learner("a", 1), Learner("a", 2)])
    with pytest.raises(InputError, match="expected at least one round"):
        Plan(rounds=0)
    with pytest.raises(InputError, match="expected updates of one rank"):
        fleet(tmp_path, replace(PLAN, rule=FedAvgFactors())).run()


def test_reports_are_plain(tmp_path: Path) -> None:
    fleet(tmp_path).run()
    held = json.loads((tmp_path / "round-0002.json").read_text())
    assert held["index"] == 2 and set(held["weights"]) == {f"car-{k}" for k in range(6)}
