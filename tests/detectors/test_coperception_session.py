"""The adapter's laws on a small model with coperception's surface; its own models are tested in tests/adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robosac.capabilities import Differentiable, RawSession, Verifiable
from robosac.defenses import RobosacAgreement
from robosac.detectors.adapters.coperception import CoperceptionDetector, CoperceptionSession, DecodeConfig, VoxelView
from robosac.evaluation.differing import difference, tamper
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Frame, InputError, Message, Request, keyed_rng
from tests.detectors import fake_coperception as fake
from tests.toy import received

KINDS = [fake.MeanFusion, fake.AgentWiseWeightedFusion, fake.HalfFusion]


def detector_of(kind: type[fake.FusionBase] = fake.MeanFusion, **settings: Any) -> CoperceptionDetector:
    return CoperceptionDetector(fake.model(kind), layout=fake.LAYOUT, **settings)


def opened(
    detector: CoperceptionDetector, frame: Frame, malicious: Callable[[Message], Message] = lambda m: m
) -> CoperceptionSession:
    """A session in which the first teammate says what `malicious` makes of its message."""
    to = Request.of(frame.ego)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    return detector.open(frame.ego, to, [malicious(messages[0]), *messages[1:]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ego", "abcr")
def test_a_subset_from_the_cache_equals_a_forward_with_these_agents_only(kind: type[fake.FusionBase], ego: str) -> None:
    detector, frame = detector_of(kind), fake.frame("abcr", ego)
    session, to = opened(detector, frame), Request.of(frame.ego)
    ids = sorted(frame.others)
    assert list(session.ids) == ids
    for n in range(len(ids) + 1):
        for subset in map(frozenset, combinations(ids, n)):
            full = detector.full(frame.ego, [frame.others[i] for i in subset], to)
            assert difference(session.outputs(subset), full) <= 1e-6


def test_a_tampered_message_changes_the_subsets_that_hold_it_and_no_other() -> None:
    detector, frame = detector_of(), fake.frame()
    to, attacker = Request.of(frame.ego), next(iter(frame.others))
    tampered_with = tamper(detector.encode(frame.others[attacker], to), detector.codec, keyed_rng(1))
    honest, attacked = opened(detector, frame), opened(detector, frame, lambda m: tampered_with)
    for subset in map(frozenset, [(), "a", "c", "ac", "cd", "acd"]):
        moved = difference(honest.outputs(subset), attacked.outputs(subset))
        assert (moved > 0.01) == (attacker in subset) and (attacker in subset or moved == 0)
        if attacker in subset:
            full = detector.full(frame.ego, [frame.others[i] for i in subset], to, [tampered_with])
            assert difference(attacked.outputs(subset), full) <= 1e-6


def test_a_claimed_pose_is_what_a_message_is_warped_by() -> None:
    detector, frame = detector_of(), fake.frame()
    to = Request.of(frame.ego)
    shifted = frame.others["a"].world_T_sensor.copy()
    shifted[0, 3] += 1.0
    tampered_with = replace(detector.encode(frame.others["a"], to), world_T_payload=shifted)
    session = opened(detector, frame, lambda m: tampered_with)
    full = detector.full(frame.ego, [frame.others["a"]], to, [tampered_with])
    assert difference(session.outputs(frozenset("a")), full) <= 1e-6
    assert difference(session.outputs(frozenset("a")), opened(detector, frame).outputs(frozenset("a"))) > 0.01


def test_it_is_what_the_protocols_ask_for_and_passes_the_gate() -> None:
    detector, frame = detector_of(), fake.frame()
    session, to = opened(detector, frame), Request.of(frame.ego)
    assert isinstance(detector, Verifiable) and isinstance(session, Differentiable) and isinstance(session, RawSession)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    assert Gate().admit(to, detector.codec, received(messages, to)).rejected == {}
    assert detector.codec.max_messages == 3 and messages[0].payload["features"].shape == (256, 4, 4)
    first, second = session.detect([frozenset("a"), frozenset("a")])
    assert first is second
    assert len(first) and first.score_map is not None and first.score_map.shape == (32, 32)


def test_logits_are_the_score_map_and_their_gradients_reach_the_payload() -> None:
    detector, frame = detector_of(), fake.frame()
    session = opened(detector, frame)
    subset = frozenset("ac")
    logits = session.logits({}, [EGO_ALONE, subset])
    scores = [d.score_map for d in session.detect([EGO_ALONE, subset])]
    np.testing.assert_allclose(torch.sigmoid(logits).numpy(), np.stack(scores), atol=1e-6)  # type: ignore[arg-type]
    sent = detector.encode(frame.others["a"], Request.of(frame.ego)).payload["features"]
    leaf = torch.from_numpy(sent.copy()).requires_grad_()
    alone, held = session.logits({"a": {"features": leaf}}, [EGO_ALONE, subset])
    (slope,) = torch.autograd.grad(held.sum(), leaf, retain_graph=True)
    assert torch.isfinite(slope).all() and slope.abs().max() > 0
    (other,) = torch.autograd.grad(alone.sum(), leaf)
    assert other.abs().max() == 0 and not logits.requires_grad  # the model's parameters are in no graph
    torch.testing.assert_close(held.detach(), logits[1], rtol=0, atol=0)


def test_the_users_model_is_left_as_it_was() -> None:
    model = fake.model()
    before = {name: vars(module).copy() for name, module in model.named_modules()}
    detector, frame = CoperceptionDetector(model, layout=fake.LAYOUT), fake.frame()
    session = opened(detector, frame)
    session.detect([frozenset("ac")])
    session.logits({}, [frozenset("a")])
    detector.full(frame.ego, [frame.others["a"]], Request.of(frame.ego))
    for name, module in model.named_modules():
        now = vars(module)
        assert set(now) == set(before[name])
        assert all(now[k] is before[name][k] for k in ("training", "neighbor_feat_list", "num_agent") if k in now)
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert model.tg_agent is None and all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_model_in_data_parallel_is_taken_out_of_it() -> None:
    inner = CoperceptionDetector(nn.DataParallel(fake.model()), layout=fake.LAYOUT)
    frame = fake.frame()
    assert difference(opened(inner, frame).outputs(EGO_ALONE), opened(detector_of(), frame).outputs(EGO_ALONE)) == 0


def test_a_defended_frame_with_an_attacker_and_nonsense_on_the_air_gives_a_verdict() -> None:
    detector = detector_of(decode=DecodeConfig(score_threshold=0.3))
    frame = fake.frame()
    to = Request.of(frame.ego)
    honest = {i: detector.encode(v, to) for i, v in frame.others.items()}
    nan = honest["a"].with_payload(features=np.full((256, 4, 4), np.nan, np.float32))
    huge = honest["c"].with_payload(features=np.full((256, 4, 4), 3e38, np.float32))
    verdict = (
        RobosacAgreement()
        .start("fake", None, keyed_rng(0))
        .step(detector, frame.ego, to, received([nan, huge, honest["d"]], to))
    )
    assert "a" in verdict.rejected and "c" not in verdict.used and verdict.result.finite
    (alone,) = detector.open(frame.ego, to, [huge]).detect([frozenset("c")])
    assert np.isfinite(alone.boxes).all() and not alone.finite  # which agrees with nothing, and is said by the map


# ----------------------------------------------------------------------------------------------- the user's tensors
def tensors(names: str = "abc", slots: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a loop of coperception's would feed the model for the agents of `fake.frame`."""
    views = [fake.view(n) for n in names]
    bev = torch.zeros(slots, 1, *fake.LAYOUT.shape)
    trans = torch.zeros(1, slots, slots, 4, 4, dtype=torch.float64)
    for i, a in enumerate(views):
        bev[i, 0] = torch.from_numpy(fake.LAYOUT.voxelise(a.points))
        for j, b in enumerate(views):
            trans[0, i, j] = torch.from_numpy(np.linalg.inv(a.world_T_sensor) @ b.world_T_sensor)
    return bev, trans, torch.full((1, slots), len(names))


