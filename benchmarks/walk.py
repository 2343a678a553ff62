"""Walk pages block by block, as somebody who types what they say: the first block that does not run is an error.

`python -m benchmarks.walk` types the blocks of the README and of every page in `docs/`, in an empty folder. The Python
of a page shares one namespace. PATH is a small recording in OpenCOOD's layout, which is made first. What takes longer
than `--patience` seconds is stopped by Ctrl-C and must end as it promises: in one line and with exit code 130. What the
reader alone can bring (MODEL_DIR, a checkout to clone, a cluster) or what makes the environment is named and left out.

`--fresh wheel` and `--fresh editable` do it in a new environment outside the checkout. Seconds are told for each line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.machine import Option, options

ROOT: Final = Path(__file__).parents[1]
ELSEWHERE: Final = ("frameworks.md", "cluster.md")  # of frameworks' copies (tests/adapters types it), of a cluster
_FENCE: Final = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# what only the reader has: names in capitals but PATH and the like, and files that no page makes
_BROUGHT: Final = re.compile(
    r"\b[A-Z][A-Z_]{2,}\b|\.\.\.|~/|[<>|]|\bmy_|\bdrive\.yaml|\bmine\.|\.json\b.*--truth|logs/|\*"
)
_PREPARES: Final = ("make", "git", "pip", "python3", "source", "ray", "srun", "head=", "sleep", "robosac --install")
_CHECKOUT: Final = ("python -m benchmarks", "robosac train-rivals", "robosac leaderboard")
_NEEDS: Final = {"sumo": "libsumo", "robosac view": "open3d", "--executor ray": "ray"}  # words -> a package for them
_DRIVER: Final = """
import json, sys
names = {"__name__": "page"}
for where, text in json.load(open(sys.argv[1])):
    try:
        exec(compile(text, where, "exec"), names)
    except BaseException as error:
        sys.exit(f"{where}: {type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class Block:
    """A block of a page: where it begins, its language and its lines."""

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Typist:
    """Who types: with the programs of `bin`, this interpreter's without, on the recording, so patient."""

    bin: Path | None = None
    recording: Path | None = None
    patience: float = 15.0

    def program(self, name: str) -> list[str]:
        """A program as this typist starts it."""
        if self.bin is not None:
            return [str(self.bin / name)]
        return {"python": [sys.executable], "robosac": [sys.executable, "-m", "robosac"]}.get(name, [name])

    def has(self, package: str) -> bool:
        """Whether a package can be imported there."""
        found = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
        return subprocess.run([*self.program("python"), "-c", found], check=False).returncode == 0


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in _FENCE.finditer(text):
        yield Block(text[: found.start()].count("\n") + 1, found[1], found[2])


def left_out(line: str) -> str | None:
    """Why a shell line is not typed; None where it is."""
    if line.startswith(_PREPARES):
        return "prepares the machine"
    if line.startswith(_CHECKOUT):
        return "is of a checkout"
    brought = _BROUGHT.search(line.partition("#")[0])
    return f"the reader brings {brought[0]}" if brought else None


def typed_lines(block: Block, recording: Path | None) -> Iterator[str]:
    """The lines of a shell block, whole, with PATH and its like filled in."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if (typed := line.strip()) and not typed.startswith("#"):
            if recording is not None:
                typed = re.sub(r"\b(PATH|DATA_FOLDER)\b", str(recording), typed)
            yield re.sub(r"\bDETECTOR\b", "mean", re.sub(r"\bDIR\b", "made", typed))


def walk(page: Path, typist: Typist = Typist()) -> tuple[list[str], list[str]]:
    """Run a page's blocks in an empty folder. What ran and how long it took, and what was left out and why.

    Raises:
        RuntimeError: one does not run; says which and what it printed.
    """
    ran, skipped = list[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configs").symlink_to(ROOT / "configs")
        python = []
        for block in blocks(page.read_text(encoding="utf-8")):
            where = f"{page.name}:{block.line}"
            if block.language == "python":
                python.append((where, block.text))
            elif block.language in ("sh", "bash", "shell"):
                lacking = ""
                for typed in typed_lines(block, typist.recording):
                    lacking = lacking or _lacks(typed, typist)
                    if why := left_out(typed) or _lacks(typed, typist) or (lacking if " made" in typed else ""):
                        skipped.append(f"{where}: {typed}: {why}")
                    else:
                        ran.append(f"{where}: {typed}: {_type(where, typed, Path(folder), typist)}")
        if python:
            (Path(folder) / "page.json").write_text(json.dumps(python))
            start = time.perf_counter()
            asked = [*typist.program("python"), "-c", _DRIVER, "page.json"]
            done = subprocess.run(asked, cwd=folder, env=_plain(typist), capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{page.name}: {done.stderr.strip()[-500:]}")
            ran.append(f"{page.name}: {len(python)} blocks of Python: {time.perf_counter() - start:.0f} s")
    return ran, skipped


def _lacks(line: str, typist: Typist) -> str:
    for words, package in _NEEDS.items():
        if words in line and ".gif" not in line and not typist.has(package):
            return f"{package} is not installed"
    return ""


def _plain(typist: Typist) -> dict[str, str]:
    """The environment, without what makes a checkout importable where something is installed."""
    kept = {k: v for k, v in os.environ.items() if typist.bin is None or k != "PYTHONPATH"}
    return kept | ({} if typist.bin is None else {"PATH": f"{typist.bin}{os.pathsep}{kept['PATH']}"})


def _type(where: str, line: str, folder: Path, typist: Typist) -> str:
    try:
        return _typed(where, line, folder, typist)
    except InterruptedError:  # Ctrl-C met it while it was leaving: it is given the time to end
        return _typed(where, line, folder, replace(typist, patience=3 * typist.patience))


def _typed(where: str, line: str, folder: Path, typist: Typist) -> str:
    program, *words = shlex.split(line, comments=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background; who is started would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.perf_counter()
    asked = [*typist.program(program), *words]
    pipe = subprocess.PIPE
    running = subprocess.Popen(asked, cwd=folder, env=_plain(typist), stdout=pipe, stderr=pipe, text=True)
    expected, ended = 0, "{:.0f} s"
    try:
        _, err = running.communicate(timeout=typist.patience)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGINT)
        expected, ended = 130, "stopped after {:.0f} s, as it promises"
        try:
            _, err = running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            running.kill()
            raise RuntimeError(f"{where}: {line}: expected Ctrl-C to end it, it goes on") from None
    if expected == 130 and running.returncode == -signal.SIGINT:
        raise InterruptedError(f"{where}: {line}: expected exit code 130 after Ctrl-C, got {running.returncode}")
    if running.returncode not in (0, expected):
        raise RuntimeError(f"{where}: {line}: exit code {running.returncode}: {err.strip()[-300:]}")
    return ended.format(time.perf_counter() - start)


def record(folder: Path, typist: Typist) -> Path:
    """A small recording in OpenCOOD's layout: 60 frames of three vehicles."""
    size = ["--scenes", "12", "--frames", "5", "--vehicles", "3", "--beams", "16", "--columns", "256"]
    asked = [*typist.program("robosac"), "simulate", "--out", str(folder), *size]
    done = subprocess.run(asked, cwd=folder.parent, env=_plain(typist), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"robosac simulate: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return folder / "test"


def fresh(folder: Path, form: str) -> Path:
    """A new environment with this project as a wheel or in editable form; its programs."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    what = ["-e", str(ROOT)]
    if form == "wheel":
        subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
        what = [str(next(folder.glob("robosac-*.whl")))]
    torch = next(x for x in (ROOT / "constraints.txt").read_text().splitlines() if x.startswith("torch=="))
    subprocess.run([*pip, "install", *constraints, torch], check=True)
    subprocess.run([*pip, "install", *constraints, *what], check=True)
    print(f"pip install {torch} and robosac ({form}): {time.perf_counter() - start:.0f} s")
    return folder / "env" / "bin"


def main() -> None:
    every = [f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")) if p.name not in ELSEWHERE]
    args = options(
        __doc__,
        pages=Option(("README.md", *every), "pages of this repository"),
        fresh=Option("", "a new environment outside the checkout: wheel or editable; without, this one"),
        patience=Option(15.0, "seconds after which a command is stopped by Ctrl-C"),
    )
    with tempfile.TemporaryDirectory() as folder:
        typist = Typist(fresh(Path(folder), args.fresh) if args.fresh else None, None, args.patience)
        typist = Typist(typist.bin, record(Path(folder) / "recording", typist), args.patience)
        for name in args.pages:
            ran, skipped = walk(ROOT / name, typist)
            print(f"{name}: {len(ran)} ran, {len(skipped)} left out", flush=True)
            for line in (*ran, *skipped):
                print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
