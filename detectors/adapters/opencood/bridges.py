"""Lets an OpenCOOD of 2022 import and run on today's Python, numpy and matplotlib, without touching it.

`bridged()` is entered wherever the adapter imports or calls the user's own OpenCOOD. Inside, a module that OpenCOOD
imports and the machine lacks (or has, but broken) is answered by a small stand-in of `standins`, and names that
numpy and matplotlib have dropped are there again. The originals are tried first, and only when OpenCOOD asks for
them. Outside, nothing is left: `sys.path`, `sys.meta_path`, `sys.modules` (but for OpenCOOD itself) and the patched
modules are as before. What no small stand-in can do is named, with the command that repairs it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from robosac.detectors.adapters.opencood.standins import STANDINS
from robosac.types import InputError

PACKAGE: Final = "opencood"
HOW_TO_GET_IT: Final = (
    "install one (`pip install --no-deps opencoodx`, which is OpenCOOD of mid-2022) or name a checkout of OpenCOOD: "
    "root=PATH, the folder that holds opencood/"
)

_MARKS: Final = {  # project -> a file under models/ that it alone has, of those not yet asked about
    "HEAL": "heter_model_baseline.py",
    "CoAlign": "fuse_modules/fusion_in_one.py",
    "V2X-R": "point_pillar_L4DR.py",
}
_REMEDIES: Final = {  # what an ImportError's text holds -> what repairs it
    "spconv": "pip install spconv==2.3.8",
    "sub_modules.noise": "OpenCOOD never published opencood/models/sub_modules/noise.py: V2VAM runs only with the file",
    "fuse_modules.disco_fuse": "HEAL never published fuse_modules/disco_fuse.py: its DiscoNet runs only in CoAlign",
    "roiaware_pool3d": "build OpenCOOD's CUDA extensions: python opencood/pcdet_utils/setup.py build_ext --inplace",
    "MultiScaleDeformableAttention": "build the CUDA extension of that name, of Deformable-DETR",
    "iou3d_nms": "build OpenCOOD's CUDA extensions: python opencood/pcdet_utils/setup.py build_ext --inplace",
    "pointnet2": "build OpenCOOD's CUDA extensions: python opencood/pcdet_utils/setup.py build_ext --inplace",
    "yaml": "pip install pyyaml",
}


@contextlib.contextmanager
def bridged(root: Path | str | None = None) -> Iterator[None]:
    """Within, the user's OpenCOOD imports and runs: the installed one, or the checkout whose folder is `root`.

    Cheap and re-entrant, across threads too: the first to enter puts the bridges up, the last to leave takes them
    down. A process holds one copy of OpenCOOD, that which was imported first.

    Raises:
        InputError: if there is no OpenCOOD, if `root` holds none, or if another copy is already imported.
    """
    path = None if root is None else str(checked_root(root))
    with _BRIDGES:
        if path is not None:
            sys.path.insert(0, path)
        try:
            _check_available(path)
            yield
        finally:
            if path is not None:
                sys.path.remove(path)


def import_module(name: str, root: Path | str | None = None) -> ModuleType:
    """A module of the user's OpenCOOD, imported under `bridged(root)`.

    Raises:
        InputError: if it needs something that no stand-in can be, with the command that repairs it.
    """
    with bridged(root):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise InputError(f"{name} does not import: {error}; {remedy(error)}") from error


def remedy(error: ImportError) -> str:
    """What repairs an import of OpenCOOD's that failed."""
    for part, command in _REMEDIES.items():
        if part in str(error):
            return command
    if error.name and error.name.split(".")[0] == PACKAGE:
        if not isinstance(error, ModuleNotFoundError):
            return "the files of this checkout do not fit each other; another version of it may"
        return f"this copy of OpenCOOD has no {error.name}; a newer checkout may: {HOW_TO_GET_IT}"
    return f"pip install {error.name.split('.')[0]}" if error.name else "see OpenCOOD's installation page"


def checked_root(root: Path | str) -> Path:
    """The absolute folder of a checkout, seen to hold OpenCOOD."""
    path = Path(root).expanduser().resolve()
    if not (path / PACKAGE / "__init__.py").is_file():
        raise InputError(f"expected root to be a checkout with {PACKAGE}/__init__.py, got {path}")
    return path


def location() -> Path | None:
    """The folder that holds the imported `opencood`, or None before it is imported."""
    module = sys.modules.get(PACKAGE)
    return None if module is None else Path(next(iter(module.__path__))).resolve().parent


def framework(folder: Path | None = None) -> str:
    """Which of the projects that share the import name is in a folder (by default, which one is imported).

    Forks are told by a file of models that only they have; everything else is taken for OpenCOOD.
    """
    at = folder or location()
    models = None if at is None else at / PACKAGE / "models"
    return next((name for name, file in _MARKS.items() if models is not None and (models / file).is_file()), "OpenCOOD")


