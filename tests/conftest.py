"""Settings shared by all tests."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side

from hypothesis import HealthCheck, settings

settings.register_profile("robosac", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("robosac")

# this user's own thresholds are none of the tests' business, and those of the tests none of the user's
_cache = tempfile.TemporaryDirectory(prefix="robosac-tests-")
os.environ["ROBOSAC_CACHE"] = str(Path(_cache.name) / "cache")

# what a test prints goes to no terminal: as wide as it is, also where the runner was told a width (xdist tells its own)
os.environ.pop("COLUMNS", None)
