"""The user's own batches, datasets and post-processing, of an installed OpenCOOD or ROBOSAC_OPENCOOD=checkout."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import robosac
from benchmarks.adapters import FEW_RAYS, difference
from benchmarks.opencood_models import FULL, MODELS, config, derived, random_model, settle, tame
from robosac.boxes import corners_bev
from robosac.capabilities import Outputs
from robosac.defenses import RobosacAgreement
from robosac.detectors.adapters.opencood import OpenCOODDetector, RawDetections, bridges
from robosac.detectors.adapters.opencood.decode import decoder_of
from robosac.detectors.adapters.opencood.folder import build_dataset
from robosac.detectors.adapters.opencood.known import spec_of
from robosac.detectors.adapters.opencood.session import as_arrays
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.adapters.opencood.views import BatchView
from robosac.detectors.adapters.replay import Tap
from robosac.gate import Gate
from robosac.simulation import scenario
from robosac.types import Detections, InputError, Request
from tests.adapters.opv2v import write_split
from tests.toy import received

ROOT = Path(os.environ["ROBOSAC_OPENCOOD"]) if os.environ.get("ROBOSAC_OPENCOOD") else None
pytestmark = [
    pytest.mark.skipif(
        ROOT is None and importlib.util.find_spec("opencood") is None,
        reason="no OpenCOOD: pip install --no-deps opencoodx, or ROBOSAC_OPENCOOD=checkout",
    ),
    pytest.mark.filterwarnings("ignore"),
]
IN_BATCH = ["F-Cooper", "V2VNet", "PIXOR"] + (["V2X-ViT", "CoAlign"] if ROOT else [])
OWN_FRAMES = ["V2VNet", "CoAlign"] if ROOT else []  # the legacy dataset fails where points are not projected


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = scenario("val", 0, config=dataclasses.replace(FEW_RAYS, n_vehicles=4))
    return write_split(tmp_path_factory.mktemp("opv2v") / "test", [scene.snapshot(0).frame()])


def prepared(name: str, data: Path, *, moved: bool = True) -> tuple[OpenCOODDetector, Any]:
    """A tamed detector with its dataset, and the dataset's one batch."""
    hypes = derived(config(name, proj_first=moved), ROOT)
    dataset = build_dataset(hypes, data, root=ROOT)
    np.random.seed(0)  # noqa: NPY002 - upstream shuffles points with the global generator
    batch = dataset.collate_batch_test([dataset[0]])
    model = random_model(hypes, ROOT)
    detector = OpenCOODDetector(model, hypes, dataset=dataset)
    settle(model, lambda: model(batch["ego"]))
    with torch.no_grad():
        raw = as_arrays(model(batch["ego"]))
    classes, boxes = detector.spec.heads
    tame(model, raw[classes], raw[boxes], hypes["postprocess"]["target_args"]["score_threshold"])
    return detector, batch


# ---------------------------------------------------------------------------------------------------- batches
@pytest.mark.parametrize(("name", "moved"), [*((n, True) for n in IN_BATCH), *((n, False) for n in OWN_FRAMES)])
def test_a_batch_is_a_frame_whose_subsets_are_the_models_own(name: str, moved: bool, data: Path) -> None:
    detector, batch = prepared(name, data, moved=moved)
    with torch.no_grad():
        theirs = as_arrays(detector.engine.model(batch["ego"]))
    frame = detector.frame(batch)
    count = int(batch["ego"]["record_len"][0])
    assert len(frame.others) == count - 1 >= 3
    to = Request.of(frame.ego)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    session = detector.open(frame.ego, to, messages)
    assert difference(theirs, session.outputs(frozenset(frame.others))) == 0.0
    for subset in ([], ["agent02"], ["agent01", "agent03"]):
        full = detector.full(frame.ego, [frame.others[i] for i in subset], to)
        assert difference(full, session.outputs(frozenset(subset))) == 0.0
    assert Gate().admit(to, detector.codec, received(messages, to)).rejected == {}


