"""Rules of aggregation and robust rules: identities, hand-made cases, and what each must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.fleet.aggregation import AGGREGATIONS, FedAvgFactors, FlexLora, HetLora, RankWeighted, sample_weights
from robosac.fleet.attackers import regauged
from robosac.fleet.lowrank import LowRankUpdate, norm, stacked
from robosac.fleet.robust import ROBUST, Clipped, CosineTrust, GeometricMedian, MultiKrum
from robosac.types import InputError
from tests.fleet.test_lowrank import relative, updates

WEIGHTS = [0.1, 0.2, 0.3, 0.4]


def test_flexlora_is_the_average_of_the_products() -> None:
    given = updates((20, 30))
    average = sum(w * u.dense for w, u in zip(WEIGHTS, given, strict=True))
    assert relative(FlexLora().merge(given, WEIGHTS).dense, np.asarray(average)) < 1e-12


def test_averages_of_factors_are_those_of_products_at_one_rank_and_one_gauge_alone() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 30))
    same = [LowRankUpdate(rng.normal(size=(20, 3)), a, 2.0, 1) for _ in range(4)]  # all clients kept their a
    flex = FlexLora().merge(same, WEIGHTS).dense
    assert relative(FedAvgFactors().merge(same, WEIGHTS).dense, flex) < 1e-12
    turned = [regauged(u, rng) for u in same]
    assert relative(FlexLora().merge(turned, WEIGHTS).dense, flex) < 1e-9
    assert relative(FedAvgFactors().merge(turned, WEIGHTS).dense, flex) > 0.1
    with pytest.raises(InputError, match="expected updates of one rank"):
        FedAvgFactors().merge(updates((20, 30)), WEIGHTS)


def test_hetlora_of_one_client_is_that_client() -> None:
    one = updates((20, 30), (4,))
    assert relative(HetLora().merge(one, [1.0]).dense, one[0].dense) < 1e-12


@pytest.mark.parametrize("name", ["flexlora", "rank-weighted", "stacking"])
def test_rules_on_products_do_not_see_the_gauge(name: str) -> None:
    rng = np.random.default_rng(1)
    given = updates((20, 30))
    merged, other = (AGGREGATIONS[name].merge(x, WEIGHTS).dense for x in (given, [regauged(u, rng) for u in given]))
    assert relative(merged, other) < 1e-8


def test_rank_weights_divide_by_who_carried_a_direction() -> None:
    u, v = np.eye(8), np.eye(9)
    small = LowRankUpdate(u[:, :1] * 4.0, v[:1], 1.0, 3)  # carries the first direction alone
    large = LowRankUpdate(u[:, :2] * 4.0, v[:2], 1.0, 1)  # carries two
    weights = sample_weights([small, large])
    assert np.allclose(np.diag(FlexLora().merge([small, large], weights).dense)[:3], [4, 1, 0])
    assert np.allclose(np.diag(RankWeighted().merge([small, large], weights).dense)[:3], [4, 4, 0])
    ranks = [LowRankUpdate(x.b, x.a, x.scale, 1) for x in updates((20, 30), (5, 5))]
    both = [ranks[0], LowRankUpdate(ranks[1].b, ranks[0].a, 2.0, 1)]  # all carry the same rows
    flex = FlexLora().merge(both, [0.5, 0.5]).dense
    assert relative(RankWeighted().merge(both, [0.5, 0.5]).dense, flex) < 1e-9


def test_rank_weights_do_not_blow_up_where_rows_nearly_agree() -> None:
    rng = np.random.default_rng(3)
    base = updates((20, 30), (4,))[0]
    near = [LowRankUpdate(base.b, base.a + 1e-6 * rng.normal(size=base.a.shape), base.scale, 1) for _ in range(6)]
    merged = RankWeighted().merge(near, [1 / 6] * 6)
    assert norm(merged) < 1.01 * norm(base)


def test_a_client_is_given_what_it_can_hold() -> None:
    given = updates((20, 30))
    for rule in (FlexLora(), HetLora(), RankWeighted()):
        cut = rule.cut(rule.merge(given, WEIGHTS), 2, scale=8.0)
        assert (cut.rank, cut.scale, cut.shape) == (2, 8.0, (20, 30))
        again = rule.merge([cut], [1.0])
        assert relative(rule.cut(again, 2, scale=8.0).dense, cut.dense) < 1e-9
    with pytest.raises(InputError, match="got 0 samples"):
        sample_weights([LowRankUpdate(np.zeros((1, 1)), np.zeros((1, 1)), 1.0, 0)])


# ------------------------------------------------------------------------------------------------------ robust rules
POINTS = np.array([[1.0, 0.0], [1.1, 0.1], [0.9, -0.1], [1.0, 0.1], [1.0, -0.1], [-30.0, 2.0]])
SHARES = [1 / 6] * 6


def test_clipping_cuts_what_is_longer_than_the_median() -> None:
    trust = Clipped().trust(POINTS @ POINTS.T, SHARES)
    lengths = np.linalg.norm(POINTS, axis=1) * trust.factors
    assert lengths[5] == pytest.approx(np.median(np.linalg.norm(POINTS, axis=1)))
    assert trust.weights == pytest.approx(SHARES)


def test_krum_and_cosine_leave_the_far_one_out() -> None:
    gram = POINTS @ POINTS.T
    for rule in (MultiKrum(attackers=1), CosineTrust()):
        weights = rule.trust(gram, SHARES).weights
        assert weights[5] == 0 and sum(weights) == pytest.approx(1) and min(weights[:5]) > 0
    assert MultiKrum(attackers=1).trust(np.eye(2), [0.5, 0.5]).weights == pytest.approx((0.5, 0.5))  # too few to choose


def test_weiszfeld_on_the_gram_matrix_finds_the_geometric_median() -> None:
    weights = np.array(GeometricMedian(iterations=2000).trust(POINTS @ POINTS.T, SHARES).weights)
    found = weights @ POINTS

    def cost(x: np.ndarray) -> float:
        return float(np.linalg.norm(POINTS - x, axis=1).sum())

    nudges = [np.array([dx, dy]) for dx in (-0.01, 0.0, 0.01) for dy in (-0.01, 0.0, 0.01)]
    assert cost(found) <= min(cost(found + d) for d in nudges) + 1e-6
    assert np.linalg.norm(found - [1, 0]) < 0.12


@pytest.mark.parametrize("times", [1e3, 1e10, 1e30])
def test_one_of_six_moves_the_geometric_median_no_further_however_long_its_step_is(times: float) -> None:
    points = POINTS * np.array([[1], [1], [1], [1], [1], [times]])
    found = np.array(GeometricMedian().trust(points @ points.T, SHARES).weights) @ points
    assert np.linalg.norm(found - [1, 0]) < 0.2


@pytest.mark.parametrize("rule", ROBUST.values(), ids=ROBUST)
def test_equal_steps_are_all_trusted_alike(rule: object) -> None:
    step = stacked(updates((10, 12)), WEIGHTS)
    gram = np.full((4, 4), norm(step) ** 2)
    trust = rule.trust(gram, [0.25] * 4)  # type: ignore[attr-defined]
    entering = np.array(trust.weights) * trust.factors
    assert entering.sum() == pytest.approx(1)  # the merged step is that of everybody
    assert sum(trust.weights) == pytest.approx(1)
