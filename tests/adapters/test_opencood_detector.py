"""Wrapped OpenCOOD models are the models: against the user's own copy, installed or ROBOSAC_OPENCOOD=checkout."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import robosac
from benchmarks.adapters import FEW_RAYS, detector_of, difference, exactness, huddled, nearest, rounding, tampered
from benchmarks.opencood_models import LEGACY, MODELS, config, derived, random_model
from robosac.agreement import BoxJaccard
from robosac.attacks import Pgd
from robosac.boxes import invert_pose, pose_xyz_rpy, transform_points
from robosac.capabilities import Contributing, Differentiable, Outputs, RawSession, Reporting, Verifiable
from robosac.defenses import RobosacAgreement
from robosac.detectors.adapters.opencood import OpenCOODDetector, RawDetections
from robosac.detectors.adapters.opencood.kernels import as_in_a_batch, contiguous_attention
from robosac.fingerprint import fingerprint
from robosac.simulation import scenario
from robosac.types import Array, Frame, InputError, Message, Request, View
from tests.toy import received

ROOT = Path(os.environ["ROBOSAC_OPENCOOD"]) if os.environ.get("ROBOSAC_OPENCOOD") else None
pytestmark = [
    pytest.mark.skipif(
        ROOT is None and importlib.util.find_spec("opencood") is None,
        reason="no OpenCOOD: pip install --no-deps opencoodx, or ROBOSAC_OPENCOOD=checkout",
    ),
    pytest.mark.filterwarnings("ignore"),
]
HERE = list(MODELS) if ROOT else list(LEGACY)
SMALLER = {"V2VNet": (20.8, 12.8)}  # its cost grows with the square of the agents and with the map
MOST = {"V2VNet": 2, "V2X-ViT": 2, "CoBEVT": 2}  # teammates at once
SPARSE = pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="no spconv")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def frame() -> Frame:
    return huddled(scenario("val", 0, config=FEW_RAYS).snapshot(0).frame()[0])


@cache
def wrapped(name: str, compression: int = 0, moved: bool = True) -> OpenCOODDetector:
    return detector_of(name, ROOT, frame(), half=SMALLER.get(name), compression=compression, moved=moved)


def named(*names: str) -> list[Any]:
    """Parameters of those models that this copy has."""
    return [pytest.param(n, marks=SPARSE if n == "SECOND" else ()) for n in names if n in HERE]


def largest(outputs: Outputs) -> float:
    return max(float(np.abs(v).max()) for v in outputs.values())


def blind(view: View) -> View:
    """The same agent with all its points far out of range."""
    return dataclasses.replace(view, points=np.full((3, 4), 900.0, np.float32))


# ------------------------------------------------------------------------------------------------------- exact
@pytest.mark.parametrize("name", named(*MODELS))
def test_cached_subsets_are_the_models_own_forward(name: str) -> None:
    row = exactness(wrapped(name), frame(), most=MOST.get(name, 4))
    assert row.within(rounding(name)) and row.effect > 1e-2


@pytest.mark.parametrize("name", named("AttFuse", "F-Cooper", "Where2comm", "CoAlign", "SECOND"))
def test_so_they_are_with_compression(name: str) -> None:
    row = exactness(wrapped(name, 4), frame())
    assert row.within(rounding(name, 4)) and row.effect > 1e-2


def test_a_small_map_alone_is_convolved_as_among_others() -> None:
    """Why compression is exact to the bit although torch rounds a small batch of one differently. If torch no longer
    does, this fails, and `as_in_a_batch` can go."""
    torch.manual_seed(0)
    layer, rows = torch.nn.Conv2d(64, 16, 3, padding=1), torch.randn(2, 64, 8, 16)
    with torch.no_grad():
        together = layer(rows)[:1]
        assert not torch.equal(layer(rows[:1]), together)
        with as_in_a_batch(torch.nn.Sequential(layer), torch.device("cpu")) as paired:
            assert torch.equal(layer(rows[:1]), together) and torch.equal(layer(rows), layer(rows.clone()))
        assert paired == ["0"] and not layer._forward_hooks and not layer._forward_pre_hooks


@pytest.mark.parametrize("name", named("V2VNet", "CoAlign"))
def test_so_they_are_where_the_ego_warps_what_it_receives(name: str) -> None:
    row = exactness(wrapped(name, 0, False), frame(), most=MOST.get(name, 4))
    assert (row.honest, row.tampered) == (0.0, 0.0) and row.effect > 1e-2


@pytest.mark.parametrize("name", named("F-Cooper", "Where2comm", "CoAlign", "SECOND"))
def test_a_malicious_message_is_what_an_ordinary_hook_would_inject(name: str) -> None:
    """`full` is checked against torch's own hooks, which know nothing of our patches."""
    detector, view, to = wrapped(name), frame().ego, Request.of(frame().ego)
    teammate = nearest(frame(), 1)[0]
    honest = detector.encode(frame().others[teammate], to)
    malicious = tampered(honest)
    counts: dict[str, int] = {}
    handles = []
    for tap in detector.spec.sent_taps:
        if ":" in tap.site:  # a method: hook the module that it calls for this level
            module = detector.engine.model.get_submodule("backbone.resnet.layer0")
        else:
            module = detector.engine.model.get_submodule(tap.site)

        def hook(_m: Any, _i: Any, output: Any, tap: Any = tap) -> Any:
            counts[tap.name] = counts.get(tap.name, 0) + 1
            if counts[tap.name] - 1 != tap.recorded:
                return output
            value = output[tap.pick] if isinstance(tap.pick, str) else output
            value = value.clone()
            value[1] = torch.from_numpy(malicious.payload[tap.name])
            return {**output, tap.pick: value} if isinstance(tap.pick, str) else value

        handles.append(module.register_forward_hook(hook))
    hooked = detector.full(view, [frame().others[teammate]], to)
    for handle in handles:
        handle.remove()
    session = detector.open(view, to, [malicious])
    bar = rounding(name) * largest(hooked)
    assert difference(hooked, session.outputs(frozenset({teammate}))) <= bar
    assert difference(hooked, detector.full(view, [frame().others[teammate]], to)) > 1e-3


