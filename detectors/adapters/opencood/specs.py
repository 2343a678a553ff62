"""What is particular to each OpenCOOD model: where agents are still apart, and what of that goes over the air.

A `Spec` says it for one model instance; a function `model -> Spec` says it for a class. New classes are added by
`register_spec` or, from an installed package, by an entry point of the group `robosac.opencood_specs` whose name is the
class and whose value is that function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from robosac.detectors.adapters.replay import Tap
from robosac.types import InputError

GROUP: Final = "robosac.opencood_specs"


@dataclass(frozen=True)
class Skip:
    """A site that does nothing in a replay: its first argument comes back.

    Attributes:
        site: as in `robosac.detectors.adapters.replay`.
        call: number of the call that is skipped, counted in a replay; None: all of them.
        fill: a key under which an all-zero canvas is put into that first argument, a mapping.
    """

    site: str
    call: int | None = None
    fill: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How one model is recorded and replayed.

    Attributes:
        taps: the last values that still belong to one agent a row, in the order in which the forward makes them.
        sent: names of those taps that a teammate sends; the ego derives the others from them.
        skips: sites before the taps.
        canvas: the skip that stands for an encoder's output; its key holds the bird's-eye-view canvas `(N, C, H, W)`.
            None where the model's input is dense and an agent without points is an all-zero row of it.
        cells: what the model reads: `pillars` and `voxels` are sparse, `bev` is a dense raster.
        unbounded: names of the sent taps that may be negative; all others end in a ReLU.
        prior: whether the model reads `prior_encoding`.
        padded: whether the model pads its agents to `max_cav`.
        warps: whether its fusion brings maps to the ego's frame where points were not projected there first.
        heads: names of the class and the box output, and whether boxes are relative to anchors or to cells.
    """

    taps: tuple[Tap, ...]
    sent: tuple[str, ...]
    skips: tuple[Skip, ...]
    canvas: Skip | None
    cells: Literal["pillars", "voxels", "bev"] = "pillars"
    unbounded: frozenset[str] = frozenset()
    prior: bool = False
    padded: bool = False
    warps: bool = False
    heads: tuple[str, str] = ("psm", "rm")

    def __post_init__(self) -> None:
        unknown = {*self.sent, *self.unbounded} - {tap.name for tap in self.taps}
        if unknown or not self.sent:
            raise InputError(f"expected `sent` and `unbounded` to name taps, got {sorted(unknown) or 'nothing sent'}")

    @property
    def sent_taps(self) -> tuple[Tap, ...]:
        return tuple(tap for tap in self.taps if tap.name in self.sent)

    @property
    def derived_taps(self) -> tuple[Tap, ...]:
        return tuple(tap for tap in self.taps if tap.name not in self.sent)

    def low(self, name: str) -> float:
        """The lower bound of a sent array."""
        return -math.inf if name in self.unbounded else 0.0


SpecOf: TypeAlias = Callable[[Any], Spec]  # the model's modules are looked up by name: its class is not ours

_PILLARS: Final = (Skip("pillar_vfe"), Skip("scatter", fill="spatial_features"))
_SPARSE: Final = (Skip("mean_vfe"), Skip("backbone_3d"), Skip("height_compression", fill="spatial_features"))


# ------------------------------------------------------------------------------------------- the models we know
def _attentive(encoder: tuple[Skip, ...], backbone: str, cells: Literal["pillars", "voxels"]) -> SpecOf:
    """AttFuse: every level is fused, so every level is sent. With compression, what its autoencoder gives back."""

    def spec(model: Any) -> Spec:
        body = model.get_submodule(backbone)
        levels = range(len(body.blocks))
        squeezed = len(body.compression_modules) if body.compress else 0
        names = tuple(f"L{i}" for i in levels)
        sites = [f"{backbone}.{'compression_modules' if i < squeezed else 'blocks'}.{i}" for i in levels]
        return Spec(
            taps=tuple(Tap(name, site) for name, site in zip(names, sites, strict=True)),
            sent=names,
            skips=(*encoder, *(Skip(f"{backbone}.blocks.{i}") for i in range(squeezed))),
            canvas=encoder[-1],
            cells=cells,
        )

    return spec


def _single_scale(
    *, prior: bool = False, padded: bool = False, warps: bool = False, heads: tuple[str, str] = ("psm", "rm")
) -> SpecOf:
    """One map an agent: backbone, then a shrinking and a compressing stage where the model has them."""

    def spec(model: Any) -> Spec:
        chain = ["backbone", *["shrink_conv"] * model.shrink_flag, *["naive_compressor"] * model.compression]
        pick = "spatial_features_2d" if len(chain) == 1 else None
        before = (Skip(site, fill="spatial_features_2d" if site == "backbone" else None) for site in chain[:-1])
        return Spec(
            taps=(Tap("F", chain[-1], pick=pick),),
            sent=("F",),
            skips=(*_PILLARS, *before),
            canvas=_PILLARS[-1],
            prior=prior,
            padded=padded,
            warps=warps,
            heads=heads,
        )

    return spec


