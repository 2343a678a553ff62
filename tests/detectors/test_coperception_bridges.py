"""Imports of a made-up package by coperception's name: what is absent is stood in for, and only meanwhile."""

from __future__ import annotations

import collections
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robosac.detectors.adapters.coperception import bridges
from robosac.types import InputError

ABSENT = [m for m in ("mmcv", "pyquaternion", "terminaltables") if importlib.util.find_spec(m) is None]
pytestmark = pytest.mark.skipif(len(ABSENT) < 3, reason="the modules that would be stood in for are installed")

MODELS = """
from mmcv.utils import print_log
from pyquaternion import Quaternion
import terminaltables
from ..utils.mapping import mapping
class Box(Quaternion):
    pass
def annotated(q: Quaternion, log=print_log):
    return 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A checkout; whatever of it was imported is forgotten afterwards, and what was there before comes back."""
    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == bridges.PACKAGE}
    for name in before:
        del sys.modules[name]
    files = {"__init__": "from .models import det", "models/__init__": "", "models/det": MODELS}
    files |= {"configs": "WHO = 'made up'", "utils/__init__": ""}
    for name, text in files.items():
        file = tmp_path / bridges.PACKAGE / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    yield tmp_path
    for name in [n for n in sys.modules if n.split(".")[0] == bridges.PACKAGE]:
        del sys.modules[name]
    sys.modules.update(before)


def test_absent_modules_are_stood_in_for_while_it_is_imported_and_no_longer(root: Path) -> None:
    path = list(sys.path)
    det, configs = bridges.load(root)
    assert configs.WHO == "made up" and det.annotated(None) == 1
    assert sys.path == path and not set(ABSENT) & set(sys.modules)
    assert f"{bridges.PACKAGE}.utils.mapping" not in sys.modules
    with pytest.raises(ImportError, match=r"pyquaternion.Quaternion was called, but pyquaternion is not installed"):
        det.Quaternion()
    with pytest.raises(ImportError, match="mmcv is not installed"):
        det.print_log("a line")
    assert bridges.load(root)[0] is det


def test_what_nobody_stands_in_for_is_named(root: Path) -> None:
    (root / bridges.PACKAGE / "configs.py").write_text("import a_module_that_nobody_has")
    with pytest.raises(InputError, match="No module named 'a_module_that_nobody_has'; install what is missing"):
        bridges.load(root)
    assert not set(ABSENT) & set(sys.modules)


def test_a_binary_for_another_python_is_stood_in_for(root: Path) -> None:
    (root / bridges.PACKAGE / "utils" / "mapping.py").write_text("raise ImportError('made for Python 3.7')")
    assert bridges.load(root)[1].WHO == "made up"


def test_one_process_holds_one_coperception(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bridges.load(root)
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(InputError, match="expected a checkout of coperception, got"):
        bridges.load(other)
    (other / bridges.PACKAGE).mkdir()
    (other / bridges.PACKAGE / "__init__.py").touch()
    with pytest.raises(InputError, match=r"this process has imported it from .* start a fresh one"):
        bridges.load(other)


@pytest.mark.skipif(importlib.util.find_spec(bridges.PACKAGE) is not None, reason="coperception is installed")
def test_where_there_is_none_the_command_that_helps_is_named() -> None:
    with pytest.raises(InputError, match=r"pip install --no-deps --no-build-isolation coperception.*`root`"):
        bridges.load()


def test_old_names_are_there_inside_and_gone_outside() -> None:
    assert not hasattr(collections, "Iterable")
    with bridges.old_names():
        assert isinstance([], collections.Iterable)  # type: ignore[attr-defined]
        with bridges.old_names():
            assert hasattr(collections, "Iterable")
        assert hasattr(collections, "Iterable")
    assert not hasattr(collections, "Iterable")
