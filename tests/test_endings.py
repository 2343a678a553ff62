"""How commands end: in any width, encoding and pipe, with Ctrl-C at any moment; where thresholds of one's own go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import robosac
from robosac.calibration import Calibration
from robosac.cli import COMMANDS, main
from robosac.cli.output import in_ascii
from robosac.errors import RobosacWarning, warnings_in_a_line
from robosac.executors import local as executors
from robosac.registry.detectors import calibration_beside, own_calibration, saved_calibration

ROBOSAC = [sys.executable, "-m", "robosac"]
ROOT = Path(__file__).parents[1]


def typed(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


# ----------------------------------------------------------------------------------------------------------- widths
LISTS = {
    "attacks": ("adaptive_pgd", "features", "MOVD.", "2303.09495", "novelty"),
    "detectors": ("road-attention", "calibrated", "0.922", "recordings"),
    "defenses": ("paper-probing", "how many attack", "arXiv", "reference"),
    "budget --teammates 5 --attackers 2 --subset 3": ("0.216", "44", "0.865", "9.9", "paper's formula"),
}


@pytest.mark.parametrize("columns", ["40", "80", "200", None])
@pytest.mark.parametrize("command", LISTS)
def test_nothing_is_cut_at_any_width(
    command: str, columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    code, out, err = typed(capsys, *command.split())
    assert (code, err) == (0, "") and "…" not in out
    assert [part for part in LISTS[command] if part not in out] == []
    words = " ".join(out.split())
    assert ("attacks" not in command) or "seen: defences were tuned against it" in words


def test_a_command_is_a_line_in_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-h", "--help"):
        out = typed(capsys, flag)[1]
        assert [name for name in COMMANDS if name not in out] == []


# -------------------------------------------------------------------------------------------------------- encodings
def test_letters_that_an_encoding_lacks_are_written_as_others() -> None:
    assert "0.55–0.61 … ≥ 1 ü".encode("ascii", errors="robosac") == b"0.55-0.61 ... >= 1 ?"
    with pytest.raises(UnicodeDecodeError):
        in_ascii(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))


def test_a_table_in_ascii_a_full_disk_and_a_closed_pipe() -> None:
    """Of the same command, so that it starts three times only."""
    here = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    asked = [*ROBOSAC, "budget", "--teammates", "5", "--attackers", "2", "--subset", "3"]
    done = subprocess.run(asked, capture_output=True, env=here, check=False)
    assert done.returncode == 0 and done.stderr == b"" and b"paper's formula" in done.stdout
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, env=here, check=False)
        assert done.returncode == 1 and done.stderr == b"robosac: [Errno 28] No space left on device\n"
    gone, ours = os.pipe()
    os.close(gone)
    done = subprocess.run(asked, stdout=ours, stderr=subprocess.PIPE, env=here, check=False)
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")


def test_warnings_are_a_line_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), warnings_in_a_line():
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn("of ours", RobosacWarning, stacklevel=1)
            warnings.warn("of\nanother", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "robosac: of ours\nrobosac: DeprecationWarning: of another\n"


@pytest.mark.parametrize("missing", ["torch", "matplotlib.figure"])
def test_a_package_that_is_not_installed_is_a_line(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("robosac.cli.budget.answer", fail)
    package = missing.partition(".")[0]
    said = f"robosac: expected the package {package!r}, which is not installed; pip install {package}\n"
    assert typed(capsys, "budget", "--teammates", "5") == (2, "", said)


# ----------------------------------------------------------------------------------------------------------- Ctrl-C
def test_ctrl_c_while_it_loads_is_one_line() -> None:
    stop = "def stop(): raise KeyboardInterrupt\nrobosac.cli.main = stop\nm.main()"
    code = f"import robosac.cli, robosac.__main__ as m\n{stop}"
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here, check=False)
    assert (done.returncode, done.stderr) == (130, "robosac: stopped\n")


@pytest.mark.parametrize(
    ("then", "ends"),
    [
        ("time.sleep(30)", (130, "robosac: stopped")),
        ("raise RuntimeError('no compiled object yet')", (130, "robosac: stopped")),
        ("sys.exit(1)", (1, "")),
        ("pass", (0, "")),
    ],
)
def test_ctrl_c_that_meets_compiled_code_is_not_lost(then: str, ends: tuple[int, str]) -> None:
    """ctypes drops what a callback raises; numba compiles in such callbacks."""
    raised = "ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()"
    hears = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a job in the background would not
    stop = f"def run():\n    {hears}\n    {raised}\n    {then}\nrobosac.cli.main = run\nm.main()"
    code = f"import ctypes, signal, sys, time, robosac.cli, robosac.__main__ as m\n{stop}"
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here, check=False)
    assert (done.returncode, done.stderr.strip()) == ends


def test_an_error_without_ctrl_c_stays_an_error() -> None:
    stop = "def run(): raise RuntimeError('of its own')\nrobosac.cli.main = run\nm.main()"
    code = f"import robosac.cli, robosac.__main__ as m\n{stop}"
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here, check=False)
    assert done.returncode == 1
    assert "RuntimeError: of its own" in done.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held back here")
def test_processes_that_start_do_not_hear_ctrl_c() -> None:
    """This process hears of it once they have started."""
    said = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()))"
    with pytest.raises(KeyboardInterrupt), executors._ctrl_c_for_this_process_alone():
        started = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
        os.kill(os.getpid(), signal.SIGINT)
    assert started.stdout == "True\n"


# ------------------------------------------------------------------------------------------------------- completion
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("robosac ev", {"evaluate"}),
        ("robosac demo --attack pgd_b", {"pgd_balanced"}),
        ("robosac evaluate --attack noise,pgd_b", {"noise,pgd_balanced"}),
        ("robosac evaluate --defense robosac-k", {"robosac-known"}),
        ("robosac evaluate --data sim:mi", {"sim:mixed"}),
        ("robosac run --detector road-m", {"road-mean", "road-max"}),
        ("robosac calibrate --pose-n", {"--pose-noise"}),
        ("robosac defenses robosac-s", {"robosac-strict"}),
    ],
)
def test_a_shell_completes(
    line: str, wanted: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_ROBOSAC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    code, out, _ = typed(capsys)
    assert code == 0 and set(out.split()) == wanted


# ------------------------------------------------------------------------------------------ thresholds of one's own
def test_thresholds_of_ones_own_are_found_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shipped stays as it is; the cache's are taken in its place, by content."""
    monkeypatch.setenv("ROBOSAC_CACHE", str(tmp_path))
    detector = robosac.load_detector("mean")
    shipped, own = calibration_beside(detector), own_calibration(detector)
    assert shipped is not None and own is not None and own.is_relative_to(tmp_path) and not own.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert saved_calibration(detector) == Calibration.load(shipped)
    made = json.loads(shipped.read_text())
    made["source"]["data"] = "opv2v:mine, 60 honest frames"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps(made))
    with pytest.warns(RobosacWarning, match="your own in .*opv2v:mine, 60 honest frames"):
        found: Any = robosac.wrap(detector).calibration
    assert found.source["data"] == "opv2v:mine, 60 honest frames"
    assert own_calibration(robosac.load_detector("max")) != own