@pytest.mark.parametrize("name", named("V2VNet", "CoAlign"))
def test_a_false_pose_changes_only_the_subsets_that_hold_it(name: str) -> None:
    detector = wrapped(name, 0, False)
    to = Request.of(frame().ego)
    a, b = nearest(frame(), 2)
    honest = {i: detector.encode(frame().others[i], to) for i in (a, b)}
    pose = honest[a].world_T_payload.copy()
    pose[:2, 3] += 3.0
    malicious = dataclasses.replace(honest[a], world_T_payload=pose)
    truth = detector.open(frame().ego, to, list(honest.values()))
    changed = detector.open(frame().ego, to, [malicious, honest[b]])
    assert difference(truth.outputs(frozenset({b})), changed.outputs(frozenset({b}))) == 0.0
    assert difference(truth.outputs(frozenset({a})), changed.outputs(frozenset({a}))) > 0.0
    full = detector.full(frame().ego, [frame().others[a]], to, [malicious])
    assert difference(full, changed.outputs(frozenset({a}))) == 0.0


def test_the_contiguous_hook_is_there_for_several_threads_only_and_only_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = wrapped("AttFuse")
    model, cpu = detector.engine.model, torch.device("cpu")
    layers = [m for m in model.modules() if type(m).__name__ == "ScaledDotProductAttention"]
    assert layers
    with contiguous_attention(model, cpu):
        assert not any(m._forward_pre_hooks for m in layers)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # more in truth would be slow: that is why it is there
    with contiguous_attention(model, cpu):
        assert all(m._forward_pre_hooks for m in layers)
        layers[0](*[torch.zeros(4, 3, 2).permute(0, 2, 1)] * 3)
    assert not any(m._forward_pre_hooks for m in layers)
    to = Request.of(frame().ego)
    teammate = nearest(frame(), 1)[0]
    session = detector.open(frame().ego, to, [detector.encode(frame().others[teammate], to)])
    full = detector.full(frame().ego, [frame().others[teammate]], to)
    assert difference(full, session.outputs(frozenset({teammate}))) <= 1e-6 * largest(full)


def test_what_was_patched_is_as_it_was() -> None:
    detector = wrapped("F-Cooper")
    before = [sorted(vars(m)) for m in detector.engine.model.modules()]
    to = Request.of(frame().ego)
    detector.open(frame().ego, to, []).detect([frozenset()])
    with pytest.raises(RuntimeError):  # the model fails in the middle of a replay
        detector.engine.replay({"F": torch.zeros(1, 3, 3, 3)}, detector.open(frame().ego, to, [])._geometry)
    assert [sorted(vars(m)) for m in detector.engine.model.modules()] == before


