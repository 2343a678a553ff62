"""Recordings in place of simulated worlds: who learns from what, and what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robosac.cli import main
from robosac.cli.fleet import Asked, study_of
from robosac.detectors.bev.config import ModelConfig
from robosac.experiments.fleet.recorded import divided, recorded_domains, recorded_drives
from robosac.types import InputError

TABLE = [
    (3, (9, 9, 9), 1, [[0], [1], [2]]),
    (4, (9, 9, 9), 2, [[0, 1], [2], [3]]),
    (20, (9, 9, 9), 1, [[0, 1, 3, 4, 6, 7, 8, 10, 11], [12, 13, 14], [15, 16, 17, 18, 19]]),
    (20, (2, 1, 3), 2, [[0, 4, 7, 11], [12], [15, 17, 19]]),
]


@pytest.mark.parametrize(("total", "counts", "sharers", "expected"), TABLE)
def test_frames_are_divided_in_their_order(
    total: int, counts: tuple[int, int, int], sharers: int, expected: list[list[int]]
) -> None:
    assert divided(total, counts, sharers) == expected


def test_no_frame_is_in_two_parts_and_every_part_has_one() -> None:
    for total in range(3, 60):
        for sharers in range(1, min(4, total - 1)):
            parts = divided(total, (5, 2, 3), sharers)
            together = [i for part in parts for i in part]
            assert len(set(together)) == len(together) and all(parts) and sorted(together) == together
            assert len(parts[0]) >= sharers and max(together) < total
    with pytest.raises(InputError, match="at least 4 frames, got 3"):
        divided(3, (9, 9, 9), 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written drive of five frames, in the folder of a domain."""
    made = tmp_path_factory.mktemp("recorded")
    words = (
        "simulate -n 1 --frames 5 --frame-step 5 --vehicles 2 --no-roadside --beams 8 --columns 128 --executor serial"
    )
    with pytest.raises(SystemExit, match="0"):
        main([*words.split(), "--out", str(made / "moon"), "--json"])
    return made


def test_vehicles_share_what_is_learnt_from_and_are_judged_on_the_same(folder: Path) -> None:
    told: list[int] = []
    grid = ModelConfig().raster
    found = recorded_drives(
        folder, [("a", "moon"), ("b", "moon")], grid, (12, 2, 8), tell=lambda done, of: told.append(done)
    )
    assert [len(part) for part in (found["a"].train, found["b"].train, found["a"].test)] == [2, 1, 1]
    assert not any(np.array_equal(x.poses, y.poses) for x in found["a"].train for y in found["b"].train)
    assert found["a"].test is found["b"].test and told == [1, 2]
    for frame in (*found["a"].train, *found["a"].verify, *found["a"].test):
        assert frame.egos == [0] and len(frame.bits) == 2


def test_the_command_takes_what_is_in_the_folder(folder: Path) -> None:
    base = study_of(Asked(data=folder)).base
    assert base.vehicles == (("moon", 2),) and base.data == str(folder) and base.content and not base.odd
    assert study_of(Asked(data=folder, vehicles="moon:2,moon:8")).base.vehicles == (("moon", 2), ("moon", 8))


def test_what_is_wrong_with_a_folder_is_said(folder: Path, tmp_path: Path) -> None:
    grid = ModelConfig().raster
    with pytest.raises(InputError, match="expected a folder of data sets"):
        recorded_domains(tmp_path)
    with pytest.raises(InputError, match="domains among moon of"):
        recorded_drives(folder, [("a", "sun")], grid, (1, 1, 1), tell=lambda done, of: None)
    with pytest.raises(InputError, match="at least 6 frames, got 5 in"):
        recorded_drives(folder, [(str(k), "moon") for k in range(4)], grid, (1, 1, 1), tell=lambda done, of: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        recorded_drives(tmp_path, [("a", "empty")], grid, (1, 1, 1), tell=lambda done, of: None)
