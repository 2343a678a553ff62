"""A model folder and a data folder, loaded through the user's own OpenCOOD: installed, or ROBOSAC_OPENCOOD=checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from robosac.boxes import invert_pose, transform_points
from robosac.detectors.adapters.opencood import bridges, folder
from robosac.detectors.adapters.opencood.hypes import load_hypes
from robosac.detectors.adapters.opencood.pcd import read_pcd
from robosac.detectors.adapters.opencood.standins import STANDINS
from robosac.detectors.adapters.opencood.voxels import voxelise
from robosac.simulation import SimConfig, scenario
from robosac.types import Frame, InputError, Truth
from tests.adapters import hypes as configs
from tests.adapters.opv2v import agent_folders, write_pcd, write_split

ROOT = os.environ.get("ROBOSAC_OPENCOOD") or None
pytestmark = pytest.mark.skipif(
    ROOT is None and importlib.util.find_spec("opencood") is None,
    reason="no OpenCOOD: pip install --no-deps opencoodx, or ROBOSAC_OPENCOOD=checkout",
)


@pytest.fixture(scope="module")
def frame() -> tuple[Frame, Truth]:
    config = SimConfig(n_vehicles=3, n_frames=1, beams=24, columns=512, pose_noise_xy_m=0.0, pose_noise_yaw_deg=0.0)
    return scenario("val", 0, config=config).snapshot(0).frame()


@pytest.fixture(scope="module")
def split(frame: tuple[Frame, Truth], tmp_path_factory: pytest.TempPathFactory) -> Path:
    negative = not legacy()
    return write_split(tmp_path_factory.mktemp("opv2v") / "test", [frame], negative_roadside=negative)


def legacy() -> bool:
    bridges.import_module("opencood", ROOT)
    return folder.is_legacy()


def write_folder(place: Path, config: dict[str, Any], *, epochs: tuple[int, ...] = (3,), prefix: str = "") -> Path:
    """A model folder as training leaves it: derived values in config.yaml, one file of weights an epoch."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    derived = load_hypes(place / "config.yaml", ROOT)
    (place / "config.yaml").write_text(yaml.dump(derived))  # numpy arrays and all, as OpenCOOD dumps it
    for epoch in epochs:
        torch.manual_seed(epoch)
        state = folder.build_model(derived, root=ROOT).state_dict()
        torch.save({prefix + k: v for k, v in state.items()}, place / f"net_epoch{epoch}.pth")
    return place


@pytest.fixture(scope="module")
def fcooper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(
        tmp_path_factory.mktemp("fcooper"), configs.point_pillar("point_pillar_fcooper"), epochs=(2, 10)
    )


# ---------------------------------------------------------------------------------------------------- the model
def test_a_folder_as_training_leaves_it_gives_the_model_of_its_last_epoch(fcooper: Path) -> None:
    assert "python/object" in (fcooper / "config.yaml").read_text()  # a safe loader alone refuses this file
    loaded = folder.load_folder(fcooper, root=ROOT)
    assert loaded.checkpoint.name == "net_epoch10.pth"
    assert not loaded.model.training
    assert type(loaded.model).__name__ == "PointPillarFCooper"
    np.testing.assert_array_equal(loaded.hypes["model"]["args"]["point_pillar_scatter"]["grid_size"], [256, 192, 1])
    saved = torch.load(fcooper / "net_epoch10.pth", weights_only=True)
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, saved[name]), name


def test_derived_values_are_those_of_opencoods_own_loader(fcooper: Path) -> None:
    theirs = bridges.import_module("opencood.hypes_yaml.yaml_utils", ROOT).load_yaml(str(fcooper / "config.yaml"))
    ours = load_hypes(fcooper / "config.yaml", ROOT)
    np.testing.assert_equal(ours, theirs)  # dictionaries with arrays, compared throughout


def test_legacy_is_told_from_current(fcooper: Path) -> None:
    eval_utils = bridges.import_module("opencood.utils.eval_utils", ROOT)
    has_global_sort = eval_utils.calculate_ap.__code__.co_argcount == 3
    assert folder.load_folder(fcooper, root=ROOT).legacy is not has_global_sort