@pytest.mark.parametrize("name", ["F-Cooper", "PIXOR"])
def test_the_one_line_change_of_an_inference_loop(name: str, data: Path) -> None:
    """`verdict = defended(detector.frame(batch))`, then their own tensors: with everybody accepted, theirs exactly."""
    detector, batch = prepared(name, data)
    with torch.no_grad():
        outputs = detector.engine.model(batch["ego"])
    with bridges.bridged(ROOT):
        theirs = detector.dataset.post_process(batch, {"ego": outputs})
    verdict = robosac.wrap(detector, RobosacAgreement(threshold=0.0))(detector.frame(batch))
    assert verdict.used == set(detector.frame(batch).others) and isinstance(verdict.result, RawDetections)
    boxes, scores, truth = detector.own(batch, verdict.result)
    assert theirs[0] is not None and boxes is not None and scores is not None and len(theirs[0]) > 3
    torch.testing.assert_close(boxes, theirs[0], rtol=0, atol=0)
    torch.testing.assert_close(scores, theirs[1], rtol=0, atol=0)
    torch.testing.assert_close(truth, theirs[2], rtol=0, atol=0)
    ours = corners_bev(verdict.result.boxes)
    assert_same_corners(ours, boxes.numpy()[:, :4, :2])
    composed = Detections(verdict.result.boxes, verdict.result.scores)  # as a defence that ranks or pools makes them
    corners, again, same = detector.own(batch, composed)
    assert corners is not None and again is not None and len(corners) == len(boxes)
    nearest = torch.cdist(corners.flatten(1), boxes.flatten(1)).argmin(dim=1)
    assert nearest.unique().numel() == len(boxes)
    torch.testing.assert_close(corners, boxes[nearest], rtol=0, atol=1e-3)
    torch.testing.assert_close(again, scores[nearest], rtol=0, atol=1e-6)
    torch.testing.assert_close(same, truth, rtol=0, atol=0)
    assert detector.own(batch, Detections.empty())[:2] == (None, None)
    with pytest.raises(InputError, match="expected detections, got str"):
        detector.own(batch, "boxes")


def test_the_default_answers_in_their_own_form_too(data: Path) -> None:
    """Ranked, pooled or the ego alone: the boxes of the verdict, whatever it makes of a model of random weights."""
    detector, batch = prepared("F-Cooper", data)
    defended = robosac.wrap(detector)
    boxes, scores, truth = defended.own(batch)
    assert defended.last is not None
    found = defended.last.result
    torch.testing.assert_close(truth, detector.dataset.post_processor.generate_gt_bbx(batch), rtol=0, atol=0)
    assert len(found) == (0 if boxes is None else len(boxes)) and (boxes is None) == (scores is None)
    assert boxes is None or boxes.shape[1:] == (8, 3)


def test_the_points_of_a_view_are_those_of_its_voxels(data: Path) -> None:
    detector, batch = prepared("F-Cooper", data)
    frame = detector.frame(batch, scenario="s", index=4)
    lidar = batch["ego"]["processed_lidar"]
    assert (frame.scenario, frame.index) == ("s", 4)
    views = [frame.ego, *frame.others.values()]
    counts = [len(v.points) for v in views]
    assert sum(counts) == int(lidar["voxel_num_points"].sum())
    first = lidar["voxel_coords"][:, 0] == 0
    features, numbers = lidar["voxel_features"][first].numpy(), lidar["voxel_num_points"][first].numpy()
    expected = np.concatenate([f[:n] for f, n in zip(features, numbers, strict=True)])
    np.testing.assert_array_equal(frame.ego.points, expected)
    assert all(isinstance(v, BatchView) and np.array_equal(v.world_T_sensor, np.eye(4)) for v in views)


@pytest.mark.parametrize("name", ["F-Cooper", "PIXOR"])
def test_a_view_with_other_points_is_encoded_from_them(name: str, data: Path) -> None:
    """An attack on points edits the view; its slice of the batch must not speak for it any longer."""
    detector, batch = prepared(name, data)
    frame = detector.frame(batch)
    to = Request.of(frame.ego)
    view = frame.others["agent01"]
    honest = detector.encode(view, to)
    same = detector.encode(dataclasses.replace(view, points=view.points.copy()), to)
    moved = detector.encode(dataclasses.replace(view, points=view.points + np.float32([4, 2, 0, 0])), to)
    turned = view.world_T_sensor.copy()
    turned[:2, 3] += (4.0, 2.0)
    shifted = detector.encode(dataclasses.replace(view, world_T_sensor=turned), to)
    tap = detector.spec.sent[0]
    largest = float(np.abs(honest.payload[tap]).max())
    for message in (moved, shifted):
        assert np.abs(message.payload[tap] - honest.payload[tap]).max() > 0.1 * largest
    assert np.abs(same.payload[tap] - honest.payload[tap]).max() < 1e-4 * largest  # voxels sum their points in order


