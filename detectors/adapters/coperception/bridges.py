"""Importing the user's coperception on a current Python.

`import coperception` runs every module of the package, and with them imports that a detector never uses: data sets,
pictures, evaluation, and a binary for Python 3.7. Where such a module is absent a stand-in takes its place while the
package is imported, and is gone afterwards: using a name of a stand-in raises an error that says what is missing. A
module that is there is used as it is. Nothing of the package is changed, and nothing of it is carried here.
"""

from __future__ import annotations

import collections
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, Final, NoReturn

from robosac.types import InputError

PACKAGE: Final = "coperception"
_MAPPING: Final = f"{PACKAGE}.utils.mapping"  # visibility maps for its data preparation: a binary for Python 3.7
# What coperception imports and no detector of it calls; submodules are listed with their packages.
_BRIDGED: Final = {
    _MAPPING: (),
    "torchvision": ("transforms", "transforms.functional"),
    "nuscenes": ("nuscenes", "utils", "utils.data_classes", "utils.geometry_utils"),
    "pyquaternion": (),
    "cv2": (),
    "mmcv": ("utils",),
    "terminaltables": (),
    "seaborn": (),
    "numba": (),
}


class _StandIn(ModuleType):
    """A module of which every name is a class that cannot be used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        package = self.__name__.split(".")[0]
        what = self.__name__ if package == PACKAGE else package

        def refuse(*_: Any, **__: Any) -> NoReturn:
            raise ImportError(f"{self.__name__}.{name} was called, but {what} is not installed")

        return type(name, (), {"__init__": refuse, "__module__": self.__name__})


def njit(function: Any = None, **_: Any) -> Any:
    """Stands in for numba's decorator: the function stays as it is, only slower."""
    return function if callable(function) else lambda inner: inner


def load(root: str | Path | None = None, modules: Sequence[str] = ("models.det", "configs")) -> tuple[ModuleType, ...]:
    """Modules of the installed coperception, or of the checkout in `root`.

    Args:
        root: the folder that holds the package folder `coperception`; None: wherever Python finds it.

    Raises:
        InputError: if it is not there, does not import, or was imported from elsewhere before.
    """
    folder = None if root is None else Path(root).resolve()
    if folder is not None and not (folder / PACKAGE / "__init__.py").is_file():
        raise InputError(f"expected a checkout of coperception, got {folder} without {PACKAGE}/__init__.py")
    with _first_on_path(folder), bridged():
        _import(PACKAGE)
        found = tuple(_import(f"{PACKAGE}.{name}") for name in modules)
    at = Path(sys.modules[PACKAGE].__file__ or "").resolve().parent.parent
    if folder is not None and at != folder:
        raise InputError(
            f"expected coperception from {folder}, but this process has imported it from {at}; start a fresh one"
        )
    return found


@contextmanager
def bridged() -> Iterator[None]:
    """While inside, absent modules that coperception imports have stand-ins once an import of it asked for them."""
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandIn):
                del sys.modules[name]


@contextmanager
def old_names() -> Iterator[None]:
    """While inside, `collections.Iterable` is there, which Python 3.10 moved and V2VNet's recurrent unit asks for."""
    if hasattr(collections, "Iterable"):
        yield
        return
    vars(collections)["Iterable"] = Iterable
    try:
        yield
    finally:
        del vars(collections)["Iterable"]


def _import(name: str) -> ModuleType:
    """Import a module of coperception; what is missing gets a stand-in and the import starts again."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = _missing(error)
        if missing is None or isinstance(sys.modules.get(missing), _StandIn):
            raise InputError(_advice(error)) from error
    _forget_package()
    _stand_in(missing)
    return _import(name)


def _missing(error: ImportError) -> str | None:
    """Which of the modules that can be bridged an import failed for."""
    if any(
        _MAPPING.replace(".", "/") in Path(f.f_code.co_filename).as_posix() for f, _ in walk_tb(error.__traceback__)
    ):
        return _MAPPING  # a checkout has it, but made for Python 3.7
    name = error.name or ""
    return next((known for known in _BRIDGED if name == known or name.startswith(known + ".")), None)


def _advice(error: ImportError) -> str:
    if error.name == PACKAGE:
        return (
            "expected coperception to be installed, it is not; "
            "`pip install --no-deps --no-build-isolation coperception` or give the folder of a checkout as `root`"
        )
    return f"expected coperception to import, got {type(error).__name__}: {error}; install what is missing"


def _stand_in(name: str) -> None:
    for full in (name, *(f"{name}.{sub}" for sub in _BRIDGED[name])):
        module = _StandIn(full)
        if full == "numba":
            vars(module)["njit"] = njit
        sys.modules[full] = module
        parent, _, child = full.rpartition(".")
        if isinstance(sys.modules.get(parent), _StandIn):
            vars(sys.modules[parent])[child] = module


def _forget_package() -> None:
    """Drop what a failed import left half made; stand-ins stay."""
    for name, module in list(sys.modules.items()):
        if (name == PACKAGE or name.startswith(PACKAGE + ".")) and not isinstance(module, _StandIn):
            del sys.modules[name]


@contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
