"""The arrows of docs/architecture.md: imports run down, never up, and `import robosac` stays light.

The imports are read from the source with `ast`: those at module level, those inside functions, those for type
checkers only, and `importlib.import_module("...")` with a literal name.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "robosac": "robosac",
    "robosac.detectors": "detectors",
    "robosac.attacks": "attacks",
    "robosac.language": "language",
}
When = Literal["import", "call", "typing"]  # when an import happens

# ------------------------------------------------------------------------------------------------ the rules, as data
# A room is a module or a package directly under `robosac`, or a nested one that is named here. A room may import
# itself and every room of the floors below it.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "progress"}),
    frozenset(
        {"arrays", "bev_grid", "building", "files", "executors", "fingerprint", "lock", "plain_yaml", "randomness"}
    ),
    frozenset({"types", "budget", "fleet.lowrank"}),
    frozenset({"score_maps", "box_kernels"}),
    frozenset({"boxes", "capabilities", "feature_scale", "pcd"}),
    frozenset({"visibility", "transversal"}),
    frozenset({"conformal", "subsets", "agreement", "certificates", "evidence"}),
    frozenset({"consensus", "probing", "trust", "gate", "calibration", "poses"}),
    frozenset({"defenses.protocol", "fleet"}),
    frozenset({"air"}),
    frozenset({"defenses"}),
    frozenset({"evaluation"}),
)
CONTAINERS = frozenset({"types", "capabilities", "boxes", "errors"})
# adapters read PCD files by the same bytes as `data`, and YAML by the same rules
INFERENCE = CONTAINERS | {"files", "fingerprint", "fleet.lowrank", "pcd", "plain_yaml", "progress"}
BESIDE = {  # rooms beside the floors, and all that they may import
    "data": CONTAINERS | {"files", "pcd", "plain_yaml"},  # it writes data sets, too: whole files or none
    "simulation": CONTAINERS,
    "viz": CONTAINERS | {"files", "budget"},
    "detectors": INFERENCE,
    # How a detector is trained and judged stands beside the detector: it simulates its data and scores it by the
    # project's own AP. What runs at inference may not import it.
    "detectors.bev.training": INFERENCE | {"detectors", "simulation", "evaluation", "executors", "lock"},
    # language models that a fleet tunes: torch, and adapters as detectors have them
    "language": INFERENCE | {"detectors", "fleet", "randomness"},
    # what is in the air, what the victim itself can see, and what an attacker may know of the defence
    "attacks": INFERENCE | {"air", "building", "feature_scale", "visibility", "defenses.protocol"},
}
# The application may import everything below: it alone names concrete detectors, attacks and defences, and opens
# `viz`. Its own floors run down, too: workers of an experiment open by name what they play, so the registry is below.
APPLICATION: tuple[frozenset[str], ...] = (
    frozenset({"registry", "verdicts"}),
    frozenset({"facade"}),
    frozenset({"experiments"}),
    frozenset({"cli"}),
)
ENTRANCES = frozenset({"", "__main__"})  # `import robosac`, whose names anybody above may use, and `python -m robosac`
NESTED = frozenset(room for room in (*(r for f in FLOORS for r in f), *BESIDE) if "." in room)
HEAVY = frozenset({"torch", "open3d", "matplotlib"})
MAY_BE_HEAVY = frozenset({"viz", "detectors", "detectors.bev.training", "attacks", "language"})  # at module level
WITHOUT_HEAVY = (  # not even inside a function
    frozenset(room for floor in FLOORS[:-1] for room in floor) - {"executors"} | {"data"}
)


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
def room(module: str) -> str | None:
    """The room of a module: `robosac.viz.bev` is in "viz", `robosac` in "", and `torch` in none of ours."""
    house, _, rest = module.partition(".")
    if house != "robosac":
        return None
    nested = [n for n in NESTED if f"{rest}.".startswith(f"{n}.")]
    return max(nested, key=len) if nested else rest.partition(".")[0]


def may_import(name: str) -> frozenset[str]:
    """Rooms that a room may import besides itself. KeyError: nobody has said where the room belongs."""
    if name in BESIDE:
        return BESIDE[name]
    for k, floor in enumerate(FLOORS):
        if name in floor:
            return frozenset().union(*FLOORS[:k])
    everything = frozenset().union(*FLOORS, BESIDE)
    if name in ENTRANCES:
        return everything.union(*APPLICATION)
    for k, floor in enumerate(APPLICATION):
        if name in floor:
            return everything.union(ENTRANCES, *APPLICATION[: k + 1])
    raise KeyError(f"room {name!r} has no place in FLOORS, BESIDE or APPLICATION of {Path(__file__).name}; give it one")


def problem(arrow: Arrow) -> str | None:
    """What is wrong with an import; None where it runs down."""
    name, target = room(arrow.source), room(arrow.target)
    assert name is not None
    other = arrow.target.partition(".")[0]
    if other in HEAVY and name not in MAY_BE_HEAVY:
        if arrow.when == "import":
            return f"{arrow}: heavy libraries are imported inside the function that needs them"
        if name in WITHOUT_HEAVY:
            return f"{arrow}: the defence works without {other}"
    if target is None or name == target or target in may_import(name):
        return None
    return f"{arrow}: the arrow runs up or across; {name} may import {sorted(may_import(name))}"


def sources() -> dict[str, tuple[Path, bool]]:
    """Module name -> its file, and whether it is a package."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = (*package.split("."), *path.relative_to(ROOT / folder).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
    return found


