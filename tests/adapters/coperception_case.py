"""The coperception under test, models of random weights, and one batch: shared by the adapter's tests."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks.coperception import Batch, Variant, random_batch, random_model
from robosac.detectors.adapters.coperception import bridges

ROOT = os.environ.get("ROBOSAC_COPERCEPTION") or None
AGENTS = 3

quiet = pytest.mark.filterwarnings("ignore:Default grid_sample")  # coperception's, at every warp
needed = pytest.mark.skipif(
    ROOT is None and importlib.util.find_spec("coperception") is None,
    reason="needs coperception installed, or a checkout in ROBOSAC_COPERCEPTION",
)


@cache
def part(name: str) -> ModuleType:
    """A module of coperception's by its name inside the package."""
    return bridges.load(ROOT, [name])[0]


@cache
def model(variant: Variant, agents: int = AGENTS) -> Any:
    torch.set_num_threads(1)
    return random_model(part("models.det"), part("configs"), variant, agents=agents)


@cache
def batch(agents: int = AGENTS, present: int | None = None) -> Batch:
    return random_batch(agents, seed=7, present=present)
