"""The models of OpenCOOD's forks CoAlign, HEAL and V2X-R: where their agents are still apart.

The first two warp what is received inside of the fusion, name their outputs alike, and choose the fusion by an
argument, so that one class holds many published models. A HEAL model has an encoder for each kind of agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from robosac.detectors.adapters.opencood.batch import Hypes
from robosac.detectors.adapters.opencood.specs import PILLARS, Skip, Spec, SpecOf, attentive, single_scale
from robosac.detectors.adapters.replay import Tap
from robosac.types import Id, InputError

_HEADS: Final = ("cls_preds", "reg_preds")
_PADDING: Final = frozenset({"V2XViTFusion", "CoBEVT"})  # fusions that pad the agents to max_cav


def _baseline(model: Any) -> Spec:
    """One map an agent, whichever way they are fused."""
    padded = type(model.fusion_net).__name__ in _PADDING
    return single_scale(warps=True, padded=padded, heads=_HEADS)(model)


def _multiscale(model: Any) -> Spec:
    """All levels of a shared backbone are fused, so all are sent."""
    names = tuple(f"L{i}" for i in range(len(model.fusion_net)))
    return Spec(
        taps=tuple(Tap(name, "backbone:get_multiscale_feature", pick=i) for i, name in enumerate(names)),
        sent=names,
        skips=(*PILLARS, *[Skip("naive_compressor")] * model.compression),
        canvas=PILLARS[-1],
        warps=True,
        heads=_HEADS,
    )


# ------------------------------------------------------------------------------------------------------- HEAL
_PILLAR_SITES: Final = ("pillar_vfe", "scatter")
_SPARSE_SITES: Final = ("vfe", "spconv_block", "map_to_bev")


def _heterogeneous(model: Any, last: str) -> Spec:
    """One map an agent, after `last` of its kind (`shrinker` or `aligner`), and after the shared compressor."""
    kinds = [m for m in model.modality_name_list if model.sensor_type_dict[m] == "lidar"]
    if not kinds:
        raise InputError(
            f"expected {type(model).__name__} with agents that carry a LiDAR, got cameras alone "
            f"({', '.join(model.modality_name_list)}); cameras are not read here"
        )
    kinds.sort(key=lambda m: not hasattr(model.get_submodule(f"encoder_{m}"), "pillar_vfe"))
    specs = {kind: _of_kind(model, kind, last) for kind in kinds}
    first = specs.pop(kinds[0])
    return replace(first, modalities=tuple(kinds), others=specs)


def _of_kind(model: Any, kind: str, last: str) -> Spec:
    """The spec of agents of one kind."""
    pillars = hasattr(model.get_submodule(f"encoder_{kind}"), "pillar_vfe")
    *inner, out = (f"encoder_{kind}.{site}" for site in (_PILLAR_SITES if pillars else _SPARSE_SITES))
    canvas = Skip(out, fill="spatial_features")
    backbone, end = Skip(f"backbone_{kind}", fill="spatial_features_2d"), f"{last}_{kind}"
    squeezed = _compresses(model)
    bounded = squeezed or last == "shrinker" or _keeps_sign(model, kind)
    return Spec(
        taps=(Tap("F", "compressor" if squeezed else end),),
        sent=("F",),
        skips=(*(Skip(site) for site in inner), canvas, backbone, *[Skip(end)] * squeezed),
        canvas=canvas,
        cells="pillars" if pillars else "voxels",
        unbounded=frozenset() if bounded else frozenset({"F"}),
        padded=type(getattr(model, "fusion_net", None)).__name__ in _PADDING,
        warps=True,
        heads=_HEADS,
    )


def _compresses(model: Any) -> bool:
    """Whether a shared autoencoder comes before the fusion; the multi-scale model has none."""
    return bool(getattr(model, "compress", False)) and hasattr(model, "compressor")


def _keeps_sign(model: Any, kind: str) -> bool:
    """Whether an agent's map ends in the ReLU of its backbone: the aligner of its kind does nothing."""
    return type(model.get_submodule(f"aligner_{kind}").channel_align).__name__ == "Identity"


def _heter_multiscale(model: Any) -> Spec:
    """The finest level is sent; the ego makes the coarser ones from it."""
    plain = _heterogeneous(model, "aligner")
    coarser = (Tap(f"L{i}", "backbone:get_layer_i_feature", i - 1, i - 1) for i in range(1, len(model.fusion_net)))
    return replace(plain, taps=(*plain.taps, *coarser))  # derived by the ego, so they do not concern other kinds


def checked_modalities(hypes: Hypes, spec: Spec, given: Mapping[Id, str]) -> dict[Id, str]:
    """The kind of agents by id; under the empty name that of all others, the ego's in the configuration.

    Raises:
        InputError: if a kind is given that the model has no LiDAR encoder for.
    """
    unknown = sorted(set(given.values()) - set(spec.modalities))
    if unknown:
        raise InputError(
            f"expected kinds of agents among {', '.join(spec.modalities) or 'none (the model knows one kind)'}, "
            f"got {', '.join(unknown)}"
        )
    ego = str((hypes.get("heter") or {}).get("ego_modality", "")).split("&")
    usual = next((kind for kind in (*ego, *spec.modalities) if kind in spec.modalities), "")
    return {"": usual, **given}


COALIGN: Final[dict[str, SpecOf]] = {
    "PointPillarIntermediate": attentive(PILLARS, "backbone", "pillars", warps=True, heads=_HEADS),
    "PointPillarBaseline": _baseline,
    "PointPillarBaselineMultiscale": _multiscale,
    "CoAlign": _multiscale,
    "PointPillarDiscoNet": single_scale(warps=True, heads=_HEADS),
    "PointPillarMash": single_scale(heads=_HEADS),
}
HEAL: Final[dict[str, SpecOf]] = {
    "PointPillarBaseline": _baseline,
    "PointPillarBaselineMultiscale": _multiscale,
    "PointPillarDiscoNet": single_scale(warps=True, heads=_HEADS),
    "HeterModelBaseline": lambda model: _heterogeneous(model, "shrinker"),
    "HeterModelBaselineMs": _heter_multiscale,
    "HeterPyramidCollab": lambda model: _heterogeneous(model, "aligner"),
}
V2X_R: Final[dict[str, SpecOf]] = {  # and OpenCOOD's own classes; those that read its radar have no spec
    "PointPillarDiscoNet": single_scale(warps=True),
    "PointPillarV2XVit": single_scale(padded=True, warps=True),
    "PointPillarSpatialCooper": single_scale(),
    "PointPillarMax": single_scale(warps=True),
    "PointPillarWhen2com": single_scale(warps=True),
}
