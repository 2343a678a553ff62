"""Walk pages block by block, as somebody who types what they say: the first block that does not run is an error.

`python -m benchmarks.walk --pages README.md docs/your_data.md` runs the Python blocks of a page in one namespace, its
shell lines one after another, in an empty folder. What needs something that the reader has to bring (PATH, MODEL_DIR, a
checkout to clone) or takes long (training, whole demos, `make`) is said and left out. `--installed` runs shell lines
with the `robosac` on the PATH, of a wheel or an editable install; without, this interpreter's.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import Option, options

ROOT: Final = Path(__file__).parents[1]
_FENCE: Final = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# PATH, DIR, and files that only the reader has
_BROUGHT: Final = re.compile(r"\b[A-Z][A-Z_]{2,}\b|\.\.\.|~/|[<>|]|\bmine\b|runs/|data/|my_|drive\.yaml")
_LONG: Final = (
    "make",
    "git",
    "pip",
    "python3",
    "python",
    "source",
    "robosac --install-completion",
    "robosac train",
    "robosac demo",
    "robosac evaluate",
)


@dataclass(frozen=True)
class Block:
    """A block of a page: where it begins, its language and its lines."""

    line: int
    language: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in _FENCE.finditer(text):
        yield Block(text[: found.start()].count("\n") + 1, found[1], found[2])


def left_out(line: str) -> str | None:
    """Why a shell line is not typed; None where it is."""
    if line.startswith(_LONG):
        return "takes long, or prepares the machine"
    brought = _BROUGHT.search(line.partition("#")[0])
    return f"the reader brings {brought[0]}" if brought else None


def walk(page: Path, *, installed: bool = False) -> tuple[int, list[str]]:
    """Run a page's blocks in an empty folder. How many ran, and what was left out and why.

    Raises:
        RuntimeError: one does not run; says which and what it printed.
    """
    names: dict[str, object] = {"__name__": "page"}
    ran, skipped = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for block in blocks(page.read_text(encoding="utf-8")):
            where = f"{page.name}:{block.line}"
            if block.language == "python":
                code = compile(block.text, where, "exec")
                try:
                    exec(code, names)
                except Exception as error:
                    raise RuntimeError(f"{where}: {type(error).__name__}: {error}") from error
                ran += 1
            elif block.language in ("sh", "bash", "shell"):
                for line in block.text.replace("\\\n", " ").splitlines():
                    if not (typed := line.strip()) or typed.startswith("#"):
                        continue
                    if why := left_out(typed):
                        skipped.append(f"{where}: {typed}: {why}")
                        continue
                    _type(where, typed, Path(folder), installed=installed)
                    ran += 1
    return ran, skipped


def _type(where: str, line: str, folder: Path, *, installed: bool) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "robosac" and not installed:
        words, program = ["-m", "robosac", *words], sys.executable
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{where}: {line}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")


def main() -> None:
    args = options(
        __doc__,
        pages=Option(("README.md", "docs/your_data.md", "docs/budgets.md"), "pages of this repository"),
        installed=Option(False, "type the robosac on the PATH"),
    )
    for name in args.pages:
        ran, skipped = walk(ROOT / name, installed=args.installed)
        print(f"{name}: {ran} blocks and lines ran, {len(skipped)} left out")
        for line in skipped:
            print(f"  {line}")


if __name__ == "__main__":
    main()
