"""A training run that is killed goes on and ends with the weights it would have had; validation on the way chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from robosac.detectors.bev.config import ModelConfig, OptimConfig, TrainConfig
from robosac.detectors.bev.training import loop
from robosac.detectors.bev.training import train as training
from robosac.detectors.bev.training.checkpoint import Checkpoint
from robosac.detectors.bev.training.loop import Run
from robosac.detectors.bev.weights import load_network, sha256
from robosac.types import InputError
from tests.detectors.synthetic import cached_frame

SMALL = ModelConfig(encoder_width=8, head_width=8, context_width=8)
FRAMES = [cached_frame(0), cached_frame(1)]


class KilledError(Exception):
    """In place of SIGKILL."""


def settings(**optim: Any) -> TrainConfig:
    given: dict[str, Any] = {"steps": 4, "frames_per_step": 1, "bf16": False, "threads": 1, **optim}
    return TrainConfig(name="x", model=SMALL, optim=OptimConfig(**given))


def quiet(line: str) -> None:
    pass


def train(how: TrainConfig, path: Path, log: Any = quiet) -> Path:
    return training.train_on(how, [FRAMES], [FRAMES[:1]], path, command="x", log=log)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Kills a run before a step, or in the middle of writing its checkpoint there."""
    real = Run._step

    def kill(how: TrainConfig, path: Path, at: int, *, writing: bool = False) -> None:
        def step(run: Run, number: int) -> Any:
            if number == at and not writing:
                raise KilledError
            return real(run, number)

        def save(data: Any, file: Any) -> None:
            file.write(b"half of it")
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(loop, "_SAVE_S", 0.0)
            patched.setattr(Run, "_step", step)
            if writing:
                patched.setattr(torch, "save", save)
            with pytest.raises(KilledError):
                train(how, path)

    return kill


@pytest.mark.parametrize("optim", [{}, {"decay_steps": 2, "warmup_steps": 2}], ids=["one cycle", "rise and fall"])
def test_a_killed_run_goes_on_to_the_same_weights(optim: dict[str, Any], tmp_path: Path, killed: Any) -> None:
    how, path = settings(**optim), tmp_path / "b.safetensors"
    killed(how, path, 2)
    killed(how, path, 3)
    killed(how, path, 3, writing=True)
    assert training.checkpoint_path(path).exists() and not path.exists()
    lines: list[str] = []
    assert sha256(train(how, path, lines.append)) == sha256(train(how, tmp_path / "a.safetensors"))
    assert lines[0].startswith("going on from step 3")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.safetensors", "b.json", "b.safetensors"]


def test_another_runs_checkpoint_is_refused_and_a_broken_one_named(tmp_path: Path, killed: Any) -> None:
    path = tmp_path / "b.safetensors"
    killed(settings(), path, 2)
    with pytest.raises(InputError, match=r"expected a checkpoint of this configuration.*delete it.*b.checkpoint.pt"):
        train(settings(lr=1.0), path)
    training.checkpoint_path(path).write_bytes(b"half")
    with pytest.raises(InputError, match=r"expected .*b.checkpoint.pt.* to hold tensors.*delete it"):
        train(settings(), path)


def test_steps_may_change_until_the_rate_falls(tmp_path: Path, killed: Any) -> None:
    long, short = settings(steps=6, decay_steps=2), settings(steps=3, decay_steps=2)
    path = tmp_path / "b.safetensors"
    killed(long, path, 1)
    assert sha256(train(short, path)) == sha256(train(short, tmp_path / "a.safetensors"))
    killed(short, tmp_path / "c.safetensors", 2)
    with pytest.raises(InputError, match=r"expected steps 3 and decay_steps 2.*at step 2; got 6 and 2"):
        train(long, tmp_path / "c.safetensors")


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    optim = OptimConfig(steps=10, warmup_steps=2, decay_steps=4)
    shares = [optim.share_of_lr(step) for step in range(11)]
    assert shares == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    with pytest.raises(ValueError, match="decay_steps <= steps"):
        OptimConfig(steps=3, decay_steps=4)


def test_the_best_validated_weights_are_kept_and_training_stops_without_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    seen: list[dict[str, torch.Tensor]] = []

    def validate(detector: Any, *_: Any, **__: Any) -> dict[str, float]:
        seen.append(detector.network.state_dict())
        value = next(scores)
        return {"ego_ap50": value, "all_ap50": 0.0, "all_ap70": 0.0}

    monkeypatch.setattr(loop, "validate", validate)
    run = Run(settings(steps=9, validate_every=1, patience=2), FRAMES, [FRAMES], log=quiet)
    progress = run.train(Checkpoint(tmp_path / "c.pt", "key", **run.parts))
    assert [v["step"] for v in progress.validations] == [1, 2, 3, 4]  # 3 and 4 were not better
    kept = run.weights().inference_copy().state_dict()
    assert all(torch.equal(kept[name], seen[1][name]) for name in kept)
    assert any(not torch.equal(kept[name], seen[3][name]) for name in kept)


def test_a_wider_region_takes_the_same_weights(tmp_path: Path) -> None:
    """Networks are convolutions: what was trained on one region starts another's, all of it."""
    path = train(settings(), tmp_path / "a.safetensors")
    lines: list[str] = []
    wide = SMALL.model_copy(update={"half_x_m": 76.8})
    net = loop.initial(TrainConfig(name="y", init_from=str(path), model=wide), lines.append)
    tensors = len(net.state_dict())
    assert lines == [f"started from {path}: {tensors} of {tensors} tensors"]
    state = load_network(path)[0].state_dict()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
