"""A headless Chromium for tests of pages; nothing but this machine can be reached from it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def opened(address: str, width: int, home: Path, *, budget_ms: int = 2000) -> tuple[str, list[str]]:
    """What a page is once its script has run, and what its console says."""
    assert CHROMIUM is not None
    asked = [CHROMIUM, *_FLAGS, f"--user-data-dir={home / 'chromium'}", f"--window-size={width},900"]
    asked += [f"--virtual-time-budget={budget_ms}", "--dump-dom", address]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=240)
    return done.stdout, re.findall(r":CONSOLE[:(].*", done.stderr)
