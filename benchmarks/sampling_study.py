"""Where do the laws of sampling miss? `python -m benchmarks.sampling_study`

Draws real subsets of named teammates, many searches a cell, at the paper's own number of trials, and compares how often
a clean (attacker-free) subset came up with what each law says: the paper's formula and the exact law against draws that
may repeat, the law without repeats against draws that do not. One exact binomial test a law and cell, all of them
under one Bonferroni correction: the chance of any false alarm in the whole study is at most `alpha`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import binomtest

from benchmarks.machine import Option, options, refusing
from robosac.budget import Law, success, trials
from robosac.errors import InputError
from robosac.types import Bool, keyed_rng

CHUNK: Final = 8_000_000  # random numbers held at a time


@dataclass(frozen=True)
class Cell:
    """A team, a subset size and the number of trials, with what the laws say and what the simulation counted.

    Keys are `Law.value`; `hits` are the searches, out of `runs`, that drew a clean subset. The paper's law and the
    independent one are held against the same searches.
    """

    teammates: int
    attackers: int
    subset: int
    n_trials: int
    runs: int
    says: dict[str, float]
    hits: dict[str, int]
    p_values: dict[str, float]
    rejected: dict[str, bool]


@dataclass(frozen=True)
class Study:
    """All cells of a study and its one correction: a law is rejected in a cell below `alpha / tests`."""

    runs: int
    seed: int
    confidence: float
    alpha: float
    tests: int
    cells: tuple[Cell, ...]

    def rejected(self, law: Law) -> list[Cell]:
        """The cells in which a law was rejected."""
        return [cell for cell in self.cells if cell.rejected[law.value]]


def grid(largest: int) -> Iterator[tuple[int, int, int]]:
    """Every (A, m, s) with at least one attacker and as many honest teammates as the subset needs, for A <= largest."""
    for teammates in range(2, largest + 1):
        for attackers in range(1, teammates):
            for subset in range(1, teammates - attackers + 1):
                yield teammates, attackers, subset


def draw_with_repeats(rng: np.random.Generator, shape: tuple[int, int], teammates: int, subset: int) -> Bool:
    """Subsets drawn uniformly and independently: membership `(runs, trials, teammates)`."""
    keys = rng.random((*shape, teammates), dtype=np.float32)
    chosen = np.argpartition(keys, subset - 1, axis=-1)[..., :subset]
    members = np.zeros(keys.shape, dtype=np.bool_)
    np.put_along_axis(members, chosen, True, axis=-1)
    return members


def draw_without_repeats(rng: np.random.Generator, shape: tuple[int, int], teammates: int, subset: int) -> Bool:
    """Subsets drawn uniformly, none twice in a run: membership `(runs, min(trials, all subsets), teammates)`."""
    runs, n_trials = shape
    everything = np.zeros((comb(teammates, subset), teammates), dtype=np.bool_)
    for row, members in enumerate(combinations(range(teammates), subset)):
        everything[row, list(members)] = True
    order = np.argsort(rng.random((runs, len(everything))), axis=-1)[:, :n_trials]
    return np.asarray(everything[order], dtype=np.bool_)


def count_hits(rng: np.random.Generator, law: Law, runs: int, n_trials: int, team: tuple[int, int, int]) -> int:
    """Searches in which at least one of the drawn subsets holds none of the attackers."""
    teammates, attackers, subset = team
    without = law is Law.NO_REPEATS
    draw = draw_without_repeats if without else draw_with_repeats
    width = max(n_trials * teammates, comb(teammates, subset) if without else 0)
    hits = 0
    for start in range(0, runs, step := max(1, CHUNK // width)):
        members = draw(rng, (min(step, runs - start), n_trials), teammates, subset)
        malicious = rng.permutation(teammates)[:attackers]  # who attacks must not matter
        hits += int((~members[..., malicious].any(axis=-1)).any(axis=-1).sum())
    return hits


def run_study(
    *, largest: int = 8, runs: int = 20_000, seed: int = 0, confidence: float = 0.99, alpha: float = 0.01
) -> Study:
    """Simulate every cell of `grid(largest)` at the paper's number of trials and test all laws together."""
    if largest < 2 or runs < 1 or not 0 < confidence < 1 or not 0 < alpha < 1:
        raise InputError(
            "expected largest >= 2, runs >= 1, confidence and alpha in (0, 1), got "
            f"{largest}, {runs}, {confidence}, {alpha}; correct them"
        )
    teams = list(grid(largest))
    tests = len(teams) * len(Law)
    cells = tuple(_cell(team, runs, seed, confidence, alpha / tests) for team in teams)
    return Study(runs, seed, confidence, alpha, tests, cells)


