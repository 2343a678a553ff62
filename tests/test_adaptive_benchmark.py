"""The benchmark of attacks that adapt measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.adaptive import shift
from robosac.types import Detections


def cars(*centres: tuple[float, float]) -> Detections:
    boxes = [[x, y, 0.0, 4.5, 1.9, 1.6, 0.0] for x, y in centres]
    return Detections(np.array(boxes, np.float32).reshape(-1, 7), np.ones(len(boxes), np.float32))


@pytest.mark.parametrize(
    ("moved", "metres"),
    [
        (cars((0.0, 0.0), (10.0, 0.0)), 0.0),
        (cars((0.1, 0.0), (10.7, 0.0)), 0.7),  # the car that moved most
        (cars((0.0, 0.6), (9.5, 0.0)), 0.0),  # sideways and back are not along +x
        (cars((0.0, 0.0), (12.0, 0.0)), 0.0),  # one that is 2 m off is another car
        (cars((10.3, 0.0), (0.0, 0.0)), 0.3),  # in whatever order
    ],
)
def test_the_shift_of_the_car_that_moved_most(moved: Detections, metres: float) -> None:
    assert shift(cars((0.0, 0.0), (10.0, 0.0)), moved) == pytest.approx(metres, abs=1e-5)
    assert shift(cars(), cars()) == 0.0 == shift(cars((0.0, 0.0)), cars())
