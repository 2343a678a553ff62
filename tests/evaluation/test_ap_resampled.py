"""AP of resampled scenes: what a replicate is, and where it is defined."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.evaluation.ap import FP, TP, FrameMatches, ap_replicates, average_precision
from robosac.evaluation.bootstrap import Estimate, scene_weights
from robosac.types import InputError
from tests.evaluation.test_ap import frame


def bootstrapped(**scenes: list[FrameMatches]) -> Estimate | None:
    replicated = ap_replicates(scenes, scene_weights(len(scenes), np.random.default_rng(0), 50))[0.5]
    return replicated and replicated.estimate()


def test_one_scene_has_no_interval_however_many_frames() -> None:
    scene = [frame([0.9, 0.8, 0.7], [TP, FP, TP], 3)]
    for frames in (scene, scene * 9):
        estimate = bootstrapped(a=frames)
        assert (estimate.low, estimate.high) == (None, None)
        assert estimate.value == average_precision(frames)[0.5]
    assert bootstrapped(a=scene, b=scene).low == pytest.approx(estimate.value)  # two equal ones have one, of no width


def test_a_resample_is_defined_where_it_holds_an_object() -> None:
    scenes = {"a": [frame([0.9], [TP], 1)], "b": [frame([0.9], [FP], 0)]}
    scenes["c"] = [frame([], [], 1)]
    replicated = ap_replicates(scenes, np.array([[1, 1, 0], [2, 0, 0], [0, 2, 0]]))[0.5]
    assert replicated.replicates.tolist() == [0.5, 1.0, 0.0] and replicated.defined.tolist() == [True, True, False]


def test_bootstrap_weights_equal_repeating_the_scenes() -> None:
    """The replicate of multiplicities w is the AP of a data set in which scene k occurs w_k times."""
    rng = np.random.default_rng(5)
    scenes = {
        f"s{k}": [frame(np.round(rng.random(6), 1).tolist(), rng.integers(-1, 2, 6).tolist(), 7) for _ in range(2)]
        for k in range(4)
    }
    weights = scene_weights(4, rng, 300)  # more than one block
    replicated = ap_replicates(scenes, weights)[0.5]
    for row in range(0, 300, 37):
        repeated = [f for k, name in enumerate(sorted(scenes)) for f in scenes[name] * int(weights[row, k])]
        assert replicated.replicates[row] == pytest.approx(average_precision(repeated)[0.5], abs=1e-12)
    assert replicated.value == pytest.approx(
        average_precision([f for rows in scenes.values() for f in rows])[0.5], abs=1e-12
    )


def test_resamples_are_paired_by_name_whatever_the_order_of_the_scenes() -> None:
    scenes = {"a": [frame([0.9], [TP], 1)], "b": [frame([0.9], [FP], 3)]}
    weights = scene_weights(2, np.random.default_rng(1), 20)
    forth, back = ap_replicates(scenes, weights)[0.5], ap_replicates(dict(reversed(scenes.items())), weights)[0.5]
    assert np.array_equal(forth.replicates, back.replicates) and np.ptp(forth.replicates) > 0


def test_bootstrap_without_truth_is_undefined_and_resamples_without_truth_are_left_out() -> None:
    empty, full = [frame([0.5], [FP], 0)], [frame([0.9], [TP], 1)]
    assert bootstrapped(a=empty, b=empty) is None
    estimate = bootstrapped(a=empty, b=full, c=full)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)
    estimate = bootstrapped(a=empty, b=full)  # which is one scene, as far as objects go
    assert (estimate.value, estimate.low, estimate.high) == (1.0, None, None)


def test_wrong_weights_are_refused() -> None:
    for weights in (np.ones((1, 2)), np.ones(1)):
        with pytest.raises(InputError, match="a column a scene"):
            ap_replicates({"a": []}, weights)
    with pytest.raises(InputError, match="at least one scene"):
        bootstrapped()
