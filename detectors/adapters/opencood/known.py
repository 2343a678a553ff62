"""The spec of a model: that of its class in the framework which is really imported.

OpenCOOD and its forks share the import name `opencood` and names of classes whose code differs. New classes are added
by `register_spec` or, from an installed package, by an entry point of the group `robosac.opencood_specs` whose name is
the class and whose value is a function `model -> Spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final

from torch import nn

from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.forks import COALIGN, HEAL, V2X_R
from robosac.detectors.adapters.opencood.specs import OPENCOOD, Spec, SpecOf
from robosac.types import InputError

GROUP: Final = "robosac.opencood_specs"
_OWN: Final[dict[str, SpecOf]] = {}  # what a user has registered
_TABLES: Final[Mapping[str, Mapping[str, SpecOf]]] = {"CoAlign": COALIGN, "HEAL": HEAL, "V2X-R": V2X_R}
_SINGLE: Final = frozenset(
    {"PointPillar", "Second", "VoxelNet", "PIXOR", "CIASSD", "SecondSSFA", "PointPillarUncertainty", "CenterPoint"}
    | {"SecondSSFAUncertainty", "HeterModelLate", "HeterPyramidSingle", "PointPillarDiscoNetTeacher", "LiftSplatShoot"}
)
_REFUSED: Final[Mapping[str, str]] = {
    "VoxelNetIntermediate": "its forward calls .cuda()",
    "PointPillarintermediateV2VAM": "its forward calls .cuda(), and its module sub_modules.noise was never published",
    "FPVRCNN": "its second stage needs the compiled CUDA extension roiaware_pool3d",
    "FVoxelRCNN": "its second stage needs compiled CUDA extensions",
    "PointPillarDeformTransformer": "its module sub_modules.deformable_transformer_backbone was never published",
    "PointPillarV2VNetRobust": "its forward adds random noise to the poses, when it is evaluated as well",
    "PointPillarSiCP": "its fusion calls .cuda()",
    "PointPillarScope": "its forward reads several frames at once",
    "PointPillarHow2comm": "its forward reads several frames at once",
    "LiftSplatShootIntermediate": "it reads cameras, which are not read here",
}


def register_spec(class_name: str, spec_of: SpecOf) -> None:
    """Teach the adapter a class of models. `spec_of(model)` is called for every instance that is wrapped.

    Raises:
        InputError: if the class is known already.
    """
    if class_name in _OWN or any(class_name in table for table in (OPENCOOD, *_TABLES.values())):
        raise InputError(f"expected a class that has no spec yet, got {class_name!r}; give yours another name")
    _OWN[class_name] = spec_of


def spec_of(model: nn.Module) -> Spec:
    """The spec of a model, by the name of its class and the framework that it is from.

    Raises:
        InputError: if the class cannot be wrapped or is not known; the message says what to do.
    """
    name = type(model).__name__
    found = _OWN.get(name) or _table(model).get(name)
    if found is not None:
        try:
            return found(model)
        except AttributeError as error:
            raise InputError(
                f"expected {name} as in {', '.join(('OpenCOOD', *_TABLES))}, got that of another fork ({error}); give "
                "the class another name and say with register_spec where its agents are fused"
            ) from error
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            loaded: SpecOf = entry.load()
            return loaded(model)
    if name in _SINGLE:
        raise InputError(
            f"expected a model that fuses features, got {name}, which sees one point cloud and has no fusion inside; "
            "wrap it with robosac.detectors.LateFusion (each agent detects, boxes are fused) or "
            "robosac.detectors.EarlyFusion (points are merged)"
        )
    if name in _REFUSED:
        raise InputError(
            f"expected a model that runs on the CPU, got {name}: {_REFUSED[name]}. It was never tried here and has no "
            f"spec; where that is repaired register one with register_spec({name!r}, ...)"
        )
    raise InputError(
        f"expected a model of a known class ({', '.join(sorted(_table(model)))}), got {name}. Say where its agents are "
        f"fused: robosac.detectors.adapters.opencood.register_spec({name!r}, lambda model: Spec(...)), or an entry "
        f"point of group {GROUP!r}"
    )


def _table(model: nn.Module) -> Mapping[str, SpecOf]:
    """Specs of the framework that a model's class is from; a class from elsewhere is looked up in all of them."""
    from_package = type(model).__module__.split(".")[0] == bridges.PACKAGE
    first = _TABLES.get(bridges.framework(), {}) if from_package else {}
    return {**V2X_R, **HEAL, **COALIGN, **OPENCOOD, **first}
