"""Half of the frames are disturbed for the statistics that ask it; and thresholds at other levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.agreement import BoxJaccard
from robosac.calibration import Thresholds, WithEgo, fit
from robosac.cli import calibrate
from robosac.cli.calibrate import USUAL_NOISE, Calibrate, scores_of
from robosac.data.noise import Disturbance
from robosac.registry.frames import disturbance
from robosac.types import BevGrid, Frame, InputError, Session, Subset, View
from tests.toy import ToyDetector, frame


@dataclass(frozen=True)
class WhereIsTheEgo:
    """A statistic that tells which frame it is asked of."""

    name: str
    disturbed: bool

    def scores(self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]) -> list[float]:
        return [float(ego.world_T_sensor[0, 3])] * len(subsets)


EXACTLY, NOISY = WhereIsTheEgo("exactly", False), WhereIsTheEgo("noisy", True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Disturbance]:
    """Frame k has its ego at x = k, or at 100 + k where it is disturbed; notes how it is to be."""
    heard: list[Disturbance] = []

    def frames(*args: Any) -> list[Frame]:
        how: Disturbance = args[5]
        off = 100 * (how.pose_noise is not None)
        heard.extend([how] if off else [])
        made = []
        for k in range(6):
            seen = frame({"ego": [(1, 1)], "a": [(1, 1)], "b": [(9, 9)]}, scenario=f"s{k}")
            pose = np.eye(4)
            pose[0, 3] = k + off
            others = {i: replace(v, world_T_sensor=pose) for i, v in seen.others.items()}
            made.append(replace(seen, ego=replace(seen.ego, world_T_sensor=pose), others=others))
        return made

    monkeypatch.setattr(calibrate, "cached_frames", frames)
    monkeypatch.setattr(calibrate, "cached_detector", lambda *_: ToyDetector())
    monkeypatch.setattr(calibrate, "statistics_of", lambda *_: [EXACTLY, NOISY])
    return heard


def scores(settings: Calibrate, side: int = 0) -> dict[str, list[float | None]]:
    """What each statistic said of subsets of one, by frame."""
    found = [scores_of(settings, (k, (k + 3) % 6))[side] for k in range(6)]
    return {s.name: [by[s.name][1][0] if s.name in by else None for by in found] for s in (EXACTLY, NOISY)}


def test_every_second_frame_is_disturbed_for_who_asks_it(asked: list[Disturbance]) -> None:
    assert scores(Calibrate(seed=3)) == {"exactly": [0, 1, 2, 3, 4, 5], "noisy": [0, 101, 2, 103, 4, 105]}
    assert set(asked) == {disturbance(USUAL_NOISE, 1, 3)}  # teammates of a simulated scene are late, too


def test_an_attack_is_measured_on_exact_frames(asked: list[Disturbance]) -> None:
    found = scores(Calibrate(), side=1)
    assert found == {"exactly": [0, 1, 2, 3, 4, 5], "noisy": [0, None, 2, None, 4, None]}


def test_where_all_frames_are_disturbed_no_half_is_apart(asked: list[Disturbance]) -> None:
    everywhere = [100, 101, 102, 103, 104, 105]
    assert scores(Calibrate(pose_noise="1,2")) == {"exactly": everywhere, "noisy": everywhere}
    assert set(asked) == {disturbance("1,2", 0, 0)}
    assert scores(Calibrate(delay=2))["noisy"] == [0, 1, 2, 3, 4, 5]


def test_a_data_sets_frames_are_noisy_and_none_of_ones_own(asked: list[Disturbance], tmp_path: Path) -> None:
    assert scores(Calibrate(data=str(tmp_path)))["noisy"] == [0, 101, 2, 103, 4, 105]
    assert set(asked) == {disturbance(USUAL_NOISE, 0, 0)}  # earlier frames are not at hand for every one
    asked.clear()
    assert scores(Calibrate(data="mine:frames"))["noisy"] == [0, 1, 2, 3, 4, 5] and not asked


def test_the_agreement_of_disturbed_frames_is_another_statistic() -> None:
    exact, noisy = WithEgo(BoxJaccard()), WithEgo(BoxJaccard(), disturbed=True)
    assert exact.name == BoxJaccard().name and noisy.name != exact.name and not exact.disturbed


# ------------------------------------------------------------------------------------------------- other levels
values = st.lists(st.floats(-5, 5), min_size=19, max_size=60)
levels = st.sampled_from([0.05, 0.1, 0.2, 0.3, 0.5])


def read(scores: list[float], alpha: float) -> Thresholds:
    return fit("toy", {"x": {2: scores}}, alpha=alpha).measures["x"]


@given(values, levels, levels)
def test_a_threshold_at_another_level_is_that_of_a_calibration_at_it(
    scores: list[float], alpha: float, other: float
) -> None:
    made = read(scores, alpha)
    assert made.threshold_at(2, alpha) == made.threshold(2)
    for size in (1, 2, 5):  # sizes never calibrated go by the nearest
        assert made.threshold_at(size, other) == read(scores, other).threshold(size)


@given(values, levels, levels)
def test_who_refuses_more_asks_for_more(scores: list[float], a: float, b: float) -> None:
    made = read(scores, 0.1)
    assert (made.threshold_at(2, a) <= made.threshold_at(2, b)) or a > b
    assert made.p_value(2, np.nextafter(made.threshold_at(2, a), -9)) <= a  # below it, it is refused


def test_too_few_scores_or_none_are_told() -> None:
    made = read([0.0] * 9, 0.1)
    with pytest.raises(InputError, match=r"expected at least 19 honest frames for alpha=0\.05, got 9"):
        made.threshold_at(2, 0.05)
    with pytest.raises(InputError, match="expected a calibration with its scores, got none; make it again"):
        replace(made, scores={}).threshold_at(2, 0.1)