def test_a_named_checkpoint_and_a_data_parallel_one(fcooper: Path, tmp_path: Path) -> None:
    named = folder.load_folder(fcooper, root=ROOT, checkpoint="net_epoch2.pth")
    assert named.checkpoint == fcooper / "net_epoch2.pth"
    parallel = write_folder(tmp_path, configs.point_pillar("point_pillar_fcooper"), epochs=(2,), prefix="module.")
    for a, b in zip(
        named.model.state_dict().values(),
        folder.load_folder(parallel, root=ROOT).model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_model_is_refused_and_the_difference_named(fcooper: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path, configs.point_pillar("point_pillar_intermediate"))
    with pytest.raises(
        InputError, match=r"to fit PointPillarFCooper, got \d+ missing \(.*, \.\.\.\); 2 of another shape"
    ):
        folder.load_folder(fcooper, root=ROOT, checkpoint=other / "net_epoch3.pth")
    state = torch.load(fcooper / "net_epoch2.pth", weights_only=True)
    state["strange"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pth")
    with pytest.raises(InputError, match=r"1 unexpected \(strange\)"):
        folder.load_folder(fcooper, root=ROOT, checkpoint=tmp_path / "more.pth")


def test_a_class_that_this_opencood_lacks(tmp_path: Path) -> None:
    hypes = configs.point_pillar("point_pillar_nonesuch")
    with pytest.raises(InputError, match=r"has no opencood\.models\.point_pillar_nonesuch; a newer checkout may"):
        folder.build_model(hypes, root=ROOT)
    hypes["model"]["core_method"] = "sub_modules"  # a module, but no model of that name in it
    with pytest.raises(InputError, match="expected a class named like sub_modules"):
        folder.build_model(hypes, root=ROOT)
    hypes["model"]["core_method"] = "point_pillar_fcooper"
    with pytest.raises(InputError, match=r"expected model.args that point_pillar_fcooper takes, got KeyError"):
        folder.build_model({"model": {"core_method": "point_pillar_fcooper", "args": {}}}, root=ROOT)


@pytest.mark.parametrize(
    "method", ["voxel_net", "voxel_net_intermediate", "fpvrcnn", "point_pillar_intermediate_V2VAM"]
)
def test_cuda_only_models_say_so(method: str, tmp_path: Path) -> None:
    hypes = configs.point_pillar(method)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(hypes))
    with pytest.raises(InputError, match=f"expected a CUDA device for {method}, got cpu"):
        folder.load_folder(tmp_path, root=ROOT)


@pytest.mark.skipif(ROOT is None, reason="opencoodx has neither model: ROBOSAC_OPENCOOD=checkout")
@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("point_pillar_intermediate_V2VAM", "never published .*noise.py"),
        ("fpvrcnn", "build OpenCOOD's CUDA extensions"),
    ],
)
def test_what_upstream_lacks_is_named(method: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        folder.build_model(configs.point_pillar(method), root=ROOT)


@pytest.mark.skipif(ROOT is None, reason="opencoodx has no CoAlign: ROBOSAC_OPENCOOD=checkout")
def test_coalign_with_compression_zero_builds_without_compression() -> None:
    hypes = configs.coalign()
    hypes["model"]["args"]["point_pillar_scatter"]["grid_size"] = np.array([256, 192, 1])
    assert hypes["model"]["args"]["compression"] == 0
    model: Any = folder.build_model(hypes, root=ROOT)
    assert model.compression is False
    assert hypes["model"]["args"]["compression"] == 0  # the caller's is left alone


def test_second_builds_where_spconv_is(tmp_path: Path) -> None:
    pytest.importorskip("spconv", reason="SECOND needs it: pip install spconv==2.3.8")
    loaded = folder.load_folder(write_folder(tmp_path, configs.second()), root=ROOT)
    assert type(loaded.model).__name__ == "SecondIntermediate"


def test_another_copy_is_refused_once_one_is_imported(fcooper: Path, tmp_path: Path) -> None:
    (tmp_path / "opencood").mkdir()
    (tmp_path / "opencood" / "__init__.py").touch()
    bridges.import_module("opencood", ROOT)
    with pytest.raises(InputError, match="one process holds one copy"):
        folder.load_folder(fcooper, root=tmp_path)


# ---------------------------------------------------------------------------------------------------- the data
@pytest.mark.parametrize("train", [False, True])
def test_opencoods_dataset_reads_a_simulated_frame(
    frame: tuple[Frame, Truth], split: Path, fcooper: Path, train: bool
) -> None:
    seen, truth = frame
    hypes = folder.load_folder(fcooper, root=ROOT).hypes
    dataset = folder.build_dataset(hypes, split, root=ROOT, train=train)
    assert len(dataset) == 1
    np.random.seed(0)  # noqa: NPY002 (OpenCOOD shuffles points with the global generator)
    ego = dataset[0]["ego"]
    assert ego["cav_num"] == 1 + len(seen.others)

    # truth: every object that some agent's points fell on, as [x y z h w l yaw] in the ego's frame
    found = ego["object_bbx_center"][ego["object_bbx_mask"] == 1]
    rows = {int(i): b for i, b in zip(ego["object_ids"], found, strict=True)}
    hit = np.sum(list(truth.hits.values()), axis=0) > 0
    top = truth.boxes[:, 2] + truth.boxes[:, 5] / 2
    inside = (np.abs(truth.boxes[:, :2]) < [44, 32]).all(axis=1) & (top < 0.8)  # of either filter, train's or test's
    assert (hit & inside).sum() >= 5
    for box, track in zip(truth.boxes[hit & inside], truth.track_ids[hit & inside], strict=True):
        x, y, z, length, width, height, yaw = box
        assert rows[int(track)][:6] == pytest.approx([x, y, z, height, width, length], abs=0.05)  # tilts are lost
        turn = rows[int(track)][6] - yaw
        assert np.hypot(np.sin(turn), np.cos(turn) - 1) < 0.02

    # voxels: those of our points brought into the ego's frame
    to_ego = invert_pose(seen.ego.world_T_sensor)
    voxels = ego["processed_lidar"]
    folders = agent_folders(seen, negative_roadside=not legacy())
    in_order = sorted(folders.items(), key=lambda item: (item[1].startswith("-"), item[1]))
    for k, (name, _) in enumerate(in_order):
        view = seen.ego if name == seen.ego.id else seen.others[name]
        body = (view.points[:, 0] >= -1.95) & (view.points[:, 0] <= 2.95) & (np.abs(view.points[:, 1]) <= 1.1)
        points = transform_points(to_ego @ view.world_T_sensor, view.points[~body])
        _, coords, _ = voxelise(points, [0.4, 0.4, 4.0], configs.RANGE, 32, 20000)
        ours, theirs = {tuple(c) for c in coords}, {tuple(c) for c in voxels["voxel_coords"][k]}
        assert len(ours ^ theirs) <= 0.005 * len(ours)  # float32 rounding moves a point over a border
        assert len(ours) > 500


def test_the_dataset_collates_into_a_batch_the_model_takes(split: Path, fcooper: Path) -> None:
    loaded = folder.load_folder(fcooper, root=ROOT)
    dataset = folder.build_dataset(loaded.hypes, split, root=ROOT)
    [batch] = torch.utils.data.DataLoader(dataset, batch_size=1, collate_fn=dataset.collate_batch_test)
    with torch.no_grad(), bridges.bridged(ROOT):
        output = loaded.model(batch["ego"])
    assert output["psm"].shape == (1, 2, 96, 128)


def test_pixor_s_loader_finds_np_int_outside_of_the_bridges(split: Path, tmp_path: Path) -> None:
    loaded = folder.load_folder(write_folder(tmp_path, configs.pixor()), root=ROOT)
    dataset = folder.build_dataset(loaded.hypes, split, root=ROOT)
    assert not hasattr(np, "int")
    assert dataset[0]["ego"]["processed_lidar"]["bev_input"][0].ndim == 3
    assert not hasattr(np, "int")


def test_data_that_is_not_there(fcooper: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected data as OPV2V lays it out"):
        folder.build_dataset(load_hypes(fcooper / "config.yaml", ROOT), tmp_path, root=ROOT)


def test_the_test_s_writer_and_our_reader_agree(tmp_path: Path, frame: tuple[Frame, Truth]) -> None:
    points = frame[0].ego.points[:50]
    for binary in (True, False):
        for kind in "UF":
            write_pcd(tmp_path / "a.pcd", points, binary=binary, kind=kind)
            xyz, colours = read_pcd(tmp_path / "a.pcd")
            np.testing.assert_array_equal(xyz, points[:, :3].astype(np.float64))
            assert colours is not None
            np.testing.assert_allclose(colours[:, 0], points[:, 3], atol=0.5 / 255 + 1e-6)


# ------------------------------------------------------------------------------------------------- the bridges
def test_nothing_is_left_outside_of_the_bridges(split: Path, fcooper: Path) -> None:
    import matplotlib.cm

    names = ("Inf", "int", "float")
    before = list(sys.path), list(sys.meta_path), [hasattr(np, n) for n in names], hasattr(matplotlib.cm, "get_cmap")
    folder.build_dataset(load_hypes(fcooper / "config.yaml", ROOT), split, root=ROOT)[0]
    after = list(sys.path), list(sys.meta_path), [hasattr(np, n) for n in names], hasattr(matplotlib.cm, "get_cmap")
    assert before == after
    for name in STANDINS:
        assert "Stand-in of robosac" not in (getattr(sys.modules.get(name), "__doc__", None) or ""), name


# ------------------------------------------------------------------------------------------------------ voxels
def spconv_voxels(points: np.ndarray, size: list[float], bounds: list[float], per: int, most: int) -> tuple[Any, ...]:
    tensorview = pytest.importorskip("cumm.tensorview", reason="no spconv: pip install spconv==2.3.8")
    from spconv.utils import Point2VoxelCPU3d

    maker = Point2VoxelCPU3d(
        vsize_xyz=size,
        coors_range_xyz=bounds,
        num_point_features=points.shape[1],
        max_num_voxels=most,
        max_num_points_per_voxel=per,
    )
    return tuple(t.numpy().copy() for t in maker.point_to_voxel(tensorview.from_numpy(points)))


GRIDS = {
    "pillars": ([0.4, 0.4, 4.0], [-140.8, -40.0, -3.0, 140.8, 40.0, 1.0]),
    "newer": ([0.4, 0.4, 4.0], [-140.8, -38.4, -3.0, 140.8, 38.4, 1.0]),
    "second": ([0.1, 0.1, 0.1], [-140.8, -40.0, -3.0, 140.8, 40.0, 1.0]),
    "uneven": ([0.3, 0.7, 0.9], [-10.0, -8.0, -3.0, 10.1, 8.3, 1.0]),
}
CAPS = {"free": (32, 70000), "points": (3, 70000), "voxels": (32, 150), "both": (1, 7)}


@pytest.mark.parametrize("caps", CAPS)
@pytest.mark.parametrize("grid", GRIDS)
def test_voxels_are_bit_for_bit_those_of_spconv(grid: str, caps: str) -> None:
    size, bounds = GRIDS[grid]
    rng = np.random.default_rng(7)
    low, high = np.array(bounds[:3]), np.array(bounds[3:])
    spread = np.concatenate([rng.uniform(low - 1, high + 1, (3000, 3)), rng.normal(0, 2, (3000, 3))])
    # on the borders of cells and of the grid, a rounding below and above
    cells = rng.integers(0, np.round((high - low) / size).astype(int) + 1, (3000, 3))
    borders = (low + cells * np.array(size)).astype(np.float32)
    around = np.concatenate([borders, np.nextafter(borders, -np.inf), np.nextafter(borders, np.inf)])
    odd = np.full((8, 3), 0.0) + np.array([np.nan, np.inf, -np.inf, 1e10, -1e10, 3e38, -0.0, 1e-40])[:, None]
    xyz = np.concatenate([spread, around, odd])
    points = np.column_stack([xyz, rng.uniform(0, 1, len(xyz))]).astype(np.float32)[rng.permutation(len(xyz))]
    for given in (points, points[:1], points[:0]):
        ours = voxelise(given, size, bounds, *CAPS[caps])
        for mine, its in zip(ours, spconv_voxels(given, size, bounds, *CAPS[caps]), strict=True):
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)


def test_without_spconv_the_dataset_is_the_same(split: Path, fcooper: Path) -> None:
    pytest.importorskip("spconv", reason="no spconv to compare with: pip install spconv==2.3.8")
    program = f"""
import hashlib, sys
from pathlib import Path
import numpy as np
from robosac.detectors.adapters.opencood import bridges, folder
from robosac.detectors.adapters.opencood.hypes import load_hypes
if sys.argv[1] == "without":
    bridges._BRIDGES._finder.broken |= {{"spconv", "spconv.utils", "cumm", "cumm.tensorview"}}
hypes = load_hypes(Path({str(fcooper / "config.yaml")!r}), {ROOT!r})
dataset = folder.build_dataset(hypes, {str(split)!r}, root={ROOT!r})
np.random.seed(5)
cells = dataset[0]["ego"]["processed_lidar"]
assert any(m.split(".")[0] == "spconv" for m in sys.modules) == (sys.argv[1] == "with")
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for k in sorted(cells) for a in cells[k])).hexdigest())
"""
    digests = [
        subprocess.run([sys.executable, "-c", program, which], capture_output=True, text=True, check=True).stdout
        for which in ("with", "without")
    ]
    assert digests[0] == digests[1] and len(digests[0].split()[-1]) == 64
