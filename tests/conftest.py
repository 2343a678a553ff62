"""Settings shared by all tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side

from hypothesis import HealthCheck, settings

settings.register_profile("robosac", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("robosac")
