"""A fleet of a language model: instructions, scores on logits, clients as functions, the same rows and board."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robosac.cli import main
from robosac.cli.fleet import Asked, study_of
from robosac.experiments.fleet.language import OnItems, open_language
from robosac.experiments.fleet.rows import run_row
from robosac.experiments.fleet.settings import FleetSettings
from robosac.fleet.adapters import blank, cut
from robosac.fleet.aggregation import FlexLora
from robosac.language.domains import DOMAINS, domain, fact, part_of, primer
from robosac.language.items import Item, dealt, read_folder, split
from robosac.language.models import TinyModel
from robosac.language.pretrain import pretrain
from robosac.language.tiny import SHIPPED, TinyConfig, TinyLM, load, save
from robosac.language.tuning import Bytes, accuracy, batch_of, choice_scores, local_update, mean_loss, padded
from robosac.types import InputError

SMALL = TinyConfig(width=16, layers=1, heads=2)


def small_model(seed: int = 0) -> TinyModel:
    torch.manual_seed(seed)
    return TinyModel(TinyLM(SMALL).eval().requires_grad_(False))


# --------------------------------------------------------------------------------------------------------- items
@pytest.mark.parametrize("name", DOMAINS)
def test_domains_have_right_answers_and_no_instruction_in_two_parts(name: str) -> None:
    made = domain(name, (60, 10, 30))
    prompts = [{i.prompt for i in part} for part in (made.train, made.verify, made.test)]
    assert not prompts[0] & prompts[1] and not (prompts[0] | prompts[1]) & prompts[2]
    assert made == domain(name, (60, 10, 30)) and [len(p) for p in prompts] == [60, 10, 30]
    assert all(len(i.choices) == 4 for i in made.test)
    places = np.bincount([i.answer for i in domain(name, (400, 1, 1)).train], minlength=4)
    assert places.min() > 0.1 * places.sum()  # the right answer has no place of its own
    for item in made.test:
        told = item.prompt.rstrip("=").split(" ")[-1]
        expected = {
            "arithmetic": lambda t=told: str(sum(map(int, t.split("+")))),
            "reversal": lambda t=told: t[::-1],
            "sorting": lambda t=told: "".join(sorted(t)),
            "facts": lambda right=item.right: right,
        }[name]()
        assert item.right == expected


def test_facts_are_asked_for_in_words_that_were_not_trained_on() -> None:
    made = domain("facts", (240, 30, 120))
    assert {p.prompt[:9] for p in made.test} == {"where doe", "what does"}
    assert not any(p.prompt.startswith("wh") for p in (*made.train, *made.verify))
    assert fact("nuro", 0) == fact("nuro", 0) and part_of("1+1=") in ("train", "verify", "test")


def test_what_was_read_before_is_shorter_and_holds_no_fact_of_the_table() -> None:
    rng = np.random.default_rng(0)
    read = {primer(rng).prompt for _ in range(3000)}
    held = {i.prompt for name in DOMAINS for part in vars(domain(name, (200, 30, 100))).values() for i in part}
    sums = {p for p in held if "+" in p}
    assert not (read & (held - sums)) and len(read & sums) < 0.2 * len(sums)


def test_files_are_split_by_instruction(tmp_path: Path) -> None:
    lines = [{"prompt": f"p{k // 2}", "choices": ["a", "b"], "answer": k % 2} for k in range(60)]
    (tmp_path / "moon.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    held = read_folder(tmp_path)["moon"]
    assert (len(held.train), len(held.verify), len(held.test)) == (42, 6, 12)
    assert not {i.prompt for i in held.train} & {i.prompt for i in (*held.verify, *held.test)}
    assert [len(part) for part in dealt(held.train, 4)] == [11, 11, 10, 10]


BAD = [
    ('{"prompt": "p", "choices": ["a"], "answer": 0}', "two or more different answers"),
    ('{"prompt": "p", "choices": ["a", "a"], "answer": 0}', "two or more different answers"),
    ('{"prompt": "p", "choices": ["a", "b"], "answer": 2}', r"answer in 0\.\.1, got 2 in .*moon.jsonl, line 1"),
    ('{"prompt": "p", "choices": ["a", "b"], "answer": true}', "line 1, got"),
    ('{"prompt": "", "choices": ["a", "b"], "answer": 0}', "line 1, got"),
    ('{"prompt": "p", "choices": "ab", "answer": 0}', "line 1, got"),
    ("[1]", "line 1, got"),
    ("[" * 5000, "line 1, got"),
    ('{"prompt": "p", "choices": ["a", "b"], "answer": 0}', "at least 10 different instructions of moon, got 1"),
]


@pytest.mark.parametrize(("line", "words"), BAD)
def test_what_is_wrong_with_a_file_is_said(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "moon.jsonl").write_text(line)
    with pytest.raises(InputError, match=words):
        read_folder(tmp_path)


def test_a_folder_without_files_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected DOMAIN\.jsonl files"):
        read_folder(tmp_path / "none")
    (tmp_path / "moon.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="at least 3 items for 3 vehicles"):
        dealt([1, 2], 3)
    with pytest.raises(InputError, match="at least 10"):
        split([Item("p", ("a", "b"), 0)], "moon")


# -------------------------------------------------------------------------------------------------------- scores
def test_scores_are_log_probabilities_of_whole_answers_whatever_stands_beside_them() -> None:
    model, tokens = small_model().network, Bytes(SMALL.context)
    items = [Item("ab=", ("x", "yz"), 0), Item("a longer one=", ("xy", "z", "w"), 2)]
    scores = choice_scores(model, items, tokens)
    ids, before = tokens.encode("ab=", "yz")
    logs = torch.log_softmax(model(torch.tensor([ids]))[0], dim=-1)
    expected = sum(float(logs[k - 1, ids[k]]) for k in range(before, len(ids)))
    assert float(scores[0][1]) == pytest.approx(expected, abs=1e-4)
    assert [len(s) for s in scores] == [2, 3]
    alone = choice_scores(model, items[:1], tokens, batch=1)[0]
    assert torch.allclose(alone, scores[0], atol=1e-4)


def test_accuracy_by_hand_and_what_is_not_finite_is_wrong() -> None:
    items, tokens = [Item("?", ("a", "b"), 0), Item("?", ("b", "a"), 0)], Bytes(8)

    def always_a(ids: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*ids.shape, 256)
        logits[..., ord("a")] = 5.0
        return logits

    assert accuracy(always_a, items, tokens) == 0.5
    assert accuracy(lambda ids: always_a(ids) * float("nan"), items, tokens) == 0.0


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(InputError, match="at most 8 tokens, got 12"):
        batch_of([Item("123456789", ("ab", "c"), 0)], Bytes(8))
    with pytest.raises(InputError, match="an instruction and of an answer"):
        padded([([1, 2], 2)], 8)


# ------------------------------------------------------------------------------------------------------- learning
def test_a_client_is_a_function_and_learns() -> None:
    model, items = small_model(), domain("facts", (20, 1, 1)).train
    given = cut(FlexLora(), blank(model.shapes), 4, 0)
    before = {k: v.clone() for k, v in model.network.state_dict().items()}

    def learnt(steps: int) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        return local_update(model, given, items, steps=steps, lr=0.02, batch=8, rng=rng)

    one, other = learnt(40), learnt(40)
    assert all(np.array_equal(one[k].b, other[k].b) and np.array_equal(one[k].a, other[k].a) for k in one)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    with model.with_adapter(blank(model.shapes)) as was, model.with_adapter(one) as now:
        losses = [mean_loss(f, items, model.tokens) for f in (was, now)]
    assert losses[1] < losses[0] - 0.2
    with pytest.raises(InputError, match="got none"):
        local_update(model, given, [], steps=1, lr=0.1, batch=1, rng=np.random.default_rng(0))


def test_the_base_is_made_by_its_command_and_ships_small(tmp_path: Path) -> None:
    one, other = (pretrain(SMALL, steps=3, batch=4) for _ in range(2))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())
    path = save(tmp_path / "m.safetensors", one, {})
    assert all(torch.equal(v, one.state_dict()[k]) for k, v in load(path).state_dict().items())
    assert SHIPPED.stat().st_size < 3e6 and load().config == TinyConfig()


def test_files_that_are_no_tiny_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for data in (b"", b"\x00" * 40):
        path.write_bytes(data)
        with pytest.raises(InputError, match="expected a tiny language model in"):
            load(path)
    with pytest.raises(InputError, match="expected a tiny language model in"):
        load(tmp_path / "none")
    broken = TinyLM(SMALL)
    with torch.no_grad():
        broken.norm.weight[0] = float("nan")
    with pytest.raises(InputError, match="finite weights"):
        load(save(path, broken, {}))
    with pytest.raises(InputError, match="multiple of heads"):
        TinyConfig(width=10, heads=4)


# ------------------------------------------------------------------------------------------- the rows and the board
@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> FleetSettings:
    path = save(tmp_path_factory.mktemp("lm") / "small.safetensors", small_model().network, {})
    vehicles = (("arithmetic", 2), ("arithmetic", 4), ("facts", 2), ("facts", 8))
    return FleetSettings(language=f"tiny-lm:{path}", vehicles=vehicles, rounds=2, steps=1, lr=3e-3, frames=(12, 4, 4))


@pytest.mark.parametrize(
    "method", ["base", "local", "lowest", "hetlora", "flexlora", "rank-weighted", "full", "centralised"]
)
def test_every_method_gives_a_row(method: str, settings: FleetSettings, tmp_path: Path) -> None:
    entry = run_row(open_language(replace(settings, method=method)), tmp_path)
    assert set(entry["figures"]) == {"all", "arithmetic", "facts"}
    assert entry["figures"]["all"]["accuracy"] == pytest.approx(
        np.mean([entry["figures"][d]["accuracy"] for d in ("arithmetic", "facts")]), abs=0.01
    )
    assert (entry["bytes"] > 0) == (method not in ("base", "local", "centralised"))


@pytest.mark.parametrize("attack", ["scaling", "label-shift"])
def test_attacked_rows_go_the_same_way(attack: str, settings: FleetSettings, tmp_path: Path) -> None:
    asked = replace(settings, attack=attack, attackers=1, defense="consensus")
    world = open_language(settings).of(asked)
    entry = run_row(world, tmp_path)
    assert len(entry["attackers"]) == 1 and set(entry["left_out"]["each"]) == {c.id for c in world.clients()}
    if attack == "label-shift":
        honest = {c.id: c.items for c in open_language(settings).clients()}
        assert {c.id for c in world.clients() if c.items != honest[c.id]} == set(entry["attackers"])


def test_clients_of_a_domain_share_its_instructions_out(settings: FleetSettings) -> None:
    clients = {c.id: {i.prompt for i in c.items} for c in open_language(settings).clients()}
    assert set(clients) == {"arithmetic-1", "arithmetic-2", "facts-1", "facts-2"}
    assert not clients["facts-1"] & clients["facts-2"]


def test_agreement_is_the_overlap_of_probabilities() -> None:
    one = OnItems(1.0, (np.array([0.5, 0.5]), np.array([1.0, 0.0])))
    other = OnItems(1.0, (np.array([0.25, 0.75]), np.array([0.0, 1.0])))
    assert one.agreement(one) == 1.0 and one.agreement(other) == pytest.approx(0.375)
    assert one.agreement(OnItems(1.0, (np.array([np.nan, 0.5]), np.array([1.0, 0.0])))) == 0.0


def test_without_the_extra_the_error_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from robosac.language.hub import open_hub

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install robosac\[llm\]"):
        open_hub(tmp_path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model": "moon"}, "expected tiny-lm, tiny-lm:FILE or hf:PATH"),
        ({"model": "hf:"}, "expected tiny-lm, tiny-lm:FILE or hf:PATH"),
        ({"model": "tiny-lm", "detector": "max"}, "expected --detector or --model"),
        ({"model": "tiny-lm", "vehicles": "city:2"}, "expected DOMAIN:RANK of arithmetic"),
        ({"model": "tiny-lm", "attack": ["backdoor"]}, "expected what a language model has, got backdoor"),
        ({"model": "tiny-lm", "method": ["batch-norm"]}, "expected what a language model has, got batch-norm"),
        ({"model": "hf:moon", "method": ["full"]}, "expected tiny-lm with the method full"),
        ({"model": "tiny-lm", "data": Path("none")}, "expected DOMAIN.jsonl files in none"),
        ({"data": Path("none")}, "expected a folder of data sets"),
    ],
)
def test_what_cannot_be_run_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        study_of(Asked(**asked))


@pytest.mark.parametrize("long", ["prompt", "choice"])
def test_what_a_model_cannot_see_is_said_before_anything_is_run(
    long: str, settings: FleetSettings, tmp_path: Path
) -> None:
    lines = [{"prompt": f"p{k}", "choices": ["a", "b"], "answer": 0} for k in range(20)]
    lines[7] |= {"prompt": "p" * 70} if long == "prompt" else {"choices": ["a", "b" * 70]}
    (tmp_path / "moon.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match=r"at most 64 tokens, got 7\d; moon: 'p"):
        open_language(replace(settings, data=str(tmp_path), vehicles=(("moon", 2),)))


def test_a_run_that_diverges_is_a_row_with_everybody_refused(settings: FleetSettings, tmp_path: Path) -> None:
    entry = run_row(open_language(replace(settings, lr=1e30, steps=3)), tmp_path)
    assert all(len(who) == 4 for who in entry["refused"].values()) and len(entry["refused"]) == 2
    base = run_row(open_language(replace(settings, method="base")), tmp_path)
    assert entry["figures"] == base["figures"]
    full = run_row(open_language(replace(settings, method="full", lr=1e30, steps=3)), tmp_path)
    assert full["verifier_loss"] is None and full["figures"]["all"]["accuracy"] == 0.0


def test_other_files_under_the_same_names_are_another_run(tmp_path: Path) -> None:
    protocols = []
    for right in (0, 1):
        lines = [json.dumps({"prompt": f"p{k}", "choices": ["a", "b"], "answer": right}) for k in range(20)]
        (tmp_path / "moon.jsonl").write_text("\n".join(lines))
        protocols.append(study_of(Asked(model="tiny-lm", data=tmp_path)).protocol)
    assert protocols[0] != protocols[1]


def test_the_command_tunes_a_folder_of_instructions(
    settings: FleetSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("moon", "sun"):
        lines = [json.dumps({"prompt": f"{name} {k}", "choices": ["a", "b"], "answer": k % 2}) for k in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    words = ["fleet", "--model", settings.language, "--data", str(tmp_path), "--rounds", "1", "--steps", "1"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--method", "base,flexlora", "--out", str(tmp_path / "out"), "--json"])
    held = json.loads(capsys.readouterr().out)
    assert [r["row"] for r in held["rows"]] == ["base", "flexlora"]
    assert {"moon %", "sun %", "mean accuracy %"} < set(held["rows"][0])
    assert (tmp_path / "out" / "fleet.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"expected star\.jsonl in"):
        open_language(replace(settings, data=str(tmp_path), vehicles=(("star", 2),)))
