"""coperception's own models behind the adapter, random weights: the cache against their own forward, bit by bit."""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.coperception import VARIANTS, Variant, exactness, plain_forward
from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.calibration import Calibration
from robosac.cli import main
from robosac.cli.simulate import Simulate, write
from robosac.detectors.adapters.coperception import CoperceptionDetector, Layout, their_corners, their_predictions
from robosac.detectors.adapters.coperception.decode import decode
from robosac.evaluation.differing import difference
from robosac.fingerprint import fingerprint
from robosac.simulation import SimConfig, scenario
from robosac.types import EGO_ALONE, InputError, Request, View
from tests.adapters import coperception_case as case
from tests.adapters.attacked import asked_as_a_default_does, defended_frame
from tests.adapters.coperception_case import AGENTS, batch, model, part

pytestmark = [case.needed, case.quiet]
MEAN = Variant("mean")
# The rest of the variants, and every ego, are compared by `python -m benchmarks.coperception`.
CHECKED = [v for v in VARIANTS if v.layer == 3 and v.inference == "activated"]
WHEN2COM = next(v for v in VARIANTS if v.word == "when2com")


def detector(variant: Variant = MEAN, **settings: Any) -> CoperceptionDetector:
    return CoperceptionDetector(model(variant), inference=variant.inference, **settings)


def opened(wrapped: CoperceptionDetector, ego: int, data: Any, without: int | None = None) -> Any:
    """A session of slot `ego`, and what its frame and request are."""
    frame = wrapped.frame(data.bev, data.trans_matrices, data.num_agent, ego=ego)
    to = Request.of(frame.ego)
    views = [v for v in frame.others.values() if v.id != f"agent{without}"]
    return wrapped.open(frame.ego, to, [wrapped.encode(v, to) for v in views]), frame, to


# ------------------------------------------------------------------------------------------------------- exactness
@pytest.mark.parametrize("variant", CHECKED, ids=lambda v: v.title.replace(" ", "-"))
def test_the_cache_equals_the_models_own_forward(variant: Variant) -> None:
    """The ego alone, each teammate, all; a tampered message; the model called by hand on the user's tensors."""
    found = exactness(model(variant), variant, batch(), thorough=False)
    assert found.worst == 0 and found.subsets.effect > 0.01


@pytest.mark.parametrize(("word", "ego"), [("mean", 0), ("mean", 2), ("v2v", 2), ("when2com", 0), ("when2com", 2)])
def test_any_slot_may_be_the_ego(word: str, ego: int) -> None:
    variant = next(v for v in VARIANTS if v.word == word)
    wrapped, data = detector(variant), batch()
    session, frame, to = opened(wrapped, ego, data)
    subset = frozenset(sorted(frame.others)[:1])
    full = wrapped.full(frame.ego, [frame.others[i] for i in subset], to)
    assert difference(session.outputs(subset), full) == 0


@pytest.mark.parametrize("word", ["mean", "when2com"])
def test_empty_slots_are_what_they_are_in_the_models_own_forward(word: str) -> None:
    """Two of three agents are there: the session of two equals the model called by hand with an empty third slot."""
    variant = next(v for v in VARIANTS if v.word == word)
    data = batch(AGENTS, 2)
    session, frame, _ = opened(detector(variant), 1, data)
    options = {"training": False, "inference": variant.inference} if word == "when2com" else {}
    by_hand = plain_forward(model(variant), data, **options)
    assert difference(session.outputs(frozenset(frame.others)), {k: v[1].numpy() for k, v in by_hand.items()}) == 0


def test_gradients_reach_what_is_sent() -> None:
    for variant, names in ((MEAN, ["features"]), (WHEN2COM, ["features", "key"])):
        wrapped = detector(variant)
        session, frame, to = opened(wrapped, 1, batch())
        payload = wrapped.encode(frame.others["agent0"], to).payload
        leaves = {k: torch.from_numpy(v.copy()).requires_grad_() for k, v in payload.items()}
        assert sorted(leaves) == names
        logits = session.logits({"agent0": leaves}, [frozenset({"agent0"})])
        slopes = torch.autograd.grad(logits.sum(), list(leaves.values()))
        assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in slopes)


