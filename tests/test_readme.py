"""What README.md and docs/ say is so: the three lines run as written, commands and links exist, code parses."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from robosac.cli import app
from robosac.types import Verdict

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])  # those in docs/tutorials are made of notebooks
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?(robosac|make|python3?)\s+(\S.*)$")


@dataclass(frozen=True)
class Said:
    """One command in a page. `whole`: it stands in a block of its own, so it must work as it is."""

    words: tuple[str, ...]
    whole: bool


def fences(text: str) -> list[tuple[str, str]]:
    """`(language, content)` of every fenced block."""
    return [(m[1], m[2]) for m in FENCE.finditer(text)]


def commands(text: str) -> list[Said]:
    """Commands in blocks that are no Python, and in `inline code`; a trailing backslash joins two lines."""
    lines = [
        (line, True)
        for language, block in fences(text)
        if language in ("", "sh", "bash", "shell", "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [(code, False) for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]
    found = []
    for line, whole in lines:
        if match := COMMAND.match(line.strip()):
            words = shlex.split(f"{match[1]} {match[2]}", comments=True)
            found.append(Said(tuple(words), whole))
    return found


def wrong(said: Said) -> str | None:
    """Why a command cannot be typed; None where it can."""
    program, *words = said.words
    if program.startswith("python"):
        if words[:2] == ["-m", "robosac"]:
            return wrong(Said(("robosac", *words[2:]), said.whole))
        if words[:1] == ["-m"] and words[1].partition(".")[0] == "benchmarks":
            path = ROOT / (words[1].replace(".", "/") + ".py")
            return None if path.exists() else f"there is no {path.relative_to(ROOT)}"
        return None
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        missing = [word for word in words if "=" not in word and word not in targets]
        return f"the Makefile has no {missing[0]}" if missing else None
    return _wrong_options(words, said.whole)


def _wrong_options(words: list[str], whole: bool, group: Any = None) -> str | None:
    group = group or typer.main.get_command(app)
    if words[0].startswith("-"):
        names, command, rest = {"-h", "--help", *_options(group)}, None, words
    else:
        command = group.commands.get(words[0])
        if command is None:
            return f"there is no command {words[0]!r}, only {', '.join(group.commands)}"
        if hasattr(command, "commands") and len(words) > 1:  # `robosac data inspect`: a command of a command
            return _wrong_options(words[1:], whole, command)
        names, rest = {"-h", "--help", *_options(command)}, words[1:]
    for word in rest:
        if word.startswith("-") and word.partition("=")[0] not in names:
            return f"there is no option {word!r}, only {', '.join(sorted(names))}"
    if not whole or command is None or "--help" in rest or re.search(r"\.\.\.|[<>|]", " ".join(rest)):
        return None
    try:  # parsed and converted as it would be, but not run
        command.make_context(words[0], list(rest))
    except Exception as error:  # typer carries its own copy of click's errors
        said = error.format_message() if hasattr(error, "format_message") else repr(error)
        readers_own = re.search(r"'[^'/]+' does not exist", said)  # a file beside the reader, in no folder of ours
        return None if readers_own else said
    return None


def _options(command: Any) -> list[str]:
    return [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]


def wrapping(text: str) -> list[str]:
    """The Python blocks of a page up to the last one that wraps a detector."""
    blocks = [block for language, block in fences(text) if language == "python"]
    last = max((k for k, block in enumerate(blocks) if "robosac.wrap(" in block), default=-1)
    return blocks[: last + 1]


# ---------------------------------------------------------------------------------------------------------- the laws
def test_the_three_lines_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = wrapping(README.read_text())
    assert blocks, "expected README.md to hold a ```python block with `robosac.wrap(`"
    monkeypatch.chdir(tmp_path)  # as a user would: from anywhere
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*calibrat.*")  # the shipped detector comes with its thresholds
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    verdict = names["verdict"]
    assert isinstance(verdict, Verdict)
    assert verdict.used | verdict.accused <= set(verdict.suspicion)
    assert verdict.trials
    assert len(verdict.result) > 0


def test_they_are_three_lines() -> None:
    block = next(b for b in wrapping(README.read_text()) if "robosac.wrap(" in b)
    lines = [ast.unparse(node) for node in ast.parse(block).body]
    first = next(k for k, line in enumerate(lines) if "load_detector(" in line)
    assert "robosac.wrap(" in lines[first + 1]
    assert lines[first + 2].startswith("verdict = ")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_can_be_typed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text()
    cloned = set(re.findall(r"^git clone .*/([\w-]+)$", text, re.MULTILINE))  # folders that the page itself makes
    found = [Said(tuple("." if word in cloned else word for word in c.words), c.whole) for c in commands(text)]
    assert {" ".join(c.words): why for c in found if (why := wrong(c)) is not None} == {}


def test_the_readme_names_the_two_commands() -> None:
    said = {c.words[:2] for c in commands(README.read_text())}
    assert {("make", "demo"), ("make", "test")} <= said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_in_pages_parses_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for language, block in fences(text):
        if language == "python":
            ast.parse(block)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", text))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


TYPED = [
    ("```sh\nrobosac budget --teammates 5 --attackers 2 --subset 3\n```", None),
    ("```\n$ .venv/bin/robosac budget --teammates 5 \\\n  --table  # whole grid\n```", None),
    ("`robosac train --config ...` and `robosac --version`", None),
    ("`python -m robosac demo --fast`", None),
    ("```sh\nrobosac train --config configs/detectors/mean.yaml\nmake test\n```", None),
    ("`robosac defend --all`", "no command 'defend'"),
    ("`robosac demo --slow`", "no option '--slow'"),
    ("`robosac data inspect PATH --plot frame.png`", None),
    ("`robosac data inspekt PATH`", "no command 'inspekt'"),
    ("`robosac data inspect --slow`", "no option '--slow'"),
    ("```sh\npython -m robosac demo --slow\n```", "no option '--slow'"),
    ("```sh\nrobosac budget --teammates five\n```", "valid integer"),
    ("```sh\nrobosac budget --attackers 2\n```", "--teammates"),
    ("```sh\nrobosac train --config configs/detectors/nowhere.yaml\n```", "nowhere.yaml"),
    ("`make coffee`", "no coffee"),
    ("`python -m benchmarks.nothing`", "benchmarks/nothing.py"),
]


@pytest.mark.parametrize(("text", "why"), TYPED)
def test_a_command_that_cannot_be_typed_is_caught(text: str, why: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = commands(text)
    assert found
    problems = [p for p in map(wrong, found) if p is not None]
    assert (problems == []) if why is None else (len(problems) == 1 and why in problems[0]), problems
