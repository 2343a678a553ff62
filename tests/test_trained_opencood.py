"""The benchmark that trains an OpenCOOD model: its schedule, order, checkpoints and table. Nothing is trained here."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import trained_opencood as bench
from benchmarks.opencood_training import STATE, WEIGHTS, Plan, Training, hypes_of, mirrored, order, rate
from robosac.evaluation.bootstrap import Estimate
from robosac.types import InputError

PLAN = Plan(steps=1000, batch=2)


# -------------------------------------------------------------------------------------------------------- schedule
def test_the_rate_rises_and_falls_once() -> None:
    rates = [rate(PLAN, k) for k in range(PLAN.steps + 1)]
    top = int(np.argmax(rates))
    assert top == 50 and rates[top] == pytest.approx(PLAN.peak)
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert rates[0] == pytest.approx(0.1 * PLAN.peak) and rates[-1] == pytest.approx(1e-3 * PLAN.peak)
    assert rates[525] == pytest.approx(0.5 * PLAN.peak, rel=0.01)  # half way down


@pytest.mark.parametrize("n", [10, 11])
def test_a_round_takes_each_sample_once_and_rounds_differ(n: int) -> None:
    rounds = [[i for k in range(5) for i in order(n, PLAN, 5 * r + k)[0]] for r in range(3)]
    assert all(max(Counter(r).values()) == 1 and set(r) <= set(range(n)) for r in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert order(n, PLAN, 7) == order(n, PLAN, 7) != order(n, replace(PLAN, seed=1), 7)


def test_all_four_mirror_images_are_drawn() -> None:
    seen = Counter(m for k in range(200) for m in order(10, PLAN, k)[1])
    assert len(seen) == 4 and min(seen.values()) > 60


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2 samples"):
        order(1, PLAN, 0)


@pytest.mark.parametrize("wrong", [{"model": "VoxelNet"}, {"steps": 0}, {"batch": 0}, {"peak": 0.0}])
def test_a_plan_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        Plan(**wrong)


# --------------------------------------------------------------------------------------------------- configuration
@pytest.mark.parametrize("model", ["AttFuse", "F-Cooper"])
def test_the_configuration_is_of_one_piece(model: str) -> None:
    plan = Plan(model=model)
    made = hypes_of(plan)
    square = [-plan.half_m, -plan.half_m, -3, plan.half_m, plan.half_m, 1]
    assert made["preprocess"]["cav_lidar_range"] == made["postprocess"]["anchor_args"]["cav_lidar_range"] == square
    assert made["model"]["args"]["lidar_range"] == square
    assert made["preprocess"]["args"]["voxel_size"] == made["model"]["args"]["voxel_size"]
    cells = 2 * plan.half_m / plan.voxel_m
    assert cells == int(cells) and cells % 8 == 0  # three strides of 2, and OpenCOOD of 2022 rounds down
    backbone = made["model"]["args"]["base_bev_backbone"]
    assert len(backbone["layer_nums"]) == len(backbone["num_filters"]) == len(backbone["layer_strides"]) == 3
    assert sum(backbone["num_upsample_filter"]) == {"AttFuse": 384, "F-Cooper": 256}[model]  # OpenCOOD's heads


def test_a_mirror_twice_is_none() -> None:
    rng = np.random.default_rng(0)

    def sample() -> dict[str, Any]:
        return {
            "ego": {
                "processed_lidar": {
                    "voxel_features": [rng.normal(size=(6, 3, 4))],
                    "voxel_coords": [np.column_stack([np.zeros(6, int), rng.integers(0, 8, (6, 2))])],
                    "voxel_num_points": [np.ones(6)],
                },
                "label_dict": {
                    "pos_equal_one": rng.random((4, 4, 2)),
                    "neg_equal_one": rng.random((4, 4, 2)),
                    "targets": rng.normal(size=(4, 4, 14)),
                },
            }
        }

    rng = np.random.default_rng(0)
    expected = sample()["ego"]
    for sides in ((True, False), (False, True), (True, True)):
        rng = np.random.default_rng(0)
        once = mirrored(sample(), 8, *sides)
        assert not np.array_equal(once["ego"]["label_dict"]["targets"], expected["label_dict"]["targets"])
        twice = mirrored(once, 8, *sides)["ego"]
        for name in ("pos_equal_one", "neg_equal_one", "targets"):
            np.testing.assert_array_equal(twice["label_dict"][name], expected["label_dict"][name])
        for name in ("voxel_features", "voxel_coords"):
            np.testing.assert_array_equal(twice["processed_lidar"][name][0], expected["processed_lidar"][name][0])


# ----------------------------------------------------------------------------------------------------- checkpoints
def toy(plan: Plan = PLAN) -> Training:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    return Training(plan, model, torch.optim.AdamW(model.parameters(), lr=0.1), None, losses=[])


def walk(training: Training, steps: int) -> None:
    for _ in range(steps):
        training.optimiser.zero_grad()
        x = torch.full((1, 2), float(training.step + 1))
        (training.model(x) - 1).square().sum().backward()
        training.optimiser.step()
        training.step += 1
        assert training.losses is not None
        training.losses.append(0.5)


def test_what_is_saved_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole, first = toy(), toy()
    walk(whole, 6)
    walk(first, 3)
    first.spent_s = 7.0
    first.save(tmp_path)
    second = toy()
    assert second.resume(tmp_path) and (second.step, second.spent_s, second.losses) == (3, 7.0, [0.5] * 3)
    walk(second, 3)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])


def test_the_weights_lie_where_opencood_looks_for_them(tmp_path: Path) -> None:
    made = toy()
    made.save(tmp_path)
    held = torch.load(tmp_path / WEIGHTS, weights_only=True)
    assert all(torch.equal(held[k], v) for k, v in made.model.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([STATE, WEIGHTS])  # nothing half written beside


def test_the_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    toy().save(tmp_path)
    with pytest.raises(InputError, match="'steps': 1000"):
        toy(replace(PLAN, steps=2000)).resume(tmp_path)
    assert not toy().resume(tmp_path / "elsewhere")


# ----------------------------------------------------------------------------------------------------------- table
class _Named:
    """Anything with attributes."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


