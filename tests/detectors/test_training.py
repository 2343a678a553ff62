from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from robosac import detectors
from robosac.boxes import pose_xyz_rpy
from robosac.cli import main
from robosac.detectors.bev.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.raster import RASTER
from robosac.detectors.bev.training import loop
from robosac.detectors.bev.training import train as training
from robosac.detectors.bev.training.batches import _augment, draw_batch, draw_mates, thinned
from robosac.detectors.bev.training.dataset import CachedFrame, load_scene, load_split, save_scene
from robosac.detectors.bev.training.loop import Run, averaging, forward, initial
from robosac.detectors.bev.training.targets import loss
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.detectors.bev.weights import Header, load_network, save, sha256
from robosac.types import InputError
from tests.detectors.synthetic import cached_frame

MAP = ModelConfig().map

CONFIGS = Path(__file__).parents[2] / "configs" / "detectors"
SETTINGS = TrainConfig(name="x", optim=OptimConfig(ego_only=0.2, noise_m=0.0, noise_deg=0.0))
TINY = """
name: tiny
optim: {steps: 2, frames_per_step: 1, bf16: false, threads: 1}
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of two steps; two scenes of the tiny world stand in for the simulator."""
    monkeypatch.setattr(training, "load_split", lambda split, *_, **__: [[cached_frame(0)], [cached_frame(1)]])
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_two_steps_write_weights_and_record(tiny: Path, tmp_path: Path) -> None:
    first = training.train_from_config(tiny, out=tmp_path / "a", progress=False)
    assert first == tmp_path / "a" / "tiny.safetensors"
    assert {p.name: p.stat().st_mode & 0o777 for p in first.parent.iterdir()} == {
        "tiny.safetensors": 0o644,
        "tiny.json": 0o644,
    }
    second = training.train_from_config(tiny, out=tmp_path / "b" / "tiny.safetensors", progress=False)
    record = json.loads(first.with_suffix(".json").read_text())
    assert np.isfinite(record["curve"][-1]["total"])
    assert record["sha256"] == sha256(first) == sha256(second)  # reproducible at one thread
    assert record["config"] == TrainConfig.read(tiny).model_dump()
    assert 0 <= record["validation"]["all_ap50"] <= 1
    assert detectors.load(first).name == "bev-tiny"

    other = training.train_from_config(tiny, out=tmp_path / "c.safetensors", seed=1, progress=False)
    assert sha256(other) != sha256(first)


@pytest.mark.parametrize(("given", "used"), [([], 2), (["--jobs", "3"], 3)])
def test_the_set_is_simulated_in_as_many_processes_as_are_named(
    given: list[str], used: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def executor(jobs: int) -> None:
        asked.append(jobs)
        raise InputError("enough")

    monkeypatch.setattr(training, "load_split", load_split)
    monkeypatch.setattr("robosac.detectors.bev.training.dataset.make_executor", executor)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["train", "--config", str(tiny), "--out", str(tmp_path / "out"), *given])
    assert asked == [used]


def test_a_folder_or_a_weights_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "dir.safetensors").mkdir()
    assert training.weights_path("m") == detectors.WEIGHTS / "m.safetensors"
    assert training.weights_path("m", tmp_path) == tmp_path / "m.safetensors"
    assert training.weights_path("m", tmp_path / "new") == tmp_path / "new" / "m.safetensors"
    assert training.weights_path("m", tmp_path / "x.safetensors") == tmp_path / "x.safetensors"
    assert training.weights_path("m", tmp_path / "dir.safetensors") == tmp_path / "dir.safetensors" / "m.safetensors"


@pytest.mark.parametrize("where", ["file", "file/x", "taken"])
def test_a_wrong_destination_is_told_before_the_work(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(training, "load_split", work)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "tiny.json").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected a (folder that can be written to|file to write), got"):
        training.train_from_config(tmp_path / "tiny.yaml", out=tmp_path / where, progress=False)


