"""docs/frameworks.md, typed by a machine: every block in order, as it stands, in a folder outside of the checkout.

A section's blocks need its framework: a checkout that the environment names (ROBOSAC_COALIGN, ...), or the installed
package. Blocks that install are compared with what is installed; the rest runs, and the first that fails ends the test.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "frameworks.md"
BLOCK = re.compile(r"^## (?P<section>[^\n]+)$|^```(?P<kind>sh|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = {"OpenCOOD": "opencood", "coperception": "coperception"}  # what is there without a checkout
SECTIONS = ("OpenCOOD", "CoAlign", "HEAL", "V2X-R", "coperception")
CHECKOUTS = {section: f"ROBOSAC_{section.upper().replace('-', '')}" for section in SECTIONS[:-1]}


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str
    line: int

    @property
    def installs(self) -> bool:
        return self.language == "sh" and self.text.startswith("pip install")


def blocks(page: str) -> dict[str, list[Block]]:
    """The blocks of each section, in order."""
    found: dict[str, list[Block]] = {}
    section = ""
    for match in BLOCK.finditer(page):
        if match["section"] is not None:
            section = match["section"]
        else:
            block = Block(match["kind"], match["text"], page[: match.start()].count("\n") + 2)
            found.setdefault(section, []).append(block)
    return found


ALL = blocks(PAGE.read_text())


def copy_of(section: str) -> Path:
    """The checkout of a section's framework, or the folder that its installed package is in."""
    if named := os.environ.get(CHECKOUTS.get(section, "")):
        return Path(named).resolve()
    package = PACKAGES.get(section)
    spec = None if package is None else importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"no {section}: {CHECKOUTS.get(section, 'pip install --no-deps coperception')}")
    return Path(next(iter(spec.submodule_search_locations))).parent


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder where everything is typed, with the page's data, and the environment to type it in."""
    place, tools = tmp_path_factory.mktemp("user"), tmp_path_factory.mktemp("bin")
    for name, module in (("robosac", " -m robosac"), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -W ignore{module} "$@"\n')
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"OMP_NUM_THREADS": "1"}
    for block in ALL["Data"]:
        run(block, place, environment)
    return place, environment


def run(block: Block, place: Path, environment: dict[str, str]) -> None:
    """Type a block; what it printed is shown if it fails."""
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        script = place / f"line_{block.line}.py"
        script.write_text(block.text)
        command = ["python", script.name]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=900)
    said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert done.returncode == 0, f"docs/frameworks.md line {block.line} ended with {done.returncode}:\n{said}"
    assert "Traceback" not in said, said


def install(block: Block, place: Path, copy: Path) -> None:
    """What a block would install is installed, and what it would clone is there."""
    for line in block.text.splitlines():
        words = shlex.split(line)
        if words[:2] == ["git", "clone"]:
            (place / words[-1].rpartition("/")[2]).symlink_to(copy)
            continue
        assert words[:2] == ["pip", "install"], line
        names = [w for k, w in enumerate(words[2:], 2) if not w.startswith("-") and words[k - 1] != "--index-url"]
        assert names and all(metadata.version(name) for name in names)


def model_folder(section: str, place: Path, environment: dict[str, str], copy: Path) -> None:
    """What the page takes for granted: the folder that training left."""
    name = section.lower().replace("-", "")
    root = [] if section == "coperception" else ["--root", str(copy)]
    command = ["python", "-m", "tests.adapters.folders", str(place), name, *root]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_as_typed(section: str, typed: tuple[Path, dict[str, str]]) -> None:
    copy = copy_of(section)
    place, environment = typed
    model_folder(section, place, environment, copy)
    for block in ALL[section]:
        if block.installs:
            install(block, place, copy)
        else:
            run(block, place, environment)
    tables = [place / folder / "table.md" for folder in re.findall(r"--out (runs/\S+)", PAGE.read_text())]
    name = section.lower().replace("-", "")
    (table,) = [t for t in tables if t.parent.name == name]
    assert "robosac" in table.read_text()


def test_every_block_of_the_page_is_in_a_section_that_is_typed() -> None:
    order = list(ALL)
    assert order[: len(SECTIONS) + 1] == ["Data", *SECTIONS], "a section without a test"
    rest = [b for section in order[len(SECTIONS) + 1 :] for b in ALL[section]]
    assert not rest, f"blocks after the commands: line {rest[0].line}" if rest else ""
    assert sum(len(found) for found in ALL.values()) == PAGE.read_text().count("\n```") // 2
    for section in SECTIONS:
        texts = "\n".join(b.text for b in ALL[section])
        for word in ("pip install", "check-detector", "calibrate", "evaluate", "--attack"):
            assert word in texts, f"{section} never says {word}"
        assert section == "V2X-R" or "robosac.wrap(" in texts  # its loader reads another layout


def test_a_block_that_does_not_run_fails(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in (Block("sh", "true\nfalse\n", 1), Block("python", "import nothing_of_that_name\n", 1)):
        with pytest.raises(AssertionError, match="line 1 ended with 1"):
            run(block, tmp_path, environment)