def _check_available(path: str | None) -> None:
    at = location()
    if path is not None and at is not None and str(at) != path:
        raise InputError(
            f"expected {framework(Path(path))} from {path}, but this process has already imported {framework(at)} from "
            f"{at}. OpenCOOD and its forks share the import name {PACKAGE}, and one process holds one copy: start "
            "another process for the second, or leave root away"
        )
    if at is None and importlib.util.find_spec(PACKAGE) is None:
        raise InputError(f"expected OpenCOOD (import name {PACKAGE}), which is not installed; {HOW_TO_GET_IT}")


# ------------------------------------------------------------------------------------------ names gone from libraries
def _get_cmap(name: Any = None, lut: int | None = None) -> Any:
    """`matplotlib.cm.get_cmap`, gone since matplotlib 3.9: a colour map by name."""
    import matplotlib  # lazy: heavy

    found = matplotlib.colormaps.get_cmap(name)
    return found if lut is None else found.resampled(lut)


def _moved_in_spconv_2(name: str) -> Any:
    """`spconv`'s `__getattr__`: its layers have lived in `spconv.pytorch` since 2.0; opencoodx looks for them here."""
    if name.startswith(("Sparse", "SubM")):
        return getattr(importlib.import_module("spconv.pytorch"), name)
    raise AttributeError(f"module 'spconv' has no attribute {name!r}")


_DROPPED: Final[dict[str, dict[str, Any]]] = {  # module -> what current releases no longer have and OpenCOOD looks up
    "numpy": {"Inf": np.inf, "int": int, "float": float, "bool": bool},
    "matplotlib.cm": {"get_cmap": _get_cmap},
    "spconv": {"__getattr__": _moved_in_spconv_2},
}


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:  # only pictures need it: its absence shows where OpenCOOD imports it
        return None


# ---------------------------------------------------------------------------------------------- stand-in modules
class _Finder(MetaPathFinder):
    """Answers an import of a name in `STANDINS`: the original if it is there, else its stand-in."""

    def __init__(self, found: Callable[[ModuleType], None]) -> None:
        self.found = found  # called with every original that is imported
        self.shown: dict[str, ModuleType] = {}  # stand-ins made so far, one a name and process
        self.broken: set[str] = set()  # originals that are there but failed: not tried again

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in STANDINS:
            return None
        if fullname not in self.broken:
            for finder in sys.meta_path:
                found = None if finder is self else finder.find_spec(fullname, path, target)
                if found is not None and found.loader is not None:
                    found.loader = _OriginalOrStandIn(found.loader, self)
                    return found
        return ModuleSpec(fullname, _StandIn(self), is_package="__path__" in self.stand_in(fullname).__dict__)

    def stand_in(self, name: str) -> ModuleType:
        return self.shown.setdefault(name, STANDINS[name](name))

    def hide(self) -> None:
        """Takes every stand-in out of `sys.modules`; OpenCOOD's modules keep the references they have bound."""
        for name, module in self.shown.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _StandIn(Loader):
    def __init__(self, finder: _Finder) -> None:
        self.finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.finder.stand_in(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the module is complete."""


class _OriginalOrStandIn(Loader):
    """Loads the original; should it fail (open3d without libusb, a wheel built for an older numpy), the stand-in."""

    def __init__(self, original: Loader, finder: _Finder) -> None:
        self.original, self.finder = original, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        name, before = module.__name__, set(sys.modules)
        if module.__spec__ is not None:
            module.__spec__.loader = self.original
        module.__loader__ = self.original
        try:
            self.original.exec_module(module)
        except Exception:  # whatever a broken wheel raises: OSError, ImportError, AttributeError, RuntimeError
            for half in [m for m in sys.modules if m.startswith(f"{name}.") and m not in before]:
                del sys.modules[half]
            self.finder.broken.add(name)
            stand_in = self.finder.stand_in(name)
            stand_in.__spec__ = ModuleSpec(name, _StandIn(self.finder))
            sys.modules[name] = stand_in  # the import system hands out what it finds here
        else:
            self.finder.found(module)


class _Bridges:
    """A context that many may be in at once: the first in sets up, the last out restores."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside = 0
        self._finder = _Finder(self._restore_names)
        self._patched: list[tuple[ModuleType, str]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            sys.meta_path.insert(0, self._finder)
            for module in (np, _imported("matplotlib.cm"), sys.modules.get("spconv")):
                if module is not None:
                    self._restore_names(module)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            sys.meta_path.remove(self._finder)
            self._finder.hide()
            while self._patched:
                delattr(*self._patched.pop())

    def _restore_names(self, module: ModuleType) -> None:
        """Gives a module the names that it has dropped, until the last leaves."""
        for name, value in _DROPPED.get(module.__name__, {}).items():
            if name not in vars(module):
                setattr(module, name, value)
                self._patched.append((module, name))


_BRIDGES: Final = _Bridges()
