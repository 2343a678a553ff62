"""What honest frames allow: calibrated limits, stated ones, and one warning of all of them."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from robosac.calibration import Calibration, Thresholds
from robosac.defenses import Robosac
from robosac.defenses.limits import CLAIMS_LIMIT, STRAIN_LIMIT, Limits
from robosac.errors import RobosacWarning
from tests.defenses.honest import allowing

DEFENSE = Robosac(strain_alpha=0.25)
AGREE, ALONE, TWO, MEMBERS = (s.name for s in DEFENSE.statistics()[:4])


def quiet(calibration: Calibration) -> Limits:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return DEFENSE.limits(calibration, "toy")


def loud(calibration: Calibration | None, why: str) -> Limits:
    with pytest.warns(RobosacWarning, match=f"robosac on detector 'toy' uses its default limits: {why}") as heard:
        found = DEFENSE.limits(calibration, "toy")
    assert len(heard) == 1 and "run `robosac calibrate`" in str(heard[0].message)
    return found


def values(limits: Limits, size: int) -> tuple[float, ...]:
    return limits.agreement(size), limits.claims(size), limits.together(size), limits.strain(size)


USUAL = (DEFENSE.agreement.default_threshold, CLAIMS_LIMIT[1], CLAIMS_LIMIT[2], STRAIN_LIMIT)


def test_calibrated_limits_go_by_size_and_warn_of_nothing() -> None:
    def measured(*by_size: float) -> Thresholds:
        limits = dict(enumerate(by_size, start=1))
        scores = {n: tuple(v + k / 10 for k in range(9)) for n, v in limits.items()}
        return Thresholds(0.1, limits, dict.fromkeys(limits, 9), scores=scores)

    measures = {AGREE: measured(0.9, 0.5), ALONE: measured(-3, -7), TWO: measured(0, -4), MEMBERS: measured(-1, -2)}
    found = quiet(Calibration("toy", measures))
    assert values(found, 1) == (0.9, 3, 0, 1)  # a joint result of one: none smaller can take its place
    assert values(found, 2) == pytest.approx((0.5, 7, 4, 1.9))  # one in four may be refused: the second of nine
    assert values(found, 5) == values(found, 2)  # the nearest smaller size
    assert (found.strain_at_most(1), found.strain_at_most(2)) == (1, 2)  # the calibration's own level
    assert replace(DEFENSE, alpha=0.3).limits(Calibration("toy", measures), "toy").agreement(2) == pytest.approx(0.7)


def test_a_level_that_the_frames_cannot_tell_is_the_nearest_that_they_can() -> None:
    honest = Thresholds(0.2, {1: 0.4}, {1: 9}, scores={1: tuple(k / 10 for k in range(1, 10))})
    assert [honest.threshold_near(1, alpha) for alpha in (0.001, 0.1, 0.2, 0.35)] == [0.1, 0.1, 0.2, 0.3]
    assert replace(honest, scores={}).threshold_near(1, 0.35) == 0.4


def test_without_a_calibration_they_are_stated() -> None:
    for size in (0, 1, 5):
        assert values(loud(None, "it is not calibrated"), size) == USUAL


def test_those_of_another_detector_are_not_used() -> None:
    other = loud(allowing(DEFENSE, detector="other"), "the calibration is for 'other', a model of other weights")
    assert values(other, 2) == USUAL


@pytest.mark.parametrize("lacking", range(4))
def test_what_a_calibration_lacks_is_stated_and_the_rest_is_used(lacking: int) -> None:
    whole = allowing(DEFENSE, agreement=0.125, claims=5, together=6, strain=7)
    name = (AGREE, ALONE, TWO, MEMBERS)[lacking]
    part = replace(whole, measures={k: v for k, v in whole.measures.items() if k != name})
    found = values(loud(part, "the calibration does not hold them"), 2)
    assert found == tuple(USUAL[k] if k == lacking else v for k, v in enumerate((0.125, 5, 6, 7)))
    assert values(quiet(whole), 2) == (0.125, 5, 6, 7)


def test_an_old_calibration_without_scores_is_told() -> None:
    whole = allowing(DEFENSE)
    old = {name: replace(m, scores={}) for name, m in whole.measures.items()}
    with pytest.warns(RobosacWarning, match="the calibration does not hold them"):
        limits = DEFENSE.limits(replace(whole, measures=old), "toy")
    assert limits.strain(2) == STRAIN_LIMIT and limits.agreement(2) == quiet(whole).agreement(2)


def test_other_settings_ask_for_other_statistics() -> None:
    """A calibration for one set of settings is none for another."""
    with pytest.warns(RobosacWarning, match="the calibration does not hold them"):
        replace(DEFENSE, consistency=replace(DEFENSE.consistency, extra=3.0)).limits(allowing(DEFENSE), "toy")