def entry(policy: str, m: int, budget: str, ap: float | None) -> Any:
    estimate = None if ap is None else Estimate(ap, ap - 0.05, ap + 0.05)
    cell = _Named(m=m, attack_label=f"pgd@{budget}" if m else "nobody", defense=_Named(label=policy))
    return _Named(cell=cell, summary=_Named(ap={0.5: estimate}, frames=3))


def test_the_table_by_hand() -> None:
    made = [entry(p, 0, "", 0.7) for p in bench.POLICIES]
    made += [entry(p, m, b, 0.5) for b in ("4sd", "1sd", "2sd") for m in (1, 2) for p in bench.POLICIES]
    lines = bench.table(made)
    assert lines[0] == "| attackers | budget | ego only | all honest | no defence | robosac | paper | oracle |"
    assert [tuple(x.strip() for x in line.split("|")[1:3]) for line in lines[2:]] == [
        ("0", "–"), *((str(m), b) for m in (1, 2) for b in ("1sd", "2sd", "4sd")),
    ]  # fmt: skip
    assert lines[2].count(".700 [.65, .75]") == 6 and lines[3].count(".500 [.45, .55]") == 6


def test_what_was_not_measured_is_not_a_number() -> None:
    assert "| – |" in bench.table([entry("robosac", 1, "1sd", None)])[2]
    assert bench.shown(Estimate(1.0, 0.95, 1.0)) == "1.000 [.95, 1.00]"


@pytest.mark.parametrize(("alone", "said"), [(0.4, "reached"), (0.399, "NOT reached"), (None, "not measured")])
def test_whether_it_is_worth_defending_is_said(alone: float | None, said: str) -> None:
    lines = bench.worth([entry("ego only", 0, "", alone), entry("all honest", 0, "", 0.7)])
    assert lines[0].endswith(f"asked for 0.4: {said}") and lines[1].endswith("asked for 0.65: reached")


# --------------------------------------------------------------------------------------------------------- command
def test_a_table_without_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(["--table", "--folder", str(tmp_path)])
    assert stop.value.code == 2 and "expected weights in" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("opencood") is not None, reason="there is an OpenCOOD here")
def test_without_opencood_nothing_is_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        bench.main(["--folder", str(tmp_path)])
    assert stop.value.code == 2 and "expected OpenCOOD" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_go_to_a_cache_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bench.cache() == tmp_path / "robosac" / "trained_opencood"
    assert bench.Places(tmp_path, Plan(model="F-Cooper")).detector == f"opencood:{tmp_path}/f-cooper@{WEIGHTS}"


def test_the_scenes_of_every_size_of_team_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(bench, "write", asked.append)
    assert bench.training_data(tmp_path, 0.1) == tmp_path / "train"
    assert [(s.vehicles, s.scenes, s.seed) for s in asked] == [(5, 80, 201), (3, 36, 202), (2, 24, 203), (1, 44, 204)]
    assert {s.split for s in asked} == {"train"} and not any(s.roadside for s in asked)
