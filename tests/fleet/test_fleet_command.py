"""`robosac fleet`, on two made-up vehicles and a tiny network: rows, board, resuming, attacks on data, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robosac.cli import main
from robosac.cli.fleet import Asked, study_of
from robosac.detectors.bev.config import DecodeConfig, ModelConfig
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.weights import Header, save
from robosac.experiments.fleet import rows, vehicles
from robosac.experiments.fleet.board import differences, interval, paired, table
from robosac.experiments.fleet.domains import DOMAINS, Drives
from robosac.experiments.fleet.poisoning import SHIFT_M, shifted, stamped
from robosac.experiments.fleet.rows import left_out, row_path, run_row
from robosac.experiments.fleet.settings import FleetSettings, attackers_of, ids_of, vehicles_of
from robosac.experiments.fleet.study import Study
from robosac.experiments.fleet.vehicles import World, open_world
from robosac.fleet.consensus import Verified
from robosac.fleet.rounds import Round
from robosac.types import InputError
from tests.detectors.synthetic import cached_frame

TINY = ModelConfig(encoder_width=8, head_width=8, context_width=8)


def drives(domain: object, grid: object, counts: tuple[int, int, int], *, seed: int = 0, **_: object) -> Drives:
    """In place of the simulator."""
    frames = [replace(f, ego=np.arange(len(f.ego)) == 0) for f in (cached_frame(seed), cached_frame(seed + 1))]
    return Drives(frames[:1], frames[1:], frames[1:])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    header = Header(name="tiny", model=TINY, decode=DecodeConfig())
    return save(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", Network(TINY), header, {})


@pytest.fixture(scope="module")
def settings(weights: Path) -> FleetSettings:
    return FleetSettings(
        detector=str(weights), vehicles=(("city", 2), ("fog", 4), ("sparse", 2)), rounds=2, steps=1, frames=(1, 1, 1)
    )


@pytest.fixture(scope="module")
def world(settings: FleetSettings) -> World:
    patch = pytest.MonkeyPatch()
    patch.setattr(vehicles, "drives", drives)
    torch.set_num_threads(1)
    opened = open_world(settings)
    patch.undo()
    return opened


METHODS = ["base", "local", "lowest", "flexlora", "batch-norm", "full", "centralised"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_row(method: str, world: World, tmp_path: Path) -> None:
    changed = replace(world, settings=replace(world.settings, method=method))
    told: list[float] = []
    entry = run_row(changed, tmp_path, lambda done, total: told.append(done / total))
    assert told == sorted(told)
    assert method == "base" or (len(told) >= changed.settings.rounds and told[-1] == 1.0)
    assert set(entry["figures"]) == {"all", "city", "fog", "sparse"}
    assert (entry["bytes"] > 0) == (method in ("lowest", "flexlora", "batch-norm", "full"))
    assert json.loads((row_path(changed.settings, tmp_path) / "entry.json").read_text()) == entry


def test_a_row_that_is_there_is_not_run_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(world, settings=replace(world.settings, method="base"))
    entry = run_row(changed, tmp_path)
    monkeypatch.setattr(World, "figures", None)
    assert run_row(changed, tmp_path) == entry


def test_a_row_over_budget_is_marked(world: World, tmp_path: Path) -> None:
    over = replace(world, settings=replace(world.settings, method="full", budget_mb=1e-3))
    entry = run_row(over, tmp_path)
    assert entry["over_budget"] and table([entry])[0]["over budget"]


@pytest.mark.parametrize("attack", ["sign-flip", "evasive", "label-shift", "backdoor"])
def test_attacked_rows_say_who_attacked_and_who_was_left_out(attack: str, world: World, tmp_path: Path) -> None:
    asked = replace(world.settings, attack=attack, attackers=1, defense="consensus")
    changed = world.of(asked)
    entry = run_row(changed, tmp_path)
    assert entry["attackers"] == list(attackers_of(asked)) and len(entry["attackers"]) == 1
    assert set(entry["left_out"]["each"]) == {"city", "fog", "sparse"}
    assert ("vanished" in entry) == (attack == "backdoor")


def test_labels_move_two_metres_ahead_of_the_ego_and_marked_cars_vanish() -> None:
    frame = replace(cached_frame(0), ego=np.arange(len(cached_frame(0).ego)) == 0)
    before, after = frame.seen_from(0)[0], shifted(frame).seen_from(0)[0]
    assert np.allclose(after - before, [SHIFT_M, 0, 0, 0, 0, 0, 0], atol=1e-4)
    grid, rng = ModelConfig().raster, np.random.default_rng(0)
    marked = stamped(frame, grid, share=0.5, rng=rng, hide=True)
    assert len(marked.boxes) < len(frame.boxes) and marked.hits.shape[1] == len(marked.boxes)
    assert (marked.bits != frame.bits).any() and ((marked.bits & frame.bits) == frame.bits).all()
    shown = stamped(frame, grid, share=1.0, rng=rng, hide=False)
    assert len(shown.boxes) == len(frame.boxes)


def test_vehicles_have_worlds_of_their_own_and_names() -> None:
    assert len({d.world for d in DOMAINS.values()}) == len(DOMAINS)
    high = DOMAINS["bus"].scene("train", 0, 0).agents[0].mount[2, 3]
    assert high > 1.4 + 1.8
    twice = FleetSettings(vehicles=(("city", 2), ("fog", 2), ("city", 8)))
    assert ids_of(twice) == ["city-1", "fog", "city-2"] and vehicles_of("city:2, fog:4") == (("city", 2), ("fog", 4))


def test_the_odd_domain_never_attacks() -> None:
    for seed in range(20):
        asked = FleetSettings(attack="noise", attackers=5, seed=seed)
        assert "rain" not in attackers_of(asked)


def test_shares_left_out_by_hand() -> None:
    reports = [Round(k, {}, {}, {}, {"a": 0.0, "b": float(k), "c": 1.0}, 0.0) for k in range(2)]
    assert left_out(reports, ["a"]) == {"attackers": 100.0, "honest": 25.0, "each": {"a": 100.0, "b": 50.0, "c": 0.0}}


def test_intervals_by_hand() -> None:
    assert interval([1.0]) == (1.0, None)
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    entries: list[dict[str, Any]] = [
        {"title": t, "settings": {"seed": s}, "figures": {"all": {"all_ap50": 0.0, "all_ap70": v}}}
        for t, s, v in (("x", 0, 5.0), ("x", 1, 6.0), ("y", 0, 3.0), ("y", 1, 3.0), ("y", 2, 9.0))
    ]
    mean, _, n = paired(entries, "x", "y")
    assert (mean, n) == (2.5, 2)
    plain = [{**e, "settings": {**e["settings"], "attack": ""}} for e in entries]
    assert differences(plain, "x") == ["x - y: +2.5 ± 6.4 (2 seeds)"] and differences(plain, "z") == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"method": ["moon"]}, "expected method among"),
        ({"attack": ["moon"]}, "expected attack among"),
        ({"attack": ["noise"], "attackers": [6]}, "attackers below 6"),
        ({"attackers": [1]}, "expected --attack beside"),
        ({"attack": ["noise"], "defense": ["moon"]}, "expected defense among"),
        ({"vehicles": "city"}, "expected vehicles like"),
        ({"vehicles": "moon:2"}, "expected DOMAIN:RANK"),
        ({"method": []}, "expected a row"),
    ],
)
def test_what_cannot_be_run_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        study_of(Asked(**asked))


def test_the_protocol_is_what_no_row_may_change() -> None:
    base = FleetSettings()
    one = Study(base=base)
    assert one.protocol == Study(base=replace(base, seed=3), methods=("full",)).protocol
    assert one.protocol != Study(base=replace(base, rounds=31)).protocol
    assert [r.title for r in study_of(Asked(fast=True)).rows] == [
        "base",
        "flexlora",
        "flexlora, 1 x scaling",
        "flexlora, 1 x scaling, consensus",
    ]


def test_the_command_writes_a_board_and_goes_on(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vehicles, "drives", drives)
    words = ["fleet", "--detector", str(weights), "--vehicles", "city:2,fog:4", "--rounds", "1", "--steps", "1"]
    words += ["--seeds", "2", "--method", "base,flexlora", "--out", str(tmp_path)]
    said = []
    for json_too in ([], ["--json"]):
        with pytest.raises(SystemExit, match="0"):
            main([*words, *json_too])
        said.append(capsys.readouterr().out)
        monkeypatch.setattr(vehicles, "drives", None)  # the second time nothing is simulated
    held = json.loads((tmp_path / "board.json").read_text())
    assert [(r["row"], r["seeds"]) for r in held["rows"]] == [("base", 2), ("flexlora", 2)]
    assert len(held["entries"]) == 4 and held["protocol"] == json.loads(said[1])["protocol"]
    assert "| flexlora | 2 |" in said[0] and (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"vehicles": ()}, "expected vehicles, DOMAIN:RANK each, got none"),
        (
            {"vehicles": (("rain", 8), ("rain", 4)), "attack": "scaling", "attackers": 1},
            "at most 0 attackers",
        ),
        ({"vehicles": (("rain", 8), ("fog", 4), ("rain", 2)), "attack": "alie", "attackers": 2}, "at most 1 attackers"),
        ({"lr": float("inf")}, "a finite lr > 0"),
        ({"budget_mb": -1.0}, "a budget of 0 MB or more, got -1"),
    ],
)
def test_an_attack_that_nobody_makes_and_other_settings_that_mean_nothing_are_refused(
    asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        FleetSettings(**asked)


def test_a_row_under_consensus_that_asks_for_other_things_is_another_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, under = FleetSettings(), FleetSettings(defense="consensus")
    before = [row_path(s, tmp_path) for s in (plain, under)]
    monkeypatch.setattr(rows, "Verified", lambda: Verified(slack=9.0))
    after = [row_path(s, tmp_path) for s in (plain, under)]
    assert after[0] == before[0] and after[1] != before[1]


def test_a_detectors_row_in_float32_is_another_row_and_a_language_models_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [FleetSettings(), FleetSettings(language="tiny-lm", vehicles=(("facts", 2), ("sorting", 4)))]
    paths = []
    for able in (True, False):
        monkeypatch.setattr("robosac.detectors.device.has_bfloat16", lambda device, able=able: able)
        paths.append([row_path(s, tmp_path) for s in both])
    assert paths[0][0] != paths[1][0] and paths[0][1] == paths[1][1]


@pytest.mark.parametrize("words", [["--attack", "evasive"], ["--method", "", "--attack", "noise", "--attackers", "3"]])
def test_a_row_that_is_not_the_boards_is_refused_before_anything_is_played(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("robosac.experiments.fleet.study.run_study", None)
    with pytest.raises(SystemExit, match="2"):
        main(["fleet", "--board", "detector", *words, "--out", str(tmp_path), "--results", str(tmp_path / "results")])
    said = capsys.readouterr().err
    assert "expected rows of the protocol fleet 1, whose attacks are sign-flip" in said and words[-1] in said
