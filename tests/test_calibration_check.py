"""Calibration keeps its promise on frames it has not seen: a small version of `benchmarks.calibration_check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration_check import Cell, bar, chance, check, draws, gather, resplit, table
from robosac.detectors.fusion.late import LateFusion
from robosac.types import Detector, Frame, keyed_rng
from tests.detectors.plain import cars, frame, on_open_ground
from tests.toy import ToyDetector
from tests.toy import frame as toy_frame

ALPHA, N = 0.1, 120


def late_frames(role: str) -> Iterator[Frame]:
    """Honest agents that each miss some of the cars and are a little off about the rest."""
    for k in range(N):
        rng = keyed_rng(0, role, k)
        cars_there = rng.uniform(-30, 30, (int(rng.integers(4, 12)), 2))
        seen = {}
        for name in ("ego", "a", "b", "c"):
            here = cars_there[rng.random(len(cars_there)) < 0.8] + rng.normal(0, 0.3, 2)
            seen[name] = [(float(x), float(y), float(rng.uniform(0.3, 1.0))) for x, y in here]
        yield replace(on_open_ground(frame(**seen)), scenario=f"{role} {k}")


def toy_frames(role: str) -> Iterator[Frame]:
    for k in range(N):
        rng = keyed_rng(1, role, k)
        cars_there = rng.uniform(-30, 30, (12, 2))
        shown = {i: [tuple(c) for c in cars_there[rng.random(12) < 0.7]] for i in ("ego", "a", "b", "c")}
        yield toy_frame(shown, scenario=f"{role} {k}")


@pytest.mark.parametrize(
    ("detector", "frames"),
    [(LateFusion(cars, name="late"), late_frames), (ToyDetector(), toy_frames)],
    ids=["late fusion", "score maps"],
)
def test_honest_frames_are_refused_as_often_as_promised(detector: Detector, frames) -> None:  # type: ignore[no-untyped-def]
    ours, others = (gather(detector, frames(role), 0, "check") for role in ("ours", "others"))
    cells = check(detector.name, ours, others, ALPHA)
    assert len(cells) == 3 * 3 and all(c.frames == c.others == N for c in cells)
    assert all(c.ok for c in cells), table(cells)
    assert np.mean([c.rate for c in cells]) < 1.5 * ALPHA
    assert any(c.refused for c in cells)  # thresholds do bind


def test_the_bar_and_the_chance_by_hand() -> None:
    assert bar(0.1, 100) == pytest.approx(0.1 + 3 * 0.03)
    assert chance(0, 10, 19, 0.1) == pytest.approx(1.0)
    # one calibration frame in two: of one further frame, refused with probability k / (n + 1) = 1/2
    assert chance(1, 1, 1, 0.5) == pytest.approx(0.5)
    # n = 3, k = 2, two further frames: all C(5, 2) orders alike, both below the second smallest of three in 3 of 10
    assert chance(2, 2, 3, 0.5) == pytest.approx(3 / 10)


def test_the_chance_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    n, m, k = 50, 40, 5
    ours = np.sort(rng.random((20_000, n)), axis=1)[:, k - 1]
    refused = (rng.random((20_000, m)) < ours[:, None]).sum(axis=1)
    for r in (2, 5, 9):
        assert chance(r, m, n, 0.1) == pytest.approx(float((refused >= r).mean()), abs=0.01)


def test_a_cell_over_the_bar_is_called_so() -> None:
    few, many = (Cell("first", "d", "m", size, 0.5, size, 200, 200, 0.02) for size in (9, 10))
    assert few.ok and not many.ok and "0.050*" in table([many]) and "0.045 " in table([few])
    assert "1 of 2 cells over it" in table([few, many])
    assert f"10 of 200 refused, P(as many or more) = {chance(10, 200, 200, 0.02):.4f}" in table([few, many])


def test_a_draw_goes_both_ways() -> None:
    agreements = {"m": {1: [*np.linspace(0.5, 1.0, 20), *np.linspace(0.0, 0.5, 20)]}}
    there, back = draws("d", "split", agreements, 20, 0.1)
    assert (there.refused, back.refused) == (20, 0) and (there.draw, back.draw) == ("split", "split, back")
    assert there.threshold > 0.5 > back.threshold
    # whichever way they are drawn, k of n + 1 = 2 of 21 are refused on average
    said = resplit("d", [agreements], 20, 0.1)
    assert float(said.split("rate ")[1].split(",")[0]) == pytest.approx(2 / 21, abs=0.02)
