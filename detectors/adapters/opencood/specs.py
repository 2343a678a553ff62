"""What is particular to each OpenCOOD model: where agents are still apart, and what of that goes over the air.

A `Spec` says it for one model instance; a function `model -> Spec` says it for a class. Here are OpenCOOD's classes,
those of its forks are in `forks`, and `known` finds the one that fits a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from robosac.detectors.adapters.replay import Tap
from robosac.types import InputError


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
        modalities: kinds of encoders among the agents (HEAL: m1, m2, ...), empty where all share one. The sites above
            are those of the first kind. In a replay it stands for all: what its encoder would return is given.
        others: the specs of the other kinds.
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
    modalities: tuple[str, ...] = ()
    others: Mapping[str, Spec] = field(default_factory=dict)

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

    def of(self, modality: str) -> Spec:
        """That of agents of another kind."""
        return self.others.get(modality, self)

    def low(self, name: str) -> float:
        """The lower bound of a sent array."""
        return -math.inf if name in self.unbounded else 0.0


SpecOf: TypeAlias = Callable[[Any], Spec]  # the model's modules are looked up by name: its class is not ours

PILLARS: Final = (Skip("pillar_vfe"), Skip("scatter", fill="spatial_features"))
SPARSE: Final = (Skip("mean_vfe"), Skip("backbone_3d"), Skip("height_compression", fill="spatial_features"))


# ------------------------------------------------------------------------------------------- the models we know
def attentive(
    encoder: tuple[Skip, ...],
    backbone: str,
    cells: Literal["pillars", "voxels"],
    *,
    warps: bool = False,
    heads: tuple[str, str] = ("psm", "rm"),
) -> SpecOf:
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
            warps=warps,
            heads=heads,
        )

    return spec


def single_scale(
    *, prior: bool = False, padded: bool = False, warps: bool = False, heads: tuple[str, str] = ("psm", "rm")
) -> SpecOf:
    """One map an agent: backbone, then a shrinking and a compressing stage where the model has them."""

    def spec(model: Any) -> Spec:
        compressed = getattr(model, "compression", False)
        chain = ["backbone", *["shrink_conv"] * model.shrink_flag, *["naive_compressor"] * compressed]
        pick = "spatial_features_2d" if len(chain) == 1 else None
        before = (Skip(site, fill="spatial_features_2d" if site == "backbone" else None) for site in chain[:-1])
        return Spec(
            taps=(Tap("F", chain[-1], pick=pick),),
            sent=("F",),
            skips=(*PILLARS, *before),
            canvas=PILLARS[-1],
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
        plain = single_scale()(model)
        return replace(plain, taps=(*plain.taps, confidence), sent=("F", "confidence"), unbounded=unbounded)
    levels = (Tap(f"L{i}", f"backbone.blocks.{i}", recorded=1) for i in range(len(model.backbone.blocks)))
    return Spec(
        taps=(confidence, *levels),  # blocks run once in the backbone, unmasked, and once more inside the fusion
        sent=("confidence", "L0"),
        skips=(
            *PILLARS,
            Skip("backbone", fill="spatial_features_2d"),
            *[Skip("shrink_conv", 0)] * model.shrink_flag,  # its second call comes after the fusion
            *[Skip("naive_compressor")] * model.compression,
        ),
        canvas=PILLARS[-1],
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
        skips=(*PILLARS, *[Skip(get, 0)] * model.compression),
        canvas=PILLARS[-1],
        warps=True,
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


OPENCOOD: Final[dict[str, SpecOf]] = {
    "PointPillarIntermediate": attentive(PILLARS, "backbone", "pillars"),
    "SecondIntermediate": attentive(SPARSE, "backbone_2d", "voxels"),
    "PointPillarFCooper": single_scale(),
    "PointPillarV2VNet": single_scale(warps=True),
    "PointPillarTransformer": single_scale(prior=True, padded=True),
    "PointPillarCoBEVT": single_scale(padded=True),
    "PointPillarWhere2comm": _where2comm,
    "PointPillarCoAlign": _coalign,
    "PIXORIntermediate": _pixor,
}