# --------------------------------------------------------------------------------------------------- protocols
@pytest.mark.parametrize("name", named(*MODELS))
def test_gradients_reach_the_messages_of_the_subset_and_no_others(name: str) -> None:
    detector = wrapped(name)
    to = Request.of(frame().ego)
    a, b = nearest(frame(), 2)
    messages = {i: detector.encode(frame().others[i], to) for i in (a, b)}
    session = detector.open(frame().ego, to, list(messages.values()))
    assert isinstance(detector, Verifiable)
    assert isinstance(session, Differentiable) and isinstance(session, RawSession)
    leaves = {
        i: {n: torch.from_numpy(m.payload[n]).requires_grad_() for n in detector.spec.sent} for i, m in messages.items()
    }
    subsets = [frozenset({a}), frozenset()]
    logits = session.logits(leaves, subsets)
    grid = detector.grid
    assert logits.shape == (2, grid.rows, grid.cols)
    for row, subset in zip(logits, subsets, strict=True):
        found = session.detect([subset])[0]
        assert found.score_map is not None
        np.testing.assert_allclose(torch.sigmoid(row).detach().numpy(), found.score_map, atol=1e-6)
    logits[0].square().sum().backward()
    reached = [n for n, leaf in leaves[a].items() if leaf.grad is not None and bool((leaf.grad != 0).any())]
    assert set(reached) == set(detector.spec.sent) - {"confidence"}  # Where2comm thresholds it
    assert all(leaf.grad is None or not bool(leaf.grad.any()) for leaf in leaves[b].values())


@pytest.mark.parametrize("name", named("AttFuse", "V2X-ViT"))
def test_an_attack_of_this_project_plays_and_the_defence_answers(name: str) -> None:
    from robosac.evaluation.play import attacked_air

    detector = wrapped(name)
    to = Request.of(frame().ego)
    chosen = frozenset(nearest(frame(), 1))
    honest = {i: detector.encode(v, to) for i, v in sorted(frame().others.items())[:4]}
    attack = Pgd(epsilon=0.5, steps=2)
    air = attacked_air(frame(), detector, to, honest, chosen, attack.knowledge)
    malicious = attack.start("s", chosen, np.random.default_rng(0)).send(air)
    inbox = [*malicious, *(m for i, m in honest.items() if i not in chosen)]
    verdict = robosac.wrap(detector, RobosacAgreement(threshold=0.3)).receive(frame().ego, received(inbox, to), to=to)
    assert not verdict.rejected and isinstance(verdict.result, RawDetections)
    assert difference(verdict.result.outputs, detector.open(frame().ego, to, inbox).outputs(verdict.used)) == 0.0


def test_a_message_is_what_its_codec_says_and_a_wrong_one_is_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = wrapped("F-Cooper")
    to = Request.of(frame().ego)
    teammate = nearest(frame(), 1)[0]
    message = detector.encode(frame().others[teammate], to)
    defended = robosac.wrap(detector, RobosacAgreement(agreement=BoxJaccard(), threshold=0.0))
    assert defended.receive(frame().ego, received([message], to), to=to).used == {teammate}
    worse = {
        "values outside": message.with_payload(F=-1 - message.payload["F"]),
        "not finite": message.with_payload(F=np.full_like(message.payload["F"], np.nan)),
        "has shape": message.with_payload(F=message.payload["F"][:, :3]),
        "payload holds": message.with_payload(G=message.payload["F"]),
    }
    for why, bad in worse.items():
        verdict = defended.receive(frame().ego, received([bad], to), to=to)
        assert why in verdict.rejected[teammate] and not verdict.used
    for bad in list(worse.values())[1:]:
        with pytest.raises(InputError, match="expected"):
            detector.open(frame().ego, to, [bad])


