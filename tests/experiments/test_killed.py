"""A grid that is killed at any moment and started again ends as one that nobody disturbed."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from benchmarks.grid import kill_and_resume
from tests.test_evaluate import evaluate


class Forked:
    """A run in a copy of this process, which has loaded everything already, in a process group of its own."""

    def __init__(self, settings: Sequence[str], out: Path, jobs: int) -> None:
        args = (str(out), *settings, "--jobs", str(jobs), "--json")
        self.process = get_context("fork").Process(target=Forked.run, args=args)
        self.process.start()
        self.pid = self.process.pid or 0
        with suppress(OSError):  # whoever is first
            os.setpgid(self.pid, self.pid)

    @staticmethod
    def run(out: str, *args: str) -> None:
        os.setpgid(0, 0)
        evaluate(out, *args)

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def communicate(self, *, timeout: float | None = None) -> tuple[bytes, bytes]:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("evaluate", timeout or 0)
        return b"", b"see the traceback above"


def test_killed_and_resumed(tmp_path: Path) -> None:
    settings = ("--detector", "tests.test_evaluate:Sparse", "--scenes", "1", "--frames", "1", "--attack", "gps_offset")
    settings = (*settings, "--attackers", "0,1", "--defense", "none")
    evaluate(tmp_path / "first", *settings)  # loads here what the copies need
    found = kill_and_resume(settings, tmp_path, kills=3, jobs=1, rng=random.Random(1), start=Forked)
    assert found.kills == 3 and found.differing == ()