# -------------------------------------------------------------------------------------- what each agent contributes
@pytest.mark.parametrize("xy", [(12.0, 4.0), (-8.0, 10.0), (6.0, -14.0)])
def test_contributions_have_rows_along_y_and_columns_along_x_of_the_ego(xy: tuple[float, float]) -> None:
    """What a teammate sees at a place of the ego's frame shows in the cells about it, after the model's own warp."""
    wrapped = detector()
    ego = View("ego", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))
    pose = pose_xyz_rpy(3.0, -2.0, 0.0, yaw_rad=0.7)
    spots = np.array([[*xy, -1.0, 1.0]], np.float32) + np.array([[0.3 * k, 0.3 * k, 0, 0] for k in range(-4, 5)])
    there = transform_points(invert_pose(pose), spots.astype(np.float32))
    to = Request.of(ego)
    shown, empty = (
        wrapped.open(ego, to, [wrapped.encode(View("a", "vehicle", 0, points, pose), to)]).contribution("a")
        for points in (there, np.zeros((0, 4), np.float32))
    )
    change = np.abs(shown.features["features"] - empty.features["features"]).sum(axis=0)
    row, col = np.unravel_index((change * shown.valid).argmax(), change.shape)
    assert np.abs(np.subtract([(col + 0.5) * 2 - 32, (row + 0.5) * 2 - 32], xy)).max() < 4.0


def test_when2com_brings_no_map_to_the_egos_frame() -> None:
    session, _, _ = opened(detector(WHEN2COM), 1, batch())
    assert session.contribution(None).features["features"].shape == (256, 32, 32)
    with pytest.raises(InputError, match="got When2com: without warp_flag it weighs maps that are in their senders'"):
        session.contribution("agent0")


def test_fingerprints_tell_models_apart() -> None:
    names = [fingerprint(detector(v, name="mine")) for v in CHECKED]
    assert len(set(names)) == len(names) and names == [fingerprint(detector(v, name="mine")) for v in CHECKED]


# ----------------------------------------------------------------------------------------------- against its own code
def test_boxes_are_those_of_its_own_decoding_and_suppression(capsys: Any) -> None:
    session, frame, _ = opened(detector(), 1, batch())
    outputs = session.outputs(frozenset(frame.others))
    config = part("configs").Config("train", binary=True, only_det=True)
    anchors = part("utils.obj_util").init_anchors_no_check(
        config.area_extents, config.voxel_size, config.box_code_size, config.anchor_size
    )
    loc, cls = (torch.from_numpy(outputs[k])[None] for k in ("loc", "cls"))
    theirs, _ = part("utils.detection_util").apply_nms_det(
        loc, cls, torch.from_numpy(anchors).float()[None], "faf", config
    )
    (ours,) = their_predictions(session.detect([frozenset(frame.others)])[0])
    assert len(ours["pred"]) == len(theirs[0][0]["pred"]) > 20
    np.testing.assert_allclose(ours["score"], theirs[0][0]["score"], atol=1e-6)
    np.testing.assert_allclose(ours["pred"], theirs[0][0]["pred"], atol=1e-3)