def test_the_name_is_of_the_class_the_weights_and_the_settings() -> None:
    hypes = derived(config("F-Cooper"), ROOT)
    first, again, other = (OpenCOODDetector(random_model(hypes, ROOT, seed=s), hypes) for s in (1, 1, 2))
    assert first.name == again.name != other.name
    assert first.name.startswith("opencood-PointPillarFCooper-")
    assert OpenCOODDetector(random_model(hypes, ROOT), hypes, name="mine").codec.name == "mine"
    stricter = derived(config("F-Cooper"), ROOT)
    stricter["postprocess"]["target_args"]["score_threshold"] = 0.4
    asked = OpenCOODDetector(random_model(hypes, ROOT, seed=1), stricter)
    assert asked.name != first.name
    assert isinstance(asked, Reporting) and asked.reporting_threshold == 0.4
    assert first.calibration_file is None


def test_a_subset_is_decoded_once() -> None:
    detector = OpenCOODDetector(wrapped("F-Cooper").engine.model, wrapped("F-Cooper").hypes)
    to = Request.of(frame().ego)
    session = detector.open(frame().ego, to, [detector.encode(v, to) for v in frame().others.values()])
    everyone = frozenset(frame().others)
    first = session.detect([everyone, everyone])
    assert first[0] is first[1] is session.detect([everyone])[0]
    with pytest.raises(InputError, match=r"expected subsets of .* got \['stranger'\]"):
        session.detect([frozenset({"stranger"})])


# ------------------------------------------------------------------------------------- what each agent contributes
def shown(detector: OpenCOODDetector, messages: list[Message], agent: str | None) -> dict[str, Array]:
    session = detector.open(frame().ego, Request.of(frame().ego), messages)
    assert isinstance(session, Contributing)
    return dict(session.contribution(agent).features)


@pytest.mark.parametrize(
    ("name", "moved"),
    [(n, True) for n in ("AttFuse", "F-Cooper", "PIXOR", "V2X-ViT", "CoBEVT", "Where2comm", "CoAlign") if n in HERE]
    + [(n, False) for n in ("V2VNet", "CoAlign") if n in HERE],
)
def test_a_contribution_depends_on_its_own_message_alone(name: str, moved: bool) -> None:
    detector = wrapped(name, 0, moved)
    to = Request.of(frame().ego)
    a, b = nearest(frame(), 2)
    honest = [detector.encode(frame().others[i], to) for i in (a, b)]
    malicious = [tampered(honest[0]), honest[1]]
    for agent in (None, a, b):
        before, after = (shown(detector, messages, agent) for messages in (honest, malicious))
        assert set(detector.spec.sent) <= set(before) == set(after)
        assert all(m.ndim == 3 and np.isfinite(m).all() for m in before.values())
        assert (difference(before, after) == 0) == (agent != a)
    if moved:  # the maps are the messages
        for sent in detector.spec.sent:
            map_ = honest[0].payload[sent]
            map_ = map_.swapaxes(1, 2) if detector.spec.cells == "bev" else map_
            np.testing.assert_array_equal(shown(detector, honest, a)[sent], map_)


@pytest.mark.parametrize(
    ("name", "moved"),
    [(n, True) for n in ("F-Cooper", "PIXOR") if n in HERE] + [(n, False) for n in ("V2VNet", "CoAlign") if n in HERE],
)
@pytest.mark.parametrize("xy", [(12.0, 4.0), (-8.0, 6.0), (6.0, -7.0)])
def test_its_maps_have_rows_along_y_and_columns_along_x_of_the_ego(
    name: str, moved: bool, xy: tuple[float, float]
) -> None:
    """What a teammate sees at a place of the ego's frame shows in the cells about it."""
    detector, to = wrapped(name, 0, moved), Request.of(frame().ego)
    teammate = nearest(frame(), 1)[0]
    beside = to.world_T_ego @ pose_xyz_rpy(2.0, 1.0, 0.0, yaw_rad=0.6)  # its map covers all three places
    view = dataclasses.replace(frame().others[teammate], world_T_sensor=beside)
    spots = np.array([[*xy, -1.0, 0.5]], np.float32) + np.array(
        [[0.1 * k, 0.1 * k, 0, 0] for k in range(9)], np.float32
    )
    there = transform_points(invert_pose(view.world_T_sensor) @ to.world_T_ego, spots)
    maps = [
        shown(detector, [detector.encode(dataclasses.replace(view, points=points), to)], teammate)
        for points in (there, np.full((3, 4), 900.0, np.float32))
    ]
    finest = max(maps[0], key=lambda n: maps[0][n][0].size)
    change = np.abs(maps[0][finest] - maps[1][finest]).sum(axis=0)
    row, col = np.unravel_index(change.argmax(), change.shape)
    grid = detector.grid
    cell = grid.cell_m * grid.cols / change.shape[1]
    found = (grid.x_min_m + (col + 0.5) * cell, grid.y_min_m + (row + 0.5) * cell)
    assert np.abs(np.subtract(found, xy)).max() < 2.5


