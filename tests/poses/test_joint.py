"""Several teammates at once: the ego's own pose never moves, and others only add to what the ego can see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from robosac.boxes import pose_xyz_rpy
from robosac.capabilities import Claim
from robosac.poses import Objects, Offset
from robosac.poses.graph import _CLAIM, _SOFT, Agent, _clusters, _Graph, solve
from robosac.poses.joint import JointCheck
from robosac.types import Detections, Float64, InputError
from tests.poses.scenes import LIMITS, cars, noisy, shown

PLACES = {"a": (8.0, 3.0), "b": (-10.0, 6.0), "c": (4.0, -12.0), "d": (-6.0, -9.0)}


def team(
    boxes: Float64, errors: dict[str, tuple[float, float]], *, seen: dict[str, slice] | None = None, noise: float = 0.1
) -> tuple[dict[str, Detections], dict[str, Claim], dict[str, Offset]]:
    """What teammates show, and claim, with these errors of their places."""
    found, claims, true = {}, {}, {}
    for k, (name, (x, y)) in enumerate(errors.items()):
        place = PLACES[name]
        off = Offset(x, y, 0.0, place)
        part = noisy(boxes[(seen or {}).get(name, slice(None))], 10 + k, noise, 1.0)
        found[name] = shown(off.boxes(part))
        claims[name] = Claim(off.matrix @ pose_xyz_rpy(*place, 0.0), 0.0)
        true[name] = off
    return found, claims, true


def left(offset: Offset, error: Offset) -> float:
    return float(np.hypot(offset.x_m + error.x_m, offset.y_m + error.y_m))


def test_a_majority_of_wrong_poses_that_agree_moves_neither_the_ego_nor_the_honest_one() -> None:
    boxes = cars(14)
    errors = {"a": (3.0, 1.0), "b": (3.0, 1.0), "c": (3.0, 1.0), "d": (0.0, 0.0)}
    found, claims, true = team(boxes, errors)
    verdicts = JointCheck().judge(shown(noisy(boxes, 1, 0.1, 1.0)), found, claims, None, *LIMITS)
    assert verdicts["d"].offset.metres < 0.2 and verdicts["d"].kind in ("fine", "corrected")
    for name in "abc":
        assert verdicts[name].kind == "corrected" and left(verdicts[name].offset, true[name]) < 0.15


def test_the_graph_is_exact_without_noise_and_its_slopes_are_its_differences() -> None:
    boxes = cars(8)
    found, claims, true = team(boxes, {"a": (1.0, -0.5), "b": (-0.8, 0.4)}, noise=0.0)
    agents = {
        n: Agent(Objects.of(found[n]), claims[n].ego_T_payload[:2, 3], -true[n].vector + [0.1, -0.1, 0.005])
        for n in found
    }
    own = Objects.of(shown(boxes))
    graph = _Graph(own, [agents[n] for n in sorted(agents)], _clusters(own, [agents[n] for n in sorted(agents)]))
    x = graph.start() + 0.02 * np.random.default_rng(0).normal(size=6 + 3 * graph.objects)
    steps = np.eye(len(x)) * 1e-6
    numeric = np.stack([(graph.residuals(x + s) - graph.residuals(x - s)) / 2e-6 for s in steps], axis=-1)
    _, by_agent, by_object = graph.linear(x)
    exact = np.zeros_like(numeric)
    for k, (owner, number) in enumerate(zip(graph.owner, graph.object, strict=True)):
        exact[k, :, 6 + 3 * number : 9 + 3 * number] = by_object[k]
        if owner:
            exact[k, :, 3 * owner - 3 : 3 * owner] = by_agent[k]
    np.testing.assert_allclose(exact, numeric, atol=1e-6 * np.abs(exact).max())
    for name, placed in solve(own, agents).items():
        assert np.hypot(*(placed.vector[:2] + true[name].vector[:2])) < 0.1
        assert placed.shares == {"": 8, "b" if name == "a" else "a": 8}


def test_the_graph_settles_where_scipy_does_and_knows_its_motions_as_well() -> None:
    boxes = cars(9)
    found, claims, true = team(boxes, {"a": (1.0, -0.5), "b": (-0.8, 0.4), "c": (0.1, 0.0)}, noise=0.2)
    agents = {n: Agent(Objects.of(found[n]), claims[n].ego_T_payload[:2, 3], -true[n].vector) for n in found}
    own, names = Objects.of(shown(noisy(boxes, 1))), sorted(agents)
    graph = _Graph(own, [agents[n] for n in names], _clusters(own, [agents[n] for n in names]))

    def every(x: Float64) -> Float64:
        return np.concatenate([graph.residuals(x).ravel(), (x[:9].reshape(3, 3) * _CLAIM).ravel()])

    second = least_squares(every, graph.start(), loss="cauchy", f_scale=_SOFT, xtol=1e-12, ftol=1e-12, gtol=1e-10)
    weighted = np.stack([(every(second.x + s) - every(second.x - s)) / 2e-6 for s in np.eye(len(second.x)) * 1e-6], -1)
    weighted /= np.sqrt(1 + (every(second.x) / _SOFT) ** 2)[:, None]
    covariance = np.linalg.pinv(weighted.T @ weighted)
    for k, name in enumerate(names):
        placed, at = solve(own, agents)[name], slice(3 * k, 3 * k + 3)
        np.testing.assert_allclose(placed.vector, second.x[at], atol=1e-4)
        np.testing.assert_allclose(placed.covariance, covariance[at, at], rtol=1e-3, atol=1e-9)


def test_the_graph_knows_better_than_pairs_do() -> None:
    """An object that three agents show is where all of them say."""
    boxes, pairs, graph = cars(6), [], []
    for seed in range(6):
        found, claims, true = team(boxes, {"a": (2.0, 0.0), "b": (0.0, 0.0), "c": (0.0, 0.0)}, noise=0.15)
        own = shown(noisy(boxes, 50 + seed, 0.3, 2.0))
        for check, kept in ((JointCheck(witnesses=0), graph),):
            verdicts = check.judge(own, found, claims, None, *LIMITS)
            kept.append(left(verdicts["a"].offset, true["a"]))
        alone = check.alone.judge(check.alone.look(own, found["a"], claims["a"]), found["a"], *LIMITS)
        pairs.append(left(alone.offset, true["a"]))
    assert np.mean(graph) <= np.mean(pairs) + 0.02


SEEN = {"a": slice(0, 10), "b": slice(0, 10), "c": slice(0, 10), "d": slice(6, 14)}  # the ego: 0 to 6


def hidden(errors: dict[str, tuple[float, float]], witnesses: int = 2) -> tuple[dict[str, object], dict[str, Offset]]:
    boxes = cars(14, 3)
    found, claims, true = team(boxes, errors, seen=SEEN)
    own = shown(noisy(boxes[:6], 1, 0.1, 1.0))
    return dict(JointCheck(witnesses=witnesses).judge(own, found, claims, None, *LIMITS)), true


def test_a_teammate_that_shares_nothing_with_the_ego_is_mended_by_two_that_do() -> None:
    verdicts, true = hidden({"a": (0.0, 0.0), "b": (2.0, 1.0), "c": (0.0, 0.0), "d": (2.0, -2.0)})
    assert verdicts["d"].kind == "corrected" and verdicts["d"].witnesses <= set("abc")  # type: ignore[attr-defined]
    assert len(verdicts["d"].witnesses) >= 2  # type: ignore[attr-defined]
    assert [i for i, v in verdicts.items() if v.hearsay] == ["d"]  # type: ignore[attr-defined]
    assert left(verdicts["d"].offset, true["d"]) < 0.25  # type: ignore[attr-defined]


def test_one_witness_is_not_enough_and_nobody_is_refused_on_the_word_of_others() -> None:
    alone, _ = hidden({"a": (0.0, 0.0), "d": (2.0, -2.0)})
    assert alone["d"].kind == "unknown"  # type: ignore[attr-defined]
    boxes = cars(14, 3)
    found, claims, _ = team(boxes, {"a": (0, 0), "b": (0, 0), "c": (0, 0), "d": (0, 0)}, seen=SEEN)
    for name in "abc":  # all three show what only they and d see five metres away, each elsewhere
        moved = np.array(found[name].boxes)
        moved[6:, :2] += {"a": (5.0, 0.0), "b": (0.0, 5.0), "c": (-5.0, 0.0)}[name]
        found[name] = shown(moved)
    verdict = JointCheck().judge(shown(boxes[:6]), found, claims, None, *LIMITS)["d"]
    assert verdict.kind == "unknown"


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="expected witnesses and deviations to be >= 0"):
        JointCheck(witnesses=-1)