def _cell(team: tuple[int, int, int], runs: int, seed: int, confidence: float, level: float) -> Cell:
    n_trials = trials(*team, confidence, law=Law.PAPER).count
    assert n_trials is not None, "the grid holds cells with a clean subset only"
    says = {law.value: success(*team, n_trials, law=law) for law in Law}
    hits = {
        law.value: count_hits(keyed_rng(seed, "sampling study", law.value, *team), law, runs, n_trials, team)
        for law in (Law.INDEPENDENT, Law.NO_REPEATS)
    }
    hits[Law.PAPER.value] = hits[Law.INDEPENDENT.value]
    p_values = {law: float(binomtest(hits[law], runs, says[law]).pvalue) for law in says}
    return Cell(*team, n_trials, runs, says, hits, p_values, {law: p < level for law, p in p_values.items()})


def as_json(study: Study) -> dict[str, Any]:
    """The study as plain data, with the number of rejected cells by law."""
    return {**asdict(study), "rejected_cells": {law.value: len(study.rejected(law)) for law in Law}}


def show(study: Study) -> str:
    """The cells in which a law was rejected, and the count by law, as text."""
    n = len(study.cells)
    lines = [
        f"{n} cells, {study.runs:,} searches each, seed {study.seed}; {study.tests} exact binomial tests, "
        f"family-wise alpha {study.alpha:g} (each {study.alpha / study.tests:.2e})",
        "",
        "the paper's law is rejected in:",
        "  A  m  s   N  paper says  measured  exact law  p value",
    ]
    lines += [
        f"{c.teammates:3}{c.attackers:3}{c.subset:3}{c.n_trials:4}  {c.says['paper']:10.4f}  "
        f"{c.hits['paper'] / c.runs:8.4f}  {c.says['independent']:9.4f}  {_p(c.p_values['paper'])}"
        for c in study.rejected(Law.PAPER)
    ]
    lines.append("")
    for law in Law:
        smallest = min(cell.p_values[law.value] for cell in study.cells)
        lines.append(f"{law.value:12} rejected in {len(study.rejected(law)):3} of {n} cells, smallest p {_p(smallest)}")
    single = sum(cell.subset == 1 for cell in study.cells)
    lines.append(f"(with subsets of 1, {single} of the cells, the paper's law and the exact one are the same)")
    return "\n".join(lines)


def _p(value: float) -> str:
    return f"{value:.1e}" if value > 1e-300 else "<1e-300"


def main(args: Sequence[str] | None = None) -> int:
    """Print the study; exit code 1 where an exact law is rejected, 2 where the arguments are wrong."""
    asked = options(
        __doc__,
        args,
        largest=Option(8, "largest number of teammates A"),
        runs=Option(20_000, "searches a cell"),
        seed=0,
        json=Option(False, "print JSON instead of text"),
        out=Option(None, "also write the JSON to this file", kind=Path),
    )
    with refusing():
        study = run_study(largest=asked.largest, runs=asked.runs, seed=asked.seed)
    text = json.dumps(as_json(study), indent=2, allow_nan=False)
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n")
    print(text if asked.json else show(study))
    return int(bool(study.rejected(Law.INDEPENDENT) or study.rejected(Law.NO_REPEATS)))


if __name__ == "__main__":
    raise SystemExit(main())