def test_batches_that_cannot_be_used_are_named(data: Path) -> None:
    detector, batch = prepared("F-Cooper", data)
    ego = batch["ego"]
    two = {"ego": {**ego, "record_len": torch.tensor([2, 2])}}
    with pytest.raises(InputError, match="expected a batch of one frame, got 2"):
        detector.frame(two)
    with pytest.raises(InputError, match=r"expected voxels of 1 agents \(record_len\), got some of agent \d"):
        detector.frame({"ego": {**ego, "record_len": torch.tensor([1])}})
    with pytest.raises(InputError, match="expected pairwise_t_matrix to have a row for each of 9 agents"):
        detector.frame({"ego": {**ego, "record_len": torch.tensor([9])}})
    with pytest.raises(InputError, match="expected processed_lidar to hold"):
        detector.frame({"ego": {**ego, "processed_lidar": {}}})


def test_an_agent_that_lost_all_its_voxels_keeps_its_row(data: Path) -> None:
    detector, batch = prepared("F-Cooper", data)
    lidar = batch["ego"]["processed_lidar"]
    last = int(batch["ego"]["record_len"][0]) - 1
    kept = lidar["voxel_coords"][:, 0] != last
    emptied = {"ego": {**batch["ego"], "processed_lidar": {k: v[kept] for k, v in lidar.items()}}}
    frame = detector.frame(emptied)
    assert len(frame.others) == last and len(frame.others[f"agent{last:02d}"].points) == 0
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    full = detector.full(frame.ego, list(frame.others.values()), to)
    assert difference(full, session.outputs(frozenset(frame.others))) == 0.0


# ----------------------------------------------------------------------------------------------- their decoding
def assert_same_corners(ours: np.ndarray, theirs: np.ndarray) -> None:
    """`(N, 4, 2)` each, same order of boxes; a box's corners may start elsewhere."""
    assert ours.shape == theirs.shape
    apart = np.linalg.norm(ours[:, :, None] - theirs[:, None], axis=-1).min(axis=2).max(initial=0.0)
    assert apart < 1e-3


def random_outputs(shape: tuple[int, int], spec: Spec, rng: np.random.Generator) -> Outputs:
    """Outputs that meet every filter: too large, off the ground, out of range, overlapping, more than a thousand."""
    rows, cols = shape
    classes, boxes = spec.heads
    if spec.cells == "bev":
        return {
            classes: rng.normal(-2.5, 1.6, (1, 1, cols, rows)).astype(np.float32),
            boxes: rng.normal(0, 0.8, (1, 6, cols, rows)).astype(np.float32),
        }
    return {
        classes: rng.normal(-4.5, 1.6, (1, 2, rows, cols)).astype(np.float32),
        boxes: rng.normal(0, 0.25, (1, 14, rows, cols)).astype(np.float32),
    }


@pytest.mark.parametrize("name", ["F-Cooper", "PIXOR"])
@pytest.mark.parametrize("few", [False, True])
def test_boxes_are_those_of_their_own_post_processing(name: str, few: bool) -> None:
    hypes = derived(config(name, FULL if name == "F-Cooper" else (70.4, 40.0)), ROOT)
    spec = spec_of(random_model(hypes, ROOT))
    decoder = decoder_of(hypes, spec)
    rng = np.random.default_rng(int(few))
    outputs = random_outputs((decoder.grid.rows, decoder.grid.cols), spec, rng)
    if few:
        outputs = {k: v - 2 if k == spec.heads[0] else v for k, v in outputs.items()}
    post = bridges.import_module("opencood.data_utils.post_processor", ROOT)
    with bridges.bridged(ROOT):
        theirs = post.build_postprocessor(hypes["postprocess"], train=False)
        anchors = theirs.generate_anchor_box()
        content = {
            "transformation_matrix": torch.eye(4),
            "anchor_box": None if anchors is None else torch.from_numpy(anchors),
        }
        tensors = {k: torch.from_numpy(v) for k, v in outputs.items()}
        boxes, scores = theirs.post_process({"ego": content}, {"ego": tensors})
    found = decoder.decode(outputs)
    assert len(boxes) == len(found) > (5 if few else 100)
    np.testing.assert_allclose(found.scores, scores.numpy(), atol=1e-6)
    assert_same_corners(corners_bev(found.boxes), boxes.numpy()[:, :4, :2])
    if spec.cells != "bev":
        bottom, top = boxes.numpy()[:, 0, 2], boxes.numpy()[:, 4, 2]
        np.testing.assert_allclose(found.boxes[:, 2], (bottom + top) / 2, atol=1e-3)
        np.testing.assert_allclose(found.boxes[:, 5], top - bottom, atol=1e-3)


