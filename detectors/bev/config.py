"""Typed configuration of the detectors and of their training; read from YAML, nothing unknown is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac import plain_yaml
from robosac.types import InputError

FusionName = Literal["mean", "max", "attention"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(_Strict):
    """What the network looks like.

    Attributes:
        fusion: how the maps of the ego and its teammates become one.
        bounded: features are `r / (1 + r)` in [0, 1) instead of `r = ReLU(.)` in [0, inf).
        encoder_width, head_width, context_width: channels inside the encoder, the head, and the head's coarse levels.
    """

    fusion: FusionName = "mean"
    bounded: bool = True
    encoder_width: int = Field(default=64, ge=8)
    head_width: int = Field(default=48, ge=8)
    context_width: int = Field(default=64, ge=8)


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


class DataConfig(_Strict):
    """Which simulated scenes a model is trained and validated on.

    Attributes:
        train_scenes, val_scenes: number of scenes of the "train" and the "val" split.
        frames: frames a scene, spread over it.
        min_hits: points of the drawn agents on an object from which it counts as visible.
        workers: processes that simulate.
    """

    train_scenes: int = Field(default=700, ge=1)
    val_scenes: int = Field(default=60, ge=1)
    frames: int = Field(default=2, ge=1)
    min_hits: int = Field(default=5, ge=1)
    workers: int = Field(default=2, ge=1)


class OptimConfig(_Strict):
    """How a model is trained.

    Attributes:
        steps: optimiser steps.
        frames_per_step: frames whose scans are encoded together; every vehicle of them is an ego in turn.
        ego_only: fraction of egos trained without teammates; the rest draw 1..all of them, uniformly.
        lr, weight_decay, warmup: AdamW with a one-cycle schedule; `warmup` is the fraction of steps that rise.
        ema: decay of the averaged weights, which are the ones kept.
        noise_m, noise_deg: largest standard deviation of the noise put on teammates' poses.
        bf16: forward passes in bfloat16.
        threads: torch threads.
    """

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
