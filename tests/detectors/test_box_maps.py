"""Boxes that can be differentiated are the boxes that are decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robosac import detectors
from robosac.boxes import wrap_angle
from robosac.capabilities import BoxDifferentiable, Solo, SoloDifferentiable
from robosac.detectors.bev.config import ModelConfig
from robosac.detectors.bev.decode import box_maps, boxes_at
from robosac.detectors.bev.detector import FEATURES
from robosac.detectors.bev.network import OUTPUTS
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, InputError, Request

GROUND = np.array([-1.9, 0.02, -0.01])
MAP = ModelConfig().map


@pytest.mark.parametrize("outputs", OUTPUTS.values())
def test_every_cell_has_the_box_that_decoding_reads_there(outputs: int) -> None:
    output = 3 * torch.randn(2, outputs, MAP.rows, MAP.cols, generator=torch.Generator().manual_seed(0))
    cells = np.broadcast_to(np.arange(MAP.rows * MAP.cols), (2, MAP.rows * MAP.cols))
    wanted = boxes_at(output.flatten(2).permute(0, 2, 1).numpy(), cells, MAP, GROUND)
    got = box_maps(output, MAP, GROUND).flatten(1, 2).numpy()
    assert got[..., :6] == pytest.approx(wanted[..., :6], abs=1e-4)
    assert wrap_angle(got[..., 6] - wanted[..., 6]) == pytest.approx(0.0, abs=1e-4)


def test_a_sessions_boxes_are_those_it_detects_and_move_with_the_messages() -> None:
    detector = detectors.load("mean")
    frame, _ = scenario("val", 0).snapshot(0).frame()
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    assert isinstance(session, BoxDifferentiable)
    full = frozenset(session.ids)
    teammate = session.ids[0]
    with torch.no_grad():
        logits, boxes = session.logits_and_boxes({}, [EGO_ALONE, full])
    assert torch.equal(logits, session.logits({}, [EGO_ALONE, full]))
    assert boxes.shape == (2, MAP.rows, MAP.cols, 7)
    for n, found in enumerate(session.detect([EGO_ALONE, full])):
        apart = np.abs(boxes[n].reshape(-1, 7).numpy()[None, :, :2] - found.boxes[:, None, :2]).sum(2)
        assert len(found) > 5 and (apart.min(axis=1) < 1e-3).all()
    sent = torch.rand(32, MAP.rows, MAP.cols, requires_grad=True)
    _, moved = session.logits_and_boxes({teammate: {FEATURES: sent}}, [EGO_ALONE, full])
    (slope,) = torch.autograd.grad(moved[1, ..., :2].sum(), sent, retain_graph=True)
    assert slope.isfinite().all() and slope.abs().max() > 0
    (none,) = torch.autograd.grad(moved[0].sum(), sent)
    assert not none.any()  # the ego alone does not hear it


def test_solo_results_can_be_differentiated_and_are_those_that_are_shown() -> None:
    detector = detectors.load("mean")
    frame, _ = scenario("val", 0).snapshot(0).frame()
    to = Request.of(frame.ego)
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])
    assert isinstance(session, SoloDifferentiable) and isinstance(session, Solo)
    one, other = session.ids[:2]
    with torch.no_grad():
        logits, boxes = session.solo_logits_and_boxes({}, [one, other])
    for k, found in enumerate(session.solo([one, other])):
        scores = logits[k].sigmoid().flatten().numpy()
        apart = np.abs(scores[None] - found.scores[:, None])
        assert len(found) > 3 and apart.min(axis=1).max() < 1e-5
        assert boxes[k].reshape(-1, 7)[apart.argmin(axis=1), 3:5].numpy() == pytest.approx(
            found.boxes[:, 3:5], abs=1e-3
        )
    sent = torch.rand(32, MAP.rows, MAP.cols, requires_grad=True)
    logits, _ = session.solo_logits_and_boxes({one: {FEATURES: sent}}, [one, other])
    (slope,) = torch.autograd.grad(logits[0].sum(), sent, retain_graph=True)
    assert slope.isfinite().all() and slope.abs().max() > 0
    (none,) = torch.autograd.grad(logits[1].sum(), sent)
    assert not none.any()
    with pytest.raises(InputError):
        session.solo_logits_and_boxes({}, ["nobody"])