SOURCES = sources()
MODULES = frozenset(SOURCES)
ARROWS = {m: arrows(m, path.read_text(), MODULES, package=package) for m, (path, package) in SOURCES.items()}


# ---------------------------------------------------------------------------------------------------------- the laws
@pytest.mark.parametrize("module", SOURCES)
def test_arrows_run_down(module: str) -> None:
    assert [p for p in map(problem, ARROWS[module]) if p is not None] == []


def circles(arrows_of: Mapping[str, Sequence[Arrow]]) -> list[list[str]]:
    """Modules that import one another in a circle, imports inside functions and for type checkers included.

    A package's `__init__` only gathers what its modules hold, and is left out.
    """
    names = [m for m in arrows_of if m not in SOURCES or not SOURCES[m][1]]
    number = {m: k for k, m in enumerate(names)}
    pairs = [(number[m], number[a.target]) for m in names for a in arrows_of[m] if a.target in number and a.target != m]
    graph = csr_matrix((np.ones(len(pairs)), tuple(np.array(pairs).reshape(-1, 2).T)), shape=(len(names),) * 2)
    _, component = connected_components(graph, connection="strong")
    groups = [[m for m in names if component[number[m]] == c] for c in set(component)]
    return sorted(g for g in groups if len(g) > 1)


def test_there_is_no_circle_of_files() -> None:
    assert circles(ARROWS) == []


def test_a_circle_is_found() -> None:
    texts = {
        "a": "import b",
        "b": "def f():\n    import c",
        "c": "if TYPE_CHECKING:\n    from a import x",
        "d": "import a",
    }
    made = {m: arrows(m, text, frozenset(texts)) for m, text in texts.items()}
    assert circles(made) == [["a", "b", "c"]]


