"""`robosac train`: what is asked for becomes settings, and a recording becomes weights that are used by their path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import robosac
from robosac.cli import main
from robosac.cli.simulate import Simulate, write
from robosac.cli.train import FINE, Train, command_line, settings_of
from robosac.types import InputError

HOME = Path(__file__).parents[1]
MEAN = HOME / "configs" / "detectors" / "mean.yaml"
TINY = """
name: tiny
model: {encoder_width: 8, head_width: 8, context_width: 8}
optim: {steps: 2, frames_per_step: 1, bf16: false, threads: 1, validate_every: 1}
"""


def test_a_config_alone_is_what_it_says() -> None:
    settings, path = settings_of(Train(config=MEAN))
    assert settings.name == "mean" and settings.data.preset == "mixed" and path.name == "mean.safetensors"


def test_weights_alone_give_their_network_and_small_steps() -> None:
    settings, path = settings_of(Train(data="dair:x", source="max", out=Path("a/mine.safetensors"), seed=3, steps=60))
    assert settings.model.fusion == "max" and settings.init_from == "max" and settings.seed == 3
    assert settings.optim.lr == FINE["lr"] and settings.optim.steps == settings.optim.decay_steps == 60
    assert settings.name == "mine" and path == Path("a/mine.safetensors") and settings.data.comm_range_m == 70.0
    assert settings_of(Train(data="dair:x", source="max", out=Path("a")))[0].name == "max-tuned"


def test_data_stand_in_place_of_the_configs() -> None:
    settings, path = settings_of(Train(config=MEAN, data="sim:road-unit", out=Path("b")))
    assert settings.data.preset == "road-unit" and settings.data.roadside_egos and settings.data.train_scenes == 700
    assert path == Path("b/mean.safetensors")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "expected --config FILE or --data NAME"),
        ({"config": MEAN, "val": "a"}, "expected --val and --test with a recording"),
        ({"data": "sim:moon", "out": Path("b")}, "expected a preset among"),
        ({"data": "moon:x", "out": Path("b")}, "expected a data set like"),
        ({"data": "dair:x", "source": "moon", "out": Path("b")}, "expected a shipped detector"),
    ],
)
def test_what_does_not_go_together_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings_of(Train(**asked))


def test_the_recorded_command_is_what_decides_the_weights() -> None:
    asked = Train(data="dair:my data", source="mean", out=Path("b"), test="d2", seed=1, jobs=3, json=True)
    assert command_line(asked) == "robosac train --data 'dair:my data' --from mean --test d2 --seed 1"


def test_a_recording_becomes_weights_that_are_used_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Simulate(out=tmp_path / "w", split="val", scenes=3, frames=1, vehicles=2, beams=8, columns=128, jobs=1))
    (tmp_path / "tiny.yaml").write_text(TINY)
    names = sorted(p.name for p in (tmp_path / "w" / "val").iterdir() if p.is_dir())
    data = ["--data", f"opv2v:{tmp_path / 'w' / 'val'}", "--val", names[1], "--test", names[2]]
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--config", "tiny.yaml", *data, "--out", "mine.safetensors", "--jobs", "1", "--json"])
    said = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "mine.json").read_text())
    assert said["out"] == "mine.safetensors" and set(said["test"]) == {"before", "after"}
    assert f"train on {names[0]}; validate on {names[1]}; report on {names[2]}" in record["data"]
    assert [v["step"] for v in record["validations"]] == [1, 2]
    assert record["test"]["before"]["frames"] == 3  # two vehicles and the road-side unit, each in turn
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert robosac.load_detector("mine.safetensors").name == "bev-tiny"


def test_a_device_that_is_not_there_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", str(MEAN), "--device", "moon", "--out", "x"])
    assert stopped.value.code == 2 and "expected a device like cpu" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
