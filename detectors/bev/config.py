"""Typed configuration of the detectors and of their training; read from YAML, nothing unknown is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from robosac import plain_yaml
from robosac.types import BevGrid, InputError

STRIDE: Final = 4  # raster cells a map cell

FusionName = Literal["mean", "max", "attention"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Grown(_Strict):
    """Settings some of which came later. Those are left out where they are as before, so that the records and the
    fingerprints of weights that were made before them stay what they are."""

    _later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {k: v for k, v in plain.items() if k not in self._later or getattr(self, k) != fields[k].default}


class ModelConfig(_Grown):
    """What the network looks like, and what it looks at.

    Attributes:
        fusion: how the maps of the ego and its teammates become one.
        bounded: features are `r / (1 + r)` in [0, 1) instead of `r = ReLU(.)` in [0, inf).
        encoder_width, head_width, context_width: channels inside the encoder, the head, and the head's coarse levels.
        half_x_m, half_y_m: the region is +-half_x_m by +-half_y_m about the sensor, whole cells of the map.
        cell_m: of the raster; a cell of the map is four of them.
        fine_width: channels at half the raster's resolution; 0 goes straight to the map's.
        encoder_context: channels of a coarser level inside the encoder; 0 for none.
        levels: coarser levels in the head.
        heading: "side" says whether a box looks to +x, which is undecided across it; "vector" where it looks.
    """

    _later = frozenset({"half_x_m", "half_y_m", "cell_m", "fine_width", "encoder_context", "levels", "heading"})

    fusion: FusionName = "mean"
    bounded: bool = True
    encoder_width: int = Field(default=64, ge=8)
    head_width: int = Field(default=48, ge=8)
    context_width: int = Field(default=64, ge=8)
    half_x_m: float = Field(default=38.4, gt=0.0, le=300.0)
    half_y_m: float = Field(default=38.4, gt=0.0, le=300.0)
    cell_m: float = Field(default=0.3, ge=0.05, le=2.0)
    fine_width: int = Field(default=0, ge=0)
    encoder_context: int = Field(default=0, ge=0)
    levels: Literal[2, 3] = 2
    heading: Literal["side", "vector"] = "side"

    @model_validator(mode="after")
    def _whole_cells(self) -> ModelConfig:
        for name in ("half_x_m", "half_y_m"):
            cells = 2 * getattr(self, name) / (self.cell_m * STRIDE)
            if abs(cells - round(cells)) > 1e-6:
                near = round(cells) * self.cell_m * STRIDE / 2
                raise ValueError(f"expected whole cells of {self.cell_m * STRIDE:g} m, try {name} = {near:g}")
        return self

    @property
    def raster(self) -> BevGrid:
        """The grid that scans are rasterised on."""
        return self._grid(1)

    @property
    def map(self) -> BevGrid:
        """The grid of what is sent, and of the score map."""
        return self._grid(STRIDE)

    def _grid(self, stride: int) -> BevGrid:
        cell = self.cell_m * stride
        rows, cols = (
            round(2 * half / (self.cell_m * STRIDE)) * STRIDE // stride for half in (self.half_y_m, self.half_x_m)
        )
        return BevGrid(x_min_m=-self.half_x_m, y_min_m=-self.half_y_m, cell_m=cell, rows=rows, cols=cols)


class DecodeConfig(_Strict):
    """How boxes are read from the head's output.

    Attributes:
        score_threshold: boxes below it are not reported.
        max_candidates: peaks a subset that enter non-maximum suppression.
        nms_iou: boxes that overlap a better one by more (rotated BEV IoU) are suppressed.
    """

    score_threshold: float = Field(default=0.1, ge=0.0, le=1.0)
    max_candidates: int = Field(default=100, ge=1)
    nms_iou: float = Field(default=0.15, ge=0.0, le=1.0)


class DataConfig(_Grown):
    """Which simulated scenes a model is trained and validated on.

    Attributes:
        preset: of the simulator, see `SimConfig.preset`.
        train_scenes, val_scenes: number of scenes of the "train" and the "val" split.
        frames: frames a scene, spread over it.
        min_hits: points of the drawn agents on an object from which it counts as visible.
        workers: processes that simulate.
        late: probability that an agent's scan is one frame old; it is then nobody's ego.
        roadside_egos: whether road-side units are egos too.
        comm_range_m: who is further from an ego is not its teammate.
    """

    _later = frozenset({"preset", "late", "roadside_egos", "comm_range_m"})

    preset: str = "mixed"
    train_scenes: int = Field(default=700, ge=1)
    val_scenes: int = Field(default=60, ge=1)
    frames: int = Field(default=2, ge=1)
    min_hits: int = Field(default=5, ge=1)
    workers: int = Field(default=2, ge=1)
    late: float = Field(default=0.0, ge=0.0, lt=1.0)
    roadside_egos: bool = False
    comm_range_m: float = Field(default=55.0, gt=0.0)


class OptimConfig(_Grown):
    """How a model is trained.

    Attributes:
        steps: optimiser steps.
        frames_per_step: frames whose scans are encoded together; every vehicle of them is an ego in turn.
        ego_only: fraction of egos trained without teammates; the rest draw 1..all of them, uniformly.
        lr, weight_decay, warmup: AdamW with a one-cycle schedule; `warmup` is the fraction of steps that rise.
        ema: decay of the averaged weights, which are the ones kept.
        noise_m, noise_deg: largest standard deviation of the noise put on teammates' poses.
        bf16: forward passes in bfloat16, where the machine has instructions for it.
        threads: torch threads.
        decay_steps: 0 is one cycle, as above. Otherwise the rate rises over `warmup_steps`, stays at `lr`, and falls to
            0 over the last `decay_steps`; until it falls, a run may go on with another number of steps.
        warmup_steps: see there.
        forward_weight: of the loss of which way a box looks, beside 1 for where it is.
        validate_every: steps between validations, whose best weights are kept; 0 validates at the end alone.
        patience: validations without a better one after which training stops; 0 goes on to the end.
        val_frames: of the validation set that a validation on the way looks at, evenly spread.
        thin: largest share of a scan's occupied bins that is lost; drawn uniformly for half of the scans, the others
            lose none. Sensors of another density.
    """

    _later = frozenset(
        {"decay_steps", "warmup_steps", "forward_weight", "validate_every", "patience", "val_frames", "thin"}
    )

    steps: int = Field(default=1500, ge=1)
    frames_per_step: int = Field(default=2, ge=1)
    ego_only: float = Field(default=0.2, ge=0.0, le=1.0)
    lr: float = Field(default=3e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
    warmup: float = Field(default=0.15, gt=0.0, lt=1.0)
    ema: float = Field(default=0.995, ge=0.0, lt=1.0)
    noise_m: float = Field(default=0.2, ge=0.0)
    noise_deg: float = Field(default=0.3, ge=0.0)
    bf16: bool = True
    threads: int = Field(default=2, ge=1)
    decay_steps: int = Field(default=0, ge=0)
    warmup_steps: int = Field(default=100, ge=1)
    forward_weight: float = Field(default=0.1, ge=0.0)
    validate_every: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    val_frames: int = Field(default=40, ge=1)
    thin: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _falls_within(self) -> OptimConfig:
        if self.decay_steps > self.steps:
            raise ValueError(f"expected decay_steps <= steps ({self.steps}), got {self.decay_steps}")
        return self

    def share_of_lr(self, step: int) -> float:
        """The rate of a step as a share of `lr`, where `decay_steps` is not 0."""
        rise = min((step + 1) / self.warmup_steps, 1.0)
        fall = min((self.steps - step) / self.decay_steps, 1.0)
        return max(rise * fall, 0.0)


class TrainConfig(_Strict):
    """One training run: `robosac train --config configs/detectors/<name>.yaml`.

    Attributes:
        name: name of the weights, and of the detector as `bev-<name>`.
        seed: of the initial weights and of every draw; the data are those of the simulator's splits.
        init_from: name of shipped weights to start from, where the shapes agree; null starts from scratch.
    """

    name: str
    seed: int = Field(default=0, ge=0)
    init_from: str | None = None
    model: ModelConfig = ModelConfig()
    decode: DecodeConfig = DecodeConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()

    @staticmethod
    def read(path: Path) -> TrainConfig:
        """Read a YAML file.

        Raises:
            InputError: if there is no such file, it is not YAML, or a field is unknown or wrong.
        """
        if not path.is_file():
            raise InputError(f"expected a YAML file at {path}, got none; configs/detectors/ has the shipped ones")
        try:
            return TrainConfig.model_validate(plain_yaml.read(path))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise InputError(f"expected a training configuration in {path}, got {problems}") from error
