"""Older tables' AP on cases computed by hand. `tests/adapters/test_ap_compat.py` compares with the originals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robosac.evaluation.ap import average_precision as our_ap
from robosac.evaluation.ap import match_frame
from robosac.evaluation.compat import MODES, Scene, average_precision, left_out
from robosac.types import Array, Detections, InputError

GLOBAL = [m for m in MODES if m != "opencood_local"]


def cars(*x_m: float) -> Array:
    """Cars `(N, 7)` of 4 x 2 m along x, so that two d metres apart have an IoU of (4 - d) / (4 + d)."""
    out = np.zeros((len(x_m), 7), np.float32)
    out[:, 0], out[:, 3:6] = x_m, (4, 2, 1.5)
    return out


def frame(found: dict[float, float], *truth: float) -> Scene:
    """`found`: place of a detection -> its score; `truth`: places of the objects."""
    return Detections(cars(*found), np.array(list(found.values()), np.float32)), cars(*truth)


def ap(mode: str, *frames: Scene, threshold: float = 0.5) -> float | None:
    return average_precision(frames, mode, [threshold])[threshold]


@pytest.mark.parametrize("mode", MODES)
def test_finding_everything_is_one_and_finding_nothing_zero(mode: str) -> None:
    assert ap(mode, frame({0: 0.9, 20: 0.8}, 0, 20), frame({5: 0.1}, 5)) == 1.0
    assert ap(mode, frame({10: 0.9}, 0, 20)) == 0.0


@pytest.mark.parametrize("mode", MODES)
def test_the_area_by_hand(mode: str) -> None:
    """TP, FP, TP of three objects: recall 1/3 at precision 1, then 2/3 at precision 2/3; the third is never found."""
    one = frame({0: 0.9, 50: 0.8, 20: 0.7}, 0, 20, 40)
    assert ap(mode, one) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3, abs=1e-7)


def test_frames_in_their_order_are_another_figure() -> None:
    """A poor frame first: sorted over all frames its mistakes come last, in frame order they come first."""
    poor, good = frame({0: 0.2, 10: 0.1}), frame({0: 0.9, 20: 0.8}, 0, 20)
    assert ap("opencood_local", poor, good) == pytest.approx(0.5)
    assert ap("opencood_local", good, poor) == 1.0
    for frames in ((poor, good), (good, poor)):
        assert ap("opencood_global", *frames) == ap("coperception", *frames) == 1.0


def test_who_is_silenced_drops_out_of_coperceptions_figure() -> None:
    seen, silent = frame({0: 0.9}, 0), frame({}, 0, 20, 40)
    assert ap("opencood_global", seen, silent) == pytest.approx(1 / 4)
    assert ap("coperception", seen, silent) == 1.0
    assert left_out([seen, silent, frame({3: 0.5})], "coperception") == (2, 3)
    assert left_out([seen, silent], "opencood_global") == (0, 0)


def test_mistakes_where_nothing_is_drop_out_too() -> None:
    ghosts = frame({0: 0.95, 20: 0.94})
    assert ap("opencood_global", ghosts, frame({0: 0.9}, 0)) == pytest.approx(1 / 3)
    assert ap("coperception", ghosts, frame({0: 0.9}, 0)) == 1.0


def test_coperceptions_detections_do_not_take_their_second_best() -> None:
    """Objects at 0 and 1, detections at 0.4 and 0.3: both overlap the first most; OpenCOOD's second takes the other."""
    crowd = frame({0.4: 0.9, 0.3: 0.8}, 0, 1)
    assert ap("opencood_global", crowd) == ap("opencood_local", crowd) == 1.0
    assert ap("coperception", crowd) == pytest.approx(0.5)


@pytest.mark.parametrize("mode", MODES)
def test_a_second_box_on_one_car_is_a_mistake(mode: str) -> None:
    assert ap(mode, frame({0: 0.9, 0.001: 0.8, 20: 0.7}, 0, 20)) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3, abs=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_overlap_counts_from_the_threshold_on(mode: str) -> None:
    shifted = frame({1.0: 0.9}, 0)  # IoU 3 / 5
    assert ap(mode, shifted, threshold=0.6) == 1.0
    assert ap(mode, shifted, threshold=0.61) == 0.0


@pytest.mark.parametrize("mode", MODES)
def test_without_an_object_ap_is_undefined(mode: str) -> None:
    assert average_precision([], mode) == {0.3: None, 0.5: None, 0.7: None}
    assert ap(mode, frame({0: 0.9})) is None


def test_all_silent_is_zero_and_in_coperception_undefined() -> None:
    assert ap("opencood_global", frame({}, 0)) == ap("opencood_local", frame({}, 0)) == 0.0
    assert ap("coperception", frame({}, 0)) is None


def _random(seed: int) -> list[Scene]:
    """Objects far apart and detections near them; scores all different, over all frames."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(1000).astype(np.float32) / 1000)
    frames = []
    for _ in range(rng.integers(1, 7)):
        truth = cars(*(20.0 * np.arange(rng.integers(0, 5))))
        n = int(rng.integers(0, 7))
        found = cars(*(20.0 * rng.integers(0, 5, n) + rng.normal(0, 1, n)))
        frames.append((Detections(found, np.array([next(scores) for _ in range(n)], np.float32)), truth))
    return frames


scenes = st.integers(0, 2**32 - 1).map(_random)


@given(scenes, st.sampled_from([0.3, 0.5, 0.7]))
def test_objects_apart_and_scores_all_different_give_our_own_figure(frames: list[Scene], threshold: float) -> None:
    ours = our_ap([match_frame(d, t, thresholds=[threshold]) for d, t in frames])[threshold]
    theirs = ap("opencood_global", *frames, threshold=threshold)
    assert theirs == (None if ours is None else pytest.approx(ours, abs=1e-12))
    both = [(d, t) for d, t in frames if len(d) and len(t)]
    counted = our_ap([match_frame(d, t, thresholds=[threshold]) for d, t in both])[threshold] if both else None
    assert ap("coperception", *frames, threshold=threshold) == (
        None if counted is None else pytest.approx(counted, abs=1e-6)
    )


@given(scenes, st.randoms())
def test_only_the_local_mode_depends_on_the_order_of_frames(frames: list[Scene], random: object) -> None:
    shuffled = list(frames)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for mode in GLOBAL:
        before, after = ap(mode, *frames), ap(mode, *shuffled)
        assert after == (None if before is None else pytest.approx(before, abs=1e-6))


def test_wrong_uses() -> None:
    with pytest.raises(
        InputError, match="expected a mode among opencood_local, opencood_global, coperception, got 'coco'"
    ):
        average_precision([], "coco")
    with pytest.raises(InputError, match=r"IoU thresholds in \(0, 1\]"):
        average_precision([], "coperception", [0.0])
    with pytest.raises(InputError, match="finite scores"):
        ap("opencood_local", frame({0: np.nan}, 0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["box", "truth"])
def test_what_is_not_finite_is_an_error_in_every_mode(mode: str, what: str) -> None:
    good = np.array([[0, 0, 0, 4, 2, 1.5, 0]], np.float32)
    broken = good.copy()
    broken[0, 0] = np.nan
    detections = Detections(broken if what == "box" else good, np.ones(1, np.float32))
    with pytest.raises(InputError, match="finite"):
        average_precision([(detections, broken if what == "truth" else good)], mode)