def test_labels_that_its_own_code_made_are_read_as_they_were_meant() -> None:
    """A car of the real world, mirrored as its data preparation mirrors labels, coded by its targets, read by ours."""
    x, y, length, width, yaw = 10.3, -4.7, 4.6, 1.9, 0.7
    box = np.array([-x, y, width, length])  # its prepared labels are at -x ...
    label_yaw = -yaw  # ... and were turned half about the x axis
    layout = Layout()
    row, col = int((y + 32) / 0.25), int((-x + 32) / 0.25)
    centre = np.array([col * 0.25 - 32 + 0.125, row * 0.25 - 32 + 0.125])
    angle = np.pi / 2 - label_yaw
    code = [*(centre - box[:2]) / box[2:], *np.log([2.0, 4.0] / box[2:]), np.sin(angle), np.cos(angle)]
    decoded = part("utils.obj_util").bev_box_decode_np(code, [*centre, 2.0, 4.0, 0.0, 1.0])
    np.testing.assert_allclose(decoded[:4], box, atol=1e-9)
    loc, cls = torch.zeros(256, 256, 6, 1, 6), torch.zeros(256 * 256 * 6, 2)
    cls[:, 0] = 20
    loc[row, col, 0, 0] = torch.tensor(code)
    cls[(row * 256 + col) * 6] = torch.tensor([0.0, 4.0])
    found = decode(loc, cls, layout, detector().decode, floor_m=-3.0)
    np.testing.assert_allclose(found.boxes[0, [0, 1, 3, 4, 6]], [x, y, length, width, yaw], atol=1e-4)
    corners = part("utils.obj_util").center_to_corner_box2d(decoded[None, :2], decoded[None, 2:4], decoded[None, 4:])
    np.testing.assert_allclose(their_corners(found.boxes), corners, atol=1e-3)


@pytest.mark.parametrize(("kind", "low"), [("vehicle", -3.0), ("roadside", -8.0)])
def test_rasters_are_those_of_its_own_data_preparation(kind: str, low: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-40, -40, low - 1], [40, 40, low + 6], (20000, 3)).astype(np.float32)
    points = points[(np.abs(points[:, :2]) >= 1).any(axis=1)]
    config = part("configs").Config("train", binary=True, only_det=True, is_cross_road=kind == "roadside")
    voxelise = part("utils.data_util").voxelize_occupy
    theirs = voxelise(points, voxel_size=config.voxel_size, extents=config.area_extents)
    np.testing.assert_array_equal(Layout().voxelise(points, kind), np.rot90(theirs, 3))


def test_the_layout_is_that_of_its_config() -> None:
    assert Layout.of(part("configs").Config("train", binary=True, only_det=True)) == Layout()


