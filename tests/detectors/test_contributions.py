"""What each agent shows by itself: it rests on its own message alone, and fused by hand it is the result."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robosac.boxes import nms_bev, pose_xyz_rpy, transform_points
from robosac.capabilities import Contributing, Contribution
from robosac.detectors.adapters.coperception import CoperceptionDetector
from robosac.detectors.bev.decode import decode
from robosac.detectors.bev.model import FEATURES
from robosac.detectors.bev.raster import rasterise
from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.detectors.fusion.merge import wbf_bev
from robosac.evaluation.differing import tamper
from robosac.types import Detections, Frame, InputError, Message, Request, View, keyed_rng
from tests.detectors import fake_coperception as fake
from tests.detectors import plain
from tests.detectors.conftest import untrained
from tests.detectors.synthetic import scene_views
from tests.test_readme import fences


@cache
def scene() -> Frame:
    views, _ = scene_views(agents=4)
    return Frame("scene", 0, views[0], {v.id: v for v in views[1:]})


CASES: dict[str, Any] = {
    "mean": lambda: (untrained("mean"), scene()),
    "max": lambda: (untrained("max"), scene()),
    "attention": lambda: (untrained("attention"), scene()),
    "ego-frame": lambda: (untrained("mean").in_ego_frame(), scene()),
    "late": lambda: (LateFusion(plain.cars, name="late"), plain.SCENE),
    "late-wbf": lambda: (LateFusion(plain.cars, name="late", merge="wbf"), plain.SCENE),
    "early": lambda: (EarlyFusion(plain.cars, name="early"), plain.SCENE),
    "coperception": lambda: (CoperceptionDetector(fake.model(), layout=fake.LAYOUT), fake.frame()),
}


def opened(case: str) -> tuple[Any, Frame, Request, list[Message]]:
    detector, frame = CASES[case]()
    to = Request.of(frame.ego)
    return detector, frame, to, [detector.encode(v, to) for v in frame.others.values()]


def arrays(shown: Contribution) -> list[bytes]:
    """Everything that a contribution holds."""
    found = shown.detections
    parts = [shown.valid, shown.points, *([] if found is None else [found.boxes, found.scores])]
    return [a.tobytes() for a in (*parts, *(shown.features[n] for n in sorted(shown.features))) if a is not None]


# ---------------------------------------------------------------------------------------------------------- the laws
@pytest.mark.parametrize("case", CASES)
def test_a_contribution_depends_on_its_own_message_alone(case: str) -> None:
    detector, frame, to, messages = opened(case)
    attacker = messages[1].sender
    malicious = [tamper(m, detector.codec, keyed_rng(1)) if m.sender == attacker else m for m in messages]
    before, after = (detector.open(frame.ego, to, sent) for sent in (messages, malicious))
    assert isinstance(before, Contributing)
    for agent in (None, *before.ids):
        same = arrays(before.contribution(agent)) == arrays(after.contribution(agent))
        assert same == (agent != attacker), agent


@pytest.mark.parametrize("case", CASES)
def test_it_is_there_whatever_was_decoded_before_and_for_known_teammates_only(case: str) -> None:
    detector, frame, to, messages = opened(case)
    fresh, used = (detector.open(frame.ego, to, messages) for _ in range(2))
    used.detect([frozenset(used.ids)])
    used.contribution(None)
    assert all(arrays(fresh.contribution(i)) == arrays(used.contribution(i)) for i in (None, *fresh.ids))
    with pytest.raises(InputError, match=r"expected subsets of .* got \['nobody'\]"):
        fresh.contribution("nobody")


# ----------------------------------------------------------------------------------------------------- fused by hand
def test_late_fusion_is_suppression_over_contributions() -> None:
    for case, merge in (("late", None), ("late-wbf", wbf_bev)):
        detector, frame, to, messages = opened(case)
        session = detector.open(frame.ego, to, messages)
        shown = [session.contribution(i).detections for i in (None, "a", "c")]
        boxes, scores = np.concatenate([d.boxes for d in shown]), np.concatenate([d.scores for d in shown])
        kept = nms_bev(boxes, scores, detector.iou)
        by_hand = Detections(boxes[kept], scores[kept]) if merge is None else Detections(*merge(boxes, scores, 0.15))
        assert len(by_hand) > 2 and plain.equal(by_hand, session.detect([frozenset("ac")])[0])


def test_the_egos_own_body_is_in_no_contribution_of_late_fusion() -> None:
    frame = plain.frame(ego=[], a=[(0.5, 0.2, 0.9), (8.0, 0.0, 0.9)])
    detector = LateFusion(plain.cars, name="late")
    to, messages = plain.sent(detector, frame)
    shown = detector.open(frame.ego, to, messages).contribution("a").detections
    assert shown is not None and plain.centres(shown) == [(8.0, 0.0)]


def test_early_fusion_is_one_detection_in_the_points_of_contributions() -> None:
    detector, frame, to, messages = opened("early")
    session = detector.open(frame.ego, to, messages)
    points = np.concatenate([session.contribution(i).points for i in (None, "a", "c")])
    alone = detector.open(replace(frame.ego, points=points), to, []).detect([frozenset()])[0]
    assert plain.equal(alone, session.detect([frozenset("ac")])[0])


def test_the_mean_of_contributions_decodes_to_the_result_of_mean_fusion() -> None:
    detector, frame, to, messages = opened("mean")
    session = detector.open(frame.ego, to, messages)
    shown = [session.contribution(i) for i in (None, "v1", "v3")]
    valid = np.stack([np.asarray(c.valid)[None] for c in shown])
    mean = (np.stack([c.features[FEATURES] for c in shown]) * valid).sum(axis=0) / valid.sum(axis=0)
    with torch.inference_mode():
        output = detector.network.head(torch.from_numpy(mean.astype(np.float32))[None])
    (by_hand,) = decode(output, detector.grid, rasterise(frame.ego.points).plane, detector.header.decode)
    (found,) = session.detect([frozenset({"v1", "v3"})])
    np.testing.assert_allclose(by_hand.score_map, found.score_map, atol=1e-5)
    np.testing.assert_allclose(by_hand.boxes[:, :6], found.boxes[:, :6], atol=1e-3)


def test_features_are_zero_where_a_map_does_not_reach() -> None:
    detector, frame, to, messages = opened("mean")
    session = detector.open(frame.ego, to, messages)
    assert np.asarray(session.contribution(None).valid).all()
    for i in session.ids:
        shown = session.contribution(i)
        assert (
            0.3 < np.asarray(shown.valid).mean() < 1 and not shown.features[FEATURES][:, ~np.asarray(shown.valid)].any()
        )


# ---------------------------------------------------------------------------------------------------- where things are
def hot(shown: Contribution, empty: Contribution) -> tuple[int, int]:
    """Row and column of the cell that differs most from what the same agent shows without the point."""
    change = np.abs(shown.features["features"] - empty.features["features"]).sum(axis=0)
    row, col = np.unravel_index(change.argmax(), change.shape)
    return int(row), int(col)


@pytest.mark.parametrize("teammate", [False, True], ids=["ego", "teammate"])
@pytest.mark.parametrize("world_xy", [(3.0, 1.0), (-1.0, 3.0), (1.0, -3.0)])
def test_maps_of_coperception_have_rows_along_y_and_columns_along_x_of_the_ego(
    world_xy: tuple[float, float], teammate: bool
) -> None:
    """Its own maps are mirrored and turned; a point shows in the 2 m cell of the ego's frame that it is in."""
    detector = CoperceptionDetector(fake.model(), layout=fake.LAYOUT)
    point = np.array([[*world_xy, -1.0, 1.0]], np.float32)
    none = np.zeros((0, 4), np.float32)
    pose = pose_xyz_rpy(0.0, 0.0, 0.0, yaw_rad=np.pi / 2)
    ego = View("ego", "vehicle", 0, none if teammate else point, np.eye(4))
    other = View("a", "vehicle", 0, transform_points(np.linalg.inv(pose), point), pose)
    to = Request.of(ego)
    shown, empty = (
        detector.open(replace(ego, points=e), to, [detector.encode(replace(other, points=o), to)]).contribution(
            "a" if teammate else None
        )
        for e, o in ((ego.points, other.points), (none, none))
    )
    x, y = world_xy
    assert hot(shown, empty) == (int((y + 4) // 2), int((x + 4) // 2))
    assert shown.valid is None or shown.valid.all()


def test_the_blocks_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    page = Path(__file__).parents[2] / "docs" / "detectors.md"
    for language, block in fences(page.read_text()):
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names["session"].ids) > 2 and all(0 < float(line.split()[1]) < 1 for line in lines)