@pytest.mark.parametrize("name", named("AttFuse", "F-Cooper", "PIXOR"))
def test_maps_that_are_fused_in_their_senders_frames_show_nothing_in_the_egos(name: str) -> None:
    detector, to = wrapped(name, 0, False), Request.of(frame().ego)
    teammate = nearest(frame(), 1)[0]
    message = detector.encode(frame().others[teammate], to)
    assert shown(detector, [message], None)
    with pytest.raises(InputError, match="expected a configuration that projects points to the ego first"):
        shown(detector, [message], teammate)


def test_a_fingerprint_is_of_weights_and_settings_and_not_of_use() -> None:
    hypes = derived(config("F-Cooper"), ROOT)

    def made(seed: int, settings: Any = hypes) -> OpenCOODDetector:
        return OpenCOODDetector(random_model(settings, ROOT, seed=seed), settings, name="mine")

    first, again, other = (made(seed) for seed in (1, 1, 2))
    before = fingerprint(first)
    assert before == fingerprint(again) != fingerprint(other)
    stricter = derived(config("F-Cooper"), ROOT)
    stricter["postprocess"]["target_args"]["score_threshold"] = 0.4
    assert fingerprint(made(1, stricter)) != before
    to = Request.of(frame().ego)
    first.open(frame().ego, to, [first.encode(v, to) for v in frame().others.values()]).detect([frozenset()])
    assert fingerprint(first) == before


