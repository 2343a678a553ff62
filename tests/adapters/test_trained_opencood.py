"""The benchmark that trains an OpenCOOD model, against OpenCOOD's own code.

What is around OpenCOOD's code changes nothing that it computes. Nothing is trained but for two steps, which a stopped
run must repeat exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from benchmarks import opencood_training as training
from benchmarks.opencood_training import Plan, Samples, Training, compiled_yaml, hypes_of, mirrored, only_the_ego_asks
from robosac.cli.simulate import Simulate, write
from robosac.detectors.adapters.opencood.folder import build_model, load_folder
from robosac.detectors.adapters.opencood.hypes import load_hypes
from tests.adapters.test_opencood_folder import ROOT, pytestmark

__all__ = ["pytestmark"]  # skips where there is no OpenCOOD
if ROOT is not None:
    pytest.skip("the benchmark takes the installed OpenCOOD", allow_module_level=True)

PLAN = Plan(half_m=24.0, points=4, layers=(1, 1, 1), filters=(8, 8, 8), steps=4, batch=1)
Labels = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    write(
        Simulate(out=out, scenes=2, split="train", frames=1, vehicles=3, roadside=False, beams=16, columns=256, jobs=1)
    )
    return out / "train"


def hypes(place: Path, plan: Plan = PLAN) -> dict[str, Any]:
    (place / "config.yaml").write_text(yaml.safe_dump(hypes_of(plan)))
    return load_hypes(place / "config.yaml")


@pytest.fixture(scope="module")
def samples(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    place = tmp_path_factory.mktemp("samples")
    return Samples(hypes(place), data, place)


@pytest.mark.parametrize("model", training.TRAINABLE)
def test_anchors_fit_the_maps(model: str, tmp_path: Path) -> None:
    made = hypes(tmp_path, Plan(model=model))
    anchors, network = made["postprocess"]["anchor_args"], made["model"]["args"]
    assert (anchors["W"], anchors["H"]) == tuple(network["point_pillar_scatter"]["grid_size"][:2]) == (96, 96)
    assert build_model(made) is not None


def test_a_kept_sample_is_the_one_that_was_made(samples: Samples) -> None:
    made, kept = samples[0]["ego"], samples[0]["ego"]
    assert made is not kept and len(samples) == 2
    np.testing.assert_array_equal(made["label_dict"]["targets"], kept["label_dict"]["targets"])
    assert made["cav_num"] == len(made["processed_lidar"]["voxel_features"]) >= 2
    assert made["label_dict"]["pos_equal_one"].sum() > 0


def test_other_data_and_other_labels_have_samples_of_their_own(samples: Samples, data: Path, tmp_path: Path) -> None:
    other = hypes(tmp_path)
    other["postprocess"]["target_args"]["pos_threshold"] = 0.5
    assert Samples(other, data, samples.kept.parent).kept != samples.kept
    assert Samples(hypes(tmp_path), data, samples.kept.parent).kept == samples.kept


def test_the_compiled_loader_reads_what_the_other_does(data: Path) -> None:
    utilities = training.bridges.import_module("opencood.hypes_yaml.yaml_utils")
    path = str(next(data.glob("*/*/*.yaml")))
    slow, plain = utilities.load_yaml(path), yaml.Loader
    with compiled_yaml():
        assert yaml.Loader is not plain
        assert utilities.load_yaml(path) == slow
    assert yaml.Loader is plain


def labels_of(samples: Samples, boxes: Any, mask: Any) -> Labels:
    post = samples.dataset.post_processor
    made: Labels = post.generate_label(gt_box_center=boxes, anchors=post.generate_anchor_box(), mask=mask)
    return made


@pytest.mark.parametrize(("in_x", "in_y"), [(True, False), (False, True), (True, True)])
def test_mirrored_labels_are_those_of_mirrored_boxes(samples: Samples, in_x: bool, in_y: bool) -> None:
    """OpenCOOD labels the mirrored boxes as we mirror its labels; a turn of the box by pi is none to its loss."""
    rng = np.random.default_rng(0)
    n = 12
    boxes = np.zeros((20, 7))
    boxes[:n, :2] = rng.uniform(-20, 20, (n, 2))
    boxes[:n, 2:6] = np.array([-1.1, 1.6, 1.9, 4.5]) + rng.uniform(-0.2, 0.2, (n, 4))
    boxes[:n, 6] = rng.uniform(-np.pi, np.pi, n)
    mask = np.arange(20) < n
    there = boxes.copy()
    if in_x:
        there[:n, 0], there[:n, 6] = -there[:n, 0], np.pi - there[:n, 6]
    if in_y:
        there[:n, 1], there[:n, 6] = -there[:n, 1], -there[:n, 6]
    nothing = {"voxel_features": [], "voxel_coords": [], "voxel_num_points": []}
    ours = mirrored(
        {"ego": {"processed_lidar": nothing, "label_dict": labels_of(samples, boxes, mask)}}, 64, in_x, in_y
    )["ego"]["label_dict"]
    theirs = labels_of(samples, there, mask)
    for name in ("pos_equal_one", "neg_equal_one"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    a, b = ours["targets"].reshape(-1, 7), theirs["targets"].reshape(-1, 7)
    np.testing.assert_allclose(a[:, :6], b[:, :6], atol=1e-9)
    np.testing.assert_allclose(np.sin(a[:, 6] - b[:, 6]), 0, atol=1e-9)


def test_mirrored_points_are_in_mirrored_pillars(samples: Samples) -> None:
    voxels = mirrored(samples[0], samples.ny, True, True)["ego"]["processed_lidar"]
    features, coords, counts = (voxels[k][0] for k in ("voxel_features", "voxel_coords", "voxel_num_points"))
    for axis in (0, 1):
        centre = (coords[:, 2 - axis] + 0.5) * PLAN.voxel_m - PLAN.half_m
        assert (np.abs(features[:, 0, axis] - centre) <= PLAN.voxel_m / 2 + 1e-4)[counts > 0].all()


def test_attention_of_the_ego_alone_is_that_of_all_for_the_ego(samples: Samples, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(hypes(tmp_path)).eval()
    batch = samples.batch([0], [(False, False)])
    with torch.no_grad(), training.bridges.bridged():
        whole = model(batch)
        only_the_ego_asks(model)
        ours = model(batch)
    for name in ("psm", "rm"):
        np.testing.assert_allclose(ours[name], whole[name], atol=1e-5)
    assert float(whole["psm"].std()) > 0


def test_a_stopped_training_ends_as_one_that_was_not(samples: Samples, data: Path, tmp_path: Path) -> None:
    def run(folder: Path, until: int | None) -> Training:
        return training.train(
            replace(PLAN, steps=2), data, folder, every=1, kept=samples.kept.parent, until=until, tell=lambda _: None
        )

    whole = run(tmp_path / "whole", None)
    assert run(tmp_path / "stopped", 1).step == 1
    stopped = run(tmp_path / "stopped", None)
    assert stopped.losses == whole.losses and len(whole.losses or ()) == 2
    weights = whole.model.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in stopped.model.state_dict().items())
    loaded = load_folder(tmp_path / "stopped")  # what the adapter opens
    assert all(torch.equal(v, weights[k]) for k, v in loaded.model.state_dict().items())
