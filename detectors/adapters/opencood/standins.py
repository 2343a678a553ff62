"""Small stand-ins for modules that OpenCOOD imports and a modern machine may lack.

Each does what OpenCOOD's loaders and models ask of it, written from how the original behaves, and nothing more; what
it cannot do raises `InputError` with the command that installs the original. `bridges` shows them to OpenCOOD only
where the original is absent or does not import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

from robosac.detectors.adapters.opencood.pcd import read_pcd
from robosac.detectors.adapters.opencood.voxels import voxelise
from robosac.types import Array, Float32, InputError


def overlaps(boxes: Array, queries: Array) -> Float32:
    """IoU `(N, K)` of axis-aligned boxes `(N, 4)` and `(K, 4)` [x1 y1 x2 y2] whose far edge is inclusive.

    What OpenCOOD's compiled `bbox_overlaps` returns: a side is `x2 - x1 + 1` long (pixels), all in float32.
    """
    a, b = np.asarray(boxes, np.float32)[:, None], np.asarray(queries, np.float32)[None]
    side = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + np.float32(1)
    shared = np.where((side > 0).all(axis=-1), side[..., 0] * side[..., 1], np.float32(0))
    area_a, area_b = (np.prod(c[..., 2:] - c[..., :2] + np.float32(1), axis=-1) for c in (a, b))
    union = np.where(shared > 0, area_a + area_b - shared, np.float32(1))
    return np.asarray(shared / union, np.float32)


@dataclass(frozen=True, eq=False)
class HostArray:
    """What `cumm.tensorview.from_numpy` and the voxeliser exchange: an array that says `numpy()`."""

    array: Array

    def numpy(self) -> Array:
        return self.array


@dataclass(frozen=True)
class Voxeliser:
    """`spconv.utils.Point2VoxelCPU3d`, as far as OpenCOOD calls it."""

    vsize_xyz: Any
    coors_range_xyz: Any
    num_point_features: int
    max_num_voxels: int
    max_num_points_per_voxel: int

    def point_to_voxel(self, points: HostArray) -> tuple[HostArray, HostArray, HostArray]:
        """Features `(V, max points, C)`, coordinates `(V, 3)` [z y x] and numbers of points `(V,)`."""
        given = points.numpy()
        if given.ndim != 2 or given.shape[1] != self.num_point_features:
            raise InputError(f"expected points of shape (N, {self.num_point_features}), got {given.shape}")
        features, coords, counts = voxelise(
            given, self.vsize_xyz, self.coors_range_xyz, self.max_num_points_per_voxel, self.max_num_voxels
        )
        return HostArray(features), HostArray(coords), HostArray(counts)


def read_point_cloud(path: str) -> SimpleNamespace:
    """`open3d.io.read_point_cloud` for OPV2V's files: `points (N, 3)` metres and `colors (N, 3)` in [0, 1]."""
    xyz, colours = read_pcd(Path(path))
    if colours is None:
        raise InputError(
            f"expected a field rgb in {path}: OpenCOOD takes a point's intensity from the red byte; "
            "write the intensity (0 to 255) there"
        )
    return SimpleNamespace(points=xyz, colors=colours)


# ------------------------------------------------------------------------------------------------ the modules
Build = Callable[[str], ModuleType]


class Absent:
    """What a stand-in gives for a name it does not have: it may be imported and passed on, not used."""

    def __init__(self, name: str, remedy: str) -> None:
        self._said = (name, remedy)
        self._why = f"{name} is absent or does not import here; {remedy}"

    def __call__(self, *_: object, **__: object) -> Any:
        raise InputError(self._why)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # introspection, not use
            raise AttributeError(name)
        raise InputError(self._why)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """A class may be derived from it, too; what raises is to make an instance."""
        return (type("Absent", (), {"__init__": lambda _, *args, **kwargs: self(*args, **kwargs)}),)


class Made(Absent):
    """One that may be called and derived from, as on import; what was made of it may not be used."""

    def __call__(self, *_: object, **__: object) -> Any:
        return Absent(*self._said)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        used = Absent(*self._said)
        inside = {"__init__": lambda *_, **__: None, "__call__": lambda _, *args: used(*args)}
        return (type("Absent", (), inside),)


