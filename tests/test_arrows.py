"""The arrows of docs/architecture.md: imports run down, never up, and `import robosac` stays light.

The imports are read from the source with `ast`: those at module level, those inside functions, those for type
checkers only, and `importlib.import_module("...")` with a literal name.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("robosac", "detectors", "attacks")
When = Literal["import", "call", "typing"]  # when an import happens

# ------------------------------------------------------------------------------------------------ the rules, as data
# A room is a module or a package directly under `robosac`; `budget` stands for all budget*.py. A room may import
# itself and every room of the layers below it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"files"}),
    frozenset({"types", "budget"}),
    frozenset({"boxes", "air"}),
    frozenset({"visibility"}),
    frozenset({"subsets", "agreement"}),
    frozenset({"consensus", "probing", "trust", "gate", "calibration"}),
    frozenset({"defenses"}),
    frozenset({"evaluation"}),
)
CONTAINERS = frozenset({"types", "boxes", "errors"})
BESIDE = {  # rooms beside the layers, and all that they may import
    "data": CONTAINERS | {"files"},  # it writes data sets, too: whole files or none
    "simulation": CONTAINERS,
    "viz": CONTAINERS | {"files", "budget"},
}
# The roof may import everything: it alone names concrete detectors, attacks and defences, and opens `viz`.
ROOF = frozenset({"", "__main__", "cli", "commands", "config", "demo", "facade", "grid", "sources"})
# `detectors` and `attacks` know the containers. How a detector is trained and judged is a workshop beside the
# detector: it simulates its data and scores it by the project's own AP. What runs on the road may not import it.
OUTSIDE = CONTAINERS | {"files"}
ATTACKS_MAY = OUTSIDE | {"air", "visibility"}  # what is in the air, and what the victim itself can see
WORKSHOP = frozenset({"dataset", "batches", "targets", "training", "validation"})
WORKSHOP_MAY = OUTSIDE | {"simulation", "evaluation"}
# Upward, for type checkers only: the protocol `Defense` names the type of the calibration that it is handed and of the
# surrogate that it hands out, `Truth` that of the world where rays can be cast again.
TYPING_ONLY = {("robosac.types", "robosac.calibration"), ("robosac.types", "robosac.air")}
HEAVY = frozenset({"torch", "open3d", "matplotlib"})
WITHOUT_HEAVY = frozenset(room for layer in LAYERS[:-1] for room in layer) | {"data"}  # not even inside a function


@dataclass(frozen=True)
class Arrow:
    """One import: who, what, when, and in which line."""

    source: str
    target: str
    when: When
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target} ({self.when})"


# ---------------------------------------------------------------------------------------------------- reading imports
def arrows(module: str, text: str, modules: frozenset[str], *, package: bool = False) -> list[Arrow]:
    """Every import in the source of a module; `modules` are the project's own, to tell a module from a name in one."""
    home = module if package else module.rpartition(".")[0]
    return [
        Arrow(module, target, when, node.lineno)
        for node, when in _walk(ast.parse(text), "import")
        for target in _targets(node, home, modules)
    ]


def _walk(node: ast.AST, when: When) -> Iterator[tuple[ast.stmt | ast.expr, When]]:
    for child in ast.iter_child_nodes(node):
        now = when
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            now = "call"
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for inner in child.body:
                yield from _walk(ast.Module([inner], []), "typing")
            for inner in child.orelse:
                yield from _walk(ast.Module([inner], []), when)
            continue
        if isinstance(child, (ast.stmt, ast.expr)):
            yield child, now
        yield from _walk(child, now)


def _targets(node: ast.AST, package: str, modules: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        whole = [f"{base}.{alias.name}" for alias in node.names]
        return list(dict.fromkeys(name if name in modules else base for name in whole))
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "importlib.import_module",
        "import_module",
        "__import__",
    ):
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


