"""What holds for every attack, whatever its stage and settings. Rows are in `cases_*.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from robosac import attacks
from robosac.air import Air, Attacker, Knowledge, KnowledgeError, attacker_of
from robosac.attacks.base import Measured, Stage
from robosac.attacks.measures import by_attacker, same_but
from robosac.attacks.presets import preset
from robosac.attacks.registry import attack_kinds, kinds
from robosac.types import Message
from tests.attacks.cases import Case, all_cases
from tests.attacks.toy import EVERYTHING

CASES = all_cases()
every_attack = pytest.mark.parametrize("case", CASES, ids=str)


def start(case: Case, attackers: Iterable[str], seed: int = 0, *, budget: float | None = None) -> Attacker:
    attack = case.attack if budget is None else case.attack.with_budget(budget)
    return attack.start("scene", frozenset(attackers), np.random.default_rng(seed))


def send(case: Case, air: Air, seed: int = 0, *, budget: float | None = None) -> list[Message]:
    """What is sent in a frame, after as many frames as the attack needs to settle."""
    attacker = start(case, air.own, seed, budget=budget)
    for index in range(case.settle):
        attacker.send(case.air(list(air.own), list(air._others), index=index, knowledge=air.knowledge))
    if case.settle:
        air = case.air(list(air.own), list(air._others), index=case.settle, knowledge=air.knowledge)
    return list(attacker.send(air))


def frozen(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    """Everything that a message says, bit by bit."""
    heads = [(m.sender, m.to, m.sensed_ns, m.codec, np.asarray(m.world_T_payload).tobytes()) for m in messages]
    bodies = [tuple((n, a.shape, str(a.dtype), a.tobytes()) for n, a in sorted(m.payload.items())) for m in messages]
    return list(zip(heads, bodies, strict=True))


@every_attack
def test_an_attack_is_a_value(case: Case) -> None:
    attack = case.attack
    again = eval(repr(attack), {kind.__name__: kind for kind in kinds().values()})
    assert again == attack and repr(again) == repr(attack) and hash(again) == hash(attack)
    assert isinstance(attack, Measured) and isinstance(start(case, "a"), Attacker)
    assert isinstance(attack.stage, Stage) and attack.unit
    assert attack.with_budget(0.0).budget == 0 and attack.with_budget(0.0) != attack


@every_attack
def test_no_budget_leaves_every_message_bit_identical(case: Case) -> None:
    attacker = start(case, "ab", budget=0.0)
    for index in range(case.settle + 3):
        air = case.air(["a", "b"], index=index)
        sent = list(attacker.send(air))
        assert frozen(sent) == frozen([air.honest[i] for i in ("a", "b")])
        assert [case.attack.perturbation_size(air.honest[m.sender], [m]) for m in sent] == [0.0, 0.0]


@every_attack
def test_the_budget_is_never_exceeded_and_something_is_done_with_it(case: Case) -> None:
    for budget in (case.attack.budget, *case.budgets):
        attacker, sizes = start(case, "ab", budget=budget), []
        wanted = case.attack.with_budget(budget).budget
        for index in range(case.settle + 2):
            air = case.air(["a", "b"], index=index)
            sent = list(attacker.send(air))
            sizes += [case.attack.perturbation_size(air.honest[i], by_attacker(i, sent)) for i in ("a", "b")]
        assert max(sizes) <= wanted
        assert max(sizes) > 0 or wanted == 0


@every_attack
def test_only_attackers_send_and_nothing_of_anybody_else_is_touched(case: Case) -> None:
    attacker = start(case, "a")  # "b" is in the air as an attacker of another colluders: not ours to use
    for index in range(case.settle + 1):
        air = case.air(["a", "b"], ["x", "y"], index=index)
        before = frozen([*air.honest.values(), *air._others.values()])
        points = [v.points.tobytes() for v in [*air.own.values(), air._ego]]
        sent = attacker.send(air)
        assert {attacker_of(m.sender) for m in sent} <= {"a"}
        assert frozen([*air.honest.values(), *air._others.values()]) == before
        assert [v.points.tobytes() for v in [*air.own.values(), air._ego]] == points


@every_attack
def test_same_seed_same_messages(case: Case) -> None:
    def run(order: list[int], seed: int) -> dict[int, list[tuple[object, ...]]]:
        attacker = start(case, "ab", seed)
        return {i: frozen(attacker.send(case.air(["a", "b"], index=i))) for i in order}

    frames = list(range(case.settle + 2))
    first = run(frames, 5)
    assert first == run(frames if case.remembers else frames[::-1], 5)  # else frames can be played in any order


@every_attack
@pytest.mark.parametrize("count", range(5))
def test_any_number_of_attackers(case: Case, count: int) -> None:
    names = list("abcd")[:count]
    air = case.air(names, list("wxyz")[: 4 - count])
    sent = send(case, air)
    assert {attacker_of(m.sender) for m in sent} <= set(names)
    assert all(m.to == air.to.ego for m in sent)


@every_attack
def test_attackers_that_are_out_of_range_send_nothing(case: Case) -> None:
    assert {attacker_of(m.sender) for m in start(case, ["a", "gone"]).send(case.air(["a"]))} <= {"a"}
    assert list(start(case, ["gone"]).send(case.air([]))) == []
    assert list(start(case, ["a"]).send(dataclasses.replace(case.air(["a"]), own={}))) == []


@every_attack
def test_declared_knowledge_suffices_and_each_part_is_needed(case: Case) -> None:
    knowledge = case.attack.knowledge
    assert isinstance(send(case, case.air(["a", "b"], knowledge=knowledge)), list)
    for part in knowledge:
        with pytest.raises(KnowledgeError, match="add Knowledge"):
            send(case, case.air(["a", "b"], knowledge=EVERYTHING & ~part))


@every_attack
def test_with_less_knowledge_in_the_air_the_same_is_sent(case: Case) -> None:
    """Reading what is not declared raises; this says that nothing leaks in by another way either."""
    declared = send(case, case.air(["a", "b"], knowledge=case.attack.knowledge))
    assert frozen(declared) == frozen(send(case, case.air(["a", "b"], knowledge=EVERYTHING)))


def test_every_attack_there_is_has_a_row() -> None:
    """By class, and by preset: a new one without a row here fails."""
    tried = {type(case.attack) for case in CASES}
    assert {name for name, kind in attack_kinds().items() if kind not in tried} == set()
    assert {name for name in attacks.names() if type(attacks.load(name)) not in tried} == set()


def test_every_preset_says_where_it_comes_from() -> None:
    for name in attacks.names():
        assert len(preset(name).source) > 20 and preset(name).novelty in ("seen", "unseen", "hard")


def test_noise_knows_nothing_and_gradients_not_the_defence() -> None:
    assert attacks.load("noise").knowledge == Knowledge.NONE
    assert Knowledge.DEFENSE not in attacks.load("pgd").knowledge


def test_a_budget_that_is_exceeded_is_noticed() -> None:
    """The law above can fail: a message outside of every budget measures as such."""
    case = CASES[0]
    air = case.air(["a"])
    honest = air.honest["a"]
    assert (
        case.attack.perturbation_size(honest, [dataclasses.replace(honest, sensed_ns=honest.sensed_ns + 1)]) == np.inf
    )
    assert case.attack.perturbation_size(honest, []) == np.inf
    assert not same_but(honest, honest.with_payload(features=honest.payload["features"] + 1e-7))
