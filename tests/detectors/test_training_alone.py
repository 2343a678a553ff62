"""Two trainings towards the same weights at once: the second says who is at work, and a killed one holds nothing up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robosac.cli import main
from robosac.detectors.bev.training import train as training
from robosac.types import InputError
from tests.detectors.synthetic import cached_frame

TINY = """
name: tiny
model: {encoder_width: 8, head_width: 8, context_width: 8}
optim: {steps: 1, frames_per_step: 1, bf16: false, threads: 1}
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training, "load_split", lambda *_, **__: [[cached_frame(0)]])
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_the_second_training_says_who_holds_it_before_the_work(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("the work began")

    out = tmp_path / "out"
    out.mkdir()
    lock = out / ".tiny.safetensors.lock"
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid()}))
    with monkeypatch.context() as patch:
        patch.setattr(training, "load_split", work)
        for named in (out, out / "tiny.safetensors"):  # two ways to say the same weights
            with pytest.raises(SystemExit, match="2"):
                main(["train", "--config", str(tiny), "--out", str(named)])
            said = capsys.readouterr().err
            assert f"process {os.getppid()} on {socket.gethostname()}" in said and said.count("\n") == 1
            assert f"remove {lock}" in said
    training.train_from_config(tiny, out=out / "other.safetensors", progress=False)  # other weights in the same folder
    assert lock.exists() and not (out / "tiny.safetensors").exists()


def test_a_killed_training_leaves_nothing_locked(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "tiny.safetensors"
    code = (
        "import os, signal, sys, pathlib; from robosac.detectors.bev.training.train import alone_at\n"
        "with alone_at(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL and [p.name for p in path.parent.iterdir()] == [f".{path.name}.lock"]
    training.train_from_config(tiny, out=path.parent, progress=False)
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_who_trains_is_alone_and_leaves_no_empty_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "tiny.safetensors"
    with training.alone_at(path):
        refused = f"expected nobody else to be making {path}.*name another file"
        with pytest.raises(InputError, match=refused), training.alone_at(path):
            pass
        with training.alone_at(path.with_name("another.safetensors")):
            pass
    assert not list(tmp_path.iterdir())
