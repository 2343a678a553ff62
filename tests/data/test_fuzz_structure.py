"""Edited content: read as an independent reader reads it, or refused; `benchmarks/fuzz.py --structure` does more."""

import numpy as np
import pytest

from benchmarks import fuzz_structure
from benchmarks.fuzz_meaning import RefusedError, boxes_of, numbers
from benchmarks.fuzz_structure import CASES, campaign, judged


@pytest.mark.parametrize("kind", CASES)
def test_edited_content_means_what_it_says(kind, tmp_path):
    for seed in range(4 if kind == "checkpoint" else 120):
        _, finding = judged(kind, np.random.default_rng([9, seed]), tmp_path)
        assert finding is None, finding


def test_both_outcomes_occur_and_a_wrong_reader_is_found(monkeypatch):
    found = campaign(120, 3)
    assert found["cases"] == 120 and not found["findings"]
    assert {"opv2v: read", "opv2v: refused", "dair: read", "dair: refused"} <= set(found["outcomes"])
    monkeypatch.setattr(fuzz_structure, "opv2v_means", lambda tree: [(1.0,) * 6])
    assert any("changed its meaning" in f for f in campaign(60, 3)["findings"])


def test_the_independent_reader_by_hand():
    pose, size = np.eye(4), np.array([4.0, 2.0, 1.5])
    away = pose.copy()
    away[0, 3] = 10
    assert boxes_of([("7", pose, size), (None, pose, size), ("8", away, size), ("9", away, 0 * size)]) == [
        (0, 0, 0, 4, 2, 1.5), (10, 0, 0, 4, 2, 1.5),
    ]  # fmt: skip
    assert numbers([1, "2", 3.5], 3).tolist() == [1, 2, 3.5]
    for wrong in ([1, True, 3], [1, None, 3], [1, [2], 3], [1, 2], "123", [1, "x", 3]):
        with pytest.raises(RefusedError):
            numbers(wrong, 3)