# ------------------------------------------------------------------------------------------------- judging an arrow
def room(module: str) -> tuple[str, str]:
    """The house and the room of a module: `robosac.demo.run` is ("robosac", "demo"), `robosac` is ("robosac", "")."""
    house, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return house, "budget" if house == "robosac" and name.startswith("budget") else name


def may_import(house: str, name: str) -> frozenset[str]:
    """Rooms of `robosac` that a room may import besides itself. KeyError: nobody has said where the room belongs."""
    if house == "attacks":
        return ATTACKS_MAY
    if house == "detectors":
        return WORKSHOP_MAY if name in WORKSHOP else OUTSIDE
    if name in BESIDE:
        return BESIDE[name]
    for k, layer in enumerate(LAYERS):
        if name in layer:
            return frozenset().union(*LAYERS[:k])
    raise KeyError(f"room {name!r} has no place in LAYERS, BESIDE or ROOF of {Path(__file__).name}; give it one")


def problem(arrow: Arrow) -> str | None:
    """What is wrong with an import; None where it runs down."""
    (house, name), (other, target) = room(arrow.source), room(arrow.target)
    roof = house == "robosac" and name in ROOF
    if other in HEAVY and house == "robosac" and name != "viz":
        if arrow.when == "import":
            return f"{arrow}: heavy libraries are imported inside the function that needs them"
        if name in WITHOUT_HEAVY:
            return f"{arrow}: the defence works without {other}"
    if other not in OURS or roof:
        return None
    if arrow.when == "typing" and (arrow.source, arrow.target) in TYPING_ONLY:
        return None
    if house == other:
        if house == "detectors" and target in WORKSHOP and name not in WORKSHOP:
            return f"{arrow}: a detector on the road needs nothing that trains it"
        if house != "robosac" or name == target or target in may_import(house, name):
            return None
        return f"{arrow}: the arrow runs up or across; {name} may import {sorted(may_import(house, name))}"
    if other != "robosac":
        return f"{arrow}: only the roof names {other}"
    if target not in may_import(house, name):
        return f"{arrow}: {house} may import {sorted(may_import(house, name))} of robosac"
    return None


def sources() -> dict[str, tuple[Path, bool]]:
    """Module name -> its file, and whether it is a package."""
    found = {}
    for house in OURS:
        for path in sorted((ROOT / house).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if package else parts)] = (path, package)
    return found


SOURCES = sources()
MODULES = frozenset(SOURCES)


# ---------------------------------------------------------------------------------------------------------- the laws
@pytest.mark.parametrize("module", SOURCES)
def test_arrows_run_down(module: str) -> None:
    path, package = SOURCES[module]
    found = arrows(module, path.read_text(), MODULES, package=package)
    assert [p for p in map(problem, found) if p is not None] == []


def test_every_exception_is_still_needed() -> None:
    """An exception that nothing uses is a hole in the wall."""
    seen = {(a.source, a.target) for m, (p, k) in SOURCES.items() for a in arrows(m, p.read_text(), MODULES, package=k)}
    assert seen >= TYPING_ONLY
    of_workshop = {
        room(t)[1] for s, t in seen if room(s) in {("detectors", w) for w in WORKSHOP} and room(t)[0] == "robosac"
    }
    assert of_workshop >= WORKSHOP_MAY - OUTSIDE
    assert {room(m)[1] for m in MODULES if room(m)[0] == "detectors"} >= WORKSHOP