FORBIDDEN = [
    ("robosac.boxes", "from robosac.agreement import jaccard", "runs up"),
    ("robosac.consensus", "import robosac.gate", "across"),
    ("robosac.types", "def f():\n    from robosac import boxes", "runs up"),
    ("robosac.types", "if TYPE_CHECKING:\n    from robosac.calibration import Calibration", "runs up"),
    ("robosac.consensus", "from .defenses import Robosac", "runs up"),
    ("robosac.defenses.protocol", "from robosac.defenses.robosac import Robosac", "runs up"),
    ("robosac.defenses.robosac", "from robosac.evaluation.ap import match_truth", "runs up"),
    ("robosac.evaluation.play", "from robosac.viz.bev import Picture", "runs up"),
    ("robosac.evaluation.play", "from robosac import attacks", "runs up"),
    ("robosac.defenses.robosac", "def f():\n    import robosac.detectors.bev.detector", "runs up"),
    ("robosac.trust", "import importlib\nx = importlib.import_module('robosac.detectors')", "runs up"),
    ("robosac.simulation.lidar", "from robosac.facade import wrap", "runs up"),
    ("robosac.simulation.lidar", "from robosac.files import write_whole", "across"),
    ("robosac.evaluation.play", "from robosac.registry.defenses import policy", "runs up"),
    ("robosac.registry.defenses", "from robosac.experiments.settings import Grid", "runs up"),
    ("robosac.experiments.work", "from robosac.cli import main", "runs up"),
    ("robosac.viz.bev", "from robosac.evaluation.play import Played", "across"),
    ("robosac.agreement", "if True:\n    import torch", "inside the function"),
    ("robosac.cli", "import matplotlib.pyplot as plt", "inside the function"),
    ("robosac.consensus", "def f():\n    import torch", "works without"),
    ("robosac.attacks.pgd", "from robosac.detectors.bev.detector import BevDetector", "across"),
    ("robosac.attacks.pgd", "from robosac.defenses import Robosac", "runs up"),
    ("robosac.detectors.bev.detector", "from robosac import attacks", "across"),
    ("robosac.detectors.bev.detector", "from robosac.simulation import scenario", "across"),
    ("robosac.detectors.bev.detector", "from robosac.detectors.bev.training.train import train", "across"),
    ("robosac.detectors.bev.training.train", "from robosac.defenses import Robosac", "runs up"),
]


@pytest.mark.parametrize(("module", "text", "why"), FORBIDDEN)
def test_an_arrow_that_runs_up_is_caught(module: str, text: str, why: str) -> None:
    found = [p for p in map(problem, arrows(module, text, MODULES)) if p is not None]
    assert len(found) == 1
    assert why in found[0]


ALLOWED = [
    ("robosac.executors", "def f():\n    import torch"),
    ("robosac.viz.bev", "import matplotlib.pyplot"),
    ("robosac.facade", "from robosac import attacks, detectors\nfrom robosac.viz import bev"),
    ("robosac.attacks.pgd", "import torch\nfrom robosac.air import Air"),
    ("robosac.air", "from robosac.defenses.protocol import Surrogate"),
    ("robosac.detectors.bev.training.validation", "from robosac.evaluation.ap import match_frame"),
]


@pytest.mark.parametrize(("module", "text"), ALLOWED)
def test_arrows_that_run_down_pass(module: str, text: str) -> None:
    assert [problem(a) for a in arrows(module, text, MODULES) if problem(a)] == []


def test_a_room_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="has no place"):
        problem(Arrow("robosac.attic", "robosac.types", "import", 1))


def test_relative_imports_and_names_in_modules_are_resolved() -> None:
    text = "from . import bev\nfrom ..types import Id\nfrom robosac import budget, wrap"
    targets = [a.target for a in arrows("robosac.viz.report", text, MODULES)]
    assert targets == ["robosac.viz.bev", "robosac.types", "robosac.budget", "robosac"]


LIGHT = [
    ("import robosac", ("torch", "open3d", "matplotlib", "scipy", "numpy")),
    ("import robosac.cli", ("torch", "open3d", "matplotlib", "scipy", "numpy")),
    (
        "from robosac.cli import main; main('budget --teammates 5 --attackers 2 --subset 3 --json'.split())",
        ("torch", "open3d", "matplotlib", "scipy"),
    ),
    ("from robosac.defenses import Robosac; from robosac.facade import wrap", ("torch", "open3d", "matplotlib")),
    ("import robosac.simulation, robosac.detectors", ("torch", "open3d", "matplotlib")),
    ("from robosac.experiments.demo import run_demo", ("torch", "open3d", "matplotlib")),
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
