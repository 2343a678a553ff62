"""Where the third-party samples are, for tests that skip without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SAMPLES = Path(os.environ.get("ROBOSAC_SAMPLES") or Path(__file__).parents[3] / "shared" / "data")
DAIR = SAMPLES / "dair_v2x_c" / "example-cooperative-vehicle-infrastructure"
OPV2V = SAMPLES / "opv2v" / "validate"
TWO_CARS = SAMPLES / "opv2v_two_cars"


def needs(folder: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not folder.is_dir(), reason=f"no sample at {folder.name}; see ROBOSAC_SAMPLES")
