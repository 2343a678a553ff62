"""The shipped weights are what their records say, and do the job on a held-out scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robosac import detectors
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.detector import FEATURES
from robosac.detectors.bev.weights import load_network, save, sha256
from robosac.evaluation.ap import average_precision, match_truth
from robosac.simulation.scenario import scenario
from robosac.types import EGO_ALONE, Frame, InputError, Request, Truth

CONFIGS = Path(__file__).parents[2] / "configs" / "detectors"


@pytest.fixture(scope="module")
def frames() -> list[tuple[Frame, Truth]]:
    return [scenario("val", index).snapshot(0).frame() for index in range(3)]


@pytest.mark.parametrize("name", detectors.SHIPPED)
def test_the_record_belongs_to_the_weights_and_to_the_committed_configuration(name: str) -> None:
    record = json.loads((detectors.WEIGHTS / f"{name}.json").read_text())
    assert record["sha256"] == sha256(detectors.WEIGHTS / f"{name}.safetensors")
    assert record["config"] == TrainConfig.read(CONFIGS / f"{name}.yaml").model_dump()
    assert record["command"] == f"robosac train --config configs/detectors/{name}.yaml"
    assert record["header"] == detectors.load(name).header.model_dump()
    figures = record["validation"]
    assert figures["all_ap50"] - figures["ego_ap50"] >= 0.2
    assert figures["ego_ap50"] < figures["one_ap50"] < figures["three_ap50"] < figures["all_ap50"]


@pytest.mark.parametrize("name", detectors.SHIPPED)
def test_teammates_help_on_held_out_scenes(name: str, frames: list[tuple[Frame, Truth]]) -> None:
    detector = detectors.load(name)
    assert detector.name == f"bev-{name}"
    alone, together = [], []
    for frame, truth in frames:
        to = Request.of(frame.ego)
        messages = [detector.encode(view, to) for view in frame.others.values()]
        _, _, low, high = detector.codec.arrays[FEATURES]
        assert all(low <= m.payload[FEATURES].min() and m.payload[FEATURES].max() < high for m in messages)
        session = detector.open(frame.ego, to, messages)
        results = session.detect([EGO_ALONE, frozenset(session.ids)])
        alone.append(match_truth(results[0], truth, detector.grid, thresholds=(0.5,)))
        together.append(match_truth(results[1], truth, detector.grid, thresholds=(0.5,)))
    (ego,), (every,) = average_precision(alone).values(), average_precision(together).values()
    assert ego is not None and every is not None
    assert every > 0.75
    assert every > ego + 0.1


def test_boxes_lie_at_the_right_height(frames: list[tuple[Frame, Truth]]) -> None:
    """z is in the ego's sensor frame, two metres above the ground, whatever the slope and the tilt."""
    detector = detectors.load("mean")
    frame, truth = frames[0]
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    (found,) = session.detect([frozenset(session.ids)])
    sure = found.boxes[found.scores > 0.5]
    nearest = np.hypot(sure[:, None, 0] - truth.boxes[None, :, 0], sure[:, None, 1] - truth.boxes[None, :, 1])
    close = nearest.min(axis=1) < 1.0
    error = sure[close, 2] - truth.boxes[nearest.argmin(axis=1)[close], 2]
    assert close.sum() >= 5
    assert np.median(np.abs(error)) < 0.25


def test_weights_that_are_not_finite_are_named(tmp_path):
    net, header = load_network(detectors.WEIGHTS / "mean.safetensors")
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = float("nan")
    broken = save(tmp_path / "mean.safetensors", net, header, {})
    with pytest.raises(InputError, match=r"expected finite weights in .*, got NaN or inf in "):
        load_network(broken)


@pytest.mark.parametrize("text", ["steps: true", "steps: 1.5", "steps: '12'", "lr: true", "lr: .inf", "noise_m: .nan"])
def test_a_setting_of_another_type_is_no_setting(text, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(f"name: mine\noptim: {{{text}}}\n")
    with pytest.raises(InputError, match="expected a training configuration"):
        TrainConfig.read(file)
    file.write_text("name: mine\noptim: {steps: 12, lr: 1}\n")
    assert TrainConfig.read(file).optim.steps == 12
