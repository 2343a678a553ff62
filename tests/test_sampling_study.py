"""A small sampling study: the exact laws stand, the paper's falls where subsets have two members or more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from benchmarks.sampling_study import draw_with_repeats, draw_without_repeats, grid, main, run_study
from robosac.budget import Law, success
from robosac.errors import InputError


def test_the_exact_laws_stand_and_the_papers_falls() -> None:
    study = run_study(largest=5, runs=4000, seed=1)
    assert len(study.cells) == 20
    assert study.tests == 60
    assert study.rejected(Law.INDEPENDENT) == []
    assert study.rejected(Law.NO_REPEATS) == []
    missed = {(c.teammates, c.attackers, c.subset) for c in study.rejected(Law.PAPER)}
    assert {(5, 1, 4), (5, 2, 3), (5, 3, 2), (4, 1, 3)} <= missed
    assert all(subset > 1 for _, _, subset in missed)  # with subsets of one the laws are the same


def test_a_wrong_law_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = success
    monkeypatch.setattr("benchmarks.sampling_study.success", lambda *team, law: min(1.0, 1.01 * right(*team, law=law)))
    study = run_study(largest=4, runs=4000)
    assert study.rejected(Law.INDEPENDENT)


def test_same_seed_same_study() -> None:
    assert run_study(largest=3, runs=200, seed=3) == run_study(largest=3, runs=200, seed=3)
    assert run_study(largest=3, runs=200, seed=3) != run_study(largest=3, runs=200, seed=4)


def test_real_subsets_are_drawn_uniformly() -> None:
    rng = np.random.default_rng(0)
    weights = 1 << np.arange(5)
    for draw, repeats in ((draw_with_repeats, True), (draw_without_repeats, False)):
        members = draw(rng, (3000, 6), 5, 2)
        assert members.shape == (3000, 6, 5)
        assert (members.sum(axis=-1) == 2).all()
        codes = members @ weights
        _, counts = np.unique(codes[:, -1], return_counts=True)
        assert len(counts) == 10
        assert chisquare(counts).pvalue > 1e-3
        twice = [len(set(row)) < 6 for row in codes.tolist()]
        assert any(twice) == repeats
    assert draw_without_repeats(rng, (2, 99), 5, 2).shape == (2, 10, 5)


def test_the_grid_has_a_clean_subset_in_each_cell() -> None:
    assert list(grid(3)) == [(2, 1, 1), (3, 1, 1), (3, 1, 2), (3, 2, 1)]


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "study.json"
    assert main(["--largest", "3", "--runs", "500", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "4 cells, 500 searches each" in text
    assert "paper's law is rejected in" in text
    study = json.loads(out.read_text())
    assert study["rejected_cells"]["independent"] == 0
    assert main(["--largest", "3", "--runs", "500", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == study


def test_studies_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="expected largest >= 2, runs >= 1"):
        run_study(largest=1)
    with pytest.raises(SystemExit) as stopped:
        main(["--runs", "0"])
    assert stopped.value.code == 2
    assert "expected largest >= 2" in capsys.readouterr().err
