"""Whole data sets with mutated files: they are read, or a `DataError` says what is wrong; nothing else, and at once."""

import time

import numpy as np
import pytest

from robosac.data.dataset import DataSet
from robosac.data.layout import recognise
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError, keyed_rng
from tests.data.dair import write_dair
from tests.data.v2xsim import write_npy, write_pkl

ROUNDS = 120
WORDS = (
    b"[]",
    b"{}",
    b"null",
    b"1e308",
    b"-1",
    b'"',
    b"9" * 20,
    b"..",
    b"/etc/hostname",
    b"\0",
    b"true",
    b"[[[",
    b"NaN",
)


def mutated(data, rng):
    """Bytes flipped, cut, doubled, or replaced by what parsers stumble over; mostly near the start."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not out:
            break
        at = int(rng.integers(len(out) if rng.random() < 0.5 else min(len(out), 400)))
        match rng.integers(6):
            case 0:
                out[at] = int(rng.integers(256))
            case 1:
                del out[at:]
            case 2:
                del out[at : at + int(rng.integers(1, 60))]
            case 3:
                out[at:at] = rng.bytes(int(rng.integers(1, 20)))
            case 4:
                out[at : at + int(rng.integers(12))] = WORDS[rng.integers(len(WORDS))]
            case _:
                other = int(rng.integers(len(out)))
                out[at : at + 40] = out[other : other + 40]
    return bytes(out)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("write", [write_dair, write_npy, write_pkl], ids=["dair", "npy", "pkl"])
def test_a_mutated_file_is_read_or_named(write, tmp_path):
    simulated = scenario("val", 0, config=SimConfig(n_vehicles=2, n_frames=2, beams=4, columns=64))
    snapshots = [simulated.snapshot(k) for k in range(2)]
    root = tmp_path / "data"
    write(root, snapshots if write is write_dair else {(5, k): s for k, s in enumerate(snapshots)})
    rng = keyed_rng(0, "mutated", write.__name__)
    files = sorted(p for p in root.rglob("*") if p.is_file())
    refused = 0
    for _ in range(ROUNDS):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, rng))
        start = time.perf_counter()
        try:
            for frame, truth in DataSet(recognise(root), comm_range_m=1e9):
                assert np.isfinite(frame.ego.points[:, :3]).all() and np.isfinite(truth.boxes).all()
        except InputError as error:
            refused += 1
            assert str(root) in str(error)
        assert time.perf_counter() - start < 5
        file.write_bytes(whole)
    assert 0.3 * ROUNDS < refused < ROUNDS