@pytest.mark.parametrize("ego", [0, 1, 2])
def test_the_users_own_tensors_give_the_ego_row_of_the_users_own_call(ego: int) -> None:
    detector = detector_of()
    bev, trans, count = tensors()
    by_hand = detector.model.module(bev, trans, count)
    frame = detector.frame(bev, trans, count, ego=f"agent{ego}", scenario="mine", index=7)
    assert (frame.ego.id, frame.scenario, frame.index) == (f"agent{ego}", "mine", 7)
    found = opened(detector, frame).outputs(frozenset(frame.others))
    assert difference(found, {k: v[ego].detach().numpy() for k, v in by_hand.items()}) <= 1e-5


def test_points_that_replace_those_of_a_raster_are_what_counts() -> None:
    detector = detector_of()
    bev, trans, count = tensors()
    view = detector.frame(bev, trans, count, ego=0).others["agent1"]
    assert isinstance(view, VoxelView)
    to = Request.of(view)
    as_it_was, same_points = detector.encode(view, to), detector.encode(replace(view, points=view.points.copy()), to)
    np.testing.assert_allclose(same_points.payload["features"], as_it_was.payload["features"], atol=1e-6)
    emptied = detector.encode(replace(view, points=np.zeros((0, 4), np.float32)), to)
    assert difference(emptied.payload, as_it_was.payload) > 0.01


