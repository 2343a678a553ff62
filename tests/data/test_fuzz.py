"""Mutated files: `DataError` or a plain value, quickly, and nothing executed. `benchmarks/fuzz.py` does many more."""

import os
import subprocess
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import SEEDS, mutated, read
from robosac.data.recording import DataError


@pytest.fixture(autouse=True)
def nothing_is_executed(monkeypatch):
    def called(*_, **__):
        raise AssertionError("something in a file was executed")

    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen")):
        monkeypatch.setattr(module, name, called)


@pytest.mark.parametrize("kind", SEEDS)
def test_the_seeds_themselves_are_read(tmp_path, kind):
    for data in SEEDS[kind]():
        read(kind, data, tmp_path)


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**63))
def test_mutated_files(tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    seeds = SEEDS[kind]()
    data = mutated(seeds[int(rng.integers(len(seeds)))], rng)
    start = time.perf_counter()
    try:
        read(kind, data, tmp_path)
    except DataError as error:
        assert str(tmp_path) in str(error)
    assert time.perf_counter() - start < 5  # an idle machine takes milliseconds


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(SEEDS)), data=st.binary(max_size=300))
def test_any_bytes_at_all(tmp_path, kind, data):
    try:
        read(kind, data, tmp_path)
    except DataError as error:
        assert str(tmp_path) in str(error)
