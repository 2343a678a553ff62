"""A flood of proposals: what it lifts, that the suppression that it targets measures few pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robosac.attacks import Bim, Flood
from robosac.attacks.features.objectives import CleanFrame
from robosac.boxes import IOU_TOLERANCE, iou_bev, nms_bev, pairs_exceeding
from tests.attacks.toy import full_logits, make_air


def boxes(rng, n, spread):
    made = np.zeros((n, 7), np.float32)
    made[:, :2] = rng.uniform(-spread, spread, (n, 2))
    made[:, 3:6] = rng.uniform(0.2, 6.0, (n, 3))
    made[:, 6] = rng.choice([0.0, np.pi / 2, 0.3], n) + rng.choice([0.0, 1.0], n) * rng.uniform(-4, 4, n)
    return made


def test_the_hinge_by_hand():
    loss = Flood(score=0.5, spacing=1, margin=1.0).make_loss(CleanFrame(torch.zeros(1, 2, 2)))
    assert loss(torch.tensor([[[2.0, 1.0], [0.0, -1.0]]])).item() == pytest.approx((0 + 0 + 1 + 2) / 4)


def test_a_lattice_leads_its_neighbours():
    loss = Flood(score=0.5, spacing=2, margin=1.0, lead=0.3).make_loss(CleanFrame(torch.zeros(1, 4, 4)))
    peaks = torch.full((1, 4, 4), -1.0)
    peaks[:, ::2, ::2] = 1.5
    assert loss(peaks).item() == 0.0
    # wanted are 1 on the lattice and at most 0.7 beside it: high everywhere is no peak
    assert loss(torch.full((1, 4, 4), 1.5)).item() == pytest.approx(0.8)


def test_more_cells_are_above_the_threshold():
    air = make_air(["a", "b"])
    attack = Bim(objective=Flood(spacing=1, score=0.3))
    sent = attack.start("scene", frozenset("ab"), np.random.default_rng(0)).send(air)
    honest = full_logits(air, list(air.honest.values())) > np.log(0.3 / 0.7)
    assert (full_logits(air, sent) > np.log(0.3 / 0.7)).sum() >= honest.sum() + 5


@pytest.mark.parametrize("iou", [0.0, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("spread", [2.0, 12.0])
def test_no_pair_above_the_threshold_is_skipped(iou, spread):
    rng = np.random.default_rng(int(100 * iou + spread))
    some = boxes(rng, 600, spread)
    some[300:400] = some[:100] + rng.normal(0, 0.05, (100, 7)).astype(np.float32)
    some[400:500] = some[:100]
    i, j = np.triu_indices(600, 1)
    over = iou_bev(some, some)[i, j] > iou + IOU_TOLERANCE
    first, second, _ = pairs_exceeding(some, iou)
    assert over.any()
    np.testing.assert_array_equal(np.stack([first, second]), np.stack([i[over], j[over]]))


def test_suppression_keeps_what_it_kept():
    """Against the definition, box by box."""
    rng = np.random.default_rng(5)
    for n in (1, 60, 250):
        some, scores = boxes(rng, n, 12.0), rng.random(n)
        iou, kept = iou_bev(some, some), []
        for k in np.argsort(-scores, kind="stable"):
            if not (iou[k, kept] > 0.15).any():
                kept.append(k)
        assert nms_bev(some, scores, 0.15).tolist() == kept