FORBIDDEN = [
    ("robosac.boxes", "from robosac.agreement import jaccard", "runs up"),
    ("robosac.consensus", "import robosac.gate", "across"),
    ("robosac.types", "def f():\n    from robosac import boxes", "runs up"),
    ("robosac.types", "from robosac.calibration import Calibration", "runs up"),  # allowed for type checkers alone
    ("robosac.consensus", "from .defenses import Robosac", "runs up"),
    ("robosac.defenses.robosac", "from robosac.evaluation.ap import match_truth", "runs up"),
    ("robosac.evaluation.run", "from robosac.viz.bev import Picture", "runs up"),
    ("robosac.evaluation.run", "import attacks", "only the roof"),
    ("robosac.defenses.robosac", "def f():\n    import detectors.detector", "only the roof"),
    ("robosac.trust", "import importlib\nx = importlib.import_module('detectors')", "only the roof"),
    ("robosac.simulation.lidar", "from robosac.facade import wrap", "runs up"),
    ("robosac.simulation.lidar", "from robosac.files import write_whole", "across"),
    ("robosac.viz.bev", "from robosac.evaluation.run import Played", "across"),
    ("robosac.agreement", "if True:\n    import torch", "inside the function"),
    ("robosac.cli", "import matplotlib.pyplot as plt", "inside the function"),
    ("robosac.consensus", "def f():\n    import torch", "works without"),
    ("attacks.pgd", "from detectors.detector import BevDetector", "only the roof"),
    ("attacks.pgd", "from robosac.defenses import Robosac", "may import"),
    ("detectors.detector", "import attacks", "only the roof"),
    ("detectors.detector", "from robosac.simulation import scenario", "may import"),
    ("detectors.detector", "from detectors.training import train", "on the road"),
    ("detectors.training", "from robosac.defenses import Robosac", "may import"),
]


@pytest.mark.parametrize(("module", "text", "why"), FORBIDDEN)
def test_an_arrow_that_runs_up_is_caught(module: str, text: str, why: str) -> None:
    found = [p for p in map(problem, arrows(module, text, MODULES)) if p is not None]
    assert len(found) == 1
    assert why in found[0]


ALLOWED = [
    ("robosac.types", "if TYPE_CHECKING:\n    from robosac.calibration import Calibration"),
    ("robosac.evaluation.executors", "def f():\n    import torch"),
    ("robosac.viz.bev", "import matplotlib.pyplot"),
    ("robosac.facade", "import detectors, attacks\nfrom robosac.viz import bev"),
    ("robosac.demo.run", "from . import play"),
    ("attacks.pgd", "import torch\nfrom robosac.air import Air"),
    ("detectors.validation", "from robosac.evaluation.ap import match_frame"),
]


@pytest.mark.parametrize(("module", "text"), ALLOWED)
def test_arrows_that_run_down_pass(module: str, text: str) -> None:
    assert [problem(a) for a in arrows(module, text, MODULES) if problem(a)] == []


def test_a_room_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="has no place"):
        problem(Arrow("robosac.attic", "robosac.types", "import", 1))


def test_relative_imports_and_names_in_modules_are_resolved() -> None:
    text = "from . import play\nfrom ..types import Id\nfrom robosac import budget, wrap"
    targets = [a.target for a in arrows("robosac.demo.run", text, MODULES)]
    assert targets == ["robosac.demo.play", "robosac.types", "robosac.budget", "robosac"]


LIGHT = [
    ("import robosac", ("torch", "open3d", "matplotlib", "scipy", "numpy")),
    ("import robosac.cli", ("torch", "open3d", "matplotlib", "scipy", "numpy")),
    (
        "from robosac.cli import main; main('budget --teammates 5 --attackers 2 --subset 3 --json'.split())",
        ("torch", "open3d", "matplotlib", "scipy"),
    ),
    ("from robosac.defenses import Robosac; from robosac.facade import wrap", ("torch", "open3d", "matplotlib")),
    ("import robosac.simulation, detectors", ("torch", "open3d", "matplotlib")),
    ("from robosac.demo.run import run_demo", ("torch", "open3d", "matplotlib")),
]


@pytest.mark.parametrize(("statement", "absent"), LIGHT)
def test_heavy_libraries_are_loaded_only_when_needed(statement: str, absent: tuple[str, ...]) -> None:
    check = f"import sys\ntry:\n    {statement}\nexcept SystemExit as e:\n    assert not e.code, e\n"
    check += f"print('LOADED', *sorted({set(absent)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
