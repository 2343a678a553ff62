from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robosac.capabilities import Differentiable
from robosac.detectors.bev import decode as decode_module
from robosac.detectors.bev import session as session_module
from robosac.detectors.bev.config import FusionName, ModelConfig
from robosac.detectors.bev.model import FEATURES
from robosac.detectors.bev.session import BevSession
from robosac.types import EGO_ALONE, Detections, Detector, Float32, InputError, Request, Subset
from tests.detectors.conftest import session_of, untrained
from tests.detectors.synthetic import scene_views

MAP = ModelConfig().map

FUSIONS: tuple[FusionName, ...] = ("mean", "max", "attention")
ALL: Subset = frozenset({"v1", "v2", "v3"})


def score_map(found: Detections) -> Float32:
    assert found.score_map is not None
    return found.score_map


def same(a: Detections, b: Detections) -> None:
    """Equal up to rounding: batches of another size may be summed in another order."""
    np.testing.assert_allclose(score_map(a), score_map(b), atol=1e-5)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
    np.testing.assert_allclose(a.boxes[:, :6], b.boxes[:, :6], atol=1e-3)


def covered(session: BevSession, teammate: str) -> float:
    """Share of the ego's map that a teammate's covers."""
    valid = session.contribution(teammate).valid
    assert valid is not None
    return float(valid.mean())


def test_it_fulfils_the_protocols() -> None:
    detector = untrained()
    assert isinstance(detector, Detector)
    assert isinstance(session_of(detector), Differentiable)
    assert session_of(detector).ids == ("v1", "v2", "v3")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_no_teammates_is_a_session_without_messages(fusion: FusionName) -> None:
    detector = untrained(fusion)
    ego = scene_views(agents=1)[0][0]
    alone = detector.open(ego, Request.of(ego), [])
    (a,), (b,) = alone.detect([EGO_ALONE]), session_of(detector).detect([EGO_ALONE])
    assert len(a) > 0
    same(a, b)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_result_does_not_depend_on_the_batch(fusion: FusionName) -> None:
    detector = untrained(fusion)
    subsets: list[Subset] = [ALL, EGO_ALONE, frozenset({"v2"}), frozenset({"v1", "v3"})]
    together = session_of(detector).detect(subsets)
    backwards = session_of(detector).detect(subsets[::-1])[::-1]
    for subset, a, b in zip(subsets, together, backwards, strict=True):
        (single,) = session_of(detector).detect([subset])
        same(a, single)
        same(a, b)
    assert not np.allclose(score_map(together[0]), score_map(together[1]), atol=1e-3)  # teammates do matter


@pytest.mark.parametrize("fusion", FUSIONS)
def test_teammates_outside_of_the_subset_do_not_matter(fusion: FusionName) -> None:
    detector = untrained(fusion)
    subset: Subset = frozenset({"v1", "v3"})
    (a,) = session_of(detector).detect([subset])
    (b,) = session_of(detector, without=("v2",)).detect([subset])
    same(a, b)


def test_the_order_of_messages_does_not_matter() -> None:
    detector = untrained()
    views, _ = scene_views()
    to = Request.of(views[0])
    messages = [detector.encode(v, to) for v in views[1:]]
    (a,) = detector.open(views[0], to, messages).detect([ALL])
    (b,) = detector.open(views[0], to, messages[::-1]).detect([ALL])
    assert np.array_equal(a.boxes, b.boxes)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_teammate_out_of_reach_changes_nothing(fusion: FusionName) -> None:
    detector = untrained(fusion)
    views, _ = scene_views(agents=2)
    to = Request.of(views[0])
    message = detector.encode(views[1], to)
    away = message.world_T_payload.copy()
    away[0, 3] += 500.0
    session = detector.open(views[0], to, [replace(message, world_T_payload=away)])
    alone, fused = session.detect([EGO_ALONE, frozenset({"v1"})])
    same(alone, fused)
    assert covered(session, "v1") == 0.0
    assert covered(detector.open(views[0], to, [message]), "v1") > 0.3


def test_each_subset_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counting(output: torch.Tensor, *args: Any) -> list[Detections]:
        decoded.append(len(output))
        return decode_module.decode(output, *args)

    monkeypatch.setattr(session_module, "decode", counting)
    session = session_of(untrained())
    first = session.detect([EGO_ALONE, ALL, EGO_ALONE])
    again = session.detect([ALL, EGO_ALONE, frozenset({"v1"})])
    assert decoded == [2, 1]
    assert first[0] is first[2] is again[1]
    assert session.detect([]) == []


