"""What a message shows by itself, of the frameworks' own models with random weights: an ego's own full forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.adapters import nearest, rounding
from robosac.boxes import iou_bev, transform_boxes
from robosac.capabilities import Solo
from robosac.detectors.adapters.opencood.detector import OpenCOODDetector
from robosac.types import EGO_ALONE, Request
from tests.adapters import coperception_case
from tests.adapters import test_coperception as coperception
from tests.adapters import test_opencood_detector as opencood

one_thread = opencood.one_thread


def outputs_close(a: Any, b: Any, share: float) -> None:
    assert set(a) == set(b)
    for name, array in a.items():
        np.testing.assert_allclose(array, b[name], atol=max(share, 1e-6) * max(float(np.abs(array).max()), 1.0))


@pytest.mark.skipif(opencood.pytestmark[0].args[0], reason="no OpenCOOD")
@pytest.mark.parametrize("moved", [True, False], ids=["projected", "own-frame"])
@pytest.mark.parametrize("name", opencood.named("AttFuse", "F-Cooper", "V2VNet", "V2X-ViT", "Where2comm", "CoAlign"))
def test_opencoods_is_the_full_forward_of_its_sender_as_the_ego(name: str, moved: bool) -> None:
    detector, frame = opencood.wrapped(name, 0, moved), opencood.frame()
    to, who = Request.of(frame.ego), nearest(frame, 1)[0]
    view = frame.others[who]
    session: Any = detector.open(frame.ego, to, [detector.encode(view, to)])
    assert isinstance(session, Solo)
    as_ego = to if moved else Request.of(view)  # projected points are in the frame of who asked
    whole = detector.full(view, [], as_ego)
    raw = {k: v.detach().numpy() for k, v in session._run_alone(1).items() if torch.is_tensor(v)}
    outputs_close(whole, {k: raw[k] for k in whole}, rounding(name))
    (shown,) = session.solo([who])
    itself = detector.decoder.decode(whole)
    pose = np.linalg.inv(to.world_T_ego) @ (to.world_T_ego if moved else view.world_T_sensor)
    expected = transform_boxes(pose, itself.boxes)
    assert len(shown) <= len(itself)
    if len(shown):
        assert iou_bev(shown.boxes, expected).max(axis=1).min() > 0.99


@pytest.mark.skipif(opencood.pytestmark[0].args[0], reason="no OpenCOOD")
def test_opencoods_rests_on_one_message() -> None:
    detector: OpenCOODDetector = opencood.wrapped(opencood.HERE[0])
    frame = opencood.frame()
    to, (a, b) = Request.of(frame.ego), nearest(frame, 2)
    first, second = (detector.encode(frame.others[i], to) for i in (a, b))
    loud = second.with_payload(**{k: v * 50 + 3 for k, v in second.payload.items() if v.ndim == 3})
    before, after = (detector.open(frame.ego, to, [first, m]).solo([a])[0] for m in (second, loud))
    assert before.boxes.tobytes() == after.boxes.tobytes()


@coperception_case.needed
@coperception_case.quiet
@pytest.mark.parametrize("variant", coperception.CHECKED, ids=lambda v: v.title.replace(" ", "-"))
def test_coperceptions_is_a_full_forward_of_an_ego_that_saw_nothing_but_that_layer(variant: Any) -> None:
    """The layer is put in the model's own forward by a hook inside of its encoder."""
    detector = coperception.detector(variant)
    session, frame, to = coperception.opened(detector, 0, coperception.batch())
    name = sorted(frame.others)[0]
    features = session._sent[name]["features"]
    shown = {k: v.detach().numpy() for k, v in session._forward.alone(features, session._empty).items()}
    (found,) = session.solo([name])
    assert isinstance(session, Solo) and found.finite
    if variant.compress_level or detector.model.attends:
        return
    nothing = detector.frame(
        torch.zeros_like(coperception.batch().bev),
        coperception.batch().trans_matrices,
        coperception.batch().num_agent,
        ego=0,
    ).ego
    encoder = detector.model.module.u_encoder
    handle = getattr(encoder, f"bn{variant.layer}_2").register_forward_hook(lambda m, i, out: features.expand_as(out))
    whole = detector.full(nothing, [], to)
    handle.remove()
    outputs_close(whole, shown, 1e-5)
    assert np.abs(whole["cls"] - session.outputs(EGO_ALONE)["cls"]).max() > 1e-3
