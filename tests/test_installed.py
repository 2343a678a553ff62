"""What is installed: one package, robosac, from a wheel or in editable form, whatever folders are beside a script.

Every research repository has a `detectors` or an `attacks` folder, and clones are in a folder called `robosac`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
import robosac
from robosac import attacks
from robosac.detectors import LateFusion

detector = robosac.load_detector("late:mean")
print(detector.name, attacks.load("pgd").budget, LateFusion.__module__, robosac.wrap(detector).seed)
{theirs}
print(robosac.__file__)
"""
THEIRS = "import detectors; from attacks import mine; print(detectors.WHOSE, mine.WHOSE)"  # a package, a plain folder
PRINTED = ["late:mean 0.5 robosac.detectors.fusion.late 0"]
IMPORTS = """
import robosac
from robosac import attacks
from robosac.detectors import LateFusion

print(len(attacks.names()) > 20, robosac.load_detector.__module__, LateFusion.__module__)
print(robosac.__file__)
"""
IMPORTED = ["True robosac.facade robosac.detectors.fusion.late"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs and nothing else."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("robosac", "detectors", "attacks", "language", "configs", "src"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    [made] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(script: str, folder: Path, site: Path | None) -> list[str]:
    """The lines that a script of a user prints; `site` is what is installed, None for this environment as it is."""
    (folder / "script.py").write_text(script)
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    variables |= {} if site is None else {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def installed_here(tmp_path: Path) -> None:
    found = run("import importlib.util as u; print(u.find_spec('robosac') is not None)", tmp_path, None)
    if found != ["True"]:
        pytest.skip("robosac is not installed in this environment")


@pytest.mark.parametrize("form", ["wheel", "this environment"])
def test_a_users_folders_and_ours_do_not_shadow_each_other(
    form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if form == "this environment":
        installed_here(tmp_path)
    site = request.getfixturevalue("wheel") if form == "wheel" else None
    for name in ("detectors", "attacks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text("WHOSE = 'the user'\n")
    (tmp_path / "detectors" / "__init__.py").write_text("WHOSE = 'the user'\n")
    lines = run(SCRIPT.format(theirs=THEIRS), tmp_path, site)
    assert lines[:-1] == [*PRINTED, "the user the user"]
    if site is not None:
        assert Path(lines[-1]).is_relative_to(site)


@pytest.mark.parametrize("form", ["wheel", "this environment"])
def test_a_script_beside_the_clone_imports_what_is_installed(
    form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if form == "this environment":
        installed_here(tmp_path)
    for name in ("robosac", "detectors", "attacks", "src", "tests"):  # a clone as it looks from outside
        (tmp_path / "robosac" / name).mkdir(parents=True)
        (tmp_path / "robosac" / name / "__init__.py").touch()
    site = request.getfixturevalue("wheel") if form == "wheel" else None
    lines = run(IMPORTS, tmp_path, site)
    assert lines[:-1] == IMPORTED and not Path(lines[-1]).is_relative_to(tmp_path)


def test_nothing_but_robosac_is_installed(wheel: Path) -> None:
    assert {p.name for p in wheel.iterdir() if not p.name.endswith(".dist-info")} == {"robosac"}
    on_the_path = {p.name for p in (ROOT / "src").iterdir()}  # by an editable install
    assert on_the_path - {"robosac.egg-info"} == {"robosac"}
    for needed in (
        "detectors/weights/mean.safetensors",
        "configs/attacks/pgd.yaml",
        "py.typed",
        "viz/report.html",
        "simulation/networks/crossing.net.xml",
    ):
        assert (wheel / "robosac" / needed).is_file()


def test_a_checkout_without_links_says_what_to_do(tmp_path: Path) -> None:
    """As Git makes it on Windows without the right to make links: the links are files that hold their targets."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "robosac").write_text("../robosac")
    command = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "core.symlinks true" in done.stderr and "Traceback" not in done.stderr