def _hollow(name: str, remedy: str, **attributes: Any) -> ModuleType:
    """A module whose names, but for `attributes`, may be imported and raise the remedy when used."""
    module = ModuleType(name, f"Stand-in of robosac for {name}.")

    def absent(attribute: str) -> Absent:
        if attribute.startswith("__"):  # `hasattr(module, "__file__")` and its like
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return Absent(f"{name}.{attribute}", remedy)

    module.__dict__.update(attributes, __getattr__=absent)
    return module


def _plain(name: str, **attributes: Any) -> ModuleType:
    """A module that holds `attributes` only: asking for more is an ordinary ImportError, which OpenCOOD expects."""
    module = ModuleType(name, f"Stand-in of robosac for {name}.")
    module.__dict__.update(attributes)
    return module


def _only_imported(remedy: str) -> Build:
    return lambda name: _hollow(name, remedy)


def _transforms(name: str) -> ModuleType:
    """`torchvision.transforms`, of which CoAlign makes some when it is imported, for images."""

    def made(attribute: str) -> Made:
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return Made(f"{name}.{attribute}", TORCHVISION_REMEDY)

    return _plain(name, __getattr__=made)


def _package(remedy: str) -> Build:
    """The same with modules inside, each of which has an entry of its own."""
    return lambda name: _hollow(name, remedy, __path__=[])


def echo(*values: Any) -> Any:
    """`icecream.ic`: what it is given comes back. The original prints it as well."""
    return values[0] if len(values) == 1 else values or None


def _from_numpy(array: Array) -> HostArray:
    return HostArray(np.asarray(array))


def _spconv(name: str) -> ModuleType:
    """The package of the voxeliser. Its sparse layers can be imported, not used."""
    package = _plain(name, __path__=[])

    def layer(attribute: str) -> Absent:
        if attribute.startswith(("Sparse", "SubM")):
            return Absent(f"{name}.{attribute}", SPCONV_REMEDY)
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    package.__dict__["__getattr__"] = layer
    return package


SPCONV_REMEDY: Final = "pip install spconv==2.3.8"
TIMM_REMEDY: Final = "pip install timm"
TORCHVISION_REMEDY: Final = "pip install torchvision, the release for your torch"
OPEN3D_REMEDY: Final = "pip install open3d, and the system libraries that it names (libusb-1.0-0, libgl1, libgomp1)"

STANDINS: Final[dict[str, Build]] = {
    "open3d": lambda name: _hollow(name, OPEN3D_REMEDY, io=SimpleNamespace(read_point_cloud=read_point_cloud)),
    "opencood.utils.box_overlaps": lambda name: _plain(name, bbox_overlaps=overlaps),
    "cumm": lambda name: _plain(name, __path__=[]),
    "cumm.tensorview": lambda name: _plain(name, from_numpy=_from_numpy),
    "spconv": _spconv,
    "spconv.utils": lambda name: _plain(name, Point2VoxelCPU3d=Voxeliser),
    "cv2": _only_imported("pip install opencv-python-headless"),
    "timm": _package(TIMM_REMEDY),
    "timm.models": _package(TIMM_REMEDY),
    "timm.models.layers": _only_imported(TIMM_REMEDY),
    "tensorboardX": _only_imported("pip install tensorboardX"),
    "gdown": _only_imported("pip install gdown"),
    "easydict": _only_imported("pip install easydict"),
    "icecream": lambda name: _plain(name, ic=echo),  # from here on: what CoAlign and HEAL import beyond OpenCOOD
    "pyquaternion": _only_imported("pip install pyquaternion"),
    "h5py": _only_imported("pip install h5py"),
    "pypcd": _only_imported("pip install git+https://github.com/klintan/pypcd.git"),
    "g2o": _only_imported("pip install g2o-python"),
    "termcolor": _only_imported("pip install termcolor"),
    "efficientnet_pytorch": _only_imported("pip install efficientnet_pytorch"),
    "torchvision": lambda name: _hollow(
        name, TORCHVISION_REMEDY, __path__=[], transforms=_transforms(f"{name}.transforms")
    ),
    "torchvision.transforms": _transforms,
    "torchvision.models": _package(TORCHVISION_REMEDY),
    "torchvision.models.resnet": _only_imported(TORCHVISION_REMEDY),
    "sklearn": lambda name: _plain(name, __path__=[]),
    "sklearn.neighbors": _only_imported("pip install scikit-learn"),
}