# ------------------------------------------------------------------------------------------------------ wrong uses
def changed(**settings: Any) -> fake.FusionBase:
    model = fake.model()
    for name, value in settings.items():
        setattr(model, name, value)
    return model


WRONG_MODELS = [
    (fake.FaFNet().eval(), r"got FaFNet, which sees one scan.*late fusion \(robosac.detectors.LateFusion\)"),
    (nn.Linear(2, 2).eval(), r"expected a model of coperception \(MeanFusion, .*got Linear"),
    (fake.model().train(), r"in training mode; call model.eval\(\)"),
    (changed(p_com_outage=0.1), "p_com_outage 0, got 0.1"),
    (changed(only_v2i=True), "only_v2i=False"),
    (changed(category_num=5), "binary detector"),
    (changed(anchor_num_per_loc=3), "model of 6 anchors a cell, got 3"),
]


@pytest.mark.parametrize(("model", "why"), WRONG_MODELS)
def test_models_that_cannot_be_wrapped_say_why(model: nn.Module, why: str) -> None:
    with pytest.raises(InputError, match=why):
        CoperceptionDetector(model, layout=fake.LAYOUT)


def test_inference_is_one_of_three() -> None:
    with pytest.raises(InputError, match="among softmax, argmax_test, activated, got 'fast'"):
        detector_of(inference="fast")


def test_more_agents_than_slots_are_refused_everywhere() -> None:
    detector, frame = detector_of(), fake.frame("abcde")
    to = Request.of(frame.ego)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    crowd = r"at most 4 agents \(the ego and 3 teammates\), got 5"
    with pytest.raises(InputError, match=crowd):
        detector.open(frame.ego, to, messages)
    with pytest.raises(InputError, match=crowd):
        detector.full(frame.ego, list(frame.others.values()), to)
    admitted = Gate().admit(to, detector.codec, received(messages, to))
    assert len(admitted.messages) == 3 and admitted.rejected == {"e": "more than 3 teammates"}


def test_direct_misuse_of_messages_is_refused() -> None:
    detector, frame = detector_of(), fake.frame()
    to = Request.of(frame.ego)
    good = detector.encode(frame.others["a"], to)
    wrong = [
        ([good, good], "several from"),
        ([replace(good, sender="b")], "teammates only"),
        ([replace(good, codec="bev-mean")], "codec 'coperception-mean'"),
        ([replace(good, payload={})], r"payload of \['features'\]"),
        ([good.with_payload(features=np.zeros((256, 8, 8), np.float32))], r"\(256, 4, 4\) float32, got \(256, 8, 8\)"),
        ([good.with_payload(features=np.full((256, 4, 4), np.inf, np.float32))], "NaN or inf"),
        ([replace(good, world_T_payload=np.full((4, 4), np.nan))], r"a finite pose \(4, 4\) from 'a'"),
    ]
    for messages, why in wrong:
        with pytest.raises(InputError, match=why):
            detector.open(frame.ego, to, messages)
    with pytest.raises(InputError, match=r"tampered messages of \['c'\], got \['a'\]"):
        detector.full(frame.ego, [frame.others["c"]], to, [good])
    session = detector.open(frame.ego, to, [good])
    for ask in (session.outputs, lambda s: session.detect([s])):
        with pytest.raises(InputError, match=r"subsets of \['a'\], got \['z'\]"):
            ask(frozenset("z"))
    with pytest.raises(InputError, match=r"payload of 'a' to hold .*got .*\(1, 2\)"):
        session.logits({"a": {"features": torch.zeros(1, 2)}}, [EGO_ALONE])