@pytest.mark.parametrize("name", ["F-Cooper", "PIXOR"])
def test_the_score_map_lies_where_its_boxes_do(name: str) -> None:
    """One cell fires, with a box that sits on it: the map's best cell holds the box's centre. Axes matter here."""
    hypes = derived(config(name), ROOT)
    spec = spec_of(random_model(hypes, ROOT))
    decoder, grid = decoder_of(hypes, spec), decoder_of(hypes, spec).grid
    classes, boxes = spec.heads
    row, col = 3, grid.cols - 6
    flat = spec.cells == "bev"
    shape = (grid.cols, grid.rows) if flat else (grid.rows, grid.cols)
    outputs = {
        classes: np.full((1, 1 if flat else 2, *shape), -9.0, np.float32),
        boxes: np.zeros((1, 6 if flat else 14, *shape), np.float32),
    }
    outputs[classes][(0, 0, col, row) if flat else (0, 1, row, col)] = 3.0
    found = decoder.decode(outputs)
    assert len(found) == 1 and found.score_map is not None and found.score_map.shape == (grid.rows, grid.cols)
    assert np.unravel_index(found.score_map.argmax(), found.score_map.shape) == (row, col)
    (at_row,), (at_col,) = grid.cells(found.boxes)
    assert (at_row, at_col) == (row, col)
    expected = [3.9, 1.6, 1.56] if not flat else [np.exp(0.43), np.exp(1.368), 1.56]
    np.testing.assert_allclose(found.boxes[0, 3:6], expected, rtol=1e-5)


def test_what_is_not_finite_makes_no_boxes() -> None:
    hypes = derived(config("F-Cooper"), ROOT)
    decoder = decoder_of(hypes, spec_of(random_model(hypes, ROOT)))
    rows, cols = decoder.grid.rows, decoder.grid.cols
    outputs = {
        "psm": np.full((1, 2, rows, cols), np.nan, np.float32),
        "rm": np.full((1, 14, rows, cols), np.inf, np.float32),
    }
    outputs["psm"][0, 0, :4] = 5.0
    found = decoder.decode(outputs)
    assert len(found) == 0 and found.score_map is not None and np.isnan(found.score_map).all()


# ------------------------------------------------------------------------------------------------ from a folder
def test_a_folder_is_three_lines(tmp_path: Path, data: Path) -> None:
    plain = config("F-Cooper")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    torch.save(random_model(derived(plain, ROOT), ROOT, seed=3).state_dict(), tmp_path / "net_epoch5.pth")
    detector = OpenCOODDetector.from_folder(tmp_path, root=ROOT)
    assert detector.calibration_file == tmp_path / "robosac.calibration.json"
    assert detector.name == OpenCOODDetector.from_folder(tmp_path, root=ROOT, checkpoint="net_epoch5.pth").name
    dataset = build_dataset(detector.hypes, data, root=ROOT)
    batch = dataset.collate_batch_test([dataset[0]])
    verdict = robosac.wrap(detector)(detector.frame(batch))
    # a model of random weights shows anything: a pose may be refused by it
    assert set(verdict.suspicion) | set(verdict.rejected) == set(detector.frame(batch).others)


def test_a_class_of_ones_own_needs_a_spec() -> None:
    hypes = derived(config("F-Cooper"), ROOT)
    model = random_model(hypes, ROOT)
    model.__class__ = type("MyFusion", (type(model),), {})
    with pytest.raises(InputError, match=r"got MyFusion\. Say where .*register_spec\('MyFusion'"):
        OpenCOODDetector(model, hypes)
    from robosac.detectors.adapters.opencood import known, register_spec, specs

    def mine(model: Any) -> Spec:
        known = specs.OPENCOOD["PointPillarFCooper"](model)
        return dataclasses.replace(known, taps=(Tap("F", "shrink_conv"),))

    try:
        register_spec("MyFusion", mine)
        assert OpenCOODDetector(model, hypes).codec.arrays["F"][0] == (256, 32, 64)
        with pytest.raises(InputError, match="expected a class that has no spec yet"):
            register_spec("MyFusion", mine)
    finally:
        known._OWN.pop("MyFusion", None)


assert set(IN_BATCH) <= set(MODELS)