# ------------------------------------------------------------------------------------------------------ checkpoints
def saved(folder: Path, trained: nn.Module) -> Path:
    """A checkpoint as coperception's training writes it."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.001)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[50, 100], gamma=0.5)
    file = folder / "epoch_49.pth"
    written = {
        "epoch": 49,
        "model_state_dict": {f"module.{k}": v for k, v in trained.state_dict().items()},
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": scheduler.state_dict(),
        "loss": 0.5,
    }
    torch.save(written, file)
    return file


@pytest.mark.parametrize("variant", [MEAN, Variant("mean", compress_level=2)], ids=lambda v: v.title)
def test_a_checkpoint_gives_the_model_that_was_saved(variant: Variant, tmp_path: Path) -> None:
    file = saved(tmp_path, model(variant))
    wrapped = CoperceptionDetector.from_checkpoint(file, model="mean", root=case.ROOT, agents=AGENTS)
    assert wrapped.reporting_threshold == 0.7  # coperception's own
    assert wrapped.name == "coperception-mean-epoch_49" and wrapped.codec.max_messages == AGENTS - 1
    assert wrapped.calibration_file == tmp_path / "coperception-mean-epoch_49.calibration.json"
    assert wrapped.codec.arrays["features"][0] == (64 if variant.compress_level else 256, 32, 32)
    there, _, _ = opened(wrapped, 1, batch())
    here, _, _ = opened(detector(variant), 1, batch())
    assert difference(there.outputs(EGO_ALONE), here.outputs(EGO_ALONE)) == 0
    assert not any(p.requires_grad for p in wrapped.model.module.parameters())


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, model(MEAN))
    load = CoperceptionDetector.from_checkpoint
    with pytest.raises(InputError, match=r"of DiscoNet \(disco\), got one of MeanFusion, MaxFusion or SumFusion"):
        load(file, model="disco", root=case.ROOT)
    with pytest.raises(InputError, match=r"options of mean among .*, got .'warp_flag'.; build the model yourself"):
        load(file, model="mean", root=case.ROOT, warp_flag=1)
    state = torch.load(file, weights_only=True)
    del state["model_state_dict"]["module.u_encoder.conv1_1.bias"]
    state["model_state_dict"]["module.more"] = torch.zeros(1)
    torch.save(state, file)
    with pytest.raises(InputError, match=r"1 missing \(u_encoder.conv1_1.bias\); 1 unexpected \(more\)"):
        load(file, model="mean", root=case.ROOT)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="CUDA device"):
            load(file, model="mean", root=case.ROOT, device="cuda")


# ------------------------------------------------------------------------------------------------------- the default
@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[CoperceptionDetector, Calibration]:
    """A checkpoint with the thresholds that `robosac calibrate` leaves beside it; heads that do not fire everywhere."""
    place, trained = tmp_path_factory.mktemp("defended"), copy.deepcopy(model(MEAN))
    with torch.no_grad():
        trained.classification.conv2.bias[1::2] -= 6.0
    file = saved(place, trained)
    write(
        Simulate(
            out=place,
            scenes=4,
            split="calibration",
            frames=1,
            vehicles=3,
            roadside=False,
            beams=16,
            columns=256,
            jobs=1,
        )
    )
    root = [] if case.ROOT is None else ["--root", case.ROOT]
    frames = ["--data", str(place / "calibration"), "--frames", "4", "--alpha", "0.2", "--jobs", "1"]
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "--detector", f"coperception:mean:{file}", *frames, *root])
    assert stop.value.code == 0
    detector = CoperceptionDetector.from_checkpoint(file, model="mean", root=case.ROOT)
    assert detector.calibration_file is not None
    return detector, Calibration.load(detector.calibration_file)


@pytest.mark.parametrize("attack", ["noise:epsilon=40", "gps_offset:offset_m=8"])
def test_the_default_answers_an_attacker_in_three_lines(
    calibrated: tuple[CoperceptionDetector, Calibration], attack: str
) -> None:
    detector, thresholds = calibrated
    taken = scenario("val", 0, config=SimConfig(n_vehicles=3, n_frames=1, beams=16, columns=256)).snapshot(0).frame()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*calibrat.*")
        verdict, attackers = defended_frame(detector, taken, attack)
    asked_as_a_default_does(verdict, attackers, thresholds)
    assert attack.startswith("gps") or not verdict.used & attackers  # random weights see no cars to tell a pose by


# ------------------------------------------------------------------------------------------------------- wrong uses
def test_models_of_its_own_that_cannot_be_wrapped_say_why() -> None:
    det, config = part("models.det"), part("configs").Config("train", binary=True, only_det=True)
    with pytest.raises(InputError, match="got FaFNet, which sees one scan and fuses nothing"):
        CoperceptionDetector(det.FaFNet(config, num_agent=3).eval())
    with pytest.raises(InputError, match="only_v2i=False"):
        CoperceptionDetector(det.MeanFusion(config, num_agent=3, only_v2i=True).eval())
    with pytest.raises(InputError, match="only runs on CUDA"):
        CoperceptionDetector(det.When2com(config, num_agent=3, has_query=False).eval())
    with pytest.raises(InputError, match=r"call model.eval\(\)"):
        CoperceptionDetector(det.MeanFusion(config, num_agent=3))


def test_nothing_of_a_bridge_is_left() -> None:
    part("models.det")
    stand_ins = [name for name, module in sys.modules.items() if type(module).__name__ == "_StandIn"]
    assert stand_ins == []
