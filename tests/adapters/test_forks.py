"""CoAlign's and HEAL's own configurations, wrapped: ROBOSAC_COALIGN, ROBOSAC_HEAL and ROBOSAC_V2XR name checkouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.forks import CASES

CHECKOUTS = {"CoAlign": "ROBOSAC_COALIGN", "HEAL": "ROBOSAC_HEAL", "V2X-R": "ROBOSAC_V2XR"}


@pytest.mark.parametrize(("fork", "name"), [(fork, name) for fork in CASES for name in CASES[fork]])
def test_a_model_of_a_fork_is_exact(fork: str, name: str) -> None:
    root = os.environ.get(CHECKOUTS[fork])
    if not root:
        pytest.skip(f"no {fork}: {CHECKOUTS[fork]}=checkout")
    case = CASES[fork][name]
    command = [sys.executable, "-m", "tests.adapters.forks", root, name]  # a process imports one fork
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    row = json.loads(done.stdout.splitlines()[-1])
    bar = case.bar * row["largest"]
    assert row["honest"] <= bar and row["tampered"] <= bar and row["empty"] <= bar and row["effect"] > 1e-2
    if case.batch:
        assert row["batch"] <= bar and row["own"] <= 1e-6 and row["own_boxes"] > 0