def test_weights_are_replaced_whole_or_not_at_all(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while the new weights are written leaves the old ones, and their record, as they were."""
    path = training.train_from_config(tiny, out=tmp_path / "a", progress=False)
    before = {p: p.read_bytes() for p in path.parent.iterdir()}

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        training.train_from_config(tiny, out=tmp_path / "a", seed=1, progress=False)
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before


def test_averaged_weights_have_moved(tiny: Path) -> None:
    settings = TrainConfig.read(tiny)
    torch.manual_seed(settings.seed)
    start = Network(settings.model)
    run = Run(settings, [cached_frame()], log=lambda line: None)
    progress, net = run.train(), run.weights()
    moved = [n for n, p in net.named_parameters() if not torch.equal(p, dict(start.named_parameters())[n])]
    assert len(moved) == len(list(net.parameters()))
    assert [row["step"] for row in progress.curve] == [2]


def test_the_average_is_the_stated_one_for_weights_and_statistics_and_counters_are_copied() -> None:
    net = Network(TrainConfig(name="x").model)
    averaged = averaging(net, 0.15)
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    for n in (1, 2, 3):
        with torch.no_grad():
            for value in net.state_dict().values():
                value.copy_(torch.rand(value.shape) * 10)
        averaged.update_parameters(net)
        decay = min(0.15, n / (n + 9))  # 0.1, then 0.15
        for name, now in net.state_dict().items():
            mean = decay * expected[name] + (1 - decay) * now
            expected[name] = mean if now.dtype.is_floating_point else now.clone()
    found = averaged.module.state_dict()
    assert set(found) == set(expected) and any(not v.dtype.is_floating_point for v in found.values())
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])


def test_subsets_are_drawn_as_stated() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_mates([3, 5, 7, 9], 0.2, rng) for _ in range(4000)]
    sizes = np.bincount([len(d) for d in drawn], minlength=5) / len(drawn)
    np.testing.assert_allclose(sizes, [0.2, 0.2, 0.2, 0.2, 0.2], atol=0.03)
    assert {k for d in drawn for k in d} == {3, 5, 7, 9}
    assert draw_mates([], 0.2, rng) == []


def test_a_batch_has_a_sample_and_a_target_for_every_vehicle() -> None:
    batch = draw_batch([cached_frame(0), cached_frame(1)], SETTINGS, np.random.default_rng(0))
    assert batch.rasters.shape == (6, 8, 256, 256)
    assert [s.ego for s in batch.samples] == [0, 1, 2, 3, 4, 5]
    assert all((np.array(s.mates) // 3 == s.ego // 3).all() for s in batch.samples)  # teammates of the same frame
    assert batch.targets.heat.shape == (6, 64, 64)


@pytest.mark.parametrize("seed", range(6))
def test_augmentation_keeps_rasters_poses_and_boxes_together(seed: int) -> None:
    """In every variant, the boxes' centres fall on the same occupied cells, seen from any agent."""
    plain = cached_frame(0)
    frame = _augment(plain, np.random.default_rng(seed))

    def occupied_under_boxes(f: CachedFrame, k: int) -> float:
        boxes, hits = f.seen_from(k)
        seen = boxes[(hits[k] > 0) & RASTER.contains(boxes)]
        front = seen[:, :2] + np.c_[np.cos(seen[:, 6]), np.sin(seen[:, 6])] * 2.1  # inside of the front side
        row, col = RASTER.cells(front[RASTER.contains(front)])
        return float((f.bits[k][row, col] > 1).mean())

    for k in range(3):
        assert occupied_under_boxes(frame, k) == pytest.approx(occupied_under_boxes(plain, k), abs=0.15)
        boxes, _ = frame.seen_from(k)
        old, _ = plain.seen_from(k)
        np.testing.assert_allclose(boxes[:, 2], old[:, 2], atol=1e-4)


def test_augmented_rasters_still_align_after_warping() -> None:
    """Where the ego's map and a warped one both see a box, they see it in the same place, in every variant."""

    def agreement(frame: CachedFrame) -> float:
        pooled = functional.max_pool2d(torch.from_numpy((frame.bits >= 8).astype(np.float32))[:, None], 4)
        warped, _ = warp(pooled[1:2], planar_batch([relative_planar(frame.poses[0], frame.poses[1])]), MAP)
        return float((torch.minimum(pooled[:1], warped)).sum() / torch.maximum(pooled[:1], warped).sum())

    plain = cached_frame(0)
    unrelated = replace(plain, poses=np.stack([plain.poses[0] @ pose_xyz_rpy(6, 6, 0), *plain.poses[1:]]))
    variants = [agreement(_augment(plain, np.random.default_rng(seed))) for seed in range(6)]
    assert variants == pytest.approx([agreement(plain)] * 6, abs=0.02)
    assert min(variants) > 2 * agreement(unrelated)


def test_a_thinned_raster_loses_bins_and_gains_none() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (64, 64), dtype=np.uint8) * (rng.random((64, 64)) < 0.3).astype(np.uint8)
    made = [thinned(bits, 0.5, rng) for _ in range(200)]
    assert all(not (m & ~bits).any() and m.dtype == np.uint8 for m in made)
    kept = np.array([np.unpackbits(m).sum() for m in made]) / np.unpackbits(bits).sum()
    whole = np.array([np.array_equal(m, bits) for m in made])
    assert 0.35 < whole.mean() < 0.65
    assert kept[~whole].min() > 0.45 and kept[~whole].max() < 1 and kept[~whole].mean() == pytest.approx(0.75, abs=0.05)


def test_scenes_survive_the_disk(tmp_path: Path) -> None:
    frames = [cached_frame(0), cached_frame(1)]
    save_scene(tmp_path / "scene.npz", frames)
    for a, b in zip(frames, load_scene(tmp_path / "scene.npz"), strict=True):
        assert np.array_equal(a.bits, b.bits)
        assert np.array_equal(a.poses, b.poses)
        assert np.array_equal(a.hits, b.hits)


