"""The parts of the OpenCOOD adapter that need no OpenCOOD: inputs, specs, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robosac.boxes import pose_xyz_rpy, transform_points
from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.batch import (
    Geometry,
    Raster,
    Voxels,
    assemble,
    cells_of,
    in_range,
    pairwise_of,
    unplaced,
    without_body,
)
from robosac.detectors.adapters.opencood.decode import decoder_of
from robosac.detectors.adapters.opencood.engine import Engine
from robosac.detectors.adapters.opencood.forks import checked_modalities
from robosac.detectors.adapters.opencood.known import spec_of
from robosac.detectors.adapters.opencood.messages import check_agents, safe_prior
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.adapters.opencood.split import raster_points, split
from robosac.detectors.adapters.replay import Tap
from robosac.types import InputError

CPU = torch.device("cpu")
RANGE = [-8.0, -4.0, -3.0, 8.0, 4.0, 1.0]
PILLARS = {
    "preprocess": {
        "cav_lidar_range": RANGE,
        "args": {"voxel_size": [0.4, 0.4, 4], "max_points_per_voxel": 3, "max_voxel_test": 900},
    }
}
GEOMETRY = {"L1": -8.0, "W1": -4.0, "H1": -3.0, "res": 0.5, "input_shape": (32, 16, 9)}


def cloud(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(RANGE[:3], RANGE[3:], (count, 3)), rng.random(count)]).astype(np.float32)


def test_range_is_open_and_nan_is_outside() -> None:
    points = np.array([[-8, 0, 0, 1], [7.9, 3.9, 0.9, 1], [0, 4, 0, 1], [np.nan, 0, 0, 1]], np.float32)
    assert in_range(points, RANGE).tolist() == [points[1].tolist()]


def test_the_body_is_a_closed_rectangle_at_any_height() -> None:
    points = np.array([[2.95, 1.1, 9, 0], [3.0, 0, 0, 0], [0, -1.2, 0, 0], [-1.95, 0, -2, 0]], np.float32)
    assert without_body(points).tolist() == points[1:3].tolist()


def test_pairwise_maps_points_from_one_agent_to_the_other() -> None:
    poses = [pose_xyz_rpy(1, 2, 0, 0, 0, 0.3), pose_xyz_rpy(-4, 5, 1, 0.1, 0, -2)]
    points = cloud(20)
    world = [transform_points(pose, points) for pose in poses]
    moved = pairwise_of(poses)
    assert moved.dtype == np.float64 and np.array_equal(moved[0, 0], np.eye(4))
    np.testing.assert_allclose(transform_points(poses[1] @ moved[0, 1], points), world[0], atol=1e-4)


@pytest.mark.parametrize("counts", [(5, 0, 9), (0, 4), (7, 3, 0), (0, 0)])
def test_a_batch_is_cut_into_what_it_was_assembled_from(counts: tuple[int, ...]) -> None:
    cells = [cells_of(cloud(n, i), PILLARS, "pillars") for i, n in enumerate(counts)]
    rng = np.random.default_rng(1)
    n = len(counts)
    geometry = Geometry(rng.random((n, n, 4, 4)), rng.random((n, 3)).astype(np.float32), rng.random((n, 4, 4)))
    data = assemble(cells, geometry, CPU, padded_to=6, bev=False)
    assert data["pairwise_t_matrix"].shape == (1, 6, 6, 4, 4) and data["pairwise_t_matrix"].dtype == torch.float64
    assert torch.equal(data["prior_encoding"][0, n:], torch.zeros(6 - n, 3))
    assert torch.equal(data["spatial_correction_matrix"][0, n:], torch.eye(4, dtype=torch.float64).expand(6 - n, 4, 4))
    cut = split({"ego": data}, "pillars")
    np.testing.assert_array_equal(cut.geometry.pairwise, geometry.pairwise)
    np.testing.assert_array_equal(cut.geometry.prior, geometry.prior)
    for before, after in zip(cells, cut.cells, strict=True):
        assert isinstance(before, Voxels) and isinstance(after, Voxels)
        np.testing.assert_array_equal(before.coords, after.coords)
        np.testing.assert_array_equal(before.points(), after.points())


def test_geometry_of_some_agents_keeps_their_pairs() -> None:
    rng = np.random.default_rng(0)
    whole = Geometry(rng.random((4, 4, 4, 4)), rng.random((4, 3)).astype(np.float32), rng.random((4, 4, 4)))
    part = whole.of([0, 3, 1])
    np.testing.assert_array_equal(part.pairwise[1, 2], whole.pairwise[3, 1])
    np.testing.assert_array_equal(part.prior, whole.prior[[0, 3, 1]])


def test_a_lone_pillar_is_there_twice() -> None:
    cells = cells_of(np.array([[1, 1, 0, 0.5]], np.float32), PILLARS, "pillars")
    lidar = assemble([cells], unplaced(1), CPU, padded_to=None, bev=False)["processed_lidar"]
    assert len(lidar["voxel_features"]) == 2 and torch.equal(lidar["voxel_coords"][0], lidar["voxel_coords"][1])


def test_a_raster_holds_each_occupied_cell_and_the_mean_intensity() -> None:
    hypes = {"preprocess": {"cav_lidar_range": RANGE, "geometry_param": GEOMETRY}}
    points = np.array([[-7.9, -3.9, -2.9, 0.2], [-7.8, -3.6, 0.9, 0.6], [7.9, 3.9, -2.9, 1.0]], np.float32)
    cells = cells_of(points, hypes, "bev")
    assert isinstance(cells, Raster) and cells.image.shape == (9, 32, 16)
    assert cells.image[:-1].sum() == 3 and cells.image[0, 0, 0] == cells.image[7, 0, 0] == cells.image[0, 31, 15] == 1
    np.testing.assert_allclose(cells.image[-1, [0, 31], [0, 15]], [0.4, 1.0], rtol=1e-6)
    back = raster_points(cells.image, GEOMETRY)
    assert len(back) == 3 and np.abs(np.sort(back[:, 0]) - np.sort(points[:, 0])).max() <= 0.25


def test_claims_stay_within_the_embeddings() -> None:
    assert safe_prior(np.array([-1.0, 99.0, 7.0])).tolist() == [0.0, 10.0, 1.0]


def test_agents_are_counted_and_told_apart() -> None:
    check_agents("ego", ["a", "b"], 2)
    with pytest.raises(InputError, match=r"several from \['a'\]"):
        check_agents("ego", ["a", "a"], None)
    with pytest.raises(InputError, match="got one of the ego 'ego'"):
        check_agents("ego", ["ego"], None)
    with pytest.raises(InputError, match=r"at most 1 teammates, .* max_cav 2, got 2"):
        check_agents("ego", ["a", "b"], 1)


def test_a_batch_of_several_kinds_is_cut_into_what_it_was_assembled_from() -> None:
    settings = {"heter": {"modality_setting": {"m1": PILLARS, "m3": PILLARS}}}
    kinds = ["m3", "m1", "m3", "m1"]
    cells = [cells_of(cloud(n, n), settings, "pillars", kind) for n, kind in zip((5, 0, 9, 7), kinds, strict=True)]
    data = assemble(cells, unplaced(4), CPU, padded_to=None, bev=False, modalities=("m1", "m3"))
    assert data["agent_modality_list"] == kinds
    assert data["inputs_m3"]["voxel_coords"][:, 0].max() == 1  # counted among those of their kind
    cut = split({"ego": data}, "pillars", ("m1", "m3")).cells
    for before, after in zip(cells, cut, strict=True):
        assert isinstance(before, Voxels) and isinstance(after, Voxels) and before.modality == after.modality
        np.testing.assert_array_equal(before.features, after.features)
    with pytest.raises(InputError, match="expected agents of m1, the kinds with a LiDAR, got m3; cameras"):
        split({"ego": data}, "pillars", ("m1",))
    replayed = assemble(None, unplaced(4), CPU, padded_to=None, bev=False, modalities=("m1", "m3"))
    assert replayed["agent_modality_list"] == ["m1"] * 4 and "inputs_m3" not in replayed


def test_a_class_gets_the_spec_of_the_project_that_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    model = type("PointPillarIntermediate", (nn.Module,), {"__module__": "opencood.models.point_pillar_intermediate"})()
    model.backbone = type("Body", (nn.Module,), {"compress": False})()
    model.backbone.blocks = nn.ModuleList([nn.Identity()])
    for name, heads in (("OpenCOOD", ("psm", "rm")), ("CoAlign", ("cls_preds", "reg_preds"))):
        monkeypatch.setattr(bridges, "framework", lambda name=name: name)
        assert spec_of(model).heads == heads
    del model.backbone.blocks
    with pytest.raises(InputError, match="got that of another fork"):
        spec_of(model)


def test_kinds_of_agents() -> None:
    spec = Spec(taps=(Tap("F", "x"),), sent=("F",), skips=(), canvas=None, modalities=("m1", "m3"))
    hypes = {"heter": {"ego_modality": "m2&m3"}}
    assert checked_modalities(hypes, spec, {"a": "m1"}) == {"": "m3", "a": "m1"}
    assert checked_modalities({}, spec, {})[""] == "m1"
    with pytest.raises(InputError, match="expected kinds of agents among m1, m3, got m2"):
        checked_modalities(hypes, spec, {"a": "m2"})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("processed_radar"), "forward asked for 'processed_radar'; cameras and radars are not read here"),
        (AssertionError("Torch not compiled with CUDA enabled"), "expected Other to run on cpu: Torch not compiled"),
    ],
)
def test_a_forward_that_asks_for_more_is_told(error: Exception, said: str) -> None:
    class Other(nn.Module):
        def forward(self, data: object) -> None:
            raise error

    spec = Spec(taps=(Tap("F", ""),), sent=("F",), skips=(), canvas=None)
    with pytest.raises(InputError, match=said):
        _ = Engine(Other(), spec, PILLARS, CPU, 5).layout


def post(**anchors: object) -> dict[str, object]:
    anchor_args = {"cav_lidar_range": [-38.4, -38.4, -3, 38.4, 38.4, 1], "vw": 0.4, "vh": 0.4, "r": [0, 90], **anchors}
    return {"postprocess": {"target_args": {"score_threshold": 0.2}, "nms_thresh": 0.1, "anchor_args": anchor_args}}


def test_anchors_that_do_not_fit_are_refused_at_once() -> None:
    spec = Spec(taps=(Tap("F", "x"),), sent=("F",), skips=(), canvas=None)
    assert decoder_of(post(W=192, H=192, feature_stride=2), spec).grid.cols == 96
    with pytest.raises(InputError, match=r"96 by 96 cells, got 95 by 95: opencoodx rounds .* name a current checkout"):
        decoder_of(post(W=191, H=191, feature_stride=2), spec)
    with pytest.raises(InputError, match="anchors of one class, got those of several"):
        decoder_of(post(anchor_generator_config=[]), spec)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Second", "no fusion inside; wrap it with robosac.detectors.LateFusion"),
        ("VoxelNetIntermediate", r"runs on the CPU, got VoxelNetIntermediate: its forward calls \.cuda\(\)"),
        ("PointPillarintermediateV2VAM", "was never published"),
        ("FPVRCNN", "CUDA extension roiaware_pool3d"),
        ("Unheard", r"of a known class .*, got Unheard.*register_spec\('Unheard'.*robosac\.opencood_specs"),
    ],
)
def test_a_class_that_cannot_be_wrapped_says_why_and_what_to_do(name: str, said: str) -> None:
    model = type(name, (nn.Module,), {})()
    with pytest.raises(InputError, match=said):
        spec_of(model)


def test_a_spec_sends_only_what_it_taps() -> None:
    with pytest.raises(InputError, match=r"name taps, got \['G'\]"):
        Spec(taps=(Tap("F", "backbone"),), sent=("G",), skips=(), canvas=None)
    with pytest.raises(InputError, match="nothing sent"):
        Spec(taps=(Tap("F", "backbone"),), sent=(), skips=(), canvas=None)