def _where2comm(model: Any) -> Spec:
    """The confidence map and the features it masks; coarser levels are made from the masked ones by the ego."""
    confidence, unbounded = Tap("confidence", "cls_head"), frozenset({"confidence"})
    if not model.multi_scale:
        plain = _single_scale()(model)
        return replace(plain, taps=(*plain.taps, confidence), sent=("F", "confidence"), unbounded=unbounded)
    levels = (Tap(f"L{i}", f"backbone.blocks.{i}", recorded=1) for i in range(len(model.backbone.blocks)))
    return Spec(
        taps=(confidence, *levels),  # blocks run once in the backbone, unmasked, and once more inside the fusion
        sent=("confidence", "L0"),
        skips=(
            *_PILLARS,
            Skip("backbone", fill="spatial_features_2d"),
            *[Skip("shrink_conv", 0)] * model.shrink_flag,  # its second call comes after the fusion
            *[Skip("naive_compressor")] * model.compression,
        ),
        canvas=_PILLARS[-1],
        unbounded=unbounded,
    )


def _coalign(model: Any) -> Spec:
    """The finest level is sent; the ego makes the coarser ones from it."""
    get = "backbone:get_layer_i_feature"
    coarser = (Tap(f"L{i}", get, i, i) for i in range(1, model.backbone.num_levels))
    finest = Tap("L0", "naive_compressor") if model.compression else Tap("L0", get)
    return Spec(
        taps=(finest, *coarser),
        sent=("L0",),
        skips=(*_PILLARS, *[Skip(get, 0)] * model.compression),
        canvas=_PILLARS[-1],
        warps=True,
    )


def _multiscale_baseline(model: Any) -> Spec:
    """CoAlign's own repository: all levels of a shared backbone are fused, so all are sent."""
    names = tuple(f"L{i}" for i in range(len(model.fusion_net)))
    return Spec(
        taps=tuple(Tap(name, "backbone:get_multiscale_feature", pick=i) for i, name in enumerate(names)),
        sent=names,
        skips=(*_PILLARS, *[Skip("naive_compressor")] * model.compression),
        canvas=_PILLARS[-1],
        warps=True,
        heads=("cls_preds", "reg_preds"),
    )


def _pixor(model: Any) -> Spec:
    names = ("c3", "c4", "c5")
    return Spec(
        taps=tuple(Tap(name, "backbone:encode", pick=i) for i, name in enumerate(names)),
        sent=names,
        skips=(),
        canvas=None,
        cells="bev",
        heads=("cls", "reg"),
    )


_SPECS: Final[dict[str, SpecOf]] = {
    "PointPillarIntermediate": _attentive(_PILLARS, "backbone", "pillars"),
    "SecondIntermediate": _attentive(_SPARSE, "backbone_2d", "voxels"),
    "PointPillarFCooper": _single_scale(),
    "PointPillarV2VNet": _single_scale(warps=True),
    "PointPillarTransformer": _single_scale(prior=True, padded=True),
    "PointPillarCoBEVT": _single_scale(padded=True),
    "PointPillarWhere2comm": _where2comm,
    "PointPillarCoAlign": _coalign,
    "PIXORIntermediate": _pixor,
    "PointPillarBaseline": _single_scale(warps=True, heads=("cls_preds", "reg_preds")),
    "PointPillarBaselineMultiscale": _multiscale_baseline,
    "CoAlign": _multiscale_baseline,
}
# ------------------------------------------------------------------------------------- those that cannot be wrapped
_SINGLE: Final = frozenset({"PointPillar", "Second", "VoxelNet", "PIXOR", "CIASSD"})
_NEEDS_CUDA: Final[Mapping[str, str]] = {
    "VoxelNetIntermediate": "its forward calls .cuda()",
    "PointPillarintermediateV2VAM": "its forward calls .cuda(), and its module sub_modules.noise was never published",
    "FPVRCNN": "its second stage needs the compiled CUDA extension roiaware_pool3d",
}


def register_spec(class_name: str, spec_of: SpecOf) -> None:
    """Teach the adapter a class of models. `spec_of(model)` is called for every instance that is wrapped.

    Raises:
        InputError: if the class is known already.
    """
    if class_name in _SPECS:
        raise InputError(f"expected a class that has no spec yet, got {class_name!r}; give yours another name")
    _SPECS[class_name] = spec_of


def spec_of(model: nn.Module) -> Spec:
    """The spec of a model, by the name of its class.

    Raises:
        InputError: if the class cannot be wrapped or is not known; the message says what to do.
    """
    name = type(model).__name__
    if name in _SPECS:
        return _SPECS[name](model)
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            found: SpecOf = entry.load()
            return found(model)
    if name in _SINGLE:
        raise InputError(
            f"expected a model that fuses features, got {name}, which sees one point cloud and has no fusion inside; "
            "wrap it with robosac.detectors.LateFusion (each agent detects, boxes are fused) or "
            "robosac.detectors.EarlyFusion (points are merged)"
        )
    if name in _NEEDS_CUDA:
        raise InputError(
            f"expected a model that runs on the CPU, got {name}: {_NEEDS_CUDA[name]}. It was never tried here and has "
            f"no spec; on a CUDA machine register one with register_spec({name!r}, ...)"
        )
    raise InputError(
        f"expected a model of a known class ({', '.join(sorted(_SPECS))}), got {name}. Say where its agents are fused: "
        f"robosac.detectors.adapters.opencood.register_spec({name!r}, lambda model: Spec(...)), or an entry point of "
        f"group {GROUP!r}"
    )