@pytest.mark.parametrize("fusion", FUSIONS)
def test_logits_are_those_of_the_score_map(fusion: FusionName) -> None:
    session = session_of(untrained(fusion))
    subsets: list[Subset] = [EGO_ALONE, ALL, frozenset({"v2"})]
    payloads = {i: {FEATURES: session._sent[k].clone()} for k, i in enumerate(session.ids)}
    logits = session.logits(payloads, subsets)
    assert logits.shape == (3, MAP.rows, MAP.cols)
    for found, logit in zip(session.detect(subsets), logits, strict=True):
        np.testing.assert_allclose(score_map(found), torch.sigmoid(logit).numpy(), atol=1e-5)
    torch.testing.assert_close(session.logits({}, subsets), logits)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_reach_exactly_the_payloads_in_the_subset(fusion: FusionName) -> None:
    session = session_of(untrained(fusion))
    payloads = {i: {FEATURES: session._sent[k].clone().requires_grad_()} for k, i in enumerate(session.ids)}
    session.logits(payloads, [frozenset({"v1", "v3"})]).sum().backward()  # type: ignore[no-untyped-call]
    size = {i: p[FEATURES].grad.abs().sum().item() for i, p in payloads.items()}  # type: ignore[union-attr]
    assert size["v1"] > 0
    assert size["v3"] > 0
    assert size["v2"] == 0


def test_a_step_along_the_gradient_raises_the_logits() -> None:
    session = session_of(untrained())
    payload = session._sent[0].clone().requires_grad_()
    subsets: list[Subset] = [frozenset({"v1"})]
    before = session.logits({"v1": {FEATURES: payload}}, subsets).sum()
    before.backward()  # type: ignore[no-untyped-call]
    assert payload.grad is not None
    step = payload.detach() + 1e-3 * payload.grad.sign()
    assert session.logits({"v1": {FEATURES: step}}, subsets).sum() > before


@pytest.mark.parametrize("fusion", FUSIONS)
def test_absurd_values_stay_within_the_subsets_that_hold_them(fusion: FusionName) -> None:
    detector = untrained(fusion)
    views, _ = scene_views()
    to = Request.of(views[0])
    messages = [detector.encode(v, to) for v in views[1:]]
    hostile = messages[0].with_payload(features=np.full((32, 64, 64), 3e38, np.float32))
    honest, attacked = (detector.open(views[0], to, [m, *messages[1:]]) for m in (messages[0], hostile))
    subsets: list[Subset] = [frozenset({"v2", "v3"}), ALL]
    reference, result = honest.detect(subsets), attacked.detect(subsets)
    same(reference[0], result[0])
    assert np.isfinite(result[1].boxes).all()
    assert np.isfinite(score_map(result[1])).all()


def test_bounded_features_lie_in_the_half_open_unit_interval() -> None:
    view = scene_views(agents=1)[0][0]
    for bounded, upper in ((True, 1.0), (False, np.inf)):
        detector = untrained(bounded=bounded)
        message = detector.encode(view, Request.of(view))
        features = message.payload[FEATURES]
        shape, dtype, low, high = detector.codec.arrays[FEATURES]
        assert (features.shape, str(features.dtype), low, high) == (shape, dtype, 0.0, upper)
        assert features.min() >= 0
        assert features.max() < upper
        assert features.max() > 0


def open_with(session_messages: list[Any]) -> BevSession:
    detector = untrained()
    ego = scene_views(agents=1)[0][0]
    return detector.open(ego, Request.of(ego), session_messages)


def test_wrong_input_is_refused() -> None:
    detector = untrained()
    views, _ = scene_views(agents=3)
    to = Request.of(views[0])
    message = detector.encode(views[1], to)
    nan = np.full((32, 64, 64), np.nan, np.float32)
    bad = [
        (
            replace(message, codec="bev-other"),
            "expected a message of codec 'bev-untrained-mean' from 'v1', got 'bev-other'",
        ),
        (message.with_payload(more=nan), r"expected a payload of \['features'\] from 'v1', got \['features', 'more'\]"),
        (message.with_payload(features=nan[:, :32]), r"'v1' to be \(32, 64, 64\) float32, got \(32, 32, 64\)"),
        (message.with_payload(features=np.zeros_like(nan, dtype=np.int64)), "float32, got .* int64"),
        (message.with_payload(features=nan), "expected finite 'features' from 'v1', got NaN or inf"),
        (replace(message, world_T_payload=np.full((4, 4), np.inf)), r"expected a finite pose \(4, 4\) from 'v1'"),
        (replace(message, sender="v0"), "got one of the ego 'v0'"),
    ]
    for wrong, complaint in bad:
        with pytest.raises(InputError, match=complaint):
            open_with([wrong])
    with pytest.raises(InputError, match=r"expected one message of each teammate, got several from \['v1'\]"):
        open_with([message, message])
    session = open_with([message])
    with pytest.raises(InputError, match=r"expected subsets of \['v1'\], got \['v7'\]"):
        session.detect([frozenset({"v7"})])
    with pytest.raises(InputError, match=r"expected the payload of 'v1' to be \(32, 64, 64\), got \(1, 64, 64\)"):
        session.logits({"v1": {FEATURES: torch.zeros(1, 64, 64)}}, [frozenset({"v1"})])