def test_simulated_scenes_are_cached_and_splits_differ(tmp_path: Path) -> None:
    data = DataConfig(train_scenes=1, val_scenes=1, frames=1, workers=1)
    lines: list[str] = []
    train, val = (load_split(s, data, cache=tmp_path, log=lines.append) for s in ("train", "val"))
    again = load_split("train", data, cache=tmp_path, log=lines.append)
    assert len(lines) == 2  # the second time nothing was simulated
    assert np.array_equal(train[0][0].bits, again[0][0].bits)
    assert train[0][0].bits.shape != val[0][0].bits.shape or not np.array_equal(train[0][0].bits, val[0][0].bits)
    frame = train[0][0]
    boxes, hits = frame.seen_from(frame.egos[0])
    assert np.hypot(*boxes[:, :2].T).min() > 1.0  # the ego's own body is not an object to it
    assert hits.sum() > 100


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    settings = TrainConfig.read(path)
    assert settings.name == path.stem and settings.name in detectors.SHIPPED  # what each makes is shipped


@pytest.mark.parametrize("fusion", ["max", "attention"])
def test_another_fusion_starts_from_the_same_encoder_and_head(fusion: str, tmp_path: Path) -> None:
    """All weights but the fusion's own go on."""
    other = TrainConfig.read(CONFIGS / f"road-{fusion}.yaml")
    assert other.init_from == "road-mean" and other.model.fusion == fusion
    base = other.model.model_copy(update={"fusion": "mean"})
    net = Network(base)
    header = Header(name="road-mean", model=base, decode=other.decode)
    source = save(tmp_path / "road-mean.safetensors", net, header, {})
    lines: list[str] = []
    made = initial(other.model_copy(update={"init_from": str(source)}), lines.append).state_dict()
    own = {name for name in made if name.startswith("fusion.")}
    assert bool(own) == (fusion == "attention")
    assert lines == [f"started from {source}: {len(made) - len(own)} of {len(made)} tensors"]
    assert all(torch.equal(made[name], value) for name, value in net.state_dict().items())


def test_wrong_configurations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\noptim: {stepz: 3}\nmodel: {fusion: sum}\n")
    with pytest.raises(InputError, match=r"model.fusion: Input should be 'mean', 'max' or 'attention'.*optim.stepz"):
        TrainConfig.read(path)
    path.write_text("name: [")
    with pytest.raises(InputError, match="to be YAML"):
        TrainConfig.read(path)
    with pytest.raises(InputError, match=r"expected a YAML file at .* got none"):
        TrainConfig.read(tmp_path / "none.yaml")


def test_wrong_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    path = training.train_from_config(tiny, out=tmp_path / "w.safetensors", progress=False)
    with pytest.raises(InputError, match=r"expected a weights file at .*missing"):
        load_network(tmp_path / "missing.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match="to be a safetensors file"):
        load_network(tmp_path / "junk.safetensors")
    state = load_file(path)
    save_file(state, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="to carry a robosac header"):
        load_network(tmp_path / "bare.safetensors")
    header = {"header": load_network(path)[1].model_dump_json()}
    state["head.extra"] = torch.zeros(1)
    state["head.out.bias"] = torch.zeros(3)
    del state["head.out.weight"]
    save_file(state, tmp_path / "odd.safetensors", metadata=header)
    with pytest.raises(
        InputError,
        match=r"1 missing \(head.out.weight\); 1 unexpected \(head.extra\); 1 of .* \(head.out.bias \(3,\), model has",
    ):
        load_network(tmp_path / "odd.safetensors")


def test_an_unknown_name_lists_the_right_ones() -> None:
    with pytest.raises(InputError, match=r"expected a shipped detector .mean, max, .* or a path"):
        detectors.load("median")


def test_all_of_validation_is_on_the_device_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cpu:0` is the CPU by another name: who forgets the device says `cpu`."""
    seen: list[str] = []

    class Detector(BevDetector):
        def __init__(self, *given: Any, device: str = "cpu") -> None:
            seen.append(device)
            super().__init__(*given, device=device)

    monkeypatch.setattr(training, "BevDetector", Detector)
    monkeypatch.setattr(loop, "BevDetector", Detector)
    settings = TrainConfig(name="x", optim=OptimConfig(steps=1, frames_per_step=1, bf16=False, validate_every=1))
    scenes = [[cached_frame(0)]]
    path, quiet = tmp_path / "x.safetensors", lambda line: None
    training.train_on(settings, scenes, scenes, path, command="x", test=scenes, device="cpu:0", log=quiet)
    assert seen == ["cpu:0"] * 3  # before, on the way, at the end


def test_a_step_mixes_no_devices() -> None:
    """On `meta` nothing is computed, but what lies on another device is refused as a GPU would refuse it."""
    net = Network(SETTINGS.model).to("meta")
    batch = draw_batch([cached_frame(0)], SETTINGS, np.random.default_rng(0))
    moved = batch.to(torch.device("meta"))
    output = forward(net, moved, MAP)
    assert output.device.type == "meta" and loss(output, moved.targets, 0.1)["total"].device.type == "meta"
    with pytest.raises(RuntimeError, match="device"):
        forward(net, batch, MAP)
    with pytest.raises(RuntimeError, match="device"):
        loss(output, batch.targets, 0.1)