# ---------------------------------------------------------------------------------------- agents without points
@pytest.mark.parametrize("name", named("AttFuse", "CoAlign", "PIXOR", "SECOND"))
@pytest.mark.parametrize("empty", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_an_agent_without_points_has_its_own_row(name: str, empty: tuple[int, ...]) -> None:
    detector = wrapped(name)
    a, b = nearest(frame(), 2)
    views = [frame().ego, frame().others[a], frame().others[b]]
    views = [blind(v) if i in empty else v for i, v in enumerate(views)]
    to = Request.of(views[0])
    messages = [detector.encode(v, to) for v in views[1:]]
    session = detector.open(views[0], to, messages)
    for subset in ((), (1,), (2,), (1, 2)):
        full = detector.full(views[0], [views[i] for i in subset], to)
        bar = rounding(name) * largest(full)
        assert difference(full, session.outputs(frozenset(views[i].id for i in subset))) <= bar


def test_an_empty_cloud_is_an_agent_without_points() -> None:
    detector = wrapped("F-Cooper")
    to = Request.of(frame().ego)
    view = next(iter(frame().others.values()))
    none = dataclasses.replace(view, points=np.zeros((0, 4), np.float32))
    for name, array in detector.encode(none, to).payload.items():
        np.testing.assert_array_equal(array, detector.encode(blind(view), to).payload[name])


def test_a_single_pillar_is_encoded() -> None:
    """Upstream drops the axis of a lone pillar and fails; one point must not take the ego's frame down."""
    detector = wrapped("F-Cooper")
    to = Request.of(frame().ego)
    view = dataclasses.replace(frame().ego, points=np.array([[5.0, 3.0, -1.0, 0.5]], np.float32))
    lone = detector.open(view, to, []).outputs(frozenset())
    assert difference(lone, detector.full(view, [], to)) == 0.0
    assert difference(lone, detector.open(blind(view), to, []).outputs(frozenset())) > 0.0


# -------------------------------------------------------------------------------------------------- wrong uses
def model_and_hypes(core: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    from robosac.detectors.adapters.opencood.folder import build_model

    hypes = derived(config("F-Cooper"), ROOT)
    hypes["model"] = {"core_method": core, "args": hypes["model"]["args"]}
    return build_model(hypes, root=ROOT), hypes


def test_a_single_vehicle_model_is_sent_to_late_or_early_fusion() -> None:
    model, hypes = model_and_hypes("point_pillar")
    with pytest.raises(
        InputError,
        match=r"no fusion inside; wrap it with robosac.detectors.LateFusion .* robosac.detectors.EarlyFusion",
    ):
        OpenCOODDetector(model, hypes)


@pytest.mark.parametrize("fusion", ["LateFusionDataset", "EarlyFusionDataset"])
def test_a_late_or_early_configuration_is_sent_there_too(fusion: str) -> None:
    hypes = derived(config("F-Cooper"), ROOT)
    hypes["fusion"]["core_method"] = fusion
    with pytest.raises(InputError, match="expected a configuration of intermediate fusion"):
        OpenCOODDetector(random_model(hypes, ROOT), hypes)


@pytest.mark.parametrize("name", named("V2X-ViT", "CoBEVT"))
def test_more_agents_than_max_cav_are_refused_or_left_out(name: str) -> None:
    hypes = derived(config(name, max_cav=3), ROOT)
    detector = OpenCOODDetector(random_model(hypes, ROOT), hypes)
    assert detector.codec.max_messages == 2
    to = Request.of(frame().ego)
    messages = [detector.encode(v, to) for v in frame().others.values()]
    with pytest.raises(InputError, match=r"expected at most 2 teammates, .* built for max_cav 3, got 5"):
        detector.open(frame().ego, to, messages)
    with pytest.raises(InputError, match="max_cav 3"):
        detector.full(frame().ego, list(frame().others.values()), to)
    verdict = robosac.wrap(detector, RobosacAgreement(threshold=0.0))(frame())
    assert len(verdict.used) == 2 and len(verdict.rejected) == 3


def test_more_agents_than_max_cav_are_fine_where_the_model_does_not_pad() -> None:
    hypes = derived(config("V2VNet", SMALLER["V2VNet"], max_cav=2), ROOT)
    detector = OpenCOODDetector(random_model(hypes, ROOT), hypes)
    assert detector.codec.max_messages is None
    to = Request.of(frame().ego)
    views = list(frame().others.values())[:2]
    session = detector.open(frame().ego, to, [detector.encode(v, to) for v in views])
    full = detector.full(frame().ego, views, to)
    assert difference(full, session.outputs(frozenset(v.id for v in views))) == 0.0


@pytest.mark.parametrize("name", named("V2X-ViT"))
def test_what_a_teammate_claims_of_itself_cannot_leave_the_embeddings(name: str) -> None:
    detector = wrapped(name)
    to = Request.of(frame().ego)
    view = next(iter(frame().others.values()))
    message = detector.encode(view, to).with_payload(prior=np.array([10.0, 10.0, 10.0], np.float32))
    session = detector.open(frame().ego, to, [message])
    full = detector.full(frame().ego, [view], to, [message])
    assert difference(full, session.outputs(frozenset({view.id}))) == 0.0
    roadside = dataclasses.replace(view, kind="roadside")
    assert detector.encode(roadside, to).payload["prior"].tolist() == [0.0, 0.0, 1.0]
    other = detector.open(frame().ego, to, [detector.encode(roadside, to)])
    assert difference(full, other.outputs(frozenset({view.id}))) > 0.0


def test_direct_misuse_is_named() -> None:
    detector = wrapped("F-Cooper")
    to = Request.of(frame().ego)
    a, b = nearest(frame(), 2)
    message = detector.encode(frame().others[a], to)
    with pytest.raises(InputError, match="expected one message of each teammate"):
        detector.open(frame().ego, to, [message, message])
    with pytest.raises(InputError, match="teammates only, got one of the ego"):
        detector.open(frame().ego, to, [dataclasses.replace(message, sender=frame().ego.id)])
    with pytest.raises(InputError, match="expected a message of codec"):
        detector.open(frame().ego, to, [dataclasses.replace(message, codec="other")])
    with pytest.raises(InputError, match="expected tampered messages of"):
        detector.full(frame().ego, [frame().others[b]], to, [message])
    session = detector.open(frame().ego, to, [message])
    leaf: Tensor = torch.zeros(2)
    with pytest.raises(InputError, match=r"expected 'F' of .* to be"):
        session.logits({a: {"F": leaf}}, [frozenset({a})])
    with pytest.raises(InputError, match=r"expected payloads of \['F'\]"):
        session.logits({a: {"G": leaf}}, [frozenset({a})])
    with pytest.raises(InputError, match="expected a batch of an intermediate fusion dataset"):
        detector.frame({"other": 1})
    with pytest.raises(InputError, match="expected a dataset for its post_process"):
        detector.own({}, session.detect([frozenset()])[0])
